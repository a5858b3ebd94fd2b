//! Questions of MCP servers to the user.

use serde::{Deserialize, Serialize};

use super::{Origin, hook};
use crate::Json;

hook! {
    /// First: one answer is needed, and the user is asked when no plugin has one.
    McpElicit = "mcp.elicit", First, Elicitation => Elicited,
    "An MCP server asks the user for something."
}

hook! {
    /// A chain: each plugin sees the answer as the one before left it.
    McpElicitResult = "mcp.elicit.result", Chain, ElicitationResult => ElicitationResult,
    "An answer is about to go to an MCP server; plugins may change it."
}

/// A question of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Elicitation {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The server's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The question.
    pub message: String,
    /// JSON Schema of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Json>,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ElicitAction {
    /// It was answered.
    Accept,
    /// An answer was refused.
    Decline,
    /// It was put away without an answer.
    Cancel,
}

/// An answer to an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Elicited {
    /// What became of the question.
    pub action: ElicitAction,
    /// The answer, when it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Json>,
}

/// An answer on its way to an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ElicitationResult {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The server's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The answer.
    #[serde(flatten)]
    pub answer: Elicited,
}
