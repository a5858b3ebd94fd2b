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

use std::{collections::HashMap, sync::Arc};

use kodex_plugin::{Diagnostic, Life, Manifest, PluginName};

pub use error::LoadError;
#[cfg(feature = "worker")]
pub use plan::Python;
pub(crate) use plan::{Plan, Scope};

use crate::{
    discover::{self, Candidate, Place},
    journal::Journal,
    observe::{Reason, Record, Status},
    register::Slot,
    runtime::Shared,
    settings::PluginSettings,
};

/// What one load gives: slots for the catalog, and the ledger.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) slots: Vec<Arc<Slot>>,
    /// Where in `slots` each name stands.
    names: HashMap<PluginName, usize>,
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

/// What a candidate declares.
struct Declared {
    manifest: Arc<Manifest>,
    notes: Vec<Diagnostic>,
}

/// The manifest of a candidate, or why there is none.
type Judged = Result<Declared, Record>;

/// Discovers and loads everything. `known` are the slots of the catalog before, which are kept when
/// their plugin did not change.
///
/// # Errors
/// In strict mode the first line of the ledger that is an error becomes a [`LoadError`].
pub(crate) async fn load(
    shared: &Arc<Shared>,
    plan: &Plan,
    known: &[Arc<Slot>],
) -> Result<Loaded, LoadError> {
    let scope = plan.scope();
    let found = discover::discover(&scope.sources);
    let mut loaded = Loaded {
        records: found.records,
        ..Loaded::default()
    };
    loaded.diagnostics.extend(scope.diagnostics.iter().cloned());
    loaded.diagnostics.extend(found.diagnostics);
    let mut judge = manifest::Judge::new(shared, plan, &scope, &found.candidates).await;
    let admission = Admission {
        shared,
        plan,
        known,
        #[cfg(feature = "worker")]
        opener: worker::Opener::new(worker::Workers::new(shared, plan, &scope)),
    };
    loaded.expect(found.candidates.len());
    for candidate in found.candidates {
        match judge.judge(&candidate) {
            Ok(declared) => admit(&admission, candidate, declared, &mut loaded),
            Err(record) => refuse(record, None, &mut loaded),
        }
    }
    if plan.strict
        && let Some(record) = loaded
            .records
            .iter()
            .find(|record| record.status == Status::Error)
    {
        return Err(LoadError::Strict {
            record: Box::new(record.clone()),
        });
    }
    plan.warn_of_unknown_settings(&mut loaded);
    Ok(loaded)
}

/// What every admission looks at.
struct Admission<'a> {
    shared: &'a Arc<Shared>,
    plan: &'a Plan,
    known: &'a [Arc<Slot>],
    #[cfg(feature = "worker")]
    opener: worker::Opener,
}

impl Loaded {
    /// Makes room, so that nothing is moved while it grows.
    fn expect(&mut self, n_candidates: usize) {
        self.slots.reserve(n_candidates);
        self.names.reserve(n_candidates);
        self.records.reserve(n_candidates);
    }
}

/// Takes a declared plugin into the set, unless its settings or another plugin stand against it.
fn admit(to: &Admission<'_>, candidate: Candidate, declared: Declared, loaded: &mut Loaded) {
    let Declared { manifest, notes } = declared;
    let Candidate { source, place } = candidate;
    let name = manifest.name.clone();
    let settings = to.plan.settings_of(name.as_str());
    if let Err(record) = may_join(&source, &name, &settings, loaded) {
        return refuse(record, Some(name.as_str()), loaded);
    }
    let context = to.plan.context_of(&settings);
    let journal = Journal::of(&place, &manifest).map(Arc::new);
    let fingerprint = (!to.plan.one_shot).then(|| fingerprint::of(&place));
    let is_same = |slot: &&Arc<Slot>| {
        slot.source == source
            // Whoever reloads has decided: a plugin that was given up gets another try.
            && slot.plugin.health().state != Life::Quarantined
            && slot.fingerprint.is_some()
            && slot.fingerprint == fingerprint
            && slot.manifest == manifest
            && slot.settings == settings
            && slot.context == context
    };
    let slot = match to.known.iter().find(is_same) {
        Some(kept) => Ok(kept.clone()),
        None => open::open(to, place, manifest.clone()).map(|plugin| {
            let source = source.clone();
            Arc::new(Slot::new(
                plugin,
                manifest,
                source,
                journal,
                fingerprint,
                settings,
                context,
            ))
        }),
    };
    match slot {
        Ok(slot) => {
            loaded
                .records
                .push(Record::loaded(source, name.as_str(), notes));
            loaded.names.insert(name, loaded.slots.len());
            loaded.slots.push(slot);
        }
        Err(found) => {
            let found = found.with_plugin(name.as_str());
            refuse(
                Record::refused(&source, Status::Error, found),
                Some(name.as_str()),
                loaded,
            );
        }
    }
}

/// The name under which the runtime itself keeps locks in the store.
const RESERVED_NAME: &str = "kodex";

/// The same as a name. No plugin can have it, not even one that declares itself in code.
pub(crate) fn own_name() -> PluginName {
    PluginName::lenient(RESERVED_NAME).expect("it is not empty and has no control characters")
}

/// Whether the settings enable a plugin and its name is free.
fn may_join(
    source: &str,
    name: &PluginName,
    settings: &PluginSettings,
    loaded: &Loaded,
) -> Result<(), Record> {
    if !settings.enabled {
        let found = Diagnostic::note(
            "load.not_enabled",
            format!("plugin '{name}' is not enabled"),
        )
        .with_plugin(name.as_str())
        .with_hint(format!(
            "set `enabled = true` under [plugin.{name}] in .kodex/config.toml"
        ));
        let record = Record::refused(source, Status::Skipped, found);
        return Err(Record {
            plugin_name: name.to_string(),
            ..record
        });
    }
    if name.as_str() == RESERVED_NAME {
        let text = "the name 'kodex' is the runtime's own";
        let found = Diagnostic::error("load.name.reserved", text)
            .with_plugin(name.as_str())
            .with_hint("give the plugin another name");
        return Err(Record::refused(source, Status::Error, found));
    }
    let Some(first) = loaded.names.get(name.as_str()) else {
        return Ok(());
    };
    let first = &loaded.slots[*first].source;
    let found = Diagnostic::error(
        "load.name.duplicate",
        format!("Duplicate plugin name '{name}' is not allowed"),
    )
    .with_plugin(name.as_str())
    .with_hint(format!(
        "'{first}' has the name already; rename one of the two"
    ));
    Err(Record::refused(source, Status::Error, found))
}

fn refuse(record: Record, name: Option<&str>, loaded: &mut Loaded) {
    let reason = match record.diagnostics.first().map(|found| found.code.as_str()) {
        Some("load.not_enabled") => Reason::NotEnabled,
        _ => Reason::NotLoaded,
    };
    let hint = record
        .diagnostics
        .iter()
        .find_map(|found| found.hint.as_deref());
    loaded.absent.push(Absent {
        source: record.source.clone(),
        name: name.map(str::to_owned),
        reason,
        text: hint.map_or_else(
            || record.message.clone(),
            |hint| format!("{}; {hint}", record.message),
        ),
    });
    loaded.records.push(record);
}
