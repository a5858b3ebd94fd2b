//! The other end of the socket: how the command line asks a resident runtime.

use std::{io, path::Path, time::Duration};

use kodex::{Json, Limits};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use crate::socket::{
    self, ANSWER_BYTES, FrameError, read_frame,
    wire::{ErrorDetail, Refusal},
};

/// A connection to a resident runtime.
#[derive(Debug)]
pub struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    n_asked: i64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket belongs to another user.
    #[error("the socket {path} is listened on by another user; nothing was said to it")]
    Stranger {
        /// Where.
        path: String,
    },
    /// The socket is there and cannot be used.
    #[error("the socket {path} cannot be used: {source}")]
    Unusable {
        /// Where.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// It took too long.
    #[error("the resident runtime did not answer `{method}` within {} s", after.as_secs())]
    Late {
        /// What was asked.
        method: String,
        /// How long it had.
        after: Duration,
    },
    /// The connection ended, or what came is no answer. Whether the question was worked on is not known.
    #[error("the resident runtime left `{method}` without an answer: {text}")]
    Broken {
        /// What was asked.
        method: String,
        /// What happened.
        text: String,
    },
    /// It answered that it cannot.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

impl ClientError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Stranger { .. } => "daemon.foreign",
            Self::Unusable { .. } => "daemon.unusable",
            Self::Late { .. } => "daemon.late",
            Self::Broken { .. } => "daemon.broken",
            Self::Refused(refusal) => &refusal.code,
        }
    }
}

#[derive(Serialize)]
struct Question<'a, P> {
    jsonrpc: &'static str,
    id: i64,
    method: &'a str,
    params: &'a P,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    id: Option<i64>,
    /// As it was written.
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<ErrorDetail>,
}

impl Client {
    /// Connects to whoever listens at a path; none when nobody does.
    ///
    /// # Errors
    /// [`ClientError`] when somebody else does, or the system refuses.
    pub async fn connect(path: &Path) -> Result<Option<Self>, ClientError> {
        let shown = || path.display().to_string();
        let stream: UnixStream = match socket::connect(path).await {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::NotADirectory => Ok(None),
                    _ => Err(ClientError::Unusable {
                        path: shown(),
                        source: error,
                    }),
                };
            }
        };
        // Whoever put a socket here could answer anything.
        socket::check_peer(&stream).map_err(|_| ClientError::Stranger { path: shown() })?;
        let (read, write) = stream.into_split();
        Ok(Some(Self {
            read: BufReader::new(read),
            write,
            n_asked: 0,
        }))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`ClientError`], with the refusal of the other side where there is one.
    pub async fn ask<P: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &P,
        after: Duration,
    ) -> Result<T, ClientError> {
        match timeout(after, self.exchange(method, params)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Late {
                method: method.to_owned(),
                after,
            }),
        }
    }

    async fn exchange<P: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &P,
    ) -> Result<T, ClientError> {
        let broken = |text: String| ClientError::Broken {
            method: method.to_owned(),
            text,
        };
        self.n_asked += 1;
        let question = Question {
            jsonrpc: "2.0",
            id: self.n_asked,
            method,
            params,
        };
        let mut line =
            serde_json::to_string(&question).map_err(|error| broken(error.to_string()))?;
        line.push('\n');
        // One that refuses before it has read everything has an answer all the same.
        let written = self.write.write_all(line.as_bytes()).await;
        // Twice the bound of answers, for their envelope.
        let line = match read_frame(&mut self.read, 2 * ANSWER_BYTES).await {
            Ok(Some(line)) => line,
            Ok(None) => {
                let why = written.err().map(|error| error.to_string());
                return Err(broken(
                    why.unwrap_or_else(|| "the connection ended".to_owned()),
                ));
            }
            Err(error @ (FrameError::TooLong { .. } | FrameError::Cut | FrameError::Io(_))) => {
                return Err(broken(error.to_string()));
            }
        };
        let answer = read_answer(&line).map_err(broken)?;
        match answer {
            Answer {
                error: Some(error), ..
            } => Err(ClientError::Refused(error.data.unwrap_or_else(|| {
                Refusal::new("daemon.broken", error.message.clone())
            }))),
            Answer {
                id: Some(id),
                result: Some(result),
                ..
            } if id == self.n_asked => {
                serde_json::from_str(result.get()).map_err(|error| broken(error.to_string()))
            }
            _ => Err(broken("it answered something else".to_owned())),
        }
    }
}

fn read_answer(line: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let limits = Limits {
        frame_bytes: usize::MAX,
        // Answers hold what plugins said, a few levels down.
        depth: 128,
        ..Limits::default()
    };
    let json = Json::parse(text, &limits).map_err(|error| error.to_string())?;
    json.to().map_err(|error| error.to_string())
}
