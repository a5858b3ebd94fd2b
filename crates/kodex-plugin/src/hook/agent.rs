//! Agents, subagents and their tasks.

use serde::{Deserialize, Serialize};

use super::{Advice, Ignored, Origin, Verdict, hook};

hook! {
    /// Collected, not decided: a plugin may ask the agent to keep working, but one that fails must
    /// not keep it working for ever.
    AgentStop = "agent.stop", Collect, Stop => Advice,
    "The agent is about to end its turn."
}

hook! {
    /// Observed: it has happened.
    AgentError = "agent.error", Observe, AgentFailure => Ignored,
    "The agent's turn ended with an error."
}

hook! {
    /// Observed: the user's word is final.
    AgentInterrupt = "agent.interrupt", Observe, Stop => Ignored,
    "The user interrupted the agent."
}

hook! {
    /// Decided: some agents let a hook forbid a subagent.
    SubagentStart = "subagent.start", Decide, Subagent => Verdict,
    "A subagent is about to start."
}

hook! {
    /// Collected, for the reason of `agent.stop`.
    SubagentStop = "subagent.stop", Collect, Stop => Advice,
    "A subagent is about to end its work."
}

hook! {
    /// Collected, for the reason of `agent.stop`.
    TeammateIdle = "teammate.idle", Collect, Stop => Advice,
    "An agent of a team has nothing to do."
}

hook! {
    /// Collected: every plugin's advice counts; a failing one must not lose the task.
    TaskCreated = "task.created", Collect, TaskEvent => Advice,
    "The agent put a task on its list."
}

hook! {
    /// Collected, for the reason of `agent.stop`.
    TaskCompleted = "task.completed", Collect, TaskEvent => Advice,
    "The agent marked a task of its list as done."
}

/// An agent that stops.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stop {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Whether the agent only works because an earlier reply to this hook told it to.
    #[serde(default)]
    pub stop_active: bool,
    /// The last thing the agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<String>,
}

/// A turn that ended with an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AgentFailure {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which kind of error, in the agent's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A subagent that is about to start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subagent {
    /// Where the call comes from; `agent_id` and `agent_type` say who starts.
    #[serde(flatten)]
    pub origin: Origin,
    /// What it is told to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// A task on the agent's own list. Not a scheduled task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskEvent {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What tells it from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The same at length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
