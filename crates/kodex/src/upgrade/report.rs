//! What an upgrade did or would do, for people and for scripts.

use kodex_plugin::wire::store::StepCounts;
use kodex_store::Store;

use super::{UpgradeError, plan::Planned};
use crate::runtime::Current;

/// The outcome of an upgrade.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpgradeReport {
    /// The version of this report's form.
    pub version: u32,
    /// Which store, without a password; null when there is none.
    pub store: Option<String>,
    /// Every plugin with a database, by name.
    pub plugins: Vec<PluginUpgrade>,
    /// Ledgers of plugins that are not in the catalog: kept as they are.
    pub kept: Vec<Kept>,
    /// How many steps are not applied.
    pub n_pending: usize,
}

/// One plugin of an upgrade.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PluginUpgrade {
    /// The plugin.
    pub plugin: String,
    /// The earlier name whose tables are taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// The sum over all steps: a SQL step scans one and migrates one, one that was applied before is existing.
    pub counts: StepCounts,
    /// The steps in order.
    pub steps: Vec<StepReport>,
}

/// One step of an upgrade.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepReport {
    /// `plugin:<name>/<file>`.
    pub id: String,
    /// What became of it.
    pub state: StepState,
    /// What it did.
    pub counts: StepCounts,
    /// How long it took, in milliseconds; 0 for what was not run.
    pub took_ms: u64,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It was applied before.
    Existing,
    /// It was applied by this upgrade.
    Applied,
    /// It was recorded without being run.
    Baseline,
    /// It is not applied.
    Pending,
}

/// A ledger of a plugin that is not in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Kept {
    /// The plugin.
    pub plugin: String,
    /// How many applied steps its ledger has.
    pub n_applied: usize,
}

impl UpgradeReport {
    /// Without a store and without plugins that want one.
    pub(super) fn empty() -> Self {
        Self {
            version: 1,
            store: None,
            plugins: Vec::new(),
            kept: Vec::new(),
            n_pending: 0,
        }
    }

    /// The sum over all plugins.
    #[must_use]
    pub fn counts(&self) -> StepCounts {
        let mut sum = StepCounts::default();
        self.plugins
            .iter()
            .for_each(|plugin| add(&mut sum, &plugin.counts));
        sum
    }
}

/// Adds counters up; `skipped` is there as soon as one of them has it.
pub(super) fn add(sum: &mut StepCounts, counts: &StepCounts) {
    sum.scanned += counts.scanned;
    sum.migrated += counts.migrated;
    sum.existing += counts.existing;
    sum.missing += counts.missing;
    if let Some(skipped) = counts.skipped {
        sum.skipped = Some(sum.skipped.unwrap_or(0) + skipped);
    }
}

impl PluginUpgrade {
    pub(super) fn push(&mut self, step: StepReport) {
        add(&mut self.counts, &step.counts);
        self.steps.push(step);
    }
}

/// What a step counts that was applied before.
pub(super) fn existing(id: String) -> StepReport {
    StepReport {
        id,
        state: StepState::Existing,
        counts: StepCounts {
            scanned: 1,
            existing: 1,
            ..StepCounts::default()
        },
        took_ms: 0,
    }
}

fn pending(id: String) -> StepReport {
    StepReport {
        id,
        state: StepState::Pending,
        counts: StepCounts {
            scanned: 1,
            ..StepCounts::default()
        },
        took_ms: 0,
    }
}

/// The report of an upgrade that runs nothing.
pub(super) async fn planned(
    store: &dyn Store,
    planned: Planned,
    current: &Current,
) -> Result<UpgradeReport, UpgradeError> {
    let mut report = UpgradeReport {
        store: Some(store.place().to_owned()),
        kept: kept(store, current).await?,
        ..UpgradeReport::empty()
    };
    for one in planned.plugins {
        let mut plugin = one.begin();
        for step in &one.steps {
            let id = step.id(&one.name);
            let is_pending = one.is_pending(step);
            report.n_pending += usize::from(is_pending);
            plugin.push(if is_pending {
                pending(id)
            } else {
                existing(id)
            });
        }
        report.plugins.push(plugin);
    }
    Ok(report)
}

/// Ledgers of plugins that the catalog does not have.
pub(super) async fn kept(store: &dyn Store, current: &Current) -> Result<Vec<Kept>, UpgradeError> {
    let mut kept = Vec::new();
    for plugin in store.plugins().await? {
        if current.catalog.slot(plugin.as_str()).is_some() {
            continue;
        }
        let n_applied = store.ledger().applied(&plugin).await?.len();
        if n_applied > 0 {
            kept.push(Kept {
                plugin: plugin.to_string(),
                n_applied,
            });
        }
    }
    Ok(kept)
}
