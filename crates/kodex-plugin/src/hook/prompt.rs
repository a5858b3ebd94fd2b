//! What the user says, on its way to the model.

use serde::{Deserialize, Serialize};

use super::{Origin, Verdict, hook};

hook! {
    /// Decided: for guards. A guard that fails denies, which is why it has a hook of its own and
    /// enriching plugins cannot block a prompt by being slow.
    PromptGate = "prompt.gate", Decide, Prompt => Verdict,
    "Whether a prompt may go to the model at all."
}

hook! {
    /// A chain: each plugin sees the prompt as the one before left it, and one that fails leaves
    /// it as it was. A refusal here can be undone by a later plugin; a guard uses `prompt.gate`.
    PromptSubmit = "prompt.submit", Chain, Prompt => Prompt,
    "The user sent a prompt; plugins may change it and add context."
}

hook! {
    /// A chain: the text that one plugin expands may hold what another one expands.
    PromptExpand = "prompt.expand", Chain, Expansion => Expansion,
    "A command or template of the user is turned into a prompt."
}

hook! {
    /// Collected: contributions stand beside each other, each under its plugin's name and budget.
    PromptContribute = "prompt.contribute", Collect, ContributionRequest => Contribution,
    "The prompt is put together and plugins may add their part."
}

/// A prompt of the user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Prompt {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The text.
    pub prompt: String,
    /// Texts that plugins add for the model, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// Why a plugin wants the prompt not to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// A command that becomes a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Expansion {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The command's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What the user wrote after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// The text so far.
    pub prompt: String,
}

/// Which part of the prompt is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PromptPart {
    /// The standing instructions. The same for every session, so nothing in it may depend on one.
    System,
    /// The user's turn.
    User,
}

/// A question for contributions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContributionRequest {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Which part of the prompt.
    pub part: PromptPart,
    /// What the user wrote; absent for the system part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// What one plugin adds to the prompt. Accepted or left out as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Contribution {
    /// The texts, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<ContributedMessage>,
}

/// One text for the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContributedMessage {
    /// 1 to 8,000 characters.
    pub text: String,
}
