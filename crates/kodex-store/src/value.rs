//! What goes into a statement and what comes out: [`Value`] inside, JSON at the door.
//!
//! JSON has too few types for a database. What it cannot say stands in an object with one key that
//! begins with `$`:
//!
//! | value | JSON |
//! |---|---|
//! | null, true, text | as they are |
//! | integer within ±2^53 | number |
//! | integer beyond | `{"$int": "9007199254740993"}` |
//! | finite float | number, always with a fraction or an exponent |
//! | not a number, infinite | `{"$float": "NaN"}`, `"Infinity"`, `"-Infinity"` |
//! | bytes | `{"$bytes": "base64"}` |
//! | exact decimal | `{"$numeric": "1.10"}` |
//! | JSON document | `{"$json": ...}` |
//! | array (Postgres) | JSON array of values |
//!
//! Times are text in RFC 3339 with UTC offset, and the type of the column says so.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::Value as Tree;

use crate::statement::Mistake;

/// The largest integer that every JSON reader holds exactly: 2^53.
const EXACT: u64 = 1 << 53;

/// One value of a row or a parameter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// SQL null.
    Null,
    /// A truth value. SQLite stores 0 or 1 and gives it back as a truth value from a column declared `BOOLEAN`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A floating point number.
    Float(f64),
    /// A decimal of any precision, in its text form. SQLite stores text.
    Numeric(String),
    /// Text, and every type that has no row of its own here, in the engine's text form.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A JSON document. SQLite stores text.
    Json(serde_json::Value),
    /// An array. SQLite stores it as a JSON document.
    Array(Vec<Value>),
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name as the engine gives it.
    pub name: String,
    /// The declared type in lower case (`integer`, `timestamptz`, `jsonb`, ...), or `any` where an expression has none.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The answer to a statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// The columns; none for a statement that returns no rows.
    pub columns: Vec<Column>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
    /// How many rows the statement inserted, updated or deleted.
    pub n_changed: u64,
}

impl Value {
    /// Reads a value from JSON; see the table of this module. Arrays of values are arrays, other
    /// objects are JSON documents.
    ///
    /// # Errors
    /// A [`Mistake`] when a `$` object is not one of the table, or a number has no exact form.
    pub fn from_json(json: Tree) -> Result<Self, Mistake> {
        Ok(match json {
            Tree::Null => Self::Null,
            Tree::Bool(truth) => Self::Bool(truth),
            Tree::String(text) => Self::Text(text),
            Tree::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Integer(whole),
                (None, _) if number.is_u64() => {
                    return Err(Mistake::new(
                        "an integer is beyond 64 bits with sign; send it as {\"$numeric\": \"...\"}",
                    ));
                }
                (None, Some(float)) => Self::Float(float),
                (None, None) => return Err(Mistake::new("a number has no exact form")),
            },
            Tree::Array(items) => Self::Array(
                items
                    .into_iter()
                    .map(Self::from_json)
                    .collect::<Result<_, _>>()?,
            ),
            Tree::Object(fields)
                if fields.len() == 1 && fields.keys().all(|key| key.starts_with('$')) =>
            {
                let (tag, inner) = fields.into_iter().next().expect("one field was counted");
                return tagged(&tag, inner);
            }
            Tree::Object(fields) => Self::Json(Tree::Object(fields)),
        })
    }

    /// Bytes that the value takes, for the bounds of an answer.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Integer(_) | Self::Float(_) => 8,
            Self::Numeric(text) | Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Json(tree) => tree_size(tree),
            Self::Array(items) => items.iter().map(Self::size).sum(),
        }
    }
}

fn tree_size(tree: &Tree) -> usize {
    match tree {
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => 8,
        Tree::String(text) => text.len(),
        Tree::Array(items) => items.iter().map(tree_size).sum(),
        Tree::Object(fields) => fields
            .iter()
            .map(|(key, value)| key.len() + tree_size(value))
            .sum(),
    }
}

fn tagged(tag: &str, inner: Tree) -> Result<Value, Mistake> {
    let wrong = || Mistake::new(format!("a value tagged {tag:?} does not have its form"));
    Ok(match (tag, inner) {
        ("$json", document) => Value::Json(document),
        ("$int", Tree::String(text)) => Value::Integer(text.parse().map_err(|_| wrong())?),
        ("$float", Tree::String(text)) => Value::Float(match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => return Err(wrong()),
        }),
        ("$bytes", Tree::String(text)) => Value::Bytes(STANDARD.decode(text).map_err(|_| wrong())?),
        ("$numeric", Tree::String(text)) if is_decimal(&text) => Value::Numeric(text),
        ("$int" | "$float" | "$bytes" | "$numeric", _) => return Err(wrong()),
        _ => {
            return Err(Mistake::new(format!(
                "the tag {tag:?} is unknown; there are $int, $float, $bytes, $numeric and $json"
            )));
        }
    })
}

/// An optional sign, digits, at most one point, at most one exponent.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent.strip_prefix(['+', '-']).unwrap_or(exponent),
        ),
        None => (unsigned, "0"),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && whole.len() + fraction.len() > 0
        && !exponent.is_empty()
        && digits(exponent)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Integer(whole) if whole.unsigned_abs() <= EXACT => {
                serializer.serialize_i64(*whole)
            }
            Self::Integer(whole) => tag(serializer, "$int", &whole.to_string()),
            Self::Float(float) if float.is_finite() => serializer.serialize_f64(*float),
            Self::Float(float) if float.is_nan() => tag(serializer, "$float", "NaN"),
            Self::Float(float) if *float > 0.0 => tag(serializer, "$float", "Infinity"),
            Self::Float(_) => tag(serializer, "$float", "-Infinity"),
            Self::Numeric(text) => tag(serializer, "$numeric", text),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => tag(serializer, "$bytes", &STANDARD.encode(bytes)),
            Self::Json(document) => tag(serializer, "$json", document),
            Self::Array(items) => items.serialize(serializer),
        }
    }
}

fn tag<S: Serializer, T: Serialize + ?Sized>(
    serializer: S,
    name: &'static str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(name, value)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_of_values() {
        for (value, json) in [
            (Value::Null, json!(null)),
            (Value::Integer(-9), json!(-9)),
            (Value::Integer(1 << 53), json!(9_007_199_254_740_992_i64)),
            (
                Value::Integer((1 << 53) + 1),
                json!({"$int": "9007199254740993"}),
            ),
            (
                Value::Integer(i64::MIN),
                json!({"$int": "-9223372036854775808"}),
            ),
            (Value::Float(1.0), json!(1.0)),
            (Value::Float(f64::INFINITY), json!({"$float": "Infinity"})),
            (Value::Numeric("-1.10".into()), json!({"$numeric": "-1.10"})),
            (Value::Bytes(vec![0, 255]), json!({"$bytes": "AP8="})),
            (
                Value::Json(json!({"$int": "1"})),
                json!({"$json": {"$int": "1"}}),
            ),
            (
                Value::Array(vec![Value::Null, Value::Text("a".into())]),
                json!([null, "a"]),
            ),
        ] {
            assert_eq!(serde_json::to_value(&value).expect("serialises"), json);
            assert_eq!(Value::from_json(json).expect("reads"), value);
        }
    }

    #[test]
    fn what_is_no_value() {
        for json in [
            json!(u64::MAX),
            json!({"$int": 1}),
            json!({"$int": "1.5"}),
            json!({"$bytes": "%"}),
            json!({"$numeric": "1.2.3"}),
            json!({"$numeric": "NaN"}),
            json!({"$float": "1"}),
            json!({"$date": "x"}),
        ] {
            assert!(Value::from_json(json.clone()).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn values_come_back_as_they_went(value in any_value()) {
            let json = serde_json::to_value(&value).expect("serialises");
            prop_assert_eq!(Value::from_json(json).expect("reads"), value);
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Integer),
            any::<f64>()
                .prop_filter("equal to itself", |float| !float.is_nan())
                .prop_map(Value::Float),
            ".*".prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            "-?[0-9]{1,30}(\\.[0-9]{1,9})?".prop_map(Value::Numeric),
        ];
        leaf.prop_recursive(2, 12, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(Value::Array)
        })
    }
}
