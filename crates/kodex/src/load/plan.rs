//! What to load and how: the builder's ready values, and what is worked out from them.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
};

use kodex_plugin::{Diagnostic, Json, Plugin};
use serde_json::Value;

use super::Loaded;
use crate::{discover::Sources, settings::PluginSettings};

/// Everything the builder was told about plugins.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) directories: Vec<PathBuf>,
    /// Plugins outside of plugin directories.
    pub(crate) single: Vec<PathBuf>,
    pub(crate) native: Vec<Arc<dyn Plugin>>,
    pub(crate) settings: BTreeMap<String, PluginSettings>,
    pub(crate) default_context: Json,
    pub(crate) strict: bool,
    /// Whether a plugin that cannot have its database fails the start.
    pub(crate) require_databases: bool,
    /// Nobody will reload, so nothing needs to be noted of files.
    pub(crate) one_shot: bool,
    /// Folders in which programs are looked for.
    pub(crate) search_path: Vec<PathBuf>,
    /// Variables that plugins may ask for by name.
    pub(crate) variables: Arc<HashMap<OsString, OsString>>,
    #[cfg(feature = "worker")]
    pub(crate) python: Option<Python>,
}

/// How Python plugins are found and run.
#[cfg(feature = "worker")]
#[derive(Debug, Clone)]
pub struct Python {
    /// How the interpreter is found.
    pub search: kodex_backend::python::Search,
    /// Where the SDK and the cache of manifests are kept.
    pub cache_dir: PathBuf,
    /// Whether installed packages with entry points are plugins too.
    pub entry_points: bool,
    /// Whether failures are inspected again although nothing changed.
    pub retry_failures: bool,
    /// How long one plugin may take to be imported and to say what it declares.
    pub inspect_timeout: std::time::Duration,
}

#[cfg(feature = "worker")]
impl Python {
    /// Python plugins from directories and from installed packages, with the usual limits.
    #[must_use]
    pub fn new(search: kodex_backend::python::Search, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            search,
            cache_dir: cache_dir.into(),
            entry_points: true,
            retry_failures: false,
            inspect_timeout: std::time::Duration::from_secs(5),
        }
    }
}

/// What is worked out once for each load.
pub(crate) struct Scope {
    pub(crate) sources: Sources,
    /// The interpreter, or why there is none. Whoever has a Python plugin hears of it with that
    /// plugin; others need no Python.
    #[cfg(feature = "worker")]
    pub(crate) interpreter: Option<Result<kodex_backend::python::Interpreter, Diagnostic>>,
    #[cfg(feature = "worker")]
    pub(crate) sdk: Arc<kodex_backend::python::Sdk>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Plan {
    /// Works out what one load needs.
    pub(crate) fn scope(&self) -> Scope {
        let sources = Sources {
            directories: self.directories.clone(),
            single: self.single.clone(),
            site_dirs: Vec::new(),
            native: self.native.clone(),
        };
        let scope = Scope {
            sources,
            #[cfg(feature = "worker")]
            interpreter: None,
            #[cfg(feature = "worker")]
            sdk: Arc::new(kodex_backend::python::Sdk::embedded()),
            diagnostics: Vec::new(),
        };
        self.find_python(scope)
    }

    #[cfg(feature = "worker")]
    fn find_python(&self, mut scope: Scope) -> Scope {
        let Some(python) = &self.python else {
            return scope;
        };
        scope.interpreter = Some(
            match kodex_backend::python::Interpreter::find(&python.search) {
                Ok(found) => {
                    if python.entry_points {
                        scope.sources.site_dirs = found.interpreter.site_dirs.clone();
                    }
                    scope.diagnostics = found.notes;
                    Ok(found.interpreter)
                }
                Err(error) => Err(error.diagnostic()),
            },
        );
        scope
    }

    #[cfg(not(feature = "worker"))]
    fn find_python(&self, scope: Scope) -> Scope {
        scope
    }

    /// The interpreter that plugins get, for the report.
    pub(crate) fn python_found(&self) -> Option<String> {
        #[cfg(feature = "worker")]
        if let Some(Ok(interpreter)) = self.scope().interpreter {
            return Some(interpreter.program.display().to_string());
        }
        None
    }

    /// What Python plugins are configured with while they are inspected: the default, and for those
    /// with a context of their own that with the default laid under it.
    #[cfg(feature = "worker")]
    pub(crate) fn contexts(&self) -> kodex_backend::python::Contexts {
        let contexts = kodex_backend::python::Contexts::new(self.default_context.clone());
        let own = self
            .settings
            .iter()
            .filter(|(_, settings)| settings.context != Json::object());
        let merged =
            own.map(|(name, settings)| (name.clone(), self.context_of(settings).into_value()));
        let by_name: serde_json::Map<_, _> = merged.collect();
        match by_name.is_empty() {
            true => contexts,
            false => contexts.with_names(Json::from(Value::Object(by_name))),
        }
    }

    /// What the user says about a plugin.
    pub(crate) fn settings_of(&self, name: &str) -> PluginSettings {
        self.settings.get(name).cloned().unwrap_or_default()
    }

    /// The default context with the plugin's own laid over it, key by key.
    pub(crate) fn context_of(&self, settings: &PluginSettings) -> Json {
        let (Value::Object(base), Value::Object(own)) =
            (self.default_context.value(), settings.context.value())
        else {
            return settings.context.clone();
        };
        let mut merged = base.clone();
        merged.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        Json::from(Value::Object(merged))
    }

    /// Programs that are on no folder of the search path.
    pub(crate) fn missing_programs(&self, programs: &[String]) -> Vec<String> {
        let is_there = |program: &String| {
            self.search_path
                .iter()
                .any(|dir| dir.join(program).is_file())
        };
        programs
            .iter()
            .filter(|program| !is_there(program))
            .cloned()
            .collect()
    }

    /// Settings for a plugin that nobody found are most often a typing error.
    pub(crate) fn warn_of_unknown_settings(&self, loaded: &mut Loaded) {
        for name in self.settings.keys() {
            let is_known = loaded.slots.iter().any(|slot| slot.name.as_str() == name)
                || loaded
                    .absent
                    .iter()
                    .any(|absent| absent.name.as_deref() == Some(name));
            if is_known {
                continue;
            }
            let names = loaded.slots.iter().map(|slot| slot.name.as_str());
            let hint = match kodex_plugin::suggest::closest(name, names) {
                Some(similar) => format!("did you mean '{similar}'?"),
                None => "remove the table, or install the plugin".to_owned(),
            };
            let text = format!("the configuration speaks of plugin '{name}', which was not found");
            loaded.diagnostics.push(
                Diagnostic::warning("config.plugin.unknown", text)
                    .with_plugin(name)
                    .with_hint(hint),
            );
        }
    }
}
