//! Plugins that run in a process: judged when they are loaded, made ready when they are first
//! needed. A listing of a thousand plugins makes a thousand of these and no worker.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use kodex_backend::{Backend, Command, Launch, Package, WorkerBackend, WorkerOptions, python::Sdk};
use kodex_plugin::{
    Call, Context, Diagnostic, Failure, Health, Limits, Manifest, Plugin, PluginError, Reply,
    Request, manifest::Run,
};

use super::{Place, Plan, Scope, open::unsupported};
use crate::runtime::Shared;

/// What the workers of one load share.
pub(super) struct Workers {
    options: WorkerOptions,
    limits: Limits,
    variables: Arc<HashMap<OsString, OsString>>,
    /// The program of the interpreter, or why there is none.
    python: Result<PathBuf, Diagnostic>,
    sdk: Arc<Sdk>,
    cache_dir: PathBuf,
}

impl Workers {
    pub(super) fn new(shared: &Shared, plan: &Plan, scope: &Scope) -> Self {
        let mut options = WorkerOptions::new(shared.clock.clone(), shared.tasks.handle().clone());
        if let Ok(path) = std::env::join_paths(&plan.search_path)
            && !path.is_empty()
        {
            options.path = path;
        }
        let python = match &scope.interpreter {
            Some(Ok(interpreter)) => Ok(interpreter.program.clone()),
            Some(Err(found)) => Err(found.clone()),
            None => Err(not_configured()),
        };
        let cache_dir = plan.python.as_ref().map(|python| python.cache_dir.clone());
        Self {
            options,
            limits: shared.guard.limits.clone(),
            variables: plan.variables.clone(),
            python,
            sdk: scope.sdk.clone(),
            cache_dir: cache_dir.unwrap_or_default(),
        }
    }
}

/// Opens plugins one after another.
pub(super) struct Opener {
    workers: Arc<Workers>,
    /// The last folder whose real path was looked up, and that path: plugins of one directory share it.
    folder: RefCell<Option<(PathBuf, Arc<Path>)>>,
}

impl Opener {
    pub(super) fn new(workers: Workers) -> Self {
        Self {
            workers: Arc::new(workers),
            folder: RefCell::default(),
        }
    }

    /// Opens a plugin that runs in a process. Nothing is started.
    pub(super) fn open(
        &self,
        place: Place,
        manifest: Arc<Manifest>,
    ) -> Result<Arc<dyn Plugin>, Diagnostic> {
        let root = self.root_of(&place)?;
        match &manifest.run {
            Run::Python { .. } => {
                if let Err(found) = &self.workers.python {
                    return Err(found.clone());
                }
            }
            Run::Process { command, .. } if command.is_empty() => {
                let text = "`run.command` names no program";
                return Err(Diagnostic::error("manifest.command.empty", text));
            }
            Run::Process { .. } => {}
            other => return Err(unsupported(other.kind())),
        }
        Ok(Arc::new(Dormant {
            manifest,
            place,
            root,
            workers: self.workers.clone(),
            worker: OnceLock::new(),
        }))
    }

    /// The plugin's root as an absolute path.
    fn root_of(&self, place: &Place) -> Result<Arc<Path>, Diagnostic> {
        let folder = match place {
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
        let mut last = self.folder.borrow_mut();
        if let Some((known, real)) = &*last
            && known.as_os_str() == folder.as_os_str()
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
        let real: Arc<Path> = real.into();
        *last = Some((folder.to_owned(), real.clone()));
        Ok(real)
    }
}

/// A plugin whose worker is made at its activation. For Python the SDK is unpacked then, too, so
/// that listing plugins writes nothing.
struct Dormant {
    manifest: Arc<Manifest>,
    place: Place,
    root: Arc<Path>,
    workers: Arc<Workers>,
    worker: OnceLock<Arc<dyn Plugin>>,
}

impl Dormant {
    fn worker(&self) -> Result<&Arc<dyn Plugin>, PluginError> {
        if let Some(worker) = self.worker.get() {
            return Ok(worker);
        }
        let package = Package {
            manifest: (*self.manifest).clone(),
            root: self.root.to_path_buf(),
            limits: self.workers.limits.clone(),
            launch: Launch::Command(self.command()?),
        };
        let worker = WorkerBackend::new(self.workers.options.clone())
            .open(package)
            .map_err(|error| unavailable(error.code(), error.to_string()))?;
        // Of two that are made at the same time one is never started.
        Ok(self.worker.get_or_init(|| worker))
    }

    fn command(&self) -> Result<Command, PluginError> {
        match &self.manifest.run {
            Run::Python { entry, env } => match &self.workers.python {
                Ok(program) => Ok(Command {
                    program: program.clone(),
                    args: self.python_arguments(entry),
                    env: self.pass(env),
                }),
                Err(found) => Err(unavailable(found.code.clone(), found.message.clone())),
            },
            Run::Process { command, env } => {
                let (program, args) = command.split_first().unzip();
                Ok(Command {
                    program: program.map(PathBuf::from).unwrap_or_default(),
                    args: args.into_iter().flatten().map(OsString::from).collect(),
                    env: self.pass(env),
                })
            }
            other => {
                let found = unsupported(other.kind());
                Err(unavailable(found.code, found.message))
            }
        }
    }

    /// The variables that the manifest names and the host has.
    fn pass(&self, names: &[String]) -> Vec<(OsString, OsString)> {
        let find = |name: &String| {
            let name = OsString::from(name);
            let value = self.workers.variables.get(&name)?.clone();
            Some((name, value))
        };
        names.iter().filter_map(find).collect()
    }

    fn python_arguments(&self, entry: &str) -> Vec<OsString> {
        let root = &*self.root;
        let sdk = self.workers.sdk.dir(&self.workers.cache_dir);
        let mut args: Vec<OsString> =
            vec!["-I".into(), sdk.join("kodex").join("_worker.py").into()];
        args.extend(match &self.place {
            Place::PythonObject {
                object, site_dir, ..
            } => vec![
                "--object".into(),
                object.into(),
                "--path".into(),
                site_dir.into(),
            ],
            Place::PythonFile(file) => vec![
                "--file".into(),
                root.join(file.file_name().unwrap_or_default()).into(),
            ],
            Place::Manifest { .. } | Place::Native(_) if entry.ends_with(".py") => vec![
                "--file".into(),
                root.join(entry).into(),
                "--root".into(),
                root.into(),
            ],
            Place::Manifest { .. } | Place::Native(_) => vec![
                "--object".into(),
                entry.into(),
                "--path".into(),
                root.into(),
            ],
        });
        args
    }

    /// Puts what the worker needs into its place.
    fn prepare(&self) -> Result<&Arc<dyn Plugin>, PluginError> {
        if let Run::Python { .. } = &self.manifest.run {
            let installed = self.workers.sdk.install(&self.workers.cache_dir);
            installed
                .map_err(|error| unavailable(error.code(), format!("{error}; {}", error.hint())))?;
        }
        self.worker()
    }
}

fn unavailable(code: impl Into<std::borrow::Cow<'static, str>>, text: String) -> PluginError {
    PluginError::new(Failure::Unavailable, code, text)
}

impl Plugin for Dormant {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        match self.prepare() {
            Ok(worker) => worker.activate(context),
            Err(error) => Call::Ready(Err(error)),
        }
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        match self.worker() {
            Ok(worker) => worker.call(request),
            Err(error) => Call::Ready(Err(error)),
        }
    }

    fn deactivate(&self) -> Call<'_, ()> {
        match self.worker.get() {
            Some(worker) => worker.deactivate(),
            None => Call::Ready(Ok(())),
        }
    }

    fn health(&self) -> Health {
        self.worker
            .get()
            .map_or_else(Health::default, |worker| worker.health())
    }
}

/// The finding when an embedder has not said how Python plugins are run.
pub(super) fn not_configured() -> Diagnostic {
    Diagnostic::error(
        "python.not_configured",
        "this runtime was not told how to run Python plugins",
    )
    .with_hint("call `Builder::python`")
}
