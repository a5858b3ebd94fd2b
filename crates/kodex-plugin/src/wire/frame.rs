//! JSON-RPC 2.0 envelopes, one per line. Payloads stay raw text.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{JsonError, Limits, json};

/// The identifier of a request. Kodex sends whole numbers; plugins may also use short texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(u64),
    /// A text of at most 64 bytes.
    Text(String),
}

const ID_TEXT_MAX: usize = 64;

/// The `error` member of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorObject {
    /// JSON-RPC number; see the `code` module.
    pub code: i64,
    /// For people.
    pub message: String,
    /// Details, with Kodex's stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ErrorDetail>,
}

/// Details of an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorDetail {
    /// Stable code, such as `plugin.raised`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where it happened, for the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

/// One message.
#[derive(Debug)]
pub enum Frame<'a> {
    /// Asks for an answer.
    Request {
        /// Names the answer.
        id: Id,
        /// What to do.
        method: Cow<'a, str>,
        /// With what.
        params: Option<&'a RawValue>,
    },
    /// Tells something.
    Notification {
        /// What.
        method: Cow<'a, str>,
        /// With what.
        params: Option<&'a RawValue>,
    },
    /// Answers a request.
    Response {
        /// Of which request.
        id: Id,
        /// Result or error.
        result: Result<&'a RawValue, ErrorObject>,
    },
}

/// Why a line is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The line breaks a bound or is no JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The line is JSON but no JSON-RPC 2.0 message.
    #[error("no JSON-RPC 2.0 message: {0}")]
    Envelope(String),
}

impl FrameError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(JsonError::TooLong { .. }) => "wire.frame.too_long",
            Self::Json(JsonError::TooDeep { .. }) => "wire.frame.too_deep",
            Self::Json(JsonError::Syntax { .. }) => "wire.frame.syntax",
            Self::Envelope(_) => "wire.frame.envelope",
        }
    }
}

// serde rejects a repeated key of a struct, which keeps two readers from seeing two messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    id: Option<Id>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<ErrorObject>,
}

/// Keeps `"result": null` apart from no result.
pub(super) fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Reads one line (without its newline; a carriage return before it is accepted).
///
/// # Errors
/// [`FrameError`] says what is wrong with the line.
pub fn parse<'a>(line: &'a [u8], limits: &Limits) -> Result<Frame<'a>, FrameError> {
    json::check(line, limits)?;
    let envelope: Envelope<'a> =
        serde_json::from_slice(line).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => FrameError::Envelope(error.to_string()),
            _ => FrameError::Json(JsonError::Syntax {
                message: error.to_string(),
                line: 1,
                column: error.column(),
            }),
        })?;
    if envelope.jsonrpc != "2.0" {
        return Err(FrameError::Envelope("\"jsonrpc\" must be \"2.0\"".into()));
    }
    if matches!(&envelope.id, Some(Id::Text(text)) if text.len() > ID_TEXT_MAX) {
        return Err(FrameError::Envelope(format!(
            "\"id\" has more than {ID_TEXT_MAX} bytes"
        )));
    }
    match envelope {
        Envelope {
            method: Some(method),
            id,
            params,
            result: None,
            error: None,
            ..
        } => Ok(match id {
            Some(id) => Frame::Request { id, method, params },
            None => Frame::Notification { method, params },
        }),
        Envelope {
            id: Some(id),
            method: None,
            result: Some(result),
            error: None,
            params: None,
            ..
        } => Ok(Frame::Response {
            id,
            result: Ok(result),
        }),
        Envelope {
            id: Some(id),
            method: None,
            error: Some(error),
            result: None,
            params: None,
            ..
        } => Ok(Frame::Response {
            id,
            result: Err(error),
        }),
        _ => Err(FrameError::Envelope(
            "a message has a method, or an id with either a result or an error".into(),
        )),
    }
}

#[derive(Serialize)]
struct Outgoing<'a, P: Serialize> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    method: &'a str,
    params: P,
}

#[derive(Serialize)]
struct Answer<'a, R: Serialize> {
    jsonrpc: &'static str,
    id: &'a Id,
    #[serde(flatten)]
    body: Body<'a, R>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Body<'a, R> {
    Result(R),
    Error(&'a ErrorObject),
}

fn line(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// A request as a line.
///
/// # Errors
/// Fails where serde fails on the parameters.
pub fn write_request<P: Serialize>(
    id: &Id,
    method: &str,
    params: P,
) -> Result<Vec<u8>, serde_json::Error> {
    line(&Outgoing {
        jsonrpc: "2.0",
        id: Some(id),
        method,
        params,
    })
}

/// A notification as a line.
///
/// # Errors
/// Fails where serde fails on the parameters.
pub fn write_notification<P: Serialize>(
    method: &str,
    params: P,
) -> Result<Vec<u8>, serde_json::Error> {
    line(&Outgoing {
        jsonrpc: "2.0",
        id: None,
        method,
        params,
    })
}

/// An answer as a line.
///
/// # Errors
/// Fails where serde fails on the result.
pub fn write_result<R: Serialize>(id: &Id, result: R) -> Result<Vec<u8>, serde_json::Error> {
    line(&Answer {
        jsonrpc: "2.0",
        id,
        body: Body::Result(result),
    })
}

/// An error answer as a line.
///
/// # Errors
/// Does not fail for the types of this crate.
pub fn write_error(id: &Id, error: &ErrorObject) -> Result<Vec<u8>, serde_json::Error> {
    line(&Answer::<()> {
        jsonrpc: "2.0",
        id,
        body: Body::Error(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> String {
        match parse(line.as_bytes(), &Limits::default()) {
            Ok(Frame::Request { id, method, .. }) => format!("request {id:?} {method}"),
            Ok(Frame::Notification { method, .. }) => format!("notification {method}"),
            Ok(Frame::Response {
                id,
                result: Ok(result),
            }) => format!("result {id:?} {}", result.get()),
            Ok(Frame::Response {
                id,
                result: Err(error),
            }) => format!("error {id:?} {}", error.code),
            Err(error) => error.code().to_owned(),
        }
    }

    #[test]
    fn lines_become_messages_or_named_errors() {
        for (line, want) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"call","params":{}}"#,
                "request Number(1) call",
            ),
            (
                "{\"jsonrpc\":\"2.0\",\"method\":\"log\"}\r",
                "notification log",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
                "result Number(1) null",
            ),
            (
                r#"{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":""}}"#,
                "error Text(\"a\") -1",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"id":2,"result":1}"#,
                "wire.frame.envelope",
            ),
            (
                r#"{"jsonrpc":"2.0","method":"a","method":"b"}"#,
                "wire.frame.envelope",
            ),
            (
                r#"{"jsonrpc":"1.0","id":1,"result":1}"#,
                "wire.frame.envelope",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1.5,"result":1}"#,
                "wire.frame.envelope",
            ),
            (
                r#"{"jsonrpc":"2.0","id":-1,"result":1}"#,
                "wire.frame.envelope",
            ),
            (r#"{"jsonrpc":"2.0","id":1}"#, "wire.frame.envelope"),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}"#,
                "wire.frame.envelope",
            ),
            (r#"{"jsonrpc":"2.0","result":1}"#, "wire.frame.envelope"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"call","result":1}"#,
                "wire.frame.envelope",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"call","error":{"code":1,"message":""}}"#,
                "wire.frame.envelope",
            ),
            (
                r#"[{"jsonrpc":"2.0","id":1,"result":1}]"#,
                "wire.frame.envelope",
            ),
            ("starting up ...", "wire.frame.syntax"),
            ("", "wire.frame.syntax"),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":"\ud800"}"#,
                "wire.frame.syntax",
            ),
            (
                &format!("{}1{}", "[".repeat(200), "]".repeat(200)),
                "wire.frame.too_deep",
            ),
        ] {
            assert_eq!(check(line), want, "{line:.60}");
        }
    }
}
