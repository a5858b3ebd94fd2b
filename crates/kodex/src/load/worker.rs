//! The command line of a plugin in a process of its own, and the backend that runs it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use kodex_backend::{Backend, Command, Launch, Package, WorkerBackend, WorkerOptions, python::Sdk};
use kodex_plugin::{
    Call, Context, Diagnostic, Failure, Health, Manifest, Plugin, PluginError, Reply, Request,
    manifest::Run,
};

use super::{
    Admission, Candidate, Place, Plan, Python,
    open::{refused, unsupported},
};

/// Opens a plugin that runs in a process. Nothing is started.
pub(super) fn open(
    to: &Admission<'_>,
    candidate: &Candidate,
    manifest: Manifest,
) -> Result<Arc<dyn Plugin>, Diagnostic> {
    let root = root_of(to, candidate)?;
    let mut options = WorkerOptions::new(to.shared.clock.clone(), to.shared.tasks.handle().clone());
    if let Ok(path) = std::env::join_paths(&to.plan.search_path)
        && !path.is_empty()
    {
        options.path = path;
    }
    let limits = to.shared.guard.limits.clone();
    let open = |manifest, root, command| {
        let package = Package {
            manifest,
            root,
            limits,
            launch: Launch::Command(command),
        };
        WorkerBackend::new(options)
            .open(package)
            .map_err(|error| refused(&error))
    };
    match &manifest.run {
        Run::Python { entry, env } => {
            let Some(python) = &to.plan.python else {
                return Err(not_configured());
            };
            let command = python_command(to, python, candidate, entry, &root, pass(to.plan, env))?;
            Ok(Arc::new(WithSdk {
                worker: open(manifest, root, command)?,
                sdk: to.scope.sdk.clone(),
                cache_dir: python.cache_dir.clone(),
            }))
        }
        Run::Process { command, env } => {
            let Some((program, args)) = command.split_first() else {
                let text = "run.command is empty";
                return Err(Diagnostic::error("manifest.run.command.empty", text));
            };
            let command = Command {
                program: PathBuf::from(program),
                args: args.iter().map(OsString::from).collect(),
                env: pass(to.plan, env),
            };
            open(manifest, root, command)
        }
        other => Err(unsupported(other.kind())),
    }
}

/// A Python worker that unpacks the SDK when it is first activated, so that listing plugins writes
/// nothing.
struct WithSdk {
    worker: Arc<dyn Plugin>,
    sdk: Arc<Sdk>,
    cache_dir: PathBuf,
}

impl Plugin for WithSdk {
    fn manifest(&self) -> &Manifest {
        self.worker.manifest()
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        match self.sdk.install(&self.cache_dir) {
            Ok(_) => self.worker.activate(context),
            Err(error) => {
                let text = format!("{error}; {}", error.hint());
                Call::Ready(Err(PluginError::new(
                    Failure::Unavailable,
                    error.code(),
                    text,
                )))
            }
        }
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        self.worker.call(request)
    }

    fn deactivate(&self) -> Call<'_, ()> {
        self.worker.deactivate()
    }

    fn health(&self) -> Health {
        self.worker.health()
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

fn python_command(
    to: &Admission<'_>,
    python: &Python,
    candidate: &Candidate,
    entry: &str,
    root: &Path,
    env: Vec<(OsString, OsString)>,
) -> Result<Command, Diagnostic> {
    let interpreter = match &to.scope.interpreter {
        Some(Ok(interpreter)) => interpreter,
        Some(Err(found)) => return Err(found.clone()),
        None => return Err(not_configured()),
    };
    let sdk = to.scope.sdk.dir(&python.cache_dir);
    let mut args: Vec<OsString> = vec!["-I".into(), sdk.join("kodex").join("_worker.py").into()];
    match &candidate.place {
        Place::PythonObject {
            object, site_dir, ..
        } => {
            args.extend([
                "--object".into(),
                object.into(),
                "--path".into(),
                site_dir.into(),
            ]);
        }
        Place::PythonFile(file) => {
            args.extend([
                "--file".into(),
                root.join(file.file_name().unwrap_or_default()).into(),
            ]);
        }
        Place::Manifest { .. } | Place::Native(_) if entry.ends_with(".py") => {
            args.extend([
                "--file".into(),
                root.join(entry).into(),
                "--root".into(),
                root.into(),
            ]);
        }
        Place::Manifest { .. } | Place::Native(_) => {
            args.extend([
                "--object".into(),
                entry.into(),
                "--path".into(),
                root.into(),
            ]);
        }
    }
    Ok(Command {
        program: interpreter.program.clone(),
        args,
        env,
    })
}

/// The finding when an embedder has not said how Python plugins are run.
pub(super) fn not_configured() -> Diagnostic {
    Diagnostic::error(
        "python.not_configured",
        "this runtime was not told how to run Python plugins",
    )
    .with_hint("call `Builder::python`")
}

/// The plugin's root as an absolute path.
fn root_of(to: &Admission<'_>, candidate: &Candidate) -> Result<PathBuf, Diagnostic> {
    let folder = match &candidate.place {
        Place::Manifest { root, .. } => root.as_path(),
        Place::PythonFile(file) => file.parent().unwrap_or(Path::new(".")),
        Place::PythonObject { site_dir, .. } => site_dir.as_path(),
        Place::Native(_) => Path::new("/"),
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut last = to.folder.borrow_mut();
    if let Some((known, real)) = &*last
        && known == folder
    {
        return Ok(real.clone());
    }
    let real = folder.canonicalize().map_err(|error| {
        let text = format!(
            "the plugin's folder {} cannot be opened: {error}",
            folder.display()
        );
        Diagnostic::error("load.root.unreadable", text)
    })?;
    *last = Some((folder.to_owned(), real.clone()));
    Ok(real)
}
