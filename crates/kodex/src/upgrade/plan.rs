//! Looks at every journal and every ledger, and finds all that is wrong before anything is changed.

use std::sync::Arc;

use kodex_plugin::{PluginName, wire::store::StepCounts};
use kodex_store::{
    Applied, Step, Store,
    journal::{self, StepKind},
};

use super::{PluginUpgrade, UpgradeError, UpgradeOptions};
use crate::{journal::Journal, register::Slot, runtime::Current};

/// What is to be done, plugin by plugin.
pub(super) struct Planned {
    pub(super) plugins: Vec<OnePlugin>,
}

/// What is to be done for one plugin.
pub(super) struct OnePlugin {
    pub(super) name: PluginName,
    pub(super) slot: Arc<Slot>,
    /// The earlier name whose tables are to be taken over first.
    pub(super) renamed_from: Option<PluginName>,
    pub(super) steps: Vec<Step>,
    /// How many of them are applied; they are the first ones.
    pub(super) n_applied: usize,
    /// The id of the last applied one.
    pub(super) newest: Option<String>,
}

impl Planned {
    /// Whether there is nothing to do.
    pub(super) fn is_done(&self) -> bool {
        let is_done = |one: &OnePlugin| one.pending().is_empty() && one.renamed_from.is_none();
        self.plugins.iter().all(is_done)
    }

    pub(super) fn n_pending(&self) -> usize {
        self.plugins.iter().map(|one| one.pending().len()).sum()
    }
}

impl OnePlugin {
    /// The steps that are not applied.
    pub(super) fn pending(&self) -> &[Step] {
        &self.steps[self.n_applied..]
    }

    pub(super) fn is_pending(&self, step: &Step) -> bool {
        self.pending()
            .iter()
            .any(|pending| pending.number == step.number)
    }

    /// The plugin's empty report.
    pub(super) fn begin(&self) -> PluginUpgrade {
        PluginUpgrade {
            plugin: self.name.to_string(),
            renamed_from: self.renamed_from.as_ref().map(ToString::to_string),
            counts: StepCounts::default(),
            steps: Vec::new(),
        }
    }
}

/// The plugins that declare a database, by name.
pub(super) fn databases(current: &Current) -> impl Iterator<Item = &Arc<Slot>> {
    let mut slots: Vec<_> = current
        .catalog
        .slots
        .iter()
        .filter(|slot| slot.journal.is_some())
        .collect();
    slots.sort_by(|a, b| a.name.cmp(&b.name));
    slots.into_iter()
}

/// Compares every journal with its ledger.
pub(super) async fn plan(store: &dyn Store, current: &Current) -> Result<Planned, UpgradeError> {
    let mut plugins = Vec::new();
    let mut problems = Vec::new();
    for slot in databases(current) {
        let Some(journal) = &slot.journal else {
            continue;
        };
        match one(store, slot, journal).await? {
            Ok(one) => plugins.push(one),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(Planned { plugins })
    } else {
        Err(UpgradeError::Journal { problems })
    }
}

async fn one(
    store: &dyn Store,
    slot: &Arc<Slot>,
    journal: &Journal,
) -> Result<Result<OnePlugin, Vec<journal::Problem>>, UpgradeError> {
    let name = slot.name.clone();
    let steps = match journal.steps(&name, store.engine()) {
        Ok(steps) => steps,
        Err(problems) => return Ok(Err(problems)),
    };
    let (applied, renamed_from) = ledger(store, slot, &name).await?;
    Ok(match journal::plan(&name, &steps, &applied) {
        Err(problems) => Err(problems),
        Ok(plan) => {
            let (n_applied, newest) = (plan.n_applied, plan.newest);
            Ok(OnePlugin {
                name,
                slot: slot.clone(),
                renamed_from,
                steps,
                n_applied,
                newest,
            })
        }
    })
}

/// The plugin's ledger; that of its earlier name, under the new one, when only that exists.
async fn ledger(
    store: &dyn Store,
    slot: &Slot,
    name: &PluginName,
) -> Result<(Vec<Applied>, Option<PluginName>), UpgradeError> {
    let applied = store.ledger().applied(name).await?;
    let from = slot
        .manifest
        .database
        .as_ref()
        .and_then(|database| database.renamed_from.clone());
    let Some(from) = from.filter(|_| applied.is_empty()) else {
        return Ok((applied, None));
    };
    if !store.plugins().await?.contains(&from) {
        return Ok((applied, None));
    }
    let (old, new) = (format!("plugin:{from}/"), format!("plugin:{name}/"));
    let rename = |row: Applied| Applied {
        id: row.id.replacen(&old, &new, 1),
        ..row
    };
    let earlier = store.ledger().applied(&from).await?;
    Ok((earlier.into_iter().map(rename).collect(), Some(from)))
}

/// How many pending steps of which plugin are to be recorded without being run.
pub(super) fn baseline(
    planned: &Planned,
    options: &UpgradeOptions,
) -> Result<Option<(PluginName, usize)>, UpgradeError> {
    let Some((plugin, file)) = &options.baseline else {
        return Ok(None);
    };
    let one = planned
        .plugins
        .iter()
        .find(|one| one.name.as_str() == plugin);
    let found = one.and_then(|one| {
        let last = one.pending().iter().position(|step| step.file == *file)?;
        let all_sql = one.pending()[..=last]
            .iter()
            .all(|step| step.kind != StepKind::Code);
        all_sql.then(|| (one.name.clone(), last + 1))
    });
    found.map(Some).ok_or_else(|| UpgradeError::Baseline {
        plugin: plugin.clone(),
        file: file.clone(),
    })
}
