//! The doctor: reads ledger, guard and machine, and says what is wrong and what to do.

use std::sync::atomic::Ordering;

use kodex_plugin::{Diagnostic, Life, Severity};
use serde::{Deserialize, Serialize};

use super::{PluginMetrics, Record, metrics};
use crate::{
    dispatch::BreakerState,
    load::Plan,
    register::Slot,
    runtime::{Current, Shared},
};

/// The version of the report's form.
pub(super) const REPORT_VERSION: u32 = 1;

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Doctor {
    /// The version of this form: 1.
    pub report: u32,
    /// The version of Kodex.
    pub kodex: String,
    /// Whether nothing is wrong: no finding is an error.
    pub healthy: bool,
    /// What is wrong or worth knowing, worst first, each with what to do.
    pub findings: Vec<Finding>,
    /// The plugins of the catalog, in discovery order.
    pub plugins: Vec<DoctorPlugin>,
    /// The load ledger.
    pub ledger: Vec<Record>,
    /// The interpreter that runs Python plugins, when one was looked for and found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// How often the catalog was built: 1 at the start, one more for each reload.
    pub generation: u64,
    /// Changes of breaker states since the start.
    pub breaker_transitions: u64,
    /// Decisions that were denials because a gate could not be asked.
    pub gates_unavailable: u64,
}

/// One thing that is wrong or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The candidate or plugin it is about.
    pub source: String,
    /// What it is.
    #[serde(flatten)]
    pub diagnostic: Diagnostic,
}

/// One plugin of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DoctorPlugin {
    /// Its name.
    pub name: String,
    /// Its version, as written.
    pub version: String,
    /// How it runs.
    pub kind: String,
    /// Where it came from.
    pub source: String,
    /// The hooks it answers.
    pub hooks: Vec<String>,
    /// The tools it offers.
    pub tools: Vec<String>,
    /// What it asks to be allowed, in normal form.
    pub permissions: Vec<String>,
    /// What the guard counted.
    pub metrics: PluginMetrics,
}

pub(crate) fn doctor(shared: &Shared, current: &Current, plan: &Plan) -> Doctor {
    let plugins: Vec<_> = current
        .catalog
        .slots
        .iter()
        .map(|slot| describe(shared, slot))
        .collect();
    let mut findings = Vec::new();
    for record in current.records.iter() {
        findings.extend(record.diagnostics.iter().map(|found| Finding {
            source: record.source.clone(),
            diagnostic: found.clone(),
        }));
    }
    findings.extend(current.diagnostics.iter().map(|found| Finding {
        source: found.file.clone().unwrap_or_default(),
        diagnostic: found.clone(),
    }));
    for (slot, plugin) in current.catalog.slots.iter().zip(&plugins) {
        findings.extend(live_findings(slot, plugin, plan));
    }
    for entry in current.catalog.tools.values() {
        if let Err(error) = entry.check_schemas() {
            findings.push(Finding {
                source: entry.slot.source.clone(),
                diagnostic: Diagnostic::error(error.code(), error.to_string())
                    .with_plugin(entry.slot.name.as_str())
                    .with_hint("correct the schema; until then every call of the tool fails"),
            });
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.diagnostic.severity));
    Doctor {
        report: REPORT_VERSION,
        kodex: env!("CARGO_PKG_VERSION").to_owned(),
        healthy: findings
            .iter()
            .all(|finding| finding.diagnostic.severity < Severity::Error),
        findings,
        plugins,
        ledger: current.records.to_vec(),
        python: plan.python_found(),
        generation: current.generation,
        breaker_transitions: shared.n_transitions.load(Ordering::Relaxed),
        gates_unavailable: shared.n_gates_unavailable.load(Ordering::Relaxed),
    }
}

fn describe(shared: &Shared, slot: &Slot) -> DoctorPlugin {
    let manifest = &slot.manifest;
    DoctorPlugin {
        name: slot.name.to_string(),
        version: manifest.version.to_string(),
        kind: manifest.run.kind().to_owned(),
        source: slot.source.clone(),
        hooks: manifest
            .hooks
            .iter()
            .map(|wish| wish.on.to_string())
            .collect(),
        tools: manifest
            .tools
            .iter()
            .map(|tool| tool.name.to_string())
            .collect(),
        permissions: manifest
            .permissions
            .iter()
            .map(|asked| asked.allow.to_string())
            .collect(),
        metrics: metrics::plugin(shared, slot),
    }
}

/// What is wrong with a plugin that is in the catalog.
fn live_findings(slot: &Slot, plugin: &DoctorPlugin, plan: &Plan) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |diagnostic: Diagnostic| {
        found.push(Finding {
            source: slot.source.clone(),
            diagnostic: diagnostic.with_plugin(slot.name.as_str()),
        });
    };
    for program in plan.missing_programs(&slot.manifest.requires.bin) {
        let text =
            format!("the program '{program}', which the plugin requires, is not on the path");
        add(Diagnostic::error("requires.bin.missing", text)
            .with_hint(format!("install '{program}' or add its folder to the path")));
    }
    if plugin.metrics.health.state == Life::Quarantined {
        let tail = plugin
            .metrics
            .health
            .log_tail
            .lines()
            .last()
            .unwrap_or_default();
        add(Diagnostic::error(
            "worker.quarantined",
            format!("its process died too often: {tail}"),
        )
        .with_hint("fix the cause, then reload or restart the runtime"));
    }
    for key in plugin
        .metrics
        .keys
        .iter()
        .filter(|key| key.breaker == BreakerState::Open)
    {
        let last = key
            .last_error
            .as_ref()
            .map_or("-", |(_, text)| text.as_str());
        add(Diagnostic::warning(
            "breaker.open",
            format!("its breaker for {} is open; last failure: {last}", key.key),
        )
        .with_hint("it closes by itself when the plugin answers again"));
    }
    found
}
