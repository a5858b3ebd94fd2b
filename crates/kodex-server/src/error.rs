//! Why a resident runtime cannot start, or ended by itself.

use std::{io, net::SocketAddr, path::PathBuf};

use kodex::WorkError;

/// Why there is no resident runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address can be reached from elsewhere, and nobody said that it may.
    #[error(
        "{address} can be reached by other machines; probes and metrics stay on this one. Use 127.0.0.1 or [::1], or pass --expose-http"
    )]
    HttpExposed {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    HttpBind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// Another one is there.
    #[error("a resident runtime is listening on {} already; `kodex status` shows it", path.display())]
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// The folder of the socket could be written or read by others.
    #[error(
        "the folder {} of the socket must be yours and closed to others (mode {mode:o}); chmod 700 it, or name another socket",
        folder.display()
    )]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
        /// What it allows.
        mode: u32,
    },
    /// Something that is no socket lies where the socket should be.
    #[error("{} is in the way of the socket and is none; move it, or name another socket", path.display())]
    SocketTaken {
        /// Where.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("the socket {} cannot be made", path.display())]
    SocketBind {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Work cannot begin.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// A part ended that should not.
    #[error("the part {part} ended by itself; this is a bug")]
    Ended {
        /// Which.
        part: &'static str,
    },
}

impl ServeError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::HttpExposed { .. } => "serve.http.exposed",
            Self::HttpBind { .. } => "serve.http.bind",
            Self::Running { .. } => "serve.running",
            Self::SocketFolder { .. } => "serve.socket.folder",
            Self::SocketTaken { .. } => "serve.socket.taken",
            Self::SocketBind { .. } => "serve.socket.bind",
            Self::Work(error) => error.code(),
            Self::Ended { .. } => "serve.ended",
        }
    }
}
