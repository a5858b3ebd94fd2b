//! What goes over the socket: params and answers of the methods, and how they fail.

use kodex::{
    Json, Record,
    contract::{tool::Caller, wire::work::SessionProjection},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// JSON as it was written: keys in their order, numbers with their digits. What passes here is not ours to
/// change, and a runtime that is asked directly does not change it either.
fn verbatim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Json::checked)
}

/// Params of `emit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmitParams {
    /// The hook.
    pub hook: String,
    /// What the plugins are given.
    #[serde(deserialize_with = "verbatim")]
    pub payload: Json,
    /// Whether the first failure ends it.
    #[serde(default)]
    pub fail_fast: bool,
    /// Ask only plugins that offer this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Whether to give the whole outcome, combined as the hook wants it, or the list of replies.
    #[serde(default)]
    pub outcome: bool,
    /// See [`Like`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<Like>,
}

/// Params of `call`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallParams {
    /// The tool: the name that models see, or `plugin/tool`.
    pub tool: String,
    /// What it is given.
    #[serde(deserialize_with = "verbatim")]
    pub input: Json,
    /// Who calls and from where, for tools that act for a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// See [`Like`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<Like>,
}

/// Params of `sessions/complete`; the answer is [`kodex::Followers`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionParams {
    /// The session that has ended.
    pub session: SessionProjection,
    /// See [`Like`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<Like>,
}

/// Answer only where a runtime made now, from this configuration, would have the same plugins; otherwise the
/// refusal is [`OTHER`] and nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Like {
    /// The digest of the configuration.
    pub config: String,
}

/// The code for: ask somebody else, this runtime is not the one that you mean.
pub const OTHER: &str = "daemon.other";
/// The code for: nothing new is begun any more.
pub const DRAINING: &str = "daemon.draining";

/// Answer of `emit` and `call`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answered {
    /// What came out.
    #[serde(deserialize_with = "verbatim")]
    pub answer: Json,
    /// Candidates that could not be loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Record>,
}

/// Params of `runs/list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListParams {
    /// `run` or `job`; none for both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of which plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// In which states, as the store names them; empty for all.
    pub states: Vec<String>,
    /// How many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Params of `runs/show`, `runs/cancel` and `runs/retry`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdParams {
    /// Which run or job.
    pub id: String,
}

/// Params of `runs/logs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsParams {
    /// Which run or job.
    pub id: String,
    /// Only lines with a higher number.
    #[serde(default)]
    pub after: u64,
    /// How many at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Answer of `runs/cancel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAnswer {
    /// Whether it has ended already; otherwise it is told.
    pub ended: bool,
}

/// Params of methods that have none.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// How a method failed: the error that the runtime gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable code.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether what was asked could never be, as against something that failed.
    #[serde(default)]
    pub usage: bool,
    /// Candidates that could not be loaded, where that may have to do with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Record>,
}

impl Refusal {
    /// A failed request.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            hint: None,
            usage: false,
            refused: Vec::new(),
        }
    }
}

/// The `error` of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// JSON-RPC's number.
    pub code: i32,
    /// For people.
    pub message: String,
    /// The same with its stable code.
    #[serde(default)]
    pub data: Option<Refusal>,
}

#[cfg(test)]
mod tests {
    use super::{Answered, CallParams, EmitParams};

    /// What came is what goes.
    #[test]
    fn json_passes_as_it_was_written() {
        let json = r#"{"b":1.0,"a":[1e5,12345678901234567890123456789012],"é":{}}"#;
        let emit = format!(r#"{{"hook":"a.b","payload":{json}}}"#);
        let emit: EmitParams = serde_json::from_str(&emit).expect("params");
        let call = format!(r#"{{"tool":"a/b","input":{json}}}"#);
        let call: CallParams = serde_json::from_str(&call).expect("params");
        let answered = format!(r#"{{"answer":{json}}}"#);
        let answered: Answered = serde_json::from_str(&answered).expect("an answer");
        for passed in [emit.payload, call.input, answered.answer] {
            assert_eq!(passed.text(), json);
        }
    }
}
