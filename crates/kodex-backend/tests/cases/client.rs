//! The raw client: the worker's side of the pipes, as bytes.

use std::{os::unix::net::UnixListener as StdListener, path::Path, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use crate::pattern::Ids;

/// How long anything that must happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    lines: BufReader<OwnedReadHalf>,
    out: Option<OwnedWriteHalf>,
    /// The id of the last request that the subject sent.
    last_id: Value,
}

/// Waits for the relay of the next process.
pub(crate) fn listen(socket: &Path) -> UnixListener {
    let listener = StdListener::bind(socket).expect("a socket");
    listener.set_nonblocking(true).expect("not blocking");
    UnixListener::from_std(listener).expect("a listener")
}

impl Client {
    pub(crate) async fn accept(listener: &UnixListener) -> Result<Self, String> {
        let accepted = timeout(SOON, listener.accept())
            .await
            .map_err(|_| "no process was started")?;
        let (stream, _) = accepted.map_err(|error| error.to_string())?;
        let (lines, out) = stream.into_split();
        Ok(Self {
            lines: BufReader::new(lines),
            out: Some(out),
            last_id: Value::Null,
        })
    }

    /// The next line of the subject.
    pub(crate) async fn line(&mut self) -> Result<(String, Value), String> {
        let mut line = String::new();
        let read = timeout(SOON, self.lines.read_line(&mut line)).await;
        match read
            .map_err(|_| "the host says nothing")?
            .map_err(|error| error.to_string())?
        {
            0 => Err("the host has closed the pipe".into()),
            _ => {
                let value: Value =
                    serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))?;
                if value.get("method").is_some() && value.get("id").is_some() {
                    self.last_id = value["id"].clone();
                }
                Ok((line, value))
            }
        }
    }

    /// Sends bytes as they are. A host that has ended the process hears nothing any more, which is
    /// for a later step to notice.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.out {
            let _ = timeout(SOON, out.write_all(bytes)).await;
        }
    }

    /// A line with the ids filled in.
    pub(crate) fn fill(&self, line: &str, ids: &Ids) -> String {
        let mut line = line.replace("\"<its id>\"", &self.last_id.to_string());
        for (word, id) in ids {
            line = line.replace(&format!("\"{word}\""), &id.to_string());
        }
        line
    }

    /// Closes the host's input.
    pub(crate) fn close(&mut self) {
        self.out = None;
    }

    /// Whether the host ends the process: its pipe ends, whatever is still in it.
    pub(crate) async fn ended(&mut self) -> Result<(), String> {
        let mut rest = String::new();
        let all = async {
            while self.lines.read_line(&mut rest).await.is_ok_and(|n| n > 0) {
                rest.clear();
            }
        };
        timeout(SOON, all)
            .await
            .map_err(|_| "the process was not ended".to_owned())
    }
}
