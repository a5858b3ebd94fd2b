//! From a configuration to a runtime.

use std::{os::unix::fs::DirBuilderExt, path::PathBuf, rc::Rc, sync::Arc};

use kodex::{Builder, Python, Record, Runtime, Status, WorkSettings, python, store::Store};

use crate::{
    config::Ready,
    invocation::Invocation,
    problem::Problem,
    render::{finding, progress, style},
    store, work,
};

/// A cache folder that is deleted when the run ends.
pub(crate) type Scratch = tempfile::TempDir;

/// Findings with these beginnings are about the place where plugins lie or the interpreter that runs
/// them, not about one plugin; they are shown at once.
const ABOUT_THE_WHOLE: &[&str] = &["discover.", "python."];

impl Invocation {
    /// Loads the plugins, and says on standard error when some could not be loaded.
    pub(crate) async fn open(&mut self) -> Result<Runtime, Problem> {
        let runtime = self.load(false).await?;
        self.mention_refused(&runtime.ledger());
        Ok(runtime)
    }

    /// Loads the plugins for a verb that shows itself what could not be loaded. Plugins that failed
    /// before are tried again, whatever the cache says.
    pub(crate) async fn open_thoroughly(&mut self) -> Result<Runtime, Problem> {
        self.load(true).await
    }

    /// Loads the plugins for a program that stays and may load them again.
    pub(crate) async fn open_to_stay(&mut self) -> Result<Runtime, Problem> {
        let ready = self.config()?;
        let builder = self.builder(&ready, false)?;
        let builder = ready.plugin_dirs.iter().fold(builder, Builder::plugin_dir);
        let runtime = self.build(builder).await?;
        for record in runtime.ledger().iter() {
            if record.status == Status::Error {
                let (source, why) = (&record.source, &record.message);
                tracing::warn!(event = "plugin_refused", source, "not loaded: {why}");
            }
        }
        Ok(runtime)
    }

    /// Loads the plugins for a verb that executes jobs. Agent runs wait for whoever works for longer: one that
    /// is begun and given back has cost what it has cost.
    pub(crate) async fn open_for_jobs(&mut self) -> Result<Runtime, Problem> {
        let ready = self.config()?;
        let jobs_alone = WorkSettings {
            n_runs: 0,
            ..ready.work.settings.clone()
        };
        let builder = self.builder(&ready, false)?.one_shot().work(jobs_alone);
        let builder = ready.plugin_dirs.iter().fold(builder, Builder::plugin_dir);
        let runtime = self.build(builder).await?;
        self.mention_refused(&runtime.ledger());
        Ok(runtime)
    }

    async fn load(&mut self, retry_failures: bool) -> Result<Runtime, Problem> {
        let ready = self.config()?;
        let builder = self.builder(&ready, retry_failures)?;
        let builder = if retry_failures {
            builder
        } else {
            builder.one_shot()
        };
        let builder = ready.plugin_dirs.iter().fold(builder, Builder::plugin_dir);
        self.build(builder).await
    }

    /// What flags and files say; read once.
    pub(crate) fn config(&mut self) -> Result<Rc<Ready>, Problem> {
        if let Some(ready) = &self.ready {
            return Ok(ready.clone());
        }
        let ready = Rc::new(Ready::read(&self.globals, &self.environment)?);
        ready
            .warnings
            .iter()
            .for_each(|found| finding::print(found, None, self.stderr));
        self.ready = Some(ready.clone());
        Ok(ready)
    }

    /// Finishes a builder; the runtime is ended when the invocation is.
    pub(crate) async fn build(&mut self, builder: Builder) -> Result<Runtime, Problem> {
        let is_welcome = self.stderr.is_terminal && self.environment.wants_progress();
        let runtime = progress::watched("loading plugins", is_welcome, builder.build()).await?;
        tracing::info!(n_plugins = runtime.manifests().len(), "loaded");
        self.runtime = Some(runtime.clone());
        Ok(runtime)
    }

    /// Everything but the places in which plugins lie.
    pub(crate) fn builder(
        &mut self,
        ready: &Ready,
        retry_failures: bool,
    ) -> Result<Builder, Problem> {
        let python = Python {
            search: python::Search {
                configured: ready.interpreter.clone(),
                path: self.environment.path(),
                cwd: self.environment.cwd.clone(),
                variables: python::Variables::read(|name| self.environment.variable(name)),
                home: self.environment.home(),
            },
            cache_dir: self.cache_dir()?,
            entry_points: ready.entry_points,
            retry_failures,
            inspect_timeout: ready.inspect_timeout.unwrap_or(python::inspect::DEADLINE),
        };
        let builder = Runtime::builder()
            .default_context(ready.context.clone())
            .strict(ready.strict)
            .require_databases(ready.strict && !self.mends_databases)
            .guard(ready.guard.clone())
            .search_path(self.environment.path())
            .variables(self.environment.variables.clone())
            .python(python);
        let builder = match self.store()? {
            Some(store) => builder.store(store),
            None => builder,
        };
        let builder = work::wire(builder, &ready.work, &self.environment);
        let builder = match ready.has_scheduler() {
            true => builder.native(scheduler()?),
            false => builder,
        };
        let settings = ready.plugins.iter();
        Ok(settings.fold(builder, |builder, (name, said)| {
            builder.plugin_settings(name, said.clone())
        }))
    }

    /// Where plugins keep what they own, from flag, variable, file or the usual folder. Nothing is
    /// connected or made before it is used.
    pub(crate) fn store(&mut self) -> Result<Option<Arc<dyn Store>>, Problem> {
        let Some(text) = self.config()?.store.clone() else {
            return Ok(None);
        };
        if let Some(opened) = &self.store {
            return Ok(Some(opened.clone()));
        }
        let settings = self.config()?.store_settings;
        let store = store::lazy(&text, &self.environment.cwd, settings)?;
        self.store = Some(store.clone());
        Ok(Some(store))
    }

    /// The same for a verb that is nothing without it.
    pub(crate) fn need_store(&mut self) -> Result<Arc<dyn Store>, Problem> {
        self.store()?.ok_or_else(|| {
            let text = "there is no place for a store: neither KODEX_DATABASE_URL nor HOME is set";
            Problem::usage("store.not_configured", text)
                .help("pass --store sqlite:FOLDER, or set KODEX_DATABASE_URL or `url` under [store] in .kodex/config.toml")
        })
    }

    /// The cache belongs to one user: what others could write there would be run as this user.
    fn cache_dir(&mut self) -> Result<PathBuf, Problem> {
        if self.globals.no_cache {
            let scratch = tempfile::tempdir().map_err(|error| {
                Problem::failed(
                    "cli.cache",
                    format!("no temporary folder can be made: {error}"),
                )
            })?;
            return Ok(self.scratch.insert(scratch).path().to_owned());
        }
        let folder = self.environment.cache_dir().ok_or_else(|| {
            Problem::usage(
                "cli.cache",
                "there is no folder for the cache: neither KODEX_CACHE_DIR nor HOME is set",
            )
            .help("set KODEX_CACHE_DIR, or run with --no-cache")
        })?;
        if !folder.is_dir() {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder);
            made.map_err(|error| {
                Problem::failed(
                    "cli.cache",
                    format!(
                        "the cache folder {} cannot be made: {error}",
                        folder.display()
                    ),
                )
                .help("set KODEX_CACHE_DIR to another folder, or run with --no-cache")
            })?;
        }
        Ok(folder)
    }

    /// What keeps whole folders or languages from working is worth more than a line.
    pub(crate) fn mention_whole(&self, ledger: &[Record]) {
        let mut shown: Vec<&str> = Vec::new();
        for found in ledger.iter().flat_map(|record| &record.diagnostics) {
            let about_the_whole = ABOUT_THE_WHOLE
                .iter()
                .any(|start| found.code.starts_with(start));
            let is_error = found.severity == kodex::Severity::Error;
            if about_the_whole && is_error && !shown.contains(&found.message.as_str()) {
                finding::print(found, None, self.stderr);
                shown.push(&found.message);
            }
        }
    }

    /// One line, because whoever lists plugins did not ask for their mistakes.
    pub(crate) fn mention_refused(&self, ledger: &[Record]) {
        self.mention_whole(ledger);
        let n_refused = ledger
            .iter()
            .filter(|record| record.status == Status::Error)
            .count();
        if n_refused > 0 {
            let plugins = if n_refused == 1 { "plugin" } else { "plugins" };
            let note = style::paint("note", style::severity(kodex::Severity::Note), self.stderr);
            eprintln!("{note}: {n_refused} {plugins} could not be loaded; see `kodex doctor`");
        }
    }
}

/// The scheduler, which is an ordinary plugin that this program brings along.
fn scheduler() -> Result<Arc<dyn kodex::Plugin>, Problem> {
    let plugin = kodex_scheduler::SchedulerPlugin::new();
    let plugin = plugin.map_err(|error| Problem::failed("internal", error.to_string()))?;
    Ok(Arc::new(plugin))
}
