//! Events of the runtime itself.

use serde::{Deserialize, Serialize};

use super::{Ignored, hook};

hook! {
    /// Collected, so that the count of started work is known and one plugin's failure is named
    /// without stopping the others. It has the time of a job, not of a hook in an agent's way.
    Heartbeat = "heartbeat", Collect, Beat => BeatReply,
    "The periodic call in which plugins do what is due.",
    Duration::from_secs(30)
}

hook! {
    /// Observed: the scheduler starts the work itself.
    ScheduleDue = "schedule.due", Observe, DueOccurrence => Ignored,
    "An occurrence of a scheduled task is due."
}

hook! {
    /// Observed: it has happened.
    PluginLoaded = "plugin.loaded", Observe, PluginEvent => Ignored,
    "A plugin joined the catalog."
}

hook! {
    /// Observed: it has happened.
    PluginFailed = "plugin.failed", Observe, PluginEvent => Ignored,
    "A plugin could not be loaded or was quarantined."
}

hook! {
    /// Observed: it has happened.
    BreakerOpen = "breaker.open", Observe, PluginEvent => Ignored,
    "A plugin failed too often and is not called for a while."
}

hook! {
    /// Observed: what may be remembered is decided by the memory's own policy.
    MemoryWrite = "memory.write", Observe, MemoryEvent => Ignored,
    "A memory was written, changed or forgotten."
}

/// One heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Beat {
    /// The host's time, in milliseconds since 1970-01-01 UTC.
    pub now_unix_ms: u64,
    /// The right to ask for agent runs, until this call is over.
    #[serde(default)]
    pub ticket: u64,
}

/// What a plugin did in a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BeatReply {
    /// How many agent runs it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_started: Option<u64>,
}

/// An occurrence that is due.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DueOccurrence {
    /// The scheduled task.
    pub task_id: String,
    /// When it should run, in milliseconds since 1970-01-01 UTC.
    pub due_at_unix_ms: u64,
    /// The plugin that owns the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
}

/// Something that happened to a plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PluginEvent {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The hook or tool it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// The stable code of the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The problem, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Until when it is not called, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
}

/// A change of a memory. The text itself is not told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemoryEvent {
    /// The memory.
    pub memory_id: String,
    /// `written`, `changed` or `forgotten`.
    pub action: String,
    /// Which kind of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whom or what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}
