//! `kodex report`: what plugins show of themselves.

use std::fmt::Write as _;

use kodex::{
    PluginReport,
    contract::{
        hook::{RecordSet, ReportMetric, Tone},
        suggest,
    },
};

use crate::{
    invocation::{Invocation, Screen},
    problem::{Exit, Problem},
    render::{json, style, table, text},
    verb::Verb,
};

/// Show how plugins say they are doing
#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    /// The plugin [default: all of them]
    plugin: Option<String>,
}

impl Verb for Report {
    const NAME: &'static str = "report";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let runtime = invocation.open().await?;
        let reports = match &self.plugin {
            None => runtime.reports().await,
            Some(name) => {
                let manifests = runtime.manifests();
                let mut names = manifests.iter().map(|manifest| manifest.name.as_str());
                if !names.clone().any(|known| known == name) {
                    return Err(unknown(name, &mut names));
                }
                runtime.report(name).await.into_iter().collect()
            }
        };
        let screen = invocation.stdout;
        invocation.out = match (invocation.globals.json, &self.plugin) {
            (true, _) => json::document(&reports)?,
            (false, Some(name)) if reports.is_empty() => {
                format!("{} has nothing to report\n", text::line(name))
            }
            (false, _) => {
                let shown: Vec<_> = reports.iter().map(|report| shown(report, screen)).collect();
                shown.join("\n")
            }
        };
        Ok(match reports.iter().any(|report| report.failed) {
            true => Exit::Failed,
            false => Exit::Fine,
        })
    }
}

fn unknown(name: &str, names: &mut dyn Iterator<Item = &str>) -> Problem {
    let message = format!("no plugin named '{name}' was loaded");
    let problem = Problem::failed("report.plugin.unknown", message);
    match suggest::closest(name, names) {
        Some(close) => problem.help(format!("did you mean '{close}'?")),
        None => problem
            .help("`kodex list` shows the plugins, `kodex doctor` those that could not be loaded"),
    }
}

fn shown(report: &PluginReport, screen: Screen) -> String {
    let mut out = style::paint(&text::line(&report.plugin), style::NAME, screen);
    if report.title != report.plugin {
        let title = style::paint(&text::line(&report.title), style::STRONG, screen);
        // Writing to a String does not fail.
        let _ = write!(out, " {title}");
    }
    out.push('\n');
    for ReportMetric { label, value, tone } in &report.metrics {
        let value = text::line(value);
        let value = match tone.map(of_tone) {
            Some(Some(style)) => style::paint(&value, style, screen),
            _ => value.into_owned(),
        };
        let _ = writeln!(out, "  {}: {value}", text::line(label));
    }
    for set in &report.record_sets {
        out.push_str(&shown_set(set, screen));
    }
    out
}

fn of_tone(tone: Tone) -> Option<anstyle::Style> {
    match tone {
        Tone::Good => Some(style::GOOD),
        Tone::Neutral => None,
        Tone::Warning => Some(style::severity(kodex::Severity::Warning)),
        Tone::Danger => Some(style::severity(kodex::Severity::Error)),
    }
}

fn shown_set(set: &RecordSet, screen: Screen) -> String {
    let title = style::paint(&text::line(&set.title), style::STRONG, screen);
    let mut out = format!("  {title}\n");
    if set.records.is_empty() {
        let empty = set.empty_text.as_deref().unwrap_or("none");
        let _ = writeln!(out, "    {}", text::line(empty));
        return out;
    }
    let labels: Vec<_> = set
        .fields
        .iter()
        .map(|field| text::line(&field.label))
        .collect();
    let head: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
    let rows: Vec<Vec<String>> = set
        .records
        .iter()
        .map(|record| {
            let value = |key: &String| record.values.get(key).cloned().unwrap_or_default();
            set.fields.iter().map(|field| value(&field.key)).collect()
        })
        .collect();
    for line in table::shown(&head, &rows, screen).lines() {
        let _ = writeln!(out, "    {line}");
    }
    out
}
