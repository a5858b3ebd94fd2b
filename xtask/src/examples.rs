//! The tests of the examples: each folder under `examples/` says in `example.toml` how it is run and
//! what it must print.
//!
//! ```toml
//! about = "Adds context to a prompt."
//!
//! [[run]]
//! command = ["kodex", "--plugin-dir", "plugins", "emit", "prompt.preprocess", "--payload", "{}"]
//! stdout_json = '[{"text": "hello"}]'
//! ```
//!
//! A run starts in the example's folder with a home folder of its own. `kodex` and the binaries of the
//! workspace's other packages are those of this checkout. `status` is 0 when not said; `stdout_json`
//! compares as JSON, `stdout_has` and `stderr_has` look for each of their texts; `timeout_s` is 60
//! when not said.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::cargo::{AS_TESTED, build_binary, files};
use crate::step::Step;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// One sentence for whoever looks for an example.
    #[expect(dead_code, reason = "demanded of every example, for its reader")]
    about: String,
    run: Vec<Run>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    command: Vec<String>,
    #[serde(default)]
    status: i32,
    stdout_json: Option<String>,
    #[serde(default)]
    stdout_has: Vec<String>,
    #[serde(default)]
    stderr_has: Vec<String>,
    #[serde(default = "usual_timeout")]
    timeout_s: u64,
}

fn usual_timeout() -> u64 {
    60
}

/// What a run printed and how it ended.
struct Seen<'a> {
    status: Option<i32>,
    stdout: &'a str,
    stderr: &'a str,
}

/// Runs every example; all of them run, whichever fail.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = files(root)?;
    let folders = folders(&files);
    // All of them: an example in Rust may be a package of the workspace.
    let kodex = build_binary(root, "kodex", AS_TESTED)?;
    let path = search_path(kodex.parent())?;
    let mut n_failed = 0;
    for folder in &folders {
        match example(root, &root.join(folder), &path) {
            Ok(n_runs) => eprintln!("{folder}: ok, {n_runs} runs"),
            Err(error) => {
                n_failed += 1;
                eprintln!("{folder}: {error:#}");
            }
        }
    }
    if n_failed > 0 {
        bail!("{n_failed} of {} examples failed", folders.len());
    }
    eprintln!("{} examples passed", folders.len());
    Ok(())
}

/// The folders directly under `examples/`.
fn folders(files: &[String]) -> BTreeSet<String> {
    files
        .iter()
        .filter_map(|file| {
            let (folder, _) = file.strip_prefix("examples/")?.split_once('/')?;
            Some(format!("examples/{folder}"))
        })
        .collect()
}

/// The search path with the folder of the binaries in front.
pub(crate) fn search_path(binaries: Option<&Path>) -> Result<OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = binaries
        .map(Path::to_owned)
        .into_iter()
        .chain(std::env::split_paths(&inherited));
    std::env::join_paths(folders).context("the folder of the binaries cannot stand in PATH")
}

fn example(root: &Path, folder: &Path, path: &OsStr) -> Result<usize> {
    let file = folder.join("example.toml");
    let text = std::fs::read_to_string(&file)
        .context("no example.toml says how this example is tested")?;
    let example: Example = toml::from_str(&text).context("example.toml")?;
    for run in &example.run {
        let home = tempfile::tempdir()?;
        let step = step(run, home.path())?
            .dir(folder)
            .env("PATH", path)
            // An example in Rust stands outside the workspace, but need not build its own copy.
            .env("CARGO_TARGET_DIR", root.join("target"));
        let output = step.output()?;
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let seen = Seen {
            status: output.status.code(),
            stdout: &stdout,
            stderr: &stderr,
        };
        if let Err(error) = compare(run, &seen) {
            bail!("`{step}`: {error:#}\nstdout: {stdout}\nstderr: {stderr}");
        }
    }
    Ok(example.run.len())
}

/// One run, cut off from the settings of whoever starts it.
fn step(run: &Run, home: &Path) -> Result<Step> {
    let (program, arguments) = run.command.split_first().context("`command` is empty")?;
    let step = Step::new(program, Duration::from_secs(run.timeout_s)).args(arguments);
    Ok(step.for_nobody(home))
}

fn compare(run: &Run, seen: &Seen<'_>) -> Result<()> {
    if seen.status != Some(run.status) {
        bail!("ended with {:?} instead of {}", seen.status, run.status);
    }
    if let Some(expected) = &run.stdout_json {
        let expected: Value = serde_json::from_str(expected).context("`stdout_json`")?;
        let printed: Value = serde_json::from_str(seen.stdout).context("stdout is no JSON")?;
        if printed != expected {
            bail!("stdout is not {expected}");
        }
    }
    for (name, text, wanted) in [
        ("stdout", seen.stdout, &run.stdout_has),
        ("stderr", seen.stderr, &run.stderr_has),
    ] {
        if let Some(absent) = wanted.iter().find(|part| !text.contains(part.as_str())) {
            bail!("{name} does not hold `{absent}`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: &str, seen: &Seen<'_>, expected: &str) {
        let run: Run = toml::from_str(run).unwrap();
        let said = compare(&run, seen)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert_eq!(said, expected);
    }

    #[test]
    fn what_was_seen_is_compared_with_what_is_expected() {
        let seen = Seen {
            status: Some(0),
            stdout: "[{\"a\":1, \"b\":2}]\n",
            stderr: "note: x\n",
        };
        check("command = ['x']", &seen, "");
        check(
            "command = ['x']\nstdout_json = '[{\"b\": 2, \"a\": 1}]'",
            &seen,
            "",
        );
        check(
            "command = ['x']\nstdout_json = '[]'",
            &seen,
            "stdout is not []",
        );
        check(
            "command = ['x']\nstdout_has = ['\"a\"', 'c']",
            &seen,
            "stdout does not hold `c`",
        );
        check("command = ['x']\nstderr_has = ['note']", &seen, "");
        check(
            "command = ['x']\nstatus = 2",
            &seen,
            "ended with Some(0) instead of 2",
        );
        let seen = Seen {
            stdout: "text",
            ..seen
        };
        check(
            "command = ['x']\nstdout_json = '[]'",
            &seen,
            "stdout is no JSON",
        );
    }

    #[test]
    fn an_example_runs_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            "about = 'Lists itself.'\n[[run]]\ncommand = ['ls']\nstdout_has = ['example.toml']\n";
        std::fs::write(folder.path().join("example.toml"), text).unwrap();
        let path = search_path(None).unwrap();
        assert_eq!(example(folder.path(), folder.path(), &path).unwrap(), 1);
        std::fs::write(
            folder.path().join("example.toml"),
            text.replace("toml'", "yaml'"),
        )
        .unwrap();
        let error = example(folder.path(), folder.path(), &path)
            .unwrap_err()
            .to_string();
        assert!(error.contains("does not hold `example.yaml`"), "{error}");
    }

    #[test]
    fn every_folder_is_an_example() {
        let files = [
            "examples/a/x.py",
            "examples/a/b/y.py",
            "examples/README.md",
            "docs/c/z.md",
        ];
        let found = folders(&files.map(str::to_owned));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["examples/a"]);
    }
}
