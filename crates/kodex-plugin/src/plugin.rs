//! What the host calls: the [`Plugin`] trait, its requests and replies.
//!
//! Hooks, tools, jobs and reports are all requests, so adding a hook never changes the trait.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Host, Json, Manifest, Permission, PluginError, PluginName, tool::Caller};

/// A plugin, alive in a runtime. Every backend turns its kind of code into this.
///
/// All methods may be called from any thread. The host guards each call with a deadline, a
/// concurrency limit, a breaker and a panic catch; an implementation needs none of its own.
pub trait Plugin: Send + Sync + 'static {
    /// What the plugin declares. The same for its whole life.
    fn manifest(&self) -> &Manifest;

    /// Called once before the first request.
    ///
    /// # Errors
    /// A plugin that cannot start says why; its calls then fail with that text.
    fn activate(&self, context: Context) -> Call<'_, ()> {
        drop(context);
        Call::Ready(Ok(()))
    }

    /// The plugin's migrations, names and texts, for a plugin that is linked into the host and declares
    /// a database. Others have a folder.
    fn migrations(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`PluginError`] with the kind of failure.
    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply>;

    /// Called when the plugin leaves the catalog. No request follows.
    fn deactivate(&self) -> Call<'_, ()> {
        Call::Ready(Ok(()))
    }

    /// How the code behind the plugin is doing, for reports. Must not block.
    fn health(&self) -> Health {
        Health::default()
    }
}

/// What a report can say of the code behind a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Health {
    /// Whether a process is up, waiting to be restarted, or given up.
    pub state: Life,
    /// The process, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often the process was started again after it died.
    pub restarts: u64,
    /// Answers that came too late, twice, or to no request.
    pub discarded: u64,
    /// Messages and log bytes that were dropped because there were too many.
    pub dropped: u64,
    /// The end of what the plugin wrote to its log, lossy where it is no UTF-8.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
}

/// The life of the code behind a plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Nothing runs; it starts at the first request. Native plugins are always idle.
    #[default]
    Idle,
    /// A process is up.
    Running,
    /// The process died and waits for its restart.
    BackOff,
    /// The process died too often; somebody has to decide.
    Quarantined,
}

/// The answer to a call: there at once, or later.
///
/// A plugin that answers at once costs neither an allocation nor a timer.
pub enum Call<'a, T> {
    /// The answer is here.
    Ready(Result<T, PluginError>),
    /// The answer comes later. Dropping the future cancels the call.
    Pending(Pin<Box<dyn Future<Output = Result<T, PluginError>> + Send + 'a>>),
}

impl<'a, T> Call<'a, T> {
    /// An answer that comes later.
    pub fn pending(future: impl Future<Output = Result<T, PluginError>> + Send + 'a) -> Self {
        Self::Pending(Box::pin(future))
    }
}

impl<T> std::fmt::Debug for Call<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready",
            Self::Pending(_) => "Pending",
        })
    }
}

/// What kind of request it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RequestKind {
    /// A hook call; the name is the hook's.
    Hook,
    /// A tool call; the name is the tool's name inside the plugin.
    Tool,
    /// A data step of the plugin's journal; the name is the file's name up to the first dot. Only an
    /// upgrade asks for it.
    Step,
}

impl RequestKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Tool => "tool",
            Self::Step => "step",
        }
    }
}

/// When a call must be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The moment, on the host's monotonic clock.
    pub at: Instant,
    /// The whole span that was given at the start.
    pub timeout: Duration,
}

/// One call into a plugin.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Hook, tool or step.
    pub kind: RequestKind,
    /// The name of the hook, tool or step.
    pub name: &'a str,
    /// The hook's payload or the tool's input.
    pub payload: &'a Json,
    /// When the answer is due. The host enforces it; it is here so that a plugin can plan.
    pub deadline: Deadline,
    /// For tools: who calls and from where. None where the host does not know.
    pub caller: Option<&'a Caller>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.kind.as_str(), self.name)
    }
}

/// What a plugin answers: a document, or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply(pub Option<Json>);

impl Reply {
    /// No answer; the plugin has nothing to say on this hook.
    #[must_use]
    #[inline]
    pub fn nothing() -> Self {
        Self(None)
    }
}

impl From<Json> for Reply {
    #[inline]
    fn from(json: Json) -> Self {
        Self(Some(json))
    }
}

impl From<serde_json::Value> for Reply {
    #[inline]
    fn from(value: serde_json::Value) -> Self {
        Self(Some(Json::from(value)))
    }
}

/// What a plugin is given when it is activated.
#[derive(Clone)]
pub struct Context {
    /// The plugin's name.
    pub plugin: PluginName,
    /// The context object of the configuration: what the user set for this plugin.
    pub config: Json,
    /// What the plugin may use.
    pub grants: Vec<Permission>,
    /// The way back to the host.
    pub host: Arc<dyn Host>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("plugin", &self.plugin)
            .field("grants", &self.grants.len())
            .finish_non_exhaustive()
    }
}
