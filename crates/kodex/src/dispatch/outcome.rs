//! What comes out of a dispatch: every answer by name, and what they add up to.

use kodex_plugin::{
    Combine, HookName, Json, PluginError, PluginName, Reply,
    hook::{Decision, Verdict},
};
use serde::{Deserialize, Serialize};

/// The combined result of one hook call over all subscribers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The hook.
    pub hook: HookName,
    /// How the replies were combined.
    pub combine: Combine,
    /// One entry for each plugin that was asked, in order.
    pub entries: Vec<Entry>,
    /// What the entries add up to.
    pub folded: Folded,
}

/// What one plugin answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The plugin.
    pub plugin: PluginName,
    /// Its reply, or how the call failed.
    pub result: Result<Reply, PluginError>,
}

/// What the replies of one hook call add up to, by combine mode.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Folded {
    /// Observe and collect: nothing beyond the entries.
    Nothing,
    /// Chain: the payload after the last plugin.
    Payload(Json),
    /// Chain: a required plugin failed, so the chain was stopped.
    Stopped(Ruling),
    /// Decide: what the plugins decided together.
    Decided(Ruling),
    /// First: the reply that won, and whose it is.
    Won(PluginName, Json),
    /// First: nobody had a reply.
    NobodyAnswered,
}

/// A verdict and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ruling {
    /// The decision, why, and what goes with it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The plugin that was strictest; absent when nobody objected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginName>,
}

impl Ruling {
    /// Nobody objected.
    #[must_use]
    pub fn allow() -> Self {
        Self {
            verdict: Verdict::allow(),
            plugin: None,
        }
    }

    /// The decision alone.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.verdict.decision
    }
}

impl Outcome {
    /// The replies, without failures and without plugins that had nothing to say.
    pub fn replies(&self) -> impl Iterator<Item = (&PluginName, &Json)> {
        self.entries.iter().filter_map(|entry| match &entry.result {
            Ok(Reply(Some(json))) if !json.is_null() => Some((&entry.plugin, json)),
            _ => None,
        })
    }

    /// The failures.
    pub fn failures(&self) -> impl Iterator<Item = (&PluginName, &PluginError)> {
        self.entries.iter().filter_map(|entry| {
            entry
                .result
                .as_ref()
                .err()
                .map(|error| (&entry.plugin, error))
        })
    }

    /// The decision of a decide hook; deny when a required plugin of a chain failed; otherwise allow.
    #[must_use]
    pub fn ruling(&self) -> Ruling {
        match &self.folded {
            Folded::Decided(ruling) | Folded::Stopped(ruling) => ruling.clone(),
            _ => Ruling::allow(),
        }
    }
}
