//! `cargo xtask bench`: builds the benchmark program, runs it, passes its figures on.
//!
//! The program is `kodex-bench`: `--list` prints the names of the benchmarks, one per line; `<name>
//! --peers <folder> [--quick]` prints one JSON object per figure and nothing else on standard output.
//! Benchmarks of what is stored find a private Postgres in the variable that the tests use.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo::{QUESTION, build_binary};
use crate::postgres::{self, Cluster};
use crate::setup;
use crate::step::Step;

/// A quick benchmark promises a minute; the rest is for a busy machine.
const QUICK: Duration = Duration::from_secs(3 * 60);
const FULL: Duration = Duration::from_secs(30 * 60);

/// The benchmarks that measure on a server too.
const ON_POSTGRES: &[&str] = &["migrate", "state", "db", "work", "schedule"];

/// What a figure must say about itself.
const FIELDS: &[&str] = &["bench", "case", "value", "unit", "better"];

pub(crate) fn run(root: &Path, name: &str, is_quick: bool, is_check: bool) -> Result<ExitCode> {
    setup::ensure_quietly(setup::TESTS)?;
    // Figures come without their peers where these cannot be installed; a target that asks for one is
    // missed then.
    let redis = setup::ensure_quietly(setup::PEERS);
    for installed in [redis, setup::peers(root)] {
        if let Err(error) = installed {
            eprintln!("not all peers are installed: {error:#}");
        }
    }
    let options = ["--profile", "bench", "--package", "kodex-bench", "--bins"];
    let program = build_binary(root, "kodex-bench", &options)?;
    let known = Step::new(&program, QUESTION).arg("--list").stdout()?;
    let mut missed = Vec::new();
    for bench in wanted(&known, name)? {
        let step = Step::new(&program, if is_quick { QUICK } else { FULL })
            .args([bench, "--peers"])
            .arg(root.join(".peers"))
            .dir(root);
        let step = if is_quick { step.arg("--quick") } else { step };
        let server = ON_POSTGRES.contains(&bench).then(Cluster::start);
        let server = server.transpose()?;
        let step = match &server {
            Some(server) => step.env(postgres::VARIABLE, server.url()),
            None => step,
        };
        let figures = step.stdout()?;
        print!("{figures}");
        missed.extend(missed_targets(&figures)?);
    }
    for figure in &missed {
        eprintln!("missed: {figure}");
    }
    Ok(if is_check && !missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn wanted<'a>(known: &'a str, name: &str) -> Result<Vec<&'a str>> {
    let chosen: Vec<&str> = known
        .lines()
        .filter(|bench| name == "all" || *bench == name)
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = known.lines().collect();
        bail!(
            "no benchmark is named `{name}`; there are: all, {}",
            names.join(", ")
        );
    }
    Ok(chosen)
}

/// The figures that did not meet their target, after checking that each line is a figure.
fn missed_targets(figures: &str) -> Result<Vec<String>> {
    let mut missed = Vec::new();
    for line in figures.lines() {
        let figure: Value =
            serde_json::from_str(line).with_context(|| format!("no figure: {line}"))?;
        if let Some(field) = FIELDS.iter().find(|field| figure.get(**field).is_none()) {
            bail!("a figure without `{field}`: {line}");
        }
        if figure["met"] == Value::Bool(false) {
            missed.push(format!(
                "{} {}, target {}",
                figure["bench"], figure["case"], figure["target"]
            ));
        }
    }
    Ok(missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_named() {
        let line = |met: &str| {
            format!(
                "{{\"bench\":\"dispatch\",\"case\":\"native_10\",\"value\":61.0,\"unit\":\"ns\",\
                 \"better\":\"lower\",\"target\":\"ratio_peer>=6\"{met}}}\n"
            )
        };
        let figures = line(",\"met\":true") + &line(",\"met\":false") + &line("");
        let expected = "\"dispatch\" \"native_10\", target \"ratio_peer>=6\"";
        assert_eq!(missed_targets(&figures).unwrap(), [expected]);
    }

    #[test]
    fn what_is_no_figure_is_an_error() {
        let check = |line: &str, expected: &str| {
            let error = missed_targets(line).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("warming up", "no figure: warming up");
        check("{\"bench\": \"dispatch\"}", "a figure without `case`");
    }

    #[test]
    fn all_means_all() {
        assert_eq!(wanted("a\nb\n", "all").unwrap(), ["a", "b"]);
        assert_eq!(wanted("a\nb\n", "b").unwrap(), ["b"]);
        let error = wanted("a\nb\n", "c").unwrap_err().to_string();
        assert_eq!(error, "no benchmark is named `c`; there are: all, a, b");
    }
}
