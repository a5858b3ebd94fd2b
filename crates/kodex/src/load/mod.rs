//! Stage two: from a candidate to a plugin that may be called, or to a line in the ledger that says
//! why not. Nothing is started here; what only code declares comes from the inspector's cache.

mod error;
mod fingerprint;
mod manifest;
mod open;
mod plan;
#[cfg(feature = "worker")]
mod python;
#[cfg(feature = "worker")]
mod worker;

use std::sync::Arc;

use kodex_plugin::{Diagnostic, Manifest};

pub use error::LoadError;
pub(crate) use plan::Plan;
#[cfg(feature = "worker")]
pub use plan::Python;

use crate::{
    discover::{self, Candidate, Place},
    observe::{Reason, Record, Status},
    register::Slot,
    runtime::Shared,
};

/// What one load gives: slots for the catalog, and the ledger.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) records: Vec<Record>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// A candidate that is not in the catalog, for `explain`.
pub(crate) struct Absent {
    pub(crate) source: String,
    pub(crate) name: Option<String>,
    pub(crate) reason: Reason,
    pub(crate) text: String,
}

/// A candidate whose manifest is known.
struct Declared {
    candidate: Candidate,
    manifest: Manifest,
    notes: Vec<Diagnostic>,
}

/// A candidate after its manifest was looked for: it, or why there is none.
type Judged = Result<Declared, Record>;

/// Discovers and loads everything. `known` are the slots of the catalog before, which are kept when
/// their plugin did not change.
///
/// # Errors
/// In strict mode the first line of the ledger that is an error becomes a [`LoadError`].
pub(crate) async fn load(shared: &Arc<Shared>, plan: &Plan, known: &[Arc<Slot>]) -> Result<Loaded, LoadError> {
    let sources = plan.sources();
    let found = discover::discover(&sources.sources);
    let mut loaded = Loaded { records: found.records, ..Loaded::default() };
    loaded.diagnostics.extend(sources.diagnostics);
    loaded.diagnostics.extend(found.diagnostics);
    for judged in manifest::judge(shared, plan, found.candidates).await {
        match judged {
            Ok(declared) => admit(shared, plan, known, declared, &mut loaded),
            Err(record) => refuse(record, None, &mut loaded),
        }
    }
    if plan.strict
        && let Some(record) = loaded.records.iter().find(|record| record.status == Status::Error)
    {
        return Err(LoadError::Strict { record: Box::new(record.clone()) });
    }
    plan.warn_of_unknown_settings(&mut loaded);
    Ok(loaded)
}

/// Takes a declared plugin into the set, unless its settings or another plugin stand against it.
fn admit(shared: &Arc<Shared>, plan: &Plan, known: &[Arc<Slot>], declared: Declared, loaded: &mut Loaded) {
    let Declared { candidate, manifest, notes } = declared;
    let name = manifest.name.clone();
    let settings = plan.settings_of(name.as_str());
    if !settings.enabled {
        let text = format!("plugin '{name}' is not enabled");
        let found = Diagnostic::note("load.not_enabled", text)
            .with_plugin(name.as_str())
            .with_hint(format!("set `enabled = true` under [plugin.{name}] in .kodex/config.toml"));
        let record = Record { plugin_name: name.to_string(), ..Record::refused(&candidate.source, Status::Skipped, found) };
        return refuse(record, Some(name.as_str()), loaded);
    }
    if let Some(first) = loaded.slots.iter().find(|slot| slot.name == name) {
        let text = format!("Duplicate plugin name '{name}' is not allowed");
        let found = Diagnostic::error("load.name.duplicate", text)
            .with_plugin(name.as_str())
            .with_hint(format!("'{}' has the name already; rename one of the two", first.source));
        return refuse(Record::refused(&candidate.source, Status::Error, found), Some(name.as_str()), loaded);
    }
    let context = plan.context_of(&settings);
    let fingerprint = fingerprint::of(&candidate, &manifest, &settings, &context);
    if let Some(kept) = known.iter().find(|slot| slot.name == name && slot.fingerprint == fingerprint) {
        loaded.records.push(Record::loaded(&candidate.source, name.as_str(), notes));
        loaded.slots.push(kept.clone());
        return;
    }
    match open::open(shared, plan, &candidate, manifest) {
        Ok(plugin) => {
            loaded.records.push(Record::loaded(&candidate.source, name.as_str(), notes));
            let slot = Slot::new(plugin, candidate.source, fingerprint, settings, context);
            loaded.slots.push(Arc::new(slot));
        }
        Err(found) => {
            let found = found.with_plugin(name.as_str());
            refuse(Record::refused(&candidate.source, Status::Error, found), Some(name.as_str()), loaded);
        }
    }
}

fn refuse(record: Record, name: Option<&str>, loaded: &mut Loaded) {
    let reason = match record.diagnostics.first().map(|found| found.code.as_str()) {
        Some("load.not_enabled") => Reason::NotEnabled,
        _ => Reason::NotLoaded,
    };
    let hint = record.diagnostics.iter().find_map(|found| found.hint.as_deref());
    loaded.absent.push(Absent {
        source: record.source.clone(),
        name: name.map(str::to_owned),
        reason,
        text: hint.map_or_else(|| record.message.clone(), |hint| format!("{}; {hint}", record.message)),
    });
    loaded.records.push(record);
}
