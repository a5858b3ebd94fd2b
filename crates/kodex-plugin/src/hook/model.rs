//! Requests to the model and its answers.

use serde::{Deserialize, Serialize};

use super::{Ignored, Origin, Verdict, hook};
use crate::Json;

hook! {
    /// A chain: each plugin sees the request as the one before left it.
    ModelRequest = "model.request", Chain, ModelCall => ModelCall,
    "A request is about to go to the model; plugins may change it."
}

hook! {
    /// A chain: what one plugin removes, the next one must not see again.
    ModelResponse = "model.response", Chain, ModelAnswer => ModelAnswer,
    "The model answered; plugins may change what is shown and kept."
}

hook! {
    /// Decided: agents let a hook forbid the switch.
    ModelSwitchBefore = "model.switch.before", Decide, ModelSwitch => Verdict,
    "Another model is about to be used."
}

hook! {
    /// Observed: it has happened.
    ModelSwitchAfter = "model.switch.after", Observe, ModelSwitch => Ignored,
    "Another model is used from now on."
}

/// A request to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelCall {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The request in the form of the model's provider.
    pub request: Json,
}

/// An answer of the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelAnswer {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The model's reasoning, where the agent shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// The whole answer in the form of the model's provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Json>,
}

/// A change of the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelSwitch {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The model so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The model from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}
