//! Records: JSON in a column, read strictly.
//!
//! A record that does not read is malformed: nobody guesses what it meant, nobody writes over it, and no
//! scan stops at it. It is set apart, counted and shown until a person has looked at it.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A record that does not read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

/// Reads a record. One that was stored as a text of JSON is decoded once.
///
/// # Errors
/// [`Malformed`] for anything else that is no record.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Malformed> {
    let malformed = |error: serde_json::Error| Malformed(error.to_string());
    match serde_json::from_str(text).map_err(malformed)? {
        Value::String(inner) => match serde_json::from_str(&inner).map_err(malformed)? {
            value @ Value::Object(_) => serde_json::from_value(value).map_err(malformed),
            _ => Err(Malformed("a text of JSON that holds no object".to_owned())),
        },
        value => serde_json::from_value(value).map_err(malformed),
    }
}

/// Writes a record.
#[must_use]
pub fn write(record: &impl Serialize) -> String {
    // Records have no maps with keys that are no texts and no number beyond JSON, so writing one cannot
    // fail; an empty text would be malformed and therefore found.
    serde_json::to_string(record).unwrap_or_default()
}
