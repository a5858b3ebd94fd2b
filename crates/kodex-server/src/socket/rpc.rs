//! JSON-RPC 2.0 around the methods: requests as they come, answers as they go.

use kodex::{Json, Limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    FrameError,
    wire::{ErrorDetail, Refusal},
};

const NO_JSON: i32 = -32700;
const NO_REQUEST: i32 = -32600;
const NO_METHOD: i32 = -32601;
const BAD_PARAMS: i32 = -32602;
/// Everything that has a code of ours.
const FAILED: i32 = -32000;

/// How a request names itself: a number or a short text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    jsonrpc: String,
    id: Id,
    method: String,
    /// As they were written.
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) id: Id,
    pub(super) method: String,
    pub(super) params: Json,
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// What is to be answered instead.
    pub(super) fn read(line: &[u8], limits: &Limits) -> Result<Self, Reply> {
        let refused = |number, text: String| {
            let refusal = Refusal::new(number_code(number), text);
            Reply::error(None, number, refusal)
        };
        let text = std::str::from_utf8(line)
            .map_err(|error| refused(NO_JSON, format!("the message is no UTF-8: {error}")))?;
        // The envelope is a level of its own.
        let limits = Limits {
            depth: limits.depth.saturating_add(2),
            frame_bytes: usize::MAX,
            ..limits.clone()
        };
        let json = Json::parse(text.trim(), &limits).map_err(|error| {
            refused(
                NO_JSON,
                format!("the message is no JSON that is taken: {error}"),
            )
        })?;
        let written: Written = json
            .to()
            .map_err(|error| refused(NO_REQUEST, format!("the message is no request: {error}")))?;
        if written.jsonrpc != "2.0" {
            let text = "the message is no request: `jsonrpc` is not \"2.0\"".to_owned();
            return Err(refused(NO_REQUEST, text));
        }
        Ok(Self {
            id: written.id,
            method: written.method,
            params: written.params.map_or_else(Json::object, Json::checked),
        })
    }
}

/// The codes of what is no request of ours.
fn number_code(number: i32) -> &'static str {
    match number {
        NO_METHOD => "daemon.method",
        BAD_PARAMS => "daemon.params",
        _ => "daemon.message",
    }
}

/// What a method gives.
pub(super) type Answer = Result<Box<RawValue>, Refusal>;

/// One answer.
#[derive(Debug, Serialize)]
pub(crate) struct Reply {
    jsonrpc: &'static str,
    id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorDetail>,
}

impl Reply {
    pub(super) fn new(id: Id, answer: Answer) -> Self {
        match answer {
            Ok(result) => Self {
                jsonrpc: "2.0",
                id: Some(id),
                result: Some(result),
                error: None,
            },
            Err(refusal) => {
                let number = match refusal.code.as_str() {
                    "daemon.method" => NO_METHOD,
                    "daemon.params" => BAD_PARAMS,
                    _ => FAILED,
                };
                Self::error(Some(id), number, refusal)
            }
        }
    }

    /// An answer to nobody in particular.
    pub(super) fn refusal(refusal: Refusal) -> Self {
        Self::error(None, NO_REQUEST, refusal)
    }

    fn error(id: Option<Id>, number: i32, refusal: Refusal) -> Self {
        Self {
            jsonrpc: "2.0",
            id,
            result: None,
            error: Some(ErrorDetail {
                code: number,
                message: refusal.message.clone(),
                data: Some(refusal),
            }),
        }
    }

    /// The line, with its end.
    pub(super) fn line(&self) -> String {
        // Its parts are JSON already.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

pub(super) fn stranger() -> Refusal {
    Refusal::new("daemon.stranger", "the socket is for the user who runs it")
}

pub(super) fn unreadable(error: &FrameError) -> Refusal {
    Refusal::new("daemon.message", error.to_string())
}

pub(super) fn unknown_method(method: &str) -> Refusal {
    let known = super::methods::NAMES.join(", ");
    let shown: String = method.chars().take(64).collect();
    Refusal::new(
        "daemon.method",
        format!("there is no method {shown:?}; there are {known}"),
    )
}

pub(super) fn bad_params(method: &str, error: &serde_json::Error) -> Refusal {
    Refusal::new(
        "daemon.params",
        format!("the params of {method} are not as they should be: {error}"),
    )
}
