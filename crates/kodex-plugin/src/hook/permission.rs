//! Questions to the user about what the agent may do.

use serde::{Deserialize, Serialize};

use super::{Ignored, ToolCall, Verdict, hook};
use crate::Json;

hook! {
    /// Decided: in the place of the user, with the same force.
    PermissionRequest = "permission.request", Decide, PermissionQuestion => Verdict,
    "The agent is about to ask the user whether a tool call may happen."
}

hook! {
    /// Observed: the decision is made.
    PermissionDenied = "permission.denied", Observe, PermissionRefusal => Ignored,
    "A tool call was not allowed."
}

/// A tool call about which the user would be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PermissionQuestion {
    /// The call.
    #[serde(flatten)]
    pub call: ToolCall,
    /// Rules that the agent offers to remember, in its own form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestions: Option<Json>,
}

/// A tool call that was not allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PermissionRefusal {
    /// The call.
    #[serde(flatten)]
    pub call: ToolCall,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
