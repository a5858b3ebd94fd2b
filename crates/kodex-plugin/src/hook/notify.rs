//! Messages to the user.

use serde::{Deserialize, Serialize};

use super::{Ignored, Origin, hook};

hook! {
    /// Observed: for forwarding, never for answering.
    Notify = "notify", Observe, Notice => Ignored,
    "The agent tells the user something, such as that it waits for an answer."
}

/// A message to the user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Notice {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its heading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Which kind of message, in the agent's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}
