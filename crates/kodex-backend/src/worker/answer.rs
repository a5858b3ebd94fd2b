//! What a process answers to a request, and what that means for the caller.

use kodex_plugin::{
    Failure, Json, Limits, PluginError, json,
    wire::{CallResult, ErrorObject, code},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{table::Answer, tail::shown};
use crate::codes;

/// The form in which an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// `{"reply": ...}` or `{}`; the reply is handed on.
    Reply,
    /// Anything; the whole result is handed on.
    Result,
}

/// How much of a plugin's error text is kept.
const MESSAGE_MAX: usize = 8 << 10;
/// The longest code of its own that a plugin may give.
const CODE_MAX: usize = 64;

/// Reads the commonest line, an answer with a reply in the order in which SDKs write it, in one pass
/// over its bytes. Anything else gives nothing and goes the long way.
///
/// The line must have passed the front door. What is left after the known words are taken off is
/// parsed as exactly one JSON value, so no line passes here that the long way would read
/// differently.
pub(super) fn quick_reply(line: &[u8]) -> Option<(u64, &RawValue)> {
    let mut rest = line;
    for word in [r#"{"#, r#""jsonrpc""#, ":", r#""2.0""#, ",", r#""id""#, ":"] {
        rest = after(rest, word)?;
    }
    let (id, mut rest) = number(rest)?;
    for word in [",", r#""result""#, ":", "{", r#""reply""#, ":"] {
        rest = after(rest, word)?;
    }
    for _ in 0..2 {
        rest = rest.trim_ascii_end().strip_suffix(b"}")?;
    }
    serde_json::from_slice::<&RawValue>(rest)
        .ok()
        .map(|reply| (id, reply))
}

/// Takes off a word and the blank that some languages write after `:` and `,`.
fn after<'a>(text: &'a [u8], word: &str) -> Option<&'a [u8]> {
    let rest = text.strip_prefix(word.as_bytes())?;
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let n_digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(n_digits);
    if digits.len() > 1 && digits[0] == b'0' {
        return None;
    }
    let id = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((id, rest))
}

/// Reads a result in the form that is wanted.
pub(super) fn read_result(result: &RawValue, expected: Expected) -> Answer {
    match expected {
        Expected::Result => Ok(Some(Json::checked(result.to_owned()))),
        Expected::Reply => match serde_json::from_str::<CallResult<'_>>(result.get()) {
            Ok(CallResult { reply }) => Ok(reply.map(|reply| Json::checked(reply.to_owned()))),
            Err(error) => Err(codes::REPLY_INVALID.error(format!(
                "the result of the call must be {{\"reply\": ...}} or {{}}: {error}"
            ))),
        },
    }
}

/// What an error answer means for the caller.
pub(super) fn read_error(error: &ErrorObject) -> PluginError {
    let (failure, default) = match error.code {
        code::DOMAIN => (Failure::Domain, "tool.input.refused"),
        code::RAISED => (Failure::Raised, "plugin.raised"),
        code::METHOD_NOT_FOUND => (Failure::Raised, "method.unknown"),
        code::DENIED => (Failure::Raised, "permission.denied"),
        // Nobody waits for an answer that was cancelled, so this plugin cancelled by itself.
        code::CANCELLED => (Failure::Raised, "call.cancelled"),
        code::INTERNAL => (Failure::Raised, "internal"),
        code::PARSE => (Failure::Protocol, "wire.frame.syntax"),
        code::INVALID_REQUEST => (Failure::Protocol, "wire.frame.envelope"),
        code::INVALID_PARAMS => (Failure::Protocol, "params.invalid"),
        code::NOT_INITIALIZED => (Failure::Protocol, "not_initialized"),
        _ => (Failure::Raised, "plugin.raised"),
    };
    let own = error
        .data
        .as_ref()
        .and_then(|data| data.code.as_deref())
        .filter(|code| is_code(code));
    let message = match error.message.trim() {
        // The text of an exception is the plugin's own word, kept to the letter; a line is bounded.
        _ if error.code == code::RAISED => error.message.clone(),
        "" => format!("the plugin answered with error {}", error.code),
        message => clip(message),
    };
    match own {
        Some(own) => PluginError::new(failure, own.to_owned(), message),
        None => PluginError::new(failure, default, message),
    }
}

/// A plugin may name its own errors, but not speak in the host's name.
fn is_code(code: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    !code.is_empty()
        && code.len() <= CODE_MAX
        && code.bytes().all(plain)
        && !["worker.", "host.", "backend."]
            .iter()
            .any(|family| code.starts_with(family))
}

fn clip(text: &str) -> String {
    if text.len() <= MESSAGE_MAX {
        return text.to_owned();
    }
    let cut = (0..=MESSAGE_MAX)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", &text[..cut])
}

/// An answer whose envelope is right but for its id or its error: it belongs to nobody, or to one
/// call, and is no reason to end a process.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Loose<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What a line that is no proper message still is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// An answer to this request, with an error that has no proper form.
    BadError(u64),
    /// An answer with an id that the host never gives.
    StrangeId,
    /// No answer at all.
    NoMessage,
}

pub(super) fn misfit(line: &[u8]) -> Misfit {
    match serde_json::from_slice::<Loose<'_>>(line) {
        Ok(loose) if loose.jsonrpc == "2.0" && loose.result.is_some() != loose.error.is_some() => {
            match (loose.id.get().parse(), loose.error) {
                (Ok(id), Some(_)) => Misfit::BadError(id),
                _ => Misfit::StrangeId,
            }
        }
        _ => Misfit::NoMessage,
    }
}

pub(super) fn bad_error() -> PluginError {
    codes::REPLY_INVALID.error(
        "the plugin answered with an error that has no \"code\" (whole number) and \"message\" (text)",
    )
}

/// What one line means.
#[derive(Debug)]
pub(super) enum LineFault {
    TooDeep,
    TooLong,
    Banner(String),
    Syntax(String, String),
    Envelope(String, String),
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much of a bad line goes into an error's text.
const LINE_MAX: usize = 200;

pub(super) fn line_fault(line: &[u8], error: &kodex_plugin::wire::FrameError) -> LineFault {
    use kodex_plugin::{JsonError, wire::FrameError};
    let text = || shown(&String::from_utf8_lossy(line), LINE_MAX);
    match error {
        FrameError::Json(JsonError::TooDeep { .. }) => LineFault::TooDeep,
        FrameError::Json(JsonError::TooLong { .. }) => LineFault::TooLong,
        FrameError::Envelope(why) => LineFault::Envelope(why.clone(), text()),
        _ if line.starts_with(BYTE_ORDER_MARK) => {
            LineFault::Syntax("it begins with a byte order mark".to_owned(), text())
        }
        // A line that does not even begin like a message was meant for people.
        _ if line.trim_ascii_start().first() != Some(&b'{') => LineFault::Banner(text()),
        other => LineFault::Syntax(other.to_string(), text()),
    }
}

impl LineFault {
    pub(super) fn error(&self, limits: &Limits) -> PluginError {
        match self {
            Self::TooLong => codes::FRAME_TOO_LONG.error(format!(
                "the process wrote a line of more than {} bytes",
                limits.frame_bytes
            )),
            Self::TooDeep => codes::FRAME_TOO_DEEP.error(format!(
                "the process wrote a line that nests deeper than {} levels",
                limits.depth
            )),
            Self::Banner(line) => codes::BANNER.error(format!(
                "the process wrote to standard output what is no message: \"{line}\". Standard \
                 output belongs to the protocol; write logs to standard error"
            )),
            Self::Syntax(why, line) => codes::FRAME_SYNTAX
                .error(format!("the process wrote a bad line: {why}: \"{line}\"")),
            Self::Envelope(why, line) => codes::FRAME_ENVELOPE.error(format!(
                "the process wrote what is no message: {why}: \"{line}\""
            )),
        }
    }
}

/// Whether a line may be looked at: the one pass of the front door.
pub(super) fn door(line: &[u8], limits: &Limits) -> Result<(), kodex_plugin::wire::FrameError> {
    Ok(json::check(line, limits)?)
}

#[cfg(test)]
mod tests {
    use kodex_plugin::wire::{Frame, Id};

    use super::*;

    #[test]
    fn the_quick_way_reads_what_the_long_way_reads() {
        for (line, want) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"result":{"reply":[1,{"a":"}}"}]}}"#,
                Some((7, r#"[1,{"a":"}}"}]"#)),
            ),
            (
                r#"{"jsonrpc": "2.0", "id": 1, "result": {"reply": null}}"#,
                Some((1, "null")),
            ),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"reply\":1} } ",
                Some((1, "1")),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"reply":1},"id":2}"#,
                None,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"reply":1,"x":{}}}"#,
                None,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"reply":{}}"#, None),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"reply":}}"#, None),
            (r#"{"jsonrpc":"2.0","id":01,"result":{"reply":1}}"#, None),
            (r#"{"jsonrpc":"2.0","id":1.5,"result":{"reply":1}}"#, None),
            (r#"{"jsonrpc":"2.0","id":-1,"result":{"reply":1}}"#, None),
            (
                r#"{"jsonrpc":"2.0","id":18446744073709551616,"result":{"reply":1}}"#,
                None,
            ),
            (r#"{"jsonrpc":"1.0","id":1,"result":{"reply":1}}"#, None),
        ] {
            let got = quick_reply(line.as_bytes()).map(|(id, reply)| (id, reply.get()));
            assert_eq!(got, want, "{line}");
            if let Some((id, reply)) = got {
                let Ok(Frame::Response {
                    id: Id::Number(long),
                    result: Ok(result),
                }) = kodex_plugin::wire::parse(line.as_bytes(), &Limits::default())
                else {
                    panic!("the long way refuses {line}")
                };
                let result =
                    serde_json::from_str::<CallResult<'_>>(result.get()).expect("a result");
                assert_eq!((long, result.reply.map(RawValue::get)), (id, Some(reply)));
            }
        }
    }

    #[test]
    fn errors_keep_their_meaning_but_cannot_speak_for_the_host() {
        let error = |code, message: &str, own: &str| {
            let data = serde_json::json!({"code": own});
            let object = serde_json::json!({"code": code, "message": message, "data": data});
            let error = read_error(&serde_json::from_value(object).expect("an error object"));
            (error.failure, error.code.into_owned(), error.message)
        };
        for (code, own, want) in [
            (-32000, "plugin.raised", (Failure::Raised, "plugin.raised")),
            (-32000, "my.error", (Failure::Raised, "my.error")),
            (-32000, "worker.killed", (Failure::Raised, "plugin.raised")),
            (
                -32001,
                "Not A Code",
                (Failure::Domain, "tool.input.refused"),
            ),
            (-32002, "", (Failure::Raised, "call.cancelled")),
            (-32601, "", (Failure::Raised, "method.unknown")),
            (-32700, "", (Failure::Protocol, "wire.frame.syntax")),
            (12, "", (Failure::Raised, "plugin.raised")),
        ] {
            let (failure, got, message) = error(code, "text", own);
            assert_eq!(
                (failure, got.as_str(), message.as_str()),
                (want.0, want.1, "text")
            );
        }
        assert_eq!(error(5, " ", "").2, "the plugin answered with error 5");
        assert!(error(5, &"ä".repeat(9_000), "").2.len() < 9_000);
    }

    #[test]
    fn strange_answers_are_told_from_garbage() {
        for (line, want) in [
            (
                r#"{"jsonrpc":"2.0","id":1.5,"result":1}"#,
                Misfit::StrangeId,
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"result":1}"#,
                Misfit::StrangeId,
            ),
            (r#"{"jsonrpc":"2.0","id":-3,"error":{}}"#, Misfit::StrangeId),
            (
                r#"{"jsonrpc":"2.0","id":3,"error":{}}"#,
                Misfit::BadError(3),
            ),
            (
                r#"{"jsonrpc":"2.0","id":3,"error":"no"}"#,
                Misfit::BadError(3),
            ),
            (
                r#"{"jsonrpc":"2.0","id":3,"id":3,"error":"no"}"#,
                Misfit::NoMessage,
            ),
            (r#"{"jsonrpc":"2.0","id":3}"#, Misfit::NoMessage),
            (r#"[]"#, Misfit::NoMessage),
        ] {
            assert_eq!(misfit(line.as_bytes()), want, "{line}");
        }
    }
}
