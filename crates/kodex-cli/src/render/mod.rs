//! How results look: JSON for programs, tables and reports for people.

pub(crate) mod event;
pub(crate) mod finding;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod moment;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod text;

/// How outcomes are printed, whoever called the hook.
pub(crate) use kodex_server::outcome;
