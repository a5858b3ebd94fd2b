//! The explicit operation that applies migrations: everything is validated before anything is applied,
//! one upgrade works at a time, and each step is recorded with what it did.
//!
//! It starts with the runtime's own plugin set, the same that serves calls.

mod plan;
mod report;
mod run;
mod step;

use std::time::Duration;

use kodex_plugin::Diagnostic;
use kodex_store::{StoreError, journal::Problem};

pub use kodex_plugin::wire::store::StepCounts;
pub use report::{Kept, PluginUpgrade, StepReport, StepState, UpgradeReport};

use crate::{
    Runtime,
    runtime::{Current, Shared},
};

/// How an upgrade is made.
#[derive(Debug, Clone)]
pub struct UpgradeOptions {
    /// Says what would be done and changes nothing.
    pub plan_only: bool,
    /// How long to wait for another upgrade to end.
    pub wait: Duration,
    /// How long one data step may take.
    pub step_timeout: Duration,
    /// Records the pending SQL steps of this plugin up to this file as applied without running them:
    /// for tables that exist already.
    pub baseline: Option<(String, String)>,
}

impl Default for UpgradeOptions {
    fn default() -> Self {
        Self {
            plan_only: false,
            wait: Duration::from_secs(60),
            step_timeout: Duration::from_secs(3_600),
            baseline: None,
        }
    }
}

/// What happens during an upgrade, in order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum UpgradeEvent {
    /// Another upgrade is at work; this one waits for it.
    Waiting,
    /// The tables and the ledger of a plugin's earlier name were taken over.
    Renamed {
        /// The earlier name.
        from: String,
        /// The plugin.
        plugin: String,
    },
    /// A step begins.
    StepBegins {
        /// `plugin:<name>/<file>`.
        id: String,
        /// Which one of all pending steps, from 1.
        nth: usize,
        /// How many there are.
        n_pending: usize,
    },
    /// A data step says how far it is.
    StepProgress {
        /// `plugin:<name>/<file>`.
        id: String,
        /// Its counters so far.
        counts: StepCounts,
    },
    /// A step is applied and recorded.
    StepEnds {
        /// `plugin:<name>/<file>`.
        id: String,
        /// What it did.
        counts: StepCounts,
        /// How long it took.
        took: Duration,
    },
}

/// Why an upgrade stopped. What was applied before is recorded and stays.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The runtime was built without a store.
    #[error("plugins declare a database ({}), but there is no store; set KODEX_DATABASE_URL or `url` under [store] in .kodex/config.toml", .plugins.join(", "))]
    NoStore {
        /// The plugins.
        plugins: Vec<String>,
    },
    /// Journals are wrong; nothing was applied.
    #[error("{} of the migrations are wrong; nothing was applied", .problems.len())]
    Journal {
        /// All of them.
        problems: Vec<Problem>,
    },
    /// The baseline names no pending step.
    #[error("there is no pending SQL step {file} of plugin {plugin} to take as the baseline")]
    Baseline {
        /// The plugin.
        plugin: String,
        /// The file.
        file: String,
    },
    /// Another upgrade did not end.
    #[error("another upgrade is still at work after {} s; wait for it, or, if it was killed, until its lease of 30 s is over", .waited.as_secs())]
    Busy {
        /// How long this one waited.
        waited: Duration,
    },
    /// This upgrade was held up so long that another one may have begun.
    #[error("this upgrade lost its lock before {id}; run it again")]
    LockLost {
        /// The step that was next.
        id: String,
    },
    /// A step failed; it left no trace, and those after it were not begun.
    #[error("{id} failed: {message}")]
    Step {
        /// `plugin:<name>/<file>`.
        id: String,
        /// The plugin.
        plugin: String,
        /// The stable code of the failure.
        code: String,
        /// What happened.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UpgradeError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoStore { .. } => "store.not_configured",
            Self::Journal { problems } => {
                problems.first().map_or("journal.unreadable", Problem::code)
            }
            Self::Baseline { .. } => "upgrade.baseline",
            Self::Busy { .. } => "upgrade.busy",
            Self::LockLost { .. } => "upgrade.lock_lost",
            Self::Step { code, .. } => code,
            Self::Store(error) => error.code(),
        }
    }
}

/// See [`Runtime::check_journals`].
pub(crate) async fn check(shared: &Shared, current: &Current) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for slot in plan::databases(current) {
        let found = match (&slot.journal, &shared.store) {
            (Some(journal), Some(store)) => journal.check(&**store, &slot.name).await,
            (Some(_), None) => Err(crate::host::no_store(&slot.name)),
            (None, _) => Ok(()),
        };
        if let Err(error) = found {
            let found = Diagnostic::error(error.code, error.message);
            findings.push(found.with_plugin(slot.name.as_str()));
        }
    }
    findings
}

impl Runtime {
    /// What keeps plugins in the catalog from having their database: no store, a journal that is wrong,
    /// migrations that are not applied.
    pub async fn check_journals(&self) -> Vec<Diagnostic> {
        check(self.shared(), &self.current()).await
    }

    /// Applies the pending migrations of every plugin in the catalog, by plugin name, then by number.
    /// `watch` hears of everything as it happens.
    ///
    /// # Errors
    /// [`UpgradeError`]. A journal that is wrong anywhere stops everything before the first statement.
    pub async fn upgrade(
        &self,
        options: &UpgradeOptions,
        watch: &(dyn Fn(UpgradeEvent) + Send + Sync),
    ) -> Result<UpgradeReport, UpgradeError> {
        let current = self.current();
        let shared = self.shared();
        let Some(store) = shared.store.clone() else {
            let plugins: Vec<_> = plan::databases(&current)
                .map(|slot| slot.name.to_string())
                .collect();
            return if plugins.is_empty() {
                Ok(UpgradeReport::empty())
            } else {
                Err(UpgradeError::NoStore { plugins })
            };
        };
        let planned = plan::plan(&*store, &current).await?;
        let baseline = plan::baseline(&planned, options)?;
        if options.plan_only || planned.is_done() {
            return report::planned(&*store, planned, &current).await;
        }
        run::run(shared, store, &current, options, baseline, watch).await
    }
}
