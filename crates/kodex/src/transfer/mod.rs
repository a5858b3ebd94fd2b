//! Moves everything that plugins own from one store to another, in either direction, so that nobody's
//! data is trapped in an engine.
//!
//! The schema on the other side comes from the plugins' own journals, never from the catalog of the
//! engine; then the rows are copied table by table and compared. What was copied and found equal is not
//! copied again, so an interrupted move goes on where it stopped.

mod canon;
mod rows;

use kodex_plugin::PluginName;
use kodex_store::{
    Access, Store, StoreError,
    journal::{self, Problem, StepKind},
    state::{Adopted, Entry, Numbers, OnlyIf, PAGE, Write},
};

use crate::{Runtime, journal::Journal};

/// The key under which the target remembers that a move into it is under way.
const MARK: &str = "transfer";

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Transferred {
    /// The version of this report's form.
    pub version: u32,
    /// From where, without a password.
    pub from: String,
    /// To where, without a password.
    pub to: String,
    /// Every plugin that had something, by name.
    pub plugins: Vec<PluginTransferred>,
}

/// What was moved of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PluginTransferred {
    /// The plugin.
    pub plugin: String,
    /// Steps of its journal that the target now has.
    pub n_steps: usize,
    /// Its tables with the rows that both sides have, compared by content.
    pub tables: Vec<TableTransferred>,
    /// Its values by key.
    pub n_keys: usize,
}

/// What was moved of one table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TableTransferred {
    /// The table.
    pub table: String,
    /// Its rows.
    pub n_rows: u64,
    /// A digest over the rows' values that does not depend on their order or on the engine.
    pub digest: String,
}

/// Why a move stopped. The source is never changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Both places are the same.
    #[error("{place} cannot be moved into itself")]
    Same {
        /// The place.
        place: String,
    },
    /// The target has something that no move put there.
    #[error("the target {place} is not empty: it has data of {}; choose an empty one", .plugins.join(", "))]
    NotEmpty {
        /// The target.
        place: String,
        /// Whose data it has.
        plugins: Vec<String>,
    },
    /// A plugin has tables but is not loaded, so nobody knows how to make them.
    #[error(
        "plugin {plugin} has tables in the source but is not among the loaded plugins; its migrations are needed to make them again"
    )]
    NoJournal {
        /// The plugin.
        plugin: String,
    },
    /// The journal does not fit the source.
    #[error("{} of the migrations are wrong; nothing was moved", .problems.len())]
    Journal {
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// The source's journal is behind.
    #[error(
        "plugin {plugin}: {n_pending} of its migrations are not applied in the source; run `kodex upgrade` on it first"
    )]
    Behind {
        /// The plugin.
        plugin: String,
        /// How many.
        n_pending: usize,
    },
    /// A table is not the same on both sides.
    #[error("plugin {plugin}: the table {table} differs after the copy: {problem}")]
    Differs {
        /// The plugin.
        plugin: String,
        /// The table.
        table: String,
        /// How.
        problem: String,
    },
    /// Foreign keys in a circle.
    #[error("plugin {plugin}: the tables {} refer to each other in a circle and cannot be copied one after the other", .tables.join(", "))]
    Circle {
        /// The plugin.
        plugin: String,
        /// The tables.
        tables: Vec<String>,
    },
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransferError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Same { .. } => "transfer.same",
            Self::NotEmpty { .. } => "transfer.not_empty",
            Self::NoJournal { .. } => "transfer.no_journal",
            Self::Journal { problems } => {
                problems.first().map_or("journal.unreadable", Problem::code)
            }
            Self::Behind { .. } => "transfer.behind",
            Self::Differs { .. } => "transfer.differs",
            Self::Circle { .. } => "transfer.circle",
            Self::Store(error) => error.code(),
        }
    }
}

impl Runtime {
    /// Copies everything that plugins own from one store to an empty other one, and compares. Run it
    /// while nothing writes to the source. `watch` hears of every table and its rows.
    ///
    /// # Errors
    /// [`TransferError`]. Run again, it goes on where it stopped.
    pub async fn transfer(
        &self,
        from: &dyn Store,
        to: &dyn Store,
        watch: &(dyn Fn(&str, &str, u64) + Send + Sync),
    ) -> Result<Transferred, TransferError> {
        if from.place() == to.place() {
            return Err(TransferError::Same {
                place: from.place().to_owned(),
            });
        }
        let owner = crate::load::own_name();
        let mut plugins = from.plugins().await?;
        // One that has locks alone, or had values, is not listed; its numbers go on all the same.
        for slot in &self.current().catalog.slots {
            if !plugins.contains(&slot.name)
                && from.numbers(&slot.name).await? != Numbers::default()
            {
                plugins.push(slot.name.clone());
            }
        }
        plugins.retain(|plugin| *plugin != owner);
        plugins.sort();
        let journals = self.journals(from, to, &plugins).await?;
        mark(from, to, &owner).await?;
        let mut done = Vec::new();
        for (plugin, steps) in plugins.iter().zip(journals) {
            done.push(one(from, to, plugin, steps, watch).await?);
        }
        let unmark = Write {
            key: MARK,
            value: None,
            ttl_ms: None,
            only_if: OnlyIf::Always,
            under: None,
        };
        to.state().write(&owner, &unmark).await?;
        Ok(Transferred {
            version: 1,
            from: from.place().to_owned(),
            to: to.place().to_owned(),
            plugins: done,
        })
    }

    /// The steps that the target must have, plugin by plugin, before anything is changed.
    async fn journals(
        &self,
        from: &dyn Store,
        to: &dyn Store,
        plugins: &[PluginName],
    ) -> Result<Vec<Vec<kodex_store::Step>>, TransferError> {
        let current = self.current();
        let mut journals = Vec::new();
        let mut problems = Vec::new();
        for plugin in plugins {
            let applied = from.ledger().applied(plugin).await?;
            let slot = current.catalog.slot(plugin.as_str());
            let journal = slot.and_then(|slot| slot.journal.clone());
            if applied.is_empty() && from.tables(plugin).await?.is_empty() {
                journals.push(Vec::new());
                continue;
            }
            let Some(journal) = journal else {
                return Err(TransferError::NoJournal {
                    plugin: plugin.to_string(),
                });
            };
            match steps(from, to, plugin, &journal, &applied)? {
                Ok(steps) => journals.push(steps),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(journals)
        } else {
            Err(TransferError::Journal { problems })
        }
    }
}

fn steps(
    from: &dyn Store,
    to: &dyn Store,
    plugin: &PluginName,
    journal: &Journal,
    applied: &[kodex_store::Applied],
) -> Result<Result<Vec<kodex_store::Step>, Vec<Problem>>, TransferError> {
    let theirs = match journal.steps(plugin, from.engine()) {
        Ok(steps) => steps,
        Err(problems) => return Ok(Err(problems)),
    };
    match journal::plan(plugin, &theirs, applied) {
        Err(problems) => return Ok(Err(problems)),
        Ok(plan) if !plan.pending.is_empty() => {
            let n_pending = plan.pending.len();
            return Err(TransferError::Behind {
                plugin: plugin.to_string(),
                n_pending,
            });
        }
        Ok(_) => {}
    }
    Ok(journal.steps(plugin, to.engine()))
}

/// Refuses a target with data of its own, and marks an empty one as the target of this move.
async fn mark(from: &dyn Store, to: &dyn Store, owner: &PluginName) -> Result<(), TransferError> {
    let marked = to.state().read(owner, MARK).await?;
    let place = serde_json::value::to_raw_value(from.place())
        .map_err(|error| StoreError::Internal(error.to_string()))?;
    if marked.is_some_and(|entry| entry.value.get() == place.get()) {
        return Ok(());
    }
    let others = to
        .plugins()
        .await?
        .into_iter()
        .filter(|plugin| plugin != owner);
    let plugins: Vec<_> = others.map(|plugin| plugin.to_string()).collect();
    if !plugins.is_empty() {
        return Err(TransferError::NotEmpty {
            place: to.place().to_owned(),
            plugins,
        });
    }
    let mark = Write {
        key: MARK,
        value: Some(&place),
        ttl_ms: None,
        only_if: OnlyIf::Always,
        under: None,
    };
    to.state().write(owner, &mark).await?;
    Ok(())
}

async fn one(
    from: &dyn Store,
    to: &dyn Store,
    plugin: &PluginName,
    steps: Vec<kodex_store::Step>,
    watch: &(dyn Fn(&str, &str, u64) + Send + Sync),
) -> Result<PluginTransferred, TransferError> {
    let known = to.ledger().applied(plugin).await?;
    let mut newest = known.iter().map(|row| row.id.clone()).max();
    for step in steps.iter().skip(known.len()) {
        let after = newest.as_deref();
        let applied = match step.kind {
            // The rows arrive as they are after it.
            StepKind::Code => to.ledger().record(plugin, step, after).await?,
            StepKind::Sql | StepKind::Bare => to.ledger().apply(plugin, step, after).await?,
        };
        newest = Some(applied.id);
    }
    let mut tables = Vec::new();
    if !steps.is_empty() {
        let source = from.namespace(plugin, Access::Read).await?;
        let target = to.namespace(plugin, Access::Write).await?;
        let there = to.tables(plugin).await?;
        let copy = rows::Copy {
            plugin,
            source: &*source,
            target: &*target,
            engine: to.engine(),
            watch,
        };
        tables = copy.all(from.tables(plugin).await?, &there).await?;
    }
    let n_keys = values(from, to, plugin).await?;
    Ok(PluginTransferred {
        plugin: plugin.to_string(),
        n_steps: steps.len(),
        tables,
        n_keys,
    })
}

/// Copies values and locks with the numbers they have, and compares.
async fn values(
    from: &dyn Store,
    to: &dyn Store,
    plugin: &PluginName,
) -> Result<usize, TransferError> {
    // The highest number goes first: whatever interrupts this, none is given twice.
    let numbers = from.numbers(plugin).await?;
    let mut n_keys = 0;
    let mut after: Option<String> = None;
    loop {
        let state = from.state();
        let page = state.list(plugin, "", after.as_deref(), PAGE).await?;
        let mut values = Vec::with_capacity(page.len());
        for found in &page {
            // One that has expired since is gone on both sides.
            if let Some(entry) = state.read(plugin, &found.key).await? {
                values.push((found.key.clone(), entry));
            }
        }
        let adopted = Adopted {
            values: &values,
            leases: &[],
            numbers,
        };
        to.adopt(plugin, &adopted).await?;
        for (key, entry) in &values {
            arrived(to, plugin, key, entry).await?;
        }
        n_keys += values.len();
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
            _ => break,
        }
    }
    locks(from, to, plugin, numbers).await?;
    Ok(n_keys)
}

async fn arrived(
    to: &dyn Store,
    plugin: &PluginName,
    key: &str,
    sent: &Entry,
) -> Result<(), TransferError> {
    let arrived = to.state().read(plugin, key).await?;
    let is_same = match arrived {
        Some(arrived) => {
            arrived.version == sent.version
                && canon::same_json(arrived.value.get(), sent.value.get())
        }
        // It may have expired on the way.
        None => sent.expires_at_ms.is_some(),
    };
    if is_same {
        return Ok(());
    }
    Err(TransferError::Differs {
        plugin: plugin.to_string(),
        table: "state".to_owned(),
        problem: format!("the value of {key:?} did not arrive"),
    })
}

/// Copies the locks, those that nobody holds too: their tokens must not be given again.
async fn locks(
    from: &dyn Store,
    to: &dyn Store,
    plugin: &PluginName,
    numbers: Numbers,
) -> Result<(), TransferError> {
    let mut after: Option<String> = None;
    loop {
        let leases = from.leases(plugin, after.as_deref(), PAGE).await?;
        let adopted = Adopted {
            values: &[],
            leases: &leases,
            numbers,
        };
        to.adopt(plugin, &adopted).await?;
        let there = to.leases(plugin, after.as_deref(), leases.len()).await?;
        if there != leases {
            return Err(TransferError::Differs {
                plugin: plugin.to_string(),
                table: "locks".to_owned(),
                problem: "the locks are not the same on both sides".to_owned(),
            });
        }
        match leases.last() {
            Some(last) if leases.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}
