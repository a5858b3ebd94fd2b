//! How a start or reload as a whole fails.

use kodex_plugin::Diagnostic;

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
    /// Databases are required, and plugins declare one that they cannot have: there is no store, or their
    /// journals are behind or wrong.
    #[error("{}", messages(.found))]
    Database {
        /// What is wrong, plugin by plugin.
        found: Vec<Diagnostic>,
    },
    /// The runtime was built outside an async runtime.
    #[error("a Kodex runtime has to be built inside a tokio runtime")]
    NoAsyncRuntime,
}

fn messages(found: &[Diagnostic]) -> String {
    let messages: Vec<_> = found.iter().map(|found| found.message.as_str()).collect();
    messages.join("; ")
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
            Self::Database { found } => found.first().map_or("load.failed", |found| &found.code),
            Self::NoAsyncRuntime => "load.no_async_runtime",
        }
    }
}
