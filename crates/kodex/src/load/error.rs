//! How a start or reload as a whole fails.

use crate::observe::Record;

/// Why there is no catalog.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Strict mode, and a candidate could not be loaded.
    #[error("Failed to load plugin from {}: {}", record.source, record.message)]
    Strict {
        /// The first line of the ledger that is an error.
        record: Box<Record>,
    },
    /// The runtime was built outside an async runtime.
    #[error("a Kodex runtime has to be built inside a tokio runtime")]
    NoAsyncRuntime,
}

impl LoadError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Strict { record } => record
                .diagnostics
                .first()
                .map_or("load.failed", |found| found.code.as_str()),
            Self::NoAsyncRuntime => "load.no_async_runtime",
        }
    }
}
