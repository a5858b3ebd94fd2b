//! How durable work fails as a whole. Failures of single runs and jobs stand with them.

use kodex_plugin::NameError;
use kodex_store::StoreError;

/// Why work, or a question about it, has no outcome.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The runtime has no store.
    #[error(
        "this runtime was given no store, and work that lasts needs one; set KODEX_DATABASE_URL or `url` under [store] in .kodex/config.toml, or call `Builder::store`"
    )]
    NoStore,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such run or job.
    #[error("there is no {kind} {id:?}; `kodex runs list` shows those that there are")]
    Unknown {
        /// `run` or `job`.
        kind: &'static str,
        /// What was asked for.
        id: String,
    },
    /// It cannot be done with a run or job in this state.
    #[error("the {kind} {id} is {state}; {advice}")]
    State {
        /// `run` or `job`.
        kind: &'static str,
        /// Which.
        id: String,
        /// Where it is.
        state: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A session without a name.
    #[error("the session has a blank {field}; nothing was stored")]
    Session {
        /// Which field.
        field: &'static str,
    },
    /// A session that has not ended, or cannot be read.
    #[error("no job can follow the session: {0}; nothing was stored")]
    Unfinished(String),
}

impl WorkError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoStore => "store.not_configured",
            Self::Store(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::Unknown { .. } => "work.unknown",
            Self::State { .. } => "work.state",
            Self::Session { .. } | Self::Unfinished(_) => "work.session",
        }
    }
}
