//! A parsed document in which every key and value knows its bytes in the text.
//!
//! TOML and JSON both become this tree, so that one set of rules and one way of pointing serve both.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, value::RawValue};
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    pub(super) span: Range<usize>,
    pub(super) node: Node<'a>,
}

/// A value of either language.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Flag(bool),
    Whole(i64),
    /// A number that is not a whole one of 64 bits; nothing when JSON cannot hold it.
    Number(Option<serde_json::Number>),
    Text(Cow<'a, str>),
    Date,
    List(Vec<Spot<'a>>),
    /// In the order of the tree's source; a JSON table may hold a key twice.
    Table(Vec<Entry<'a>>),
}

/// One key with its value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) key_span: Range<usize>,
    pub(super) value: Spot<'a>,
}

impl Node<'_> {
    /// The type in words, with its article.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Whole(_) => "a whole number",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The tree of a TOML document.
pub(super) fn of_toml<'a>(document: toml::Spanned<DeTable<'a>>) -> Spot<'a> {
    let span = document.span();
    Spot {
        span,
        node: toml_table(document.into_inner()),
    }
}

fn toml_table(table: DeTable<'_>) -> Node<'_> {
    let mut entries: Vec<_> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: key.span(),
            key: key.into_inner(),
            value: toml_value(value),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Node::Table(entries)
}

fn toml_value(value: toml::Spanned<DeValue<'_>>) -> Spot<'_> {
    let span = value.span();
    let node = match value.into_inner() {
        DeValue::String(text) => Node::Text(text),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Node::Number(None), Node::Whole),
        DeValue::Float(number) => Node::Number(
            number
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64),
        ),
        DeValue::Boolean(flag) => Node::Flag(flag),
        DeValue::Datetime(_) => Node::Date,
        DeValue::Array(items) => Node::List(items.into_iter().map(toml_value).collect()),
        DeValue::Table(table) => toml_table(table),
    };
    Spot { span, node }
}

/// The tree of a JSON document. The text must have passed [`crate::json::check`], which bounds its
/// depth, as each level is read once more.
pub(super) fn of_json(text: &str) -> Result<Spot<'_>, serde_json::Error> {
    json_value(text, serde_json::from_str(text)?)
}

fn json_value<'a>(text: &'a str, raw: &'a RawValue) -> Result<Spot<'a>, serde_json::Error> {
    let source = raw.get();
    // A borrowed raw value is a part of the text it was read from.
    let start = (source.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let node = match source.as_bytes().first() {
        Some(b'{') => json_table(text, serde_json::from_str(source)?)?,
        Some(b'[') => Node::List(
            serde_json::from_str::<Vec<&RawValue>>(source)?
                .into_iter()
                .map(|item| json_value(text, item))
                .collect::<Result<_, _>>()?,
        ),
        Some(b'"') => Node::Text(serde_json::from_str::<Text<'_>>(source)?.0),
        _ => json_scalar(serde_json::from_str(source)?),
    };
    Ok(Spot {
        span: start..start + source.len(),
        node,
    })
}

fn json_scalar(value: Value) -> Node<'static> {
    match value {
        Value::Bool(flag) => Node::Flag(flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Node::Whole(whole),
            None => Node::Number(Some(number)),
        },
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => Node::Null,
    }
}

fn json_table<'a>(text: &'a str, fields: Fields<'a>) -> Result<Node<'a>, serde_json::Error> {
    let entry = |(key, raw): (Text<'a>, &'a RawValue)| {
        let value = json_value(text, raw)?;
        let key_span = match &key.0 {
            Cow::Borrowed(part) => {
                let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
                // With the quotation marks.
                start.saturating_sub(1)..start + part.len() + 1
            }
            // A key with escapes is a copy; its value is the nearest place.
            Cow::Owned(_) => value.span.clone(),
        };
        Ok(Entry {
            key: key.0,
            key_span,
            value,
        })
    };
    Ok(Node::Table(
        fields.0.into_iter().map(entry).collect::<Result<_, _>>()?,
    ))
}

/// A string that is borrowed where it can be.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// The fields of an object in their order, with duplicates.
struct Fields<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
