//! The checks that every plugin should pass, in whatever way it runs.
//!
//! Findings are diagnostics, not panics: a test asserts that the list is empty, a command line shows
//! it. Each check is one function in one of the files beside this one; nothing here knows what a
//! particular plugin is for.

use std::{sync::Arc, time::Duration};

use kodex_plugin::{Diagnostic, Json, Plugin, RequestKind};

use crate::FakeHost;

mod answers;
mod declaration;
mod form;
mod life;
mod odd;
mod probe;
mod schema;
mod sound;

#[cfg(test)]
mod tests;

/// How long one answer may take before the suite calls it stuck, unless
/// [`PluginSuite::with_limit`] says otherwise.
const LIMIT: Duration = Duration::from_secs(5);

/// The checks that every plugin should pass.
///
/// | codes | what is wrong |
/// |---|---|
/// | `manifest.*`, `name.*`, `permission.*` | what reading the manifest from a file would also find |
/// | `suite.manifest.*` | the manifest is not in normal form, says nothing, or changes |
/// | `suite.hook.*`, `suite.tool.*` | one declaration or one answer |
/// | `suite.activate.*`, `suite.deactivate.*`, `suite.health.*` | the life of the plugin |
/// | `suite.cancel.*`, `suite.concurrent.*` | what happens to other calls |
///
/// The last word says how: `panicked`, `stuck`, `failed`, `too_large`, `reply` (it does not fit the
/// hook), `missing` (declared, but not answered), `undeclared` (answered, but not declared) and so on.
///
/// A call that blocks its thread is reported as stuck and its thread left behind, because a thread
/// cannot be stopped from outside. Plugins whose futures need an async runtime are out of the
/// suite's reach; so are processes.
///
/// ```
/// use kodex_plugin::{Define, Tool};
/// use kodex_testkit::PluginSuite;
/// use serde_json::json;
///
/// let careless = Define::new("careless", "1.0", "Counts letters.")
///     .tool(Tool::new("count", "Counts the letters of a text.")?, |input| {
///         Ok(json!(input.value()["text"].as_str().unwrap().len()).into())
///     })
///     .build()?;
/// let codes: Vec<_> = PluginSuite::new()
///     .run(&careless)
///     .into_iter()
///     .map(|finding| finding.code)
///     .collect();
/// assert_eq!(codes, ["manifest.version.normalised", "suite.tool.panicked"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PluginSuite {
    config: Json,
    host: FakeHost,
    limit: Duration,
    samples: Vec<Sample>,
}

/// A payload that the author says is right, so that the plugin must accept it.
#[derive(Debug, Clone)]
struct Sample {
    kind: RequestKind,
    name: String,
    payload: Json,
}

impl PluginSuite {
    /// The suite with an empty configuration, a [`FakeHost`] that offers only log and clock, and no
    /// samples.
    #[must_use]
    pub fn new() -> Self {
        Self {
            config: Json::object(),
            host: FakeHost::new(),
            limit: LIMIT,
            samples: Vec::new(),
        }
    }

    /// Activates the plugin with this configuration.
    ///
    /// ```
    /// use kodex_testkit::PluginSuite;
    /// let suite = PluginSuite::new().with_config(serde_json::json!({"org": "acme"}));
    /// ```
    #[must_use]
    pub fn with_config(mut self, config: impl Into<Json>) -> Self {
        self.config = config.into();
        self
    }

    /// Activates the plugin with this host, which then also holds what the plugin said.
    ///
    /// ```
    /// use kodex_testkit::{FakeHost, PluginSuite};
    /// let host = FakeHost::new();
    /// host.answer("state/fetch", serde_json::json!({"value": 7}));
    /// let suite = PluginSuite::new().with_host(host.clone());
    /// ```
    #[must_use]
    pub fn with_host(mut self, host: FakeHost) -> Self {
        self.host = host;
        self
    }

    /// Changes how long one answer may take before it counts as stuck; 5 seconds when not said.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kodex_testkit::PluginSuite;
    /// let suite = PluginSuite::new().with_limit(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Adds a payload that the hook must accept.
    ///
    /// ```
    /// use kodex_testkit::PluginSuite;
    /// let suite = PluginSuite::new()
    ///     .with_payload("prompt.submit", serde_json::json!({"prompt": "hello"}));
    /// ```
    #[must_use]
    pub fn with_payload(self, hook: &str, payload: impl Into<Json>) -> Self {
        self.with_sample(RequestKind::Hook, hook, payload.into())
    }

    /// Adds an input that the tool must accept.
    ///
    /// ```
    /// use kodex_testkit::PluginSuite;
    /// let suite = PluginSuite::new().with_input("count", serde_json::json!({"text": "a b"}));
    /// ```
    #[must_use]
    pub fn with_input(self, tool: &str, input: impl Into<Json>) -> Self {
        self.with_sample(RequestKind::Tool, tool, input.into())
    }

    fn with_sample(mut self, kind: RequestKind, name: &str, payload: Json) -> Self {
        let name = name.to_owned();
        self.samples.push(Sample {
            kind,
            name,
            payload,
        });
        self
    }

    /// Runs all checks on one plugin, from before its activation to after its end, and lists what
    /// they find, in the order in which it was found. An empty list means that the plugin passed.
    ///
    /// ```
    /// use kodex_plugin::{Define, Reply, Severity};
    /// use kodex_testkit::PluginSuite;
    /// use serde_json::json;
    ///
    /// let guard = Define::new("guard", "0.1.0", "Denies everything, it thinks.")
    ///     .hook("tool.before", |_| Ok(Reply::from(json!({"decison": "deny"}))))
    ///     .build()?;
    /// let found = PluginSuite::new().run(&guard);
    /// assert_eq!((found[0].code.as_str(), found[0].severity), ("suite.hook.reply", Severity::Error));
    /// # Ok::<(), kodex_plugin::NameError>(())
    /// ```
    #[must_use]
    pub fn run(&self, plugin: &Arc<dyn Plugin>) -> Vec<Diagnostic> {
        let mut run = Run {
            suite: self,
            plugin,
            found: Vec::new(),
        };
        run.all();
        let name = plugin.manifest().name.to_string();
        let named = |finding: Diagnostic| finding.with_plugin(name.as_str());
        run.found.into_iter().map(named).collect()
    }
}

impl Default for PluginSuite {
    fn default() -> Self {
        Self::new()
    }
}

/// One pass over one plugin.
struct Run<'a> {
    suite: &'a PluginSuite,
    plugin: &'a Arc<dyn Plugin>,
    found: Vec<Diagnostic>,
}

impl Run<'_> {
    fn all(&mut self) {
        let declared = self.plugin.manifest().clone();
        self.found.extend(declaration::check(&declared));
        if !self.activates() {
            return;
        }
        for hook in &declared.hooks {
            self.hook_answers(hook);
        }
        for tool in &declared.tools {
            self.tool_answers(tool);
        }
        self.samples_are_accepted();
        self.undeclared_names_stay_silent(&declared);
        let names = self.sane_names(&declared);
        self.calls_may_overlap(&names);
        self.calls_may_be_dropped(&names);
        self.health_is_told();
        self.activation_may_repeat();
        self.ends();
        if *self.plugin.manifest() != declared {
            self.error(
                "suite.manifest.changed",
                "the manifest is not the same at the end as it was before activation",
                "build the manifest once and keep it",
            );
        }
    }

    fn error(&mut self, code: &str, message: impl Into<String>, hint: &str) {
        self.found
            .push(Diagnostic::error(code, message).with_hint(hint));
    }

    fn warning(&mut self, code: &str, message: impl Into<String>, hint: &str) {
        self.found
            .push(Diagnostic::warning(code, message).with_hint(hint));
    }
}
