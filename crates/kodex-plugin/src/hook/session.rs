//! The life of a session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Ignored, Origin, hook};

hook! {
    /// Collected, not observed: agents let plugins add context and variables here, and
    /// plugins that teach the agent something do nothing else.
    SessionStart = "session.start", Collect, SessionEvent => SessionSetup,
    "A session begins, anew or again."
}

hook! {
    /// Observed: nothing follows.
    SessionEnd = "session.end", Observe, SessionEvent => Ignored,
    "A session is over."
}

hook! {
    /// Observed: it has happened.
    SessionSwitch = "session.switch", Observe, SessionEvent => Ignored,
    "The user went on in another session."
}

hook! {
    /// Observed: it has happened.
    SessionFork = "session.fork", Observe, SessionEvent => Ignored,
    "A session was copied to go two ways."
}

hook! {
    /// Observed: it has happened.
    SessionTree = "session.tree", Observe, SessionEvent => Ignored,
    "The user went to another point in the tree of a session."
}

/// A session that begins, ends or changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionEvent {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// How it began: `startup`, `resume`, `clear`, `compact`, `fork`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why it ended, in the agent's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The session it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_session_id: Option<String>,
}

/// What a plugin gives to a session at its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionSetup {
    /// Text that the model is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Environment variables for the session's commands.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Text for the user only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}
