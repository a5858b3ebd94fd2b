//! Shortening a conversation that no longer fits.

use serde::{Deserialize, Serialize};

use super::{Ignored, Origin, hook};

hook! {
    /// Collected: every plugin may say what must not be lost; none can prevent it, as the agent
    /// would be stuck.
    CompactBefore = "compact.before", Collect, Compaction => CompactionReply,
    "The conversation is about to be shortened."
}

hook! {
    /// Observed: it has happened.
    CompactAfter = "compact.after", Observe, Compaction => Ignored,
    "The conversation was shortened."
}

/// A shortening of the conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compaction {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Who wanted it: `manual` or `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact_trigger: Option<String>,
    /// What the user wants to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// What is left, afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// What a plugin wants to be kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CompactionReply {
    /// What the summary must mention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}
