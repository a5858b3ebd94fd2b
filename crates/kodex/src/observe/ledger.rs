//! The load ledger: one line for each candidate of one start, in the order in which they were met.

use kodex_plugin::{Diagnostic, Severity};
use serde::{Deserialize, Serialize};

/// How a candidate fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is in the catalog.
    Loaded,
    /// It was passed over on purpose: not enabled, not there, not meant for this runtime.
    Skipped,
    /// It should be in the catalog and is not.
    Error,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// Where the candidate came from: a path, `entrypoint:<name>` or `builtin:<name>`.
    pub source: String,
    /// The plugin's name; `-` when it is not known.
    pub plugin_name: String,
    /// How it fared.
    pub status: Status,
    /// `ok`, or what was wrong.
    pub message: String,
    /// Everything that was found about it, with codes, places and advice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

impl Record {
    /// A candidate that made it.
    #[must_use]
    pub fn loaded(source: impl Into<String>, plugin: &str, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            source: source.into(),
            plugin_name: plugin.to_owned(),
            status: Status::Loaded,
            message: "ok".to_owned(),
            diagnostics,
        }
    }

    /// A candidate that did not, because of a finding.
    #[must_use]
    pub fn refused(source: &str, status: Status, found: Diagnostic) -> Self {
        Self {
            source: source.to_owned(),
            plugin_name: "-".to_owned(),
            status,
            message: found.message.clone(),
            diagnostics: vec![found],
        }
    }

    /// A candidate that did not, because of several findings; the worst gives the message.
    #[must_use]
    pub fn refused_for_all(source: &str, found: Vec<Diagnostic>) -> Self {
        let message = found
            .iter()
            .find(|one| one.severity == Severity::Error)
            .map_or_else(|| "not usable".to_owned(), |one| one.message.clone());
        Self {
            source: source.to_owned(),
            plugin_name: "-".to_owned(),
            status: Status::Error,
            message,
            diagnostics: found,
        }
    }
}
