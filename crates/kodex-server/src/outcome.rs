//! What a hook call gave, as JSON: the first runtime's list of replies, and the whole outcome. The command
//! line prints it whether it called the hook itself or had a resident runtime call it.

use kodex::{Combine, Folded, Json, Outcome, PluginError, Ruling, ToolError};
use serde::Serialize;

/// The version of the whole outcome's form.
const VERSION: u32 = 1;

/// One element of the list of replies.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Line {
    /// A reply, as the plugin wrote it.
    Reply(Json),
    /// In place of a reply: how the plugin failed.
    Failed {
        /// The plugin.
        plugin: String,
        /// How, for people.
        error: String,
        /// The hook.
        hook: String,
    },
}

/// The replies in order, a failure in place of a reply. Plugins with nothing to say are left out.
#[must_use]
pub fn replies(outcome: &Outcome) -> Vec<Line> {
    let line = |entry: &kodex::Entry| match &entry.result {
        Ok(reply) => reply
            .0
            .clone()
            .filter(|json| !json.is_null())
            .map(Line::Reply),
        Err(error) => Some(Line::Failed {
            plugin: entry.plugin.to_string(),
            error: error.message.clone(),
            hook: outcome.hook.to_string(),
        }),
    };
    outcome.entries.iter().filter_map(line).collect()
}

/// Everything about one hook call.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Whole {
    /// The version of this form: 1.
    outcome: u32,
    hook: String,
    combine: Combine,
    /// One for each plugin that was asked, in order.
    entries: Vec<Answer>,
    result: Sum,
}

/// What one plugin answered: a reply, a failure, or nothing.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Answer {
    plugin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
}

/// How a call failed.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failed {
    /// `error`, `timeout`, `crash`, ...
    kind: String,
    /// The stable code.
    code: String,
    message: String,
}

impl From<&PluginError> for Failed {
    fn from(error: &PluginError) -> Self {
        Self {
            kind: error.failure.as_str().to_owned(),
            code: error.code.to_string(),
            message: error.message.clone(),
        }
    }
}

/// What the answers add up to.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Sum {
    /// Nothing beyond the answers.
    Nothing,
    /// A chain ran to its end with this payload.
    Payload { payload: Json },
    /// A required plugin failed, so the chain was stopped.
    Stopped { verdict: Ruling },
    /// What the plugins decided together.
    Decided { verdict: Ruling },
    /// The reply that won, and whose it is.
    Won { plugin: String, reply: Json },
    /// Nobody had a reply.
    NobodyAnswered,
}

impl From<&Outcome> for Whole {
    fn from(outcome: &Outcome) -> Self {
        let answer = |entry: &kodex::Entry| Answer {
            plugin: entry.plugin.to_string(),
            reply: entry.result.as_ref().ok().and_then(|reply| reply.0.clone()),
            failure: entry.result.as_ref().err().map(Failed::from),
        };
        Self {
            outcome: VERSION,
            hook: outcome.hook.to_string(),
            combine: outcome.combine,
            entries: outcome.entries.iter().map(answer).collect(),
            result: Sum::from(&outcome.folded),
        }
    }
}

impl From<&Folded> for Sum {
    fn from(folded: &Folded) -> Self {
        match folded {
            Folded::Payload(payload) => Self::Payload {
                payload: payload.clone(),
            },
            Folded::Stopped(verdict) => Self::Stopped {
                verdict: verdict.clone(),
            },
            Folded::Decided(verdict) => Self::Decided {
                verdict: verdict.clone(),
            },
            Folded::Won(plugin, reply) => Self::Won {
                plugin: plugin.to_string(),
                reply: reply.clone(),
            },
            Folded::NobodyAnswered => Self::NobodyAnswered,
            _ => Self::Nothing,
        }
    }
}

/// What to do about a tool call without a result.
#[must_use]
pub fn advice(error: &ToolError) -> Option<String> {
    match error {
        ToolError::Unknown {
            similar: Some(similar),
            ..
        } => Some(format!("did you mean `{similar}`?")),
        ToolError::Unknown { .. } => Some("`kodex call` without a name lists the tools".to_owned()),
        _ => None,
    }
}
