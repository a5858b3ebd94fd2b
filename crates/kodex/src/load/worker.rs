//! The command line of a plugin in a process of its own, and the backend that runs it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use kodex_backend::{
    Backend, Command, Launch, Package, WorkerBackend, WorkerOptions,
    python::{Interpreter, Sdk},
};
use kodex_plugin::{Diagnostic, Manifest, Plugin, manifest::Run};

use super::{
    Candidate, Place, Plan,
    open::{refused, unsupported},
};
use crate::runtime::Shared;

/// Opens a plugin that runs in a process. Nothing is started.
pub(super) fn open(
    shared: &Arc<Shared>,
    plan: &Plan,
    candidate: &Candidate,
    manifest: Manifest,
) -> Result<Arc<dyn Plugin>, Diagnostic> {
    let root = root_of(candidate)?;
    let command = command(plan, candidate, &manifest, &root)?;
    let mut options = WorkerOptions::new(shared.clock.clone(), shared.tasks.handle().clone());
    if let Ok(path) = std::env::join_paths(&plan.search_path)
        && !path.is_empty()
    {
        options.path = path;
    }
    let limits = shared.guard.limits.clone();
    let package = Package { manifest, root, limits, launch: Launch::Command(command) };
    WorkerBackend::new(options).open(package).map_err(|error| refused(&error))
}

fn command(plan: &Plan, candidate: &Candidate, manifest: &Manifest, root: &Path) -> Result<Command, Diagnostic> {
    match &manifest.run {
        Run::Python { entry, env } => python(plan, candidate, entry, root, pass(plan, env)),
        Run::Process { command, env } => {
            let Some((program, args)) = command.split_first() else {
                let text = "run.command is empty";
                return Err(Diagnostic::error("manifest.run.command.empty", text));
            };
            Ok(Command {
                program: PathBuf::from(program),
                args: args.iter().map(OsString::from).collect(),
                env: pass(plan, env),
            })
        }
        other => Err(unsupported(other.kind())),
    }
}

/// The variables that the manifest names and the host has.
fn pass(plan: &Plan, names: &[String]) -> Vec<(OsString, OsString)> {
    let find = |name: &String| {
        let name = OsString::from(name);
        plan.variables.get(&name).map(|value| (name, value.clone()))
    };
    names.iter().filter_map(find).collect()
}

fn python(
    plan: &Plan,
    candidate: &Candidate,
    entry: &str,
    root: &Path,
    env: Vec<(OsString, OsString)>,
) -> Result<Command, Diagnostic> {
    let Some(python) = &plan.python else { return Err(not_configured()) };
    let found = Interpreter::find(&python.search).map_err(|error| error.diagnostic())?;
    let sdk = Sdk::embedded().install(&python.cache_dir).map_err(|error| {
        Diagnostic::error(error.code(), error.to_string()).with_hint(error.hint())
    })?;
    let mut args: Vec<OsString> = vec!["-I".into(), sdk.join("kodex").join("_worker.py").into()];
    match &candidate.place {
        Place::PythonObject { object, site_dir, .. } => {
            args.extend(["--object".into(), object.into(), "--path".into(), site_dir.into()]);
        }
        Place::PythonFile(file) => {
            args.extend(["--file".into(), root.join(file.file_name().unwrap_or_default()).into()]);
        }
        Place::Manifest { .. } | Place::Native(_) if entry.ends_with(".py") => {
            args.extend(["--file".into(), root.join(entry).into(), "--root".into(), root.into()]);
        }
        Place::Manifest { .. } | Place::Native(_) => {
            args.extend(["--object".into(), entry.into(), "--path".into(), root.into()]);
        }
    }
    Ok(Command { program: found.interpreter.program, args, env })
}

/// The finding when an embedder has not said how Python plugins are run.
pub(super) fn not_configured() -> Diagnostic {
    Diagnostic::error("python.not_configured", "this runtime was not told how to run Python plugins")
        .with_hint("call `Builder::python`")
}

/// The plugin's root as an absolute path.
fn root_of(candidate: &Candidate) -> Result<PathBuf, Diagnostic> {
    let folder = match &candidate.place {
        Place::Manifest { root, .. } => root.as_path(),
        Place::PythonFile(file) => file.parent().unwrap_or(Path::new(".")),
        Place::PythonObject { site_dir, .. } => site_dir.as_path(),
        Place::Native(_) => Path::new("/"),
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().map_err(|error| {
        let text = format!("the plugin's folder {} cannot be opened: {error}", folder.display());
        Diagnostic::error("load.root.unreadable", text)
    })
}
