//! Parameters on the way into the server: always as text, so that the server reads them as what the
//! statement needs.

use std::{error::Error, fmt::Write as _};

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use crate::Value;

/// A value of a plugin.
pub(super) struct Param<'a>(pub(super) &'a Value);

/// The driver writes parameters to its debug log.
impl std::fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if *self.0 == Value::Null {
            return Ok(IsNull::Yes);
        }
        out.extend_from_slice(text(self.0, kind)?.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

fn text(value: &Value, kind: &Type) -> Result<String, serde_json::Error> {
    Ok(match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Integer(whole) => whole.to_string(),
        Value::Float(float) => float_text(*float, kind),
        Value::Numeric(text) | Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => bytes.iter().fold("\\x".to_owned(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
        Value::Json(document) => document.to_string(),
        Value::Array(_) if [Type::JSON, Type::JSONB].contains(kind) => {
            serde_json::to_string(value)?
        }
        Value::Array(items) => array(items, kind)?,
    })
}

fn float_text(float: f64, kind: &Type) -> String {
    if float.is_nan() {
        "NaN".to_owned()
    } else if float.is_infinite() {
        if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if [Type::INT2, Type::INT4, Type::INT8].contains(kind) {
        // JavaScript has no other number: 1.0 means 1 to it.
        float.to_string()
    } else {
        format!("{float:?}")
    }
}

/// An array literal. Everything is quoted, so that no text is taken for a null or for a bracket.
fn array(items: &[Value], kind: &Type) -> Result<String, serde_json::Error> {
    let inner = match kind.kind() {
        Kind::Array(inner) => inner,
        _ => kind,
    };
    let mut out = String::from("{");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item {
            Value::Null => out.push_str("NULL"),
            Value::Array(items) if ![Type::JSON, Type::JSONB].contains(inner) => {
                out.push_str(&array(items, kind)?);
            }
            item => {
                out.push('"');
                for char in text(item, inner)?.chars() {
                    if matches!(char, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(char);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_the_server_reads_them() {
        let list = |items: &[Value]| Value::Array(items.to_vec());
        for (value, kind, want) in [
            (Value::Float(1.0), Type::INT4, "1"),
            (Value::Float(1.0), Type::FLOAT8, "1.0"),
            (Value::Float(f64::NEG_INFINITY), Type::FLOAT8, "-Infinity"),
            (Value::Bytes(vec![0, 255]), Type::BYTEA, "\\x00ff"),
            (
                list(&[
                    Value::Text("a\"b\\".into()),
                    Value::Null,
                    Value::Text("NULL".into()),
                ]),
                Type::TEXT_ARRAY,
                r#"{"a\"b\\",NULL,"NULL"}"#,
            ),
            (
                list(&[list(&[Value::Integer(1)]), list(&[Value::Integer(2)])]),
                Type::INT4_ARRAY,
                r#"{{"1"},{"2"}}"#,
            ),
            (list(&[Value::Integer(1)]), Type::JSONB, "[1]"),
            (list(&[list(&[])]), Type::JSONB_ARRAY, r#"{"[]"}"#),
        ] {
            assert_eq!(text(&value, &kind).expect("has a text"), want);
        }
    }
}
