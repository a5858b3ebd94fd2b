//! JSON documents that cross the boundary: checked once at the door, then carried as text or as a
//! tree, whichever the reader wants, and converted at most once.
//!
//! The door refuses more than a grammar check does: nesting beyond the limit, lone surrogates,
//! numbers that overflow. What passes here can be parsed by any plugin in any language.

use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::Limits;

/// Why a text is not an acceptable JSON document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is longer than the limit.
    #[error("the JSON document has {got} bytes; at most {limit} are allowed")]
    TooLong {
        /// Bytes in the text.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Arrays and objects are nested deeper than the limit.
    #[error("the JSON document is nested deeper than {limit} levels (byte {at})")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
        /// Byte at which the limit was passed.
        at: usize,
    },
    /// The text is no JSON, or holds a lone surrogate or a number that no plugin could represent.
    #[error("{message} (line {line}, column {column})")]
    Syntax {
        /// What is wrong.
        message: String,
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
}

impl JsonError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "json.too_long",
            Self::TooDeep { .. } => "json.too_deep",
            Self::Syntax { .. } => "json.syntax",
        }
    }

    fn syntax(message: impl Into<String>, text: &[u8], at: usize) -> Self {
        let before = &text[..at.min(text.len())];
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        Self::Syntax {
            message: message.into(),
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            column: before.len() - line_start + 1,
        }
    }
}

/// A JSON document, as text, as a tree, or both.
///
/// ```
/// use kodex_plugin::{Json, Limits};
/// let json = Json::parse(r#"{"text": "hello"}"#, &Limits::default())?;
/// assert_eq!(json.value()["text"], "hello");
/// assert_eq!(json.text(), r#"{"text": "hello"}"#);
/// # Ok::<(), kodex_plugin::JsonError>(())
/// ```
#[derive(Clone)]
pub struct Json(Form);

/// The form that came in, and the other one once somebody asked for it.
#[derive(Clone)]
enum Form {
    Text(Box<RawValue>, OnceLock<Value>),
    Tree(Value, OnceLock<Box<RawValue>>),
}

impl Default for Json {
    fn default() -> Self {
        Self::null()
    }
}

impl Json {
    /// Takes a text, checking size, depth, surrogates and numbers.
    ///
    /// # Errors
    /// [`JsonError`] says which bound or rule the text breaks and where.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, JsonError> {
        check(text.as_bytes(), limits)?;
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| at_error(&error))?;
        Ok(Self::checked(raw.to_owned()))
    }

    /// Takes a raw value that already passed [`check`], for example as part of a frame.
    #[must_use]
    pub fn checked(raw: Box<RawValue>) -> Self {
        Self(Form::Text(raw, OnceLock::new()))
    }

    /// Serialises a Rust value.
    ///
    /// # Errors
    /// Fails where serde fails, for example on a map with keys that are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::from(serde_json::to_value(value)?))
    }

    /// The document `null`.
    #[must_use]
    pub fn null() -> Self {
        Self::from(Value::Null)
    }

    /// The empty object `{}`.
    #[must_use]
    pub fn object() -> Self {
        Self::from(Value::Object(serde_json::Map::new()))
    }

    /// The document as a tree, parsed at the first use.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &Value {
        match &self.0 {
            Form::Tree(value, _) => value,
            // Checked text always parses; `Null` keeps a bug in the check from taking a host down.
            Form::Text(raw, value) => {
                value.get_or_init(|| serde_json::from_str(raw.get()).unwrap_or(Value::Null))
            }
        }
    }

    /// The document as text, serialised at the first use.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        match &self.0 {
            Form::Text(raw, _) => raw,
            Form::Tree(value, raw) => raw.get_or_init(|| {
                serde_json::value::to_raw_value(value).expect("a JSON tree always serialises")
            }),
        }
    }

    /// The document as text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.raw().get()
    }

    /// Reads the document into a Rust type.
    ///
    /// # Errors
    /// Fails when the document does not have the form of `T`.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match &self.0 {
            Form::Tree(value, _) => T::deserialize(value),
            Form::Text(raw, value) => match value.get() {
                Some(value) => T::deserialize(value),
                None => serde_json::from_str(raw.get()),
            },
        }
    }

    /// Turns the document into a tree, parsing it if needed.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self.0 {
            Form::Tree(value, _) => value,
            Form::Text(raw, value) => {
                let parse = || serde_json::from_str(raw.get()).unwrap_or(Value::Null);
                value.into_inner().unwrap_or_else(parse)
            }
        }
    }

    /// Whether the document is `null`.
    #[must_use]
    #[inline]
    pub fn is_null(&self) -> bool {
        match &self.0 {
            Form::Tree(value, _) => value.is_null(),
            Form::Text(raw, _) => raw.get() == "null",
        }
    }

    /// A cheap lower bound of the length of [`Json::text`]; exact when the text exists.
    #[must_use]
    #[inline]
    pub fn size_hint(&self) -> usize {
        match &self.0 {
            Form::Text(raw, _) => raw.get().len(),
            Form::Tree(value, raw) => raw
                .get()
                .map_or_else(|| least_size(value), |raw| raw.get().len()),
        }
    }
}

#[inline]
fn least_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 1,
        Value::String(text) => text.len() + 2,
        Value::Array(_) | Value::Object(_) => least_size_inside(value),
    }
}

fn least_size_inside(value: &Value) -> usize {
    match value {
        Value::Array(items) => 2 + items.iter().map(|item| least_size(item) + 1).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields
                .iter()
                .map(|(key, item)| key.len() + 4 + least_size(item))
                .sum::<usize>()
        }
        _ => least_size(value),
    }
}

impl From<Value> for Json {
    #[inline]
    fn from(value: Value) -> Self {
        Self(Form::Tree(value, OnceLock::new()))
    }
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// Two documents are equal when their trees are.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Tree(value, _) => value.serialize(serializer),
            Form::Text(raw, _) => raw.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Json {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Json".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "Any JSON document." })
    }
}

fn at_error(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    let message = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(head, _)| head);
    JsonError::Syntax {
        message: message.to_owned(),
        line: error.line(),
        column: error.column(),
    }
}

/// The front door: one pass over the bytes that bounds length and depth and refuses what parses in
/// one language and fails in another (lone surrogates, numbers beyond a double, bytes that are no
/// UTF-8). It does not check the grammar; the parser after it does.
///
/// # Errors
/// [`JsonError`] says which bound or rule the bytes break.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<(), JsonError> {
    if bytes.len() > limits.frame_bytes {
        return Err(JsonError::TooLong {
            got: bytes.len(),
            limit: limits.frame_bytes,
        });
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(JsonError::syntax(
            "the text is no UTF-8",
            bytes,
            error.valid_up_to(),
        ));
    }
    let mut depth = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => {
                depth += 1;
                if depth > limits.depth {
                    return Err(JsonError::TooDeep {
                        limit: limits.depth,
                        at,
                    });
                }
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'"' => at = string_end(bytes, at)?,
            b'-' | b'0'..=b'9' => at = number_end(bytes, at)?,
            _ => at += 1,
        }
    }
    Ok(())
}

fn string_end(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start + 1;
    loop {
        at += n_plain(bytes.get(at..).unwrap_or_default());
        let Some(byte) = bytes.get(at) else {
            return Ok(bytes.len());
        };
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' if bytes.get(at + 1) == Some(&b'u') => {
                at = match escape(bytes, at) {
                    Some(0xD800..=0xDBFF) => match escape(bytes, at + 6) {
                        Some(0xDC00..=0xDFFF) => at + 12,
                        _ => {
                            return Err(JsonError::syntax("lone surrogate in a string", bytes, at));
                        }
                    },
                    Some(0xDC00..=0xDFFF) => {
                        return Err(JsonError::syntax("lone surrogate in a string", bytes, at));
                    }
                    // A malformed escape is the parser's to report.
                    _ => at + 2,
                };
            }
            _ => at += 2,
        }
    }
}

/// How many bytes stand before the next quote or backslash. Eight at a time: most of what crosses
/// the door is the inside of strings.
fn n_plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    // The high bit of every byte that is zero, and perhaps of some after it.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let mut words = bytes.chunks_exact(8);
    let mut n = 0;
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
        if quote | backslash != 0 {
            // The lowest bit that is set is right: only bytes above a zero are mistaken for one.
            return n + (quote | backslash).trailing_zeros() as usize / 8;
        }
        n += 8;
    }
    let rest = words.remainder();
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
    n + rest.iter().position(is_special).unwrap_or(rest.len())
}

fn escape(bytes: &[u8], at: usize) -> Option<u32> {
    let hex = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

/// Beyond this many digits a number is looked at closely; doubles go up to 309 digits.
const LONG_NUMBER: usize = 300;

fn number_end(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let len = bytes[start..].iter().take_while(|b| part(b)).count();
    let token = &bytes[start..start + len];
    if len > LONG_NUMBER || token.iter().any(|b| matches!(b, b'e' | b'E')) {
        let finite = std::str::from_utf8(token)
            .ok()
            .and_then(|text| text.parse::<f64>().ok());
        if finite.is_some_and(f64::is_infinite) {
            return Err(JsonError::syntax("number out of range", bytes, start));
        }
    }
    Ok(start + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        match Json::parse(
            text,
            &Limits {
                depth: 4,
                frame_bytes: 4_000,
                ..Limits::default()
            },
        ) {
            Ok(json) => {
                assert_eq!(json.text(), text.trim());
                // Whatever passes the door must parse; `value` would hide a failure.
                serde_json::from_str::<Value>(json.text()).expect("what passes the door parses");
                "ok".into()
            }
            Err(error) => error.code().into(),
        }
    }

    #[test]
    fn plain_bytes_are_counted_wherever_the_special_one_stands() {
        for special in [b'"', b'\\'] {
            for len in 0..40 {
                for at in 0..len {
                    for filler in [0u8, 1, b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                        let mut bytes = vec![filler; len];
                        bytes[at] = special;
                        assert_eq!(n_plain(&bytes), at, "{filler} {len}");
                        bytes[at] = filler;
                        assert_eq!(n_plain(&bytes), len, "{filler} {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_door_refuses_what_some_parser_would_choke_on() {
        for (text, want) in [
            ("{}", "ok"),
            (" [1, 2.5e3, \"\\ud83d\\ude00\"] ", "ok"),
            ("[[[[]]]]", "ok"),
            ("[[[[[]]]]]", "json.too_deep"),
            ("\"[[[[[[[[[[\"", "ok"),
            ("\"\\ud800\"", "json.syntax"),
            ("\"\\udc00\"", "json.syntax"),
            ("\"\\ud800\\u0041\"", "json.syntax"),
            ("\"\\\\ud800\"", "ok"),
            ("1e400", "json.syntax"),
            ("-1E999", "json.syntax"),
            ("1e-400", "ok"),
            ("NaN", "json.syntax"),
            ("{\"a\":1,}", "json.syntax"),
            ("{} x", "json.syntax"),
            ("", "json.syntax"),
            ("\u{feff}{}", "json.syntax"),
            ("\"a\u{0}b\"", "json.syntax"),
            (&format!("\"{}\"", "x".repeat(4_000)), "json.too_long"),
            (&"9".repeat(400), "json.syntax"),
        ] {
            assert_eq!(check(text), want, "{text:.40}");
        }
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = Json::parse("{\n  \"a\": nope\n}", &Limits::default()).unwrap_err();
        let JsonError::Syntax { line, column, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((line, column), (2, 9));
    }
}
