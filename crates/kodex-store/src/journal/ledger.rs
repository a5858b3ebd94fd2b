//! The record of applied steps, kept beside the tables that the steps made.

use kodex_plugin::PluginName;

use crate::{Step, Work};

/// A step that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// `plugin:<name>/<file>`.
    pub id: String,
    /// SHA-256 of the exact bytes of the file, as 64 hex digits.
    pub checksum: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub applied_at_ms: u64,
}

/// What a data step has done so far, in its own words, so that it can go on after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The step: `plugin:<name>/<file>`.
    pub id: String,
    /// A JSON text of the step's own.
    pub progress: String,
}

/// The ledgers of all plugins. A plugin's statements can neither read nor write them.
pub trait Ledger: Send + Sync {
    /// The applied steps of a plugin, by id. Empty when it has no namespace yet.
    ///
    /// A row that Kodex cannot have written is [`StoreError::LedgerMalformed`](crate::StoreError::LedgerMalformed).
    fn applied<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Applied>>;

    /// Runs the SQL of a step and writes its row, in one transaction unless the step says that it
    /// cannot run in one. `after` is the id of the newest applied step: if the ledger says otherwise
    /// inside the transaction, nothing is done and it fails with [`StoreError::LedgerMoved`](crate::StoreError::LedgerMoved).
    ///
    /// A step that cannot run in a transaction runs first and is recorded afterwards; a crash between
    /// the two runs it again, so it must be idempotent.
    fn apply<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied>;

    /// Writes a step's row without running anything, and removes its progress: for a data step that is
    /// done and for a baseline. The rule of `after` is that of [`Ledger::apply`].
    fn record<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied>;

    /// What an unfinished data step wrote last.
    fn progress<'a>(&'a self, plugin: &'a PluginName, id: &'a str) -> Work<'a, Option<Progress>>;

    /// Remembers how far a data step is.
    fn save_progress<'a>(&'a self, plugin: &'a PluginName, progress: &'a Progress) -> Work<'a, ()>;

    /// Moves tables, state and ledger of `from` to `to`, all or nothing, rewriting the ids. Fails with
    /// [`StoreError::Refused`](crate::StoreError::Refused) when `to` already has any of them.
    fn rename<'a>(&'a self, from: &'a PluginName, to: &'a PluginName) -> Work<'a, ()>;
}
