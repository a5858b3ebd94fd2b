//! What comes out of a dispatch: every answer by name, and what they add up to.

use kodex_plugin::{Combine, HookName, Json, PluginError, PluginName, Reply};
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
    Stopped(Verdict),
    /// Decide: what the plugins decided together.
    Decided(Verdict),
    /// First: the reply that won, and whose it is.
    Won(PluginName, Json),
    /// First: nobody had a reply.
    NobodyAnswered,
}

/// Allow, ask or deny, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// Why, for people and for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whose decision it was; absent when nobody objected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginName>,
}

impl Verdict {
    /// Nobody objected.
    #[must_use]
    pub fn allow() -> Self {
        Self { decision: Decision::Allow, reason: None, plugin: None }
    }
}

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Go ahead.
    Allow,
    /// A person has to decide.
    Ask,
    /// Do not.
    Deny,
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
        self.entries
            .iter()
            .filter_map(|entry| entry.result.as_ref().err().map(|error| (&entry.plugin, error)))
    }

    /// The decision of a decide hook; deny when a required plugin of a chain failed; otherwise allow.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.folded {
            Folded::Decided(verdict) | Folded::Stopped(verdict) => verdict.clone(),
            _ => Verdict::allow(),
        }
    }
}
