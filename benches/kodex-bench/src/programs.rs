//! The programs that the benches start: interpreters, peers, and the small programs beside this one.
//!
//! Interpreters are asked for by their own paths. A version manager's shim in front of them would be
//! measured with them, and costs ten times as much.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kodex::python::{Interpreter, Sdk, Search, Variables};

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The Python that Kodex would use too.
    pub(crate) python: PathBuf,
    /// The Python of the peers' environment; none where the peers are not installed.
    pub(crate) python_of_peers: Option<PathBuf>,
    pub(crate) node: Option<PathBuf>,
    /// The folder with the peers' `node_modules`; none where they are not installed.
    pub(crate) node_of_peers: Option<PathBuf>,
    /// The small program around refinery; none where it is not built.
    pub(crate) refinery: Option<PathBuf>,
    /// The unpacked Python SDK, which holds the modules of the first Python runtime.
    pub(crate) sdk: PathBuf,
    /// A folder for whatever a bench writes.
    pub(crate) scratch: tempfile::TempDir,
}

impl Programs {
    /// Looks for everything; only Python must be there.
    pub(crate) fn find(peers: &Path) -> Result<Self> {
        let scratch = tempfile::tempdir().context("a temporary folder")?;
        let python = python()?;
        let sdk = Sdk::embedded().install(&scratch.path().join("cache"))?;
        let python_of_peers =
            Some(peers.join("venv/bin/python")).filter(|program| program.is_file());
        let node_of_peers =
            Some(peers.join("node")).filter(|folder| folder.join("node_modules").is_dir());
        let refinery = Some(peers.join("refinery")).filter(|program| program.is_file());
        Ok(Self {
            python,
            python_of_peers,
            node: node(),
            node_of_peers,
            refinery,
            sdk,
            scratch,
        })
    }

    /// The cache of every runtime that a bench builds.
    pub(crate) fn cache(&self) -> PathBuf {
        self.scratch.path().join("cache")
    }

    /// What the benches run on, for whoever compares two runs.
    pub(crate) fn description(&self) -> String {
        let version = |program: &Path| {
            let output = Command::new(program).arg("--version").output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let python = version(&self.python).unwrap_or_default();
        let node = self.node.as_deref().and_then(version);
        let node = node.map_or("no Node".to_owned(), |version| format!("Node {version}"));
        let peers = match (&self.python_of_peers, &self.node_of_peers) {
            (Some(_), Some(_)) => "peers installed",
            _ => "peers missing: run `cargo xtask setup --peers`",
        };
        format!("{python}, {node}, {peers}")
    }
}

fn python() -> Result<PathBuf> {
    let search = Search {
        configured: None,
        path: path(),
        cwd: std::env::current_dir()?,
        variables: Variables::read(|name| std::env::var_os(name)),
        home: std::env::var_os("HOME").map(PathBuf::from),
    };
    Ok(Interpreter::find(&search)?.interpreter.program)
}

/// Node's own path; it is asked, because there are many managers of its versions.
fn node() -> Option<PathBuf> {
    let print = Command::new("node")
        .args(["-p", "process.execPath"])
        .output()
        .ok()?;
    let program = PathBuf::from(String::from_utf8(print.stdout).ok()?.trim());
    program.is_file().then_some(program)
}

fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}

/// The first program of a name on the search path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    path()
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A program that is built together with this one.
pub(crate) fn sibling(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    if !program.is_file() {
        bail!(
            "{} is not there; build all programs of kodex-bench",
            program.display()
        );
    }
    Ok(program)
}

/// A script of `benches/peers`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("peers")
        .join(name)
}

/// A program without arguments whose standard error is this one's. Python leaves no compiled files
/// in this repository.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// How long a whole process takes, from before its start to after its end. Its output goes nowhere.
pub(crate) fn whole(command: &mut Command) -> Result<Duration> {
    command.stdout(Stdio::null());
    let started_at = Instant::now();
    let status = command.status().with_context(|| format!("{command:?}"))?;
    let took = started_at.elapsed();
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(took)
}

/// What a process prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed no UTF-8"))
}

/// Removes a folder that may not be there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(folder.display().to_string())
        }
        _ => Ok(()),
    }
}
