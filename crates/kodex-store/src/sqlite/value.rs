//! Values on the way into SQLite and out of it.
//!
//! | value | stored as |
//! |---|---|
//! | truth value | 0 or 1 |
//! | decimal, JSON document, array | text |
//! | not a number | nothing: SQLite would make it null without a word, so it is refused |
//!
//! On the way out the declared type of the column decides: `BOOLEAN` gives truth values, `JSON` and
//! `JSONB` give documents, and text in a `NUMERIC` or `DECIMAL` column is a decimal. A column with numeric
//! affinity turns decimals into floats whenever it can; declare it `TEXT` where every digit counts.

use rusqlite::types::{Value as Stored, ValueRef};

use crate::{Value, statement::Mistake};

/// A parameter as SQLite takes it.
pub(super) fn store(value: &Value) -> Result<Stored, Mistake> {
    Ok(match value {
        Value::Null => Stored::Null,
        Value::Bool(truth) => Stored::Integer(i64::from(*truth)),
        Value::Integer(whole) => Stored::Integer(*whole),
        Value::Float(float) if float.is_nan() => {
            return Err(Mistake::new(
                "SQLite cannot store a float that is not a number",
            ));
        }
        Value::Float(float) => Stored::Real(*float),
        Value::Numeric(text) | Value::Text(text) => Stored::Text(text.clone()),
        Value::Bytes(bytes) => Stored::Blob(bytes.clone()),
        Value::Json(document) => Stored::Text(document.to_string()),
        Value::Array(_) => Stored::Text(
            serde_json::to_string(value)
                .map_err(|_| Mistake::new("an array has no form as a JSON document"))?,
        ),
    })
}

/// How the values of a column are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Truth,
    Document,
    Decimal,
}

impl Form {
    /// The form for a declared type in lower case.
    pub(super) fn of(kind: &str) -> Self {
        let word = kind.split(['(', ' ']).next().unwrap_or(kind);
        match word {
            "boolean" | "bool" => Self::Truth,
            "json" | "jsonb" => Self::Document,
            "numeric" | "decimal" => Self::Decimal,
            _ => Self::Plain,
        }
    }

    /// A value of a row.
    pub(super) fn read(self, value: ValueRef<'_>) -> Value {
        match (self, value) {
            (_, ValueRef::Null) => Value::Null,
            (Self::Truth, ValueRef::Integer(whole @ (0 | 1))) => Value::Bool(whole == 1),
            // A column of documents has numeric affinity, so a document that is a number becomes one.
            (Self::Document, ValueRef::Integer(whole)) => Value::Json(whole.into()),
            (Self::Document, ValueRef::Real(float)) => Value::Json(float.into()),
            (_, ValueRef::Integer(whole)) => Value::Integer(whole),
            (_, ValueRef::Real(float)) => Value::Float(float),
            (_, ValueRef::Blob(bytes)) => Value::Bytes(bytes.to_vec()),
            (form, ValueRef::Text(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => form.text(text),
                // Only a cast of bytes makes such a text; it is given back as what it is.
                Err(_) => Value::Bytes(bytes.to_vec()),
            },
        }
    }

    fn text(self, text: &str) -> Value {
        match self {
            Self::Document => match serde_json::from_str(text) {
                Ok(document) => Value::Json(document),
                Err(_) => Value::Text(text.to_owned()),
            },
            Self::Decimal if is_decimal(text) => Value::Numeric(text.to_owned()),
            _ => Value::Text(text.to_owned()),
        }
    }
}

/// Bytes of a value as it stands in the engine.
pub(super) fn size(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
    }
}

fn is_decimal(text: &str) -> bool {
    Value::from_json(serde_json::json!({ "$numeric": text })).is_ok()
}
