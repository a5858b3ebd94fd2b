//! The configuration with nothing left to resolve.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use kodex::{Diagnostic, GuardSettings, Json, PluginSettings};
use serde_json::Map;
use sha2::{Digest as _, Sha256};

use super::{
    file::{self, Layer},
    raw::{Isolation, Positive, RawGuard, RawLimits, Span, Table},
    work::{Serve, Work},
};
use crate::{args::Globals, environment::Environment, problem::Problem, store::StoreSettings};

/// Where plugins are looked for when nobody says.
const PLUGIN_DIR: &str = "plugins";
/// Plugins named in `order` come before all others: no priority that people write is lower.
const FIRST_PRIORITY: i32 = -1_000_000;

/// What to load and how.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) plugin_dirs: Vec<PathBuf>,
    pub(crate) strict: bool,
    pub(crate) context: Json,
    pub(crate) plugins: BTreeMap<String, PluginSettings>,
    pub(crate) interpreter: Option<PathBuf>,
    pub(crate) entry_points: bool,
    pub(crate) inspect_timeout: Option<Duration>,
    /// Where plugins keep what they own: `sqlite:FOLDER`, or a Postgres URL.
    pub(crate) store: Option<String>,
    pub(crate) store_settings: StoreSettings,
    pub(crate) guard: GuardSettings,
    pub(crate) work: Work,
    pub(crate) serve: Serve,
    /// The folder for what only the running program needs, such as its socket; none without a home.
    pub(crate) run_folder: Option<PathBuf>,
    /// What was passed over.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Ready {
    /// Whether the scheduler is wanted: it is there when the configuration speaks of it.
    pub(crate) fn has_scheduler(&self) -> bool {
        let said = self.plugins.get(kodex_scheduler::NAME);
        said.is_some_and(|said| said.enabled)
    }

    /// Reads the files that are there and lays the flags over them.
    ///
    /// # Errors
    /// A file that cannot be read, or says something that cannot be.
    pub(crate) fn read(globals: &Globals, environment: &Environment) -> Result<Self, Problem> {
        let cwd = &environment.cwd;
        let mut ready = Self::default();
        let files = match &globals.config {
            Some(file) => vec![file.clone()],
            None => {
                let user = environment.user_config().filter(|file| file.is_file());
                let project = file::find_project(cwd, &mut ready.warnings);
                // What a project's plugins store belongs beside the project's configuration.
                ready.store = project
                    .as_ref()
                    .and_then(|file| file.parent())
                    .map(in_folder);
                let folder = project.as_ref().and_then(|file| file.parent());
                ready.run_folder = folder.map(|folder| folder.join("run"));
                user.into_iter().chain(project).collect()
            }
        };
        if ready.store.is_none() {
            ready.store = environment.data_dir().map(|folder| in_folder(&folder));
        }
        if ready.run_folder.is_none() {
            ready.run_folder = environment.state_dir().map(|folder| folder.join("run"));
        }
        for file in files {
            tracing::info!(file = %file.display(), "reading configuration");
            ready.lay_over(file::read(&file, cwd)?)?;
        }
        if let Some(url) = environment.variable("KODEX_DATABASE_URL") {
            ready.store = Some(url.to_string_lossy().into_owned());
        }
        ready.lay_flags_over(globals);
        Ok(ready)
    }

    fn lay_over(&mut self, layer: Layer) -> Result<(), Problem> {
        self.set_order(&layer)?;
        let Layer { base, raw, .. } = layer;
        let from_base = |path: &PathBuf| base.join(path);
        if raw.plugin_dirs.is_some() || !raw.source.is_empty() {
            let named = raw.plugin_dirs.iter().flatten();
            let sources = raw.source.iter().map(|source| &source.path);
            self.plugin_dirs = named.chain(sources).map(from_base).collect();
        }
        self.strict = raw.strict.unwrap_or(self.strict);
        if let Some(context) = raw.context {
            self.context = merged(&self.context, context);
        }
        for (name, said) in raw.plugin {
            let settings = self.plugins.entry(name).or_default();
            settings.enabled = said.enabled.unwrap_or(settings.enabled);
            settings.priority = said
                .priority
                .map(toml::Spanned::into_inner)
                .or(settings.priority);
            settings.timeout = said
                .timeout
                .map(|Span(timeout)| timeout)
                .or(settings.timeout);
            if let Some(context) = said.context {
                settings.context = merged(&settings.context, context);
            }
        }
        self.interpreter = raw
            .python
            .interpreter
            .map(|program| interpreter(&base, program))
            .or(self.interpreter.take());
        if let Some(isolation) = raw.store.isolation {
            self.store_settings.schema_only = isolation == Isolation::Schema;
        }
        self.store_settings.full_sync =
            raw.store.full_sync.unwrap_or(self.store_settings.full_sync);
        if let Some(url) = raw.store.url {
            // A relative folder is seen from the file that names it.
            self.store = Some(match url.strip_prefix("sqlite:") {
                Some(folder) => format!("sqlite:{}", base.join(folder).display()),
                None => url,
            });
        }
        self.entry_points = raw.python.entry_points.unwrap_or(self.entry_points);
        set_some(&mut self.inspect_timeout, raw.python.inspect_timeout);
        set_guard(&mut self.guard, &raw.guard);
        set_limits(&mut self.guard.limits, &raw.limits);
        self.work.lay_over(&raw.work);
        self.work.lay_heartbeat_over(&raw.heartbeat);
        self.work
            .lay_programs_over(raw.runner, raw.destinations, &base);
        self.serve.lay_over(raw.serve, raw.heartbeat.every(), &base);
        Ok(())
    }

    /// `order = ["a", "b"]` gives its plugins the lowest priorities, in that order.
    fn set_order(&mut self, layer: &Layer) -> Result<(), Problem> {
        for (place, name) in layer.raw.order.iter().enumerate() {
            let refuse = |span, message: String| {
                Err(file::at(layer, "config.order.conflict", span, message))
            };
            let name_text = name.get_ref();
            let mut before = layer.raw.order[..place].iter();
            if before.any(|other| other.get_ref() == name_text) {
                return refuse(
                    name.span(),
                    format!("`order` names the plugin `{name_text}` twice"),
                );
            }
            if let Some(said) = layer
                .raw
                .plugin
                .get(name_text)
                .and_then(|said| said.priority.as_ref())
            {
                let message = format!(
                    "the plugin `{name_text}` has a place in `order` and a `priority`; only one can be"
                );
                return refuse(said.span(), message);
            }
            let place = i32::try_from(place).unwrap_or(i32::MAX / 2);
            self.plugins.entry(name_text.clone()).or_default().priority =
                Some(FIRST_PRIORITY + place);
        }
        Ok(())
    }

    fn lay_flags_over(&mut self, globals: &Globals) {
        if !globals.plugin_dir.is_empty() {
            self.plugin_dirs = globals
                .plugin_dir
                .iter()
                .map(|folder| tidy(Path::new(folder)))
                .collect();
        }
        self.strict |= globals.strict;
        self.store = globals.store.clone().or(self.store.take());
        if let Some(python) = &globals.python {
            self.interpreter = Some(python.clone());
        }
    }

    /// A digest of everything that decides which plugins there are and what they may use: two runtimes with
    /// the same one answer the same way. How the resident one is served is no part of it.
    pub(crate) fn digest(&self, cwd: &Path) -> String {
        let folders: Vec<_> = self
            .plugin_dirs
            .iter()
            .map(|folder| tidy(&cwd.join(folder)))
            .collect();
        let store = self
            .store
            .as_deref()
            .map(|place| match place.strip_prefix("sqlite:") {
                Some(folder) => format!("sqlite:{}", tidy(&cwd.join(folder)).display()),
                None => place.to_owned(),
            });
        let interpreter = &self.interpreter;
        let (strict, context, plugins) = (self.strict, &self.context, &self.plugins);
        let python = (interpreter, self.entry_points, self.inspect_timeout);
        let kept = (store, self.store_settings, &self.guard, &self.work);
        let version = env!("CARGO_PKG_VERSION");
        let all =
            format!("{version:?}{folders:?}{strict:?}{context:?}{plugins:?}{python:?}{kept:?}");
        Sha256::digest(all)
            .iter()
            .fold(String::new(), |mut hex, byte| {
                // Writing to a String does not fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }

    /// The socket of the resident runtime.
    pub(crate) fn socket(&self, cwd: &Path) -> Option<PathBuf> {
        let usual = || {
            self.run_folder
                .as_ref()
                .map(|folder| folder.join("kodex.sock"))
        };
        let socket = self.serve.socket.clone().or_else(usual);
        socket.map(|socket| cwd.join(socket))
    }

    /// Where new plugins are written.
    pub(crate) fn first_plugin_dir(&self) -> &Path {
        self.plugin_dirs
            .first()
            .map_or(Path::new(PLUGIN_DIR), PathBuf::as_path)
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            plugin_dirs: vec![PathBuf::from(PLUGIN_DIR)],
            strict: false,
            context: Json::object(),
            plugins: BTreeMap::new(),
            interpreter: None,
            entry_points: true,
            inspect_timeout: None,
            store: None,
            store_settings: StoreSettings::default(),
            guard: GuardSettings::default(),
            work: Work::default(),
            serve: Serve::default(),
            run_folder: None,
            warnings: Vec::new(),
        }
    }
}

fn in_folder(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("store").display())
}

/// A bare name is looked up on the search path; everything else is a path from the file's base.
fn interpreter(base: &Path, program: PathBuf) -> PathBuf {
    match program.components().count() {
        0 | 1 if program.is_relative() => program,
        _ => base.join(program),
    }
}

/// A path as the first runtime showed it: `./plugins//mine/` is `plugins/mine`, nothing is `.`.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    use std::{
        ffi::OsString,
        os::unix::ffi::{OsStrExt, OsStringExt},
        path::Component,
    };
    let tidied: PathBuf = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    let bytes = path.as_os_str().as_bytes();
    // POSIX leaves the meaning of exactly two leading slashes open, so they are kept.
    if bytes.starts_with(b"//") && !bytes.starts_with(b"///") {
        return OsString::from_vec([b"/", tidied.as_os_str().as_bytes()].concat()).into();
    }
    if tidied.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        tidied
    }
}

fn merged(below: &Json, above: Table) -> Json {
    let mut map = below.value().as_object().cloned().unwrap_or_else(Map::new);
    map.extend(above.0);
    Table(map).into_json()
}

fn set_some(place: &mut Option<Duration>, said: Option<Span>) {
    *place = said.map(|Span(span)| span).or(*place);
}

pub(super) fn set_span(place: &mut Duration, said: Option<Span>) {
    *place = said.map_or(*place, |Span(span)| span);
}

pub(super) fn set_size(place: &mut usize, said: Option<Positive>) {
    *place = said
        .and_then(|Positive(number)| usize::try_from(number).ok())
        .unwrap_or(*place);
}

pub(super) fn set_number(place: &mut u32, said: Option<Positive>) {
    *place = said.map_or(*place, |Positive(number)| number);
}

fn set_guard(guard: &mut GuardSettings, said: &RawGuard) {
    set_size(&mut guard.concurrency, said.concurrency);
    set_span(&mut guard.event_budget, said.event_budget);
    set_span(&mut guard.activation_timeout, said.activation_timeout);
    set_size(&mut guard.breaker.window, said.breaker.window);
    set_size(&mut guard.breaker.min_calls, said.breaker.min_calls);
    set_span(&mut guard.breaker.open_for, said.breaker.open_for);
    set_span(&mut guard.breaker.open_cap, said.breaker.open_cap);
}

fn set_limits(limits: &mut kodex::Limits, said: &RawLimits) {
    set_size(&mut limits.frame_bytes, said.frame_bytes);
    set_size(&mut limits.depth, said.depth);
    set_size(&mut limits.stderr_bytes, said.stderr_bytes);
    set_number(&mut limits.messages_per_second, said.messages_per_second);
    set_number(&mut limits.messages_burst, said.messages_burst);
    set_number(&mut limits.concurrency, said.concurrency);
    set_number(&mut limits.queue, said.queue);
    set_span(&mut limits.frame_timeout, said.frame_timeout);
}
