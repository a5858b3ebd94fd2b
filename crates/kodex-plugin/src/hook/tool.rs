//! Calls of tools, before and after.

use serde::{Deserialize, Serialize};

use super::{Advice, Decision, Ignored, Origin, Verdict, hook};
use crate::Json;

hook! {
    /// A chain: each plugin sees the list as the one before left it. Names that were not offered
    /// mean nothing.
    ToolSelect = "tool.select", Chain, ToolChoice => ToolChoice,
    "The tools for the next request are chosen."
}

hook! {
    /// Decided: deny beats ask beats allow, and a guard that cannot answer denies. A new input
    /// comes with the verdict.
    ToolBefore = "tool.before", Decide, ToolCall => Verdict,
    "The agent is about to call a tool."
}

hook! {
    /// Observed: the decision is made.
    ToolDecided = "tool.decided", Observe, ToolDecision => Ignored,
    "It was decided whether a tool call may happen."
}

hook! {
    /// A chain, not observed: agents let plugins replace the output and talk back to the model, and
    /// what one plugin blackens, the next one must not see. A plugin that only watches replies
    /// with nothing and changes nothing.
    ToolAfter = "tool.after", Chain, ToolResult => ToolResult,
    "A tool call succeeded; plugins may change its output and add feedback."
}

hook! {
    /// Collected: there is no output to change, but every plugin's advice counts.
    ToolFailed = "tool.failed", Collect, ToolFailure => Advice,
    "A tool call failed."
}

hook! {
    /// Collected: every plugin's advice counts.
    ToolBatch = "tool.batch", Collect, ToolBatchResult => Advice,
    "All tool calls of one answer of the model are done."
}

/// The tools that the model will be offered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ToolChoice {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Names of the tools, in the agent's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ToolCall {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The tool, in the agent's own word.
    pub tool_name: String,
    /// Its input.
    pub tool_input: Json,
    /// What tells this call from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A tool call about which was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ToolDecision {
    /// The call.
    #[serde(flatten)]
    pub call: ToolCall,
    /// What was decided.
    pub decision: Decision,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A tool call that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ToolResult {
    /// The call.
    #[serde(flatten)]
    pub call: ToolCall,
    /// What the tool gave.
    pub tool_output: Json,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Texts that plugins add for the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// What plugins found wrong with the result; the model is asked to mend it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feedback: Vec<String>,
}

/// A tool call that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ToolFailure {
    /// The call.
    #[serde(flatten)]
    pub call: ToolCall,
    /// What went wrong.
    pub tool_error: String,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// Tool calls that ran together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ToolBatchResult {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The calls, in the order of the model's answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<BatchedCall>,
}

/// One of several tool calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BatchedCall {
    /// The tool, in the agent's own word.
    pub tool_name: String,
    /// What tells this call from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_input: Option<Json>,
    /// What the tool gave, if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_output: Option<Json>,
    /// What went wrong, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_error: Option<String>,
}
