//! `kodex doctor`: how the plugins are, and what to do where they are not well.

use kodex::{Record, Runtime, Severity, Status};
use serde::Serialize;

use crate::{
    health::Health,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{finding, json, report},
    verb::Verb,
};

/// Report how every plugin was loaded, how store and work are, and what is wrong
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print everything that is known, and fail when something is wrong
    #[arg(long)]
    full: bool,
}

/// Everything that is known.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FullReport {
    #[serde(flatten)]
    doctor: kodex::Doctor,
    /// How the store and the work in it are.
    health: Health,
}

/// The first runtime's report.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct FirstReport {
    plugin_count: usize,
    /// Sorted.
    plugin_names: Vec<String>,
    /// In the order in which the plugins were met.
    diagnostics: Vec<FirstDiagnostic>,
}

/// One line of the first runtime's report.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct FirstDiagnostic {
    source: String,
    plugin_name: String,
    status: Status,
    message: String,
}

impl Verb for Doctor {
    const NAME: &'static str = "doctor";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let runtime = invocation.open_thoroughly().await?;
        let (wants_json, is_terminal) = (invocation.globals.json, invocation.stdout.is_terminal);
        let health = Health::ask(invocation).await?;
        if self.full || (is_terminal && !wants_json) {
            let doctor = with_findings(runtime.doctor(), &health);
            let fails = self.full && !doctor.healthy;
            invocation.out = match wants_json {
                true => json::document(&FullReport { doctor, health })?,
                false => {
                    let mut out = report::doctor(&doctor, self.full, invocation.stdout);
                    if self.full {
                        out.push_str(&health.lines());
                    }
                    out
                }
            };
            return Ok(if fails { Exit::Failed } else { Exit::Fine });
        }
        // The first runtime's report has no place for them.
        for found in health.findings() {
            finding::print(&finding::placed(found), None, invocation.stderr);
        }
        invocation.out = json::document(&first_report(&runtime))?;
        invocation.mention_whole(&runtime.ledger());
        Ok(Exit::Fine)
    }
}

/// What is wrong with store and work stands beside what is wrong with plugins.
fn with_findings(mut doctor: kodex::Doctor, health: &Health) -> kodex::Doctor {
    doctor.findings.extend_from_slice(health.findings());
    let severity = |found: &kodex::Finding| found.diagnostic.severity;
    doctor
        .findings
        .sort_by_key(|found| std::cmp::Reverse(severity(found)));
    doctor.healthy &= health
        .findings()
        .iter()
        .all(|found| severity(found) < Severity::Error);
    doctor
}

fn first_report(runtime: &Runtime) -> FirstReport {
    let mut plugin_names: Vec<String> = runtime
        .manifests()
        .iter()
        .map(|manifest| manifest.name.to_string())
        .collect();
    plugin_names.sort();
    let ledger = runtime.ledger();
    let known = ledger
        .iter()
        .filter(|record| is_known_to_the_first_runtime(record));
    FirstReport {
        plugin_count: plugin_names.len(),
        plugin_names,
        diagnostics: known.map(line).collect(),
    }
}

/// A folder that is a file or cannot be read had no plugins for the first runtime, and no line. The
/// user hears of it on standard error.
fn is_known_to_the_first_runtime(record: &Record) -> bool {
    let silent = [
        "discover.directory.is_a_file",
        "discover.directory.unreadable",
    ];
    !record
        .diagnostics
        .iter()
        .any(|found| silent.contains(&found.code.as_str()))
}

fn line(record: &Record) -> FirstDiagnostic {
    FirstDiagnostic {
        source: record.source.clone(),
        plugin_name: record.plugin_name.clone(),
        status: record.status,
        message: record.message.clone(),
    }
}
