//! `Runtime::builder()`: what to load, how to guard it.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use kodex_plugin::{Clock, Json, Plugin};
use kodex_store::Store;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    LoadError, Runtime, SystemClock,
    load::Plan,
    runtime::Shared,
    settings::{GuardSettings, PluginSettings},
    tasks::Tasks,
    work::{AgentRunner, Deliver, Sessions, WorkSettings, Works},
};

/// Describes a runtime; made by [`Runtime::builder`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use kodex::{Define, Json, Reply, Runtime};
/// use serde_json::json;
///
/// let shout = Define::new("shout", "0.1.0", "Writes the text in capitals.")
///     .hook("prompt.preprocess", |request| {
///         let text = request.payload.value()["text"].as_str().unwrap_or_default();
///         Ok(Reply::from(json!({"text": text.to_uppercase()})))
///     })
///     .build()?;
/// let runtime = Runtime::builder().native(shout).build().await?;
/// let outcome = runtime.emit("prompt.preprocess", Json::from(json!({"text": "hello"}))).await?;
/// let (plugin, reply) = outcome.replies().next().expect("one reply");
/// assert_eq!((plugin.as_str(), &reply.value()["text"]), ("shout", &json!("HELLO")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Default)]
pub struct Builder {
    plan: Plan,
    guard: GuardSettings,
    clock: Option<Arc<dyn Clock>>,
    store: Option<Arc<dyn Store>>,
    works: Works,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Looks for plugins in a directory. May be called many times; the order counts.
    #[must_use]
    pub fn plugin_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plan.directories.push(directory.into());
        self
    }

    /// Looks at one place for one plugin: a folder with a `kodex.toml`, a manifest, or a Python file.
    #[must_use]
    pub fn plugin(mut self, path: impl Into<PathBuf>) -> Self {
        self.plan.single.push(path.into());
        self
    }

    /// Adds a plugin of the embedding program.
    #[must_use]
    pub fn native(mut self, plugin: Arc<dyn Plugin>) -> Self {
        self.plan.native.push(plugin);
        self
    }

    /// What the user says about one plugin.
    #[must_use]
    pub fn plugin_settings(mut self, name: impl Into<String>, settings: PluginSettings) -> Self {
        self.plan.settings.insert(name.into(), settings);
        self
    }

    /// Given to every plugin when it is activated.
    #[must_use]
    pub fn default_context(mut self, context: Json) -> Self {
        self.plan.default_context = context;
        self
    }

    /// Strict mode: the first candidate that cannot be loaded fails the start.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.plan.strict = strict;
        self
    }

    /// Whether a plugin that cannot have its database fails the start: when there is no store, or its
    /// migrations are not applied. Otherwise only that plugin does not start. An upgrade must not ask for it.
    #[must_use]
    pub fn require_databases(mut self, require: bool) -> Self {
        self.plan.require_databases = require;
        self
    }

    /// Bounds on calls into plugins.
    #[must_use]
    pub fn guard(mut self, guard: GuardSettings) -> Self {
        self.guard = guard;
        self
    }

    /// Folders in which programs of process plugins are looked for.
    #[must_use]
    pub fn search_path(mut self, folders: Vec<PathBuf>) -> Self {
        self.plan.search_path = folders;
        self
    }

    /// Environment variables that plugins may ask for by name. The library reads none itself.
    #[must_use]
    pub fn variables(mut self, variables: HashMap<OsString, OsString>) -> Self {
        self.plan.variables = Arc::new(variables);
        self
    }

    /// Finds and runs Python plugins.
    #[cfg(feature = "worker")]
    #[must_use]
    pub fn python(mut self, python: crate::Python) -> Self {
        self.plan.python = Some(python);
        self
    }

    /// Says that [`Runtime::reload`] will not be called: then nothing is noted of the plugins' files,
    /// and a reload replaces every plugin. A program that loads, asks once and ends starts faster.
    #[must_use]
    pub fn one_shot(mut self) -> Self {
        self.plan.one_shot = true;
        self
    }

    /// Where plugins keep their tables and values. Without one, plugins that declare a database do not
    /// start, and the others have no state.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Bounds and times of agent runs and jobs.
    #[must_use]
    pub fn work(mut self, settings: WorkSettings) -> Self {
        self.works.settings = settings;
        self
    }

    /// Who executes agent runs. Without one they fail, and say so.
    #[must_use]
    pub fn runner(mut self, runner: Arc<dyn AgentRunner>) -> Self {
        self.works.runner = Some(runner);
        self
    }

    /// Who brings answers of agent runs to destinations of a kind. A kind that nobody knows is refused when a
    /// run is asked for. `session` is known from the start: such an answer stays with its run.
    #[must_use]
    pub fn destination(mut self, kind: impl Into<String>, deliver: Arc<dyn Deliver>) -> Self {
        self.works.destinations.insert(kind.into(), deliver);
        self
    }

    /// Where sessions are kept, for jobs that are triggered by their end.
    #[must_use]
    pub fn sessions(mut self, sessions: Arc<dyn Sessions>) -> Self {
        self.works.sessions = Some(sessions);
        self
    }

    /// Another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Discovers, loads and registers. Runs inside the tokio runtime of the caller.
    ///
    /// # Errors
    /// [`LoadError`] in strict mode, and outside a tokio runtime.
    pub async fn build(self) -> Result<Runtime, LoadError> {
        let handle = Handle::try_current().map_err(|_| LoadError::NoAsyncRuntime)?;
        let shared = Arc::new(Shared {
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            places: Semaphore::new(self.guard.concurrency),
            guard: self.guard,
            tasks: Tasks::new(handle),
            store: self.store,
            works: Arc::new(self.works),
            n_transitions: AtomicU64::new(0),
            n_gates_unavailable: AtomicU64::new(0),
        });
        Runtime::start(shared, self.plan).await
    }
}
