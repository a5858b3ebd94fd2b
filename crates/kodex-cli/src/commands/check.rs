//! `kodex check`: reads manifests and plugins and shows every mistake with its place.

use std::path::{Path, PathBuf};

use kodex::{Finding, Runtime, Severity};
use serde::Serialize;

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{finding, json, style},
    verb::Verb,
};

/// Check plugins and show every mistake
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// A plugin's folder, manifest or Python file, or a folder of plugins [default: the plugin folders]
    path: Option<PathBuf>,
}

/// What was found, in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Checked {
    /// The version of this form: 1.
    check: u32,
    /// Whether no finding is an error.
    ok: bool,
    /// The plugins that can be loaded.
    plugins: Vec<String>,
    /// What was found, worst first.
    findings: Vec<Finding>,
}

impl Verb for Check {
    const NAME: &'static str = "check";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let runtime = match &self.path {
            None => invocation.open_thoroughly().await?,
            Some(path) => open_only(path, invocation).await?,
        };
        let checked = check(&runtime, self.path.is_some());
        let exit = if checked.ok { Exit::Fine } else { Exit::Failed };
        invocation.out = match invocation.globals.json {
            true => json::document(&checked)?,
            false => shown(&checked, invocation),
        };
        Ok(exit)
    }
}

/// Loads what lies at one path, and nothing else.
async fn open_only(path: &Path, invocation: &mut Invocation) -> Result<Runtime, Problem> {
    let shown = path.display();
    if let Err(error) = std::fs::metadata(path) {
        return Err(Problem::usage(
            "check.path",
            format!("{shown} cannot be checked: {error}"),
        ));
    }
    let mut ready = (*invocation.config()?).clone();
    (ready.entry_points, ready.strict) = (false, false);
    let builder = invocation.builder(&ready, true)?;
    let is_one_plugin = path.is_file() || path.join("kodex.toml").is_file();
    let builder = if is_one_plugin {
        builder.plugin(path)
    } else {
        builder.plugin_dir(path)
    };
    invocation.build(builder).await
}

fn check(runtime: &Runtime, one_path: bool) -> Checked {
    let mut findings = runtime.doctor().findings;
    // Settings for plugins elsewhere are no mistake of the one that is checked.
    findings.retain(|found| !(one_path && found.diagnostic.code == "config.plugin.unknown"));
    Checked {
        check: 1,
        ok: findings
            .iter()
            .all(|found| found.diagnostic.severity < Severity::Error),
        plugins: runtime
            .manifests()
            .iter()
            .map(|manifest| manifest.name.to_string())
            .collect(),
        findings,
    }
}

fn shown(checked: &Checked, invocation: &Invocation) -> String {
    let screen = invocation.stdout;
    let findings = finding::report(&checked.findings, screen);
    let n = |severity| {
        checked
            .findings
            .iter()
            .filter(|found| found.diagnostic.severity == severity)
            .count()
    };
    let (n_errors, n_warnings, n_plugins) = (
        n(Severity::Error),
        n(Severity::Warning),
        checked.plugins.len(),
    );
    let verdict = match checked.ok {
        true => style::paint("ok", style::GOOD, screen),
        false => style::paint("not ok", style::severity(Severity::Error), screen),
    };
    format!(
        "{findings}{verdict}: {n_plugins} can be loaded; errors: {n_errors}, warnings: {n_warnings}\n"
    )
}
