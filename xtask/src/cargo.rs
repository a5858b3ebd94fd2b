//! What cargo and git know about this checkout: its folder, its files, its packages, its binaries.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::step::Step;

/// Longest build on two cores from nothing, with room.
pub(crate) const BUILD: Duration = Duration::from_secs(40 * 60);
/// Questions that cargo and git answer without building.
pub(crate) const QUESTION: Duration = Duration::from_secs(5 * 60);

/// The folder of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .context("xtask stands in a folder of the workspace")
}

/// The cargo that runs this program.
pub(crate) fn cargo(timeout: Duration) -> Step {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(program, timeout)
}

/// Whether `cargo <subcommand>` exists on this machine.
pub(crate) fn has_subcommand(subcommand: &str) -> bool {
    cargo(QUESTION)
        .args([subcommand, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The repository's files, relative to its folder, sorted: what git tracks or would track.
pub(crate) fn files(root: &Path) -> Result<Vec<String>> {
    let output = Step::new("git", QUESTION)
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .dir(root)
        .output()?;
    if !output.status.success() {
        bail!(
            "git ls-files: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let mut files: Vec<String> = String::from_utf8(output.stdout)
        .context("a file name is no UTF-8")?
        .split_terminator('\0')
        .filter(|file| root.join(file).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// One package of the dependency graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// Absent for the packages of the workspace.
    pub(crate) source: Option<String>,
    pub(crate) features: std::collections::BTreeMap<String, Vec<String>>,
}

/// Every package of the graph on this machine, ours and others', with all features.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text = cargo(QUESTION)
        .args(["metadata", "--format-version=1", "--all-features"])
        .args(["--filter-platform", "host-tuple"])
        .dir(root)
        .stdout()?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    Ok(metadata.packages)
}

/// Every binary, built as the tests build it, so that nothing is built twice: what only tests depend
/// on decides the features of shared packages too.
pub(crate) const AS_TESTED: &[&str] = &["--workspace", "--all-features", "--bins", "--tests"];

/// Builds the binaries that the options choose and says where the named one is.
pub(crate) fn build_binary(root: &Path, name: &str, options: &[&str]) -> Result<PathBuf> {
    let step = cargo(BUILD)
        .args([
            "build",
            "--quiet",
            "--message-format=json-render-diagnostics",
        ])
        .args(options)
        .dir(root);
    executable(&step.stdout()?, name).with_context(|| format!("cargo built no binary `{name}`"))
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        // A binary's own tests are an executable of the same name.
        .filter(|message| message["target"]["name"] == name && message["profile"]["test"] == false)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Builds and runs `kodex` with the terminal's input and output and passes its exit code on.
pub(crate) fn run_kodex(arguments: &[OsString]) -> Result<ExitCode> {
    let program = build_binary(
        &root()?,
        "kodex",
        &["--package", "kodex-cli", "--bin", "kodex"],
    )?;
    // No deadline: this may be a server, and whoever typed it can stop it.
    let status = Command::new(&program)
        .args(arguments)
        .status()
        .with_context(|| format!("{} did not start", program.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            "{\"target\":{\"name\":\"kodex\"},\"profile\":{\"test\":false},\"executable\":null}\n",
            "not json\n",
            "{\"target\":{\"name\":\"kodex\"},\"profile\":{\"test\":true},\"executable\":\"/t/test\"}\n",
            "{\"target\":{\"name\":\"kodex\"},\"profile\":{\"test\":false},\"executable\":\"/t/kodex\"}\n",
        );
        assert_eq!(
            executable(messages, "kodex"),
            Some(PathBuf::from("/t/kodex"))
        );
        assert_eq!(executable(messages, "other"), None);
    }

    #[test]
    fn the_files_of_this_checkout_are_listed() {
        let files = files(&root().unwrap()).unwrap();
        assert!(files.contains(&"xtask/src/cargo.rs".to_owned()));
        assert!(!files.iter().any(|file| file.starts_with("target/")));
    }
}
