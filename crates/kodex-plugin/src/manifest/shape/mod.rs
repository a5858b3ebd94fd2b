//! The walk that holds a document against the table of [`keys`].
//!
//! The walk never gives up: what has the wrong shape is reported and replaced by an empty value, so
//! that the rules can look at the rest of the document in the same pass.

mod hint;
mod keys;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    code,
    report::{Path, Report, Step},
    tree::{Entry, Node, Spot},
};
use crate::Diagnostic;
use hint::{example, key_hint, kind_name, type_hint};
use keys::{DOCUMENT, Key, Kind, Shape};

/// Holds a document against [`DOCUMENT`]; gives a value that the raw form can be read from.
pub(super) fn check(document: &Spot<'_>, report: &mut Report) -> Value {
    let mut walk = Walk {
        path: Vec::new(),
        report,
    };
    match &document.node {
        Node::Table(entries) => walk.table(document, entries, &DOCUMENT),
        other => {
            let message = format!("a manifest is a table, but this is {}", other.type_name());
            let hint = "write an object with the keys `manifest` and `plugin`";
            walk.broken(
                document,
                Diagnostic::error(code::TYPE, message).with_hint(hint),
            );
            Value::Object(Map::new())
        }
    }
}

struct Walk<'r> {
    path: Vec<Step>,
    report: &'r mut Report,
}

impl Walk<'_> {
    fn table(&mut self, table: &Spot<'_>, entries: &[Entry<'_>], shape: &Shape) -> Value {
        let mut out = Map::new();
        for entry in entries {
            let known = shape.keys.iter().find(|key| key.name == entry.key);
            match known {
                None => self.unknown(entry, shape),
                Some(key) if out.contains_key(key.name) => self.duplicate(entry),
                Some(key) => {
                    self.path.push(Step::Key(key.name));
                    if let Some(value) = self.value(&entry.value, key) {
                        out.insert(key.name.to_owned(), value);
                    }
                    self.path.pop();
                }
            }
        }
        for key in shape.keys {
            if key.required && !out.contains_key(key.name) {
                self.path.push(Step::Key(key.name));
                self.missing(table, key);
                out.insert(key.name.to_owned(), empty(&key.kind));
                self.path.pop();
            }
        }
        Value::Object(out)
    }

    /// The value of a key; nothing when it is as good as absent.
    fn value(&mut self, spot: &Spot<'_>, key: &Key) -> Option<Value> {
        Some(match (&key.kind, &spot.node) {
            (_, Node::Null) => return None,
            (Kind::Text, Node::Text(text)) => Value::from(text.as_ref()),
            (Kind::Flag, Node::Flag(flag)) => Value::from(*flag),
            (Kind::Whole(min, max), Node::Whole(number)) if (min..=max).contains(&number) => {
                Value::from(*number)
            }
            (Kind::Texts, Node::List(items)) => self.texts(items),
            (Kind::Table(shape), Node::Table(entries)) => self.table(spot, entries, shape),
            (Kind::Tables(shape), Node::List(items)) => self.tables(items, shape),
            (Kind::Json, _) => self.json(spot),
            (kind, node) => {
                self.wrong_type(spot, kind, node);
                return Some(empty(kind));
            }
        })
    }

    fn texts(&mut self, items: &[Spot<'_>]) -> Value {
        let text = |(n, item): (usize, &Spot<'_>)| match &item.node {
            Node::Text(text) => Value::from(text.as_ref()),
            node => {
                self.path.push(Step::Index(n));
                self.wrong_type(item, &Kind::Text, node);
                self.path.pop();
                Value::from("")
            }
        };
        items.iter().enumerate().map(text).collect()
    }

    fn tables(&mut self, items: &[Spot<'_>], shape: &'static Shape) -> Value {
        let table = |(n, item): (usize, &Spot<'_>)| {
            self.path.push(Step::Index(n));
            let value = match &item.node {
                Node::Table(entries) => self.table(item, entries, shape),
                node => {
                    self.wrong_type(item, &Kind::Table(shape), node);
                    empty(&Kind::Table(shape))
                }
            };
            self.path.pop();
            value
        };
        items.iter().enumerate().map(table).collect()
    }

    /// A value of any form, as long as JSON can hold it.
    fn json(&mut self, spot: &Spot<'_>) -> Value {
        match &spot.node {
            Node::Null => Value::Null,
            Node::Flag(flag) => Value::from(*flag),
            Node::Whole(number) => Value::from(*number),
            Node::Number(Some(number)) => Value::Number(number.clone()),
            Node::Text(text) => Value::from(text.as_ref()),
            Node::Number(None) => self.no_json(
                spot,
                "this number",
                "write a finite number of at most 64 bits",
            ),
            Node::Date => self.no_json(spot, "a date", "write it as a text, in quotation marks"),
            Node::List(items) => items.iter().map(|item| self.json(item)).collect(),
            Node::Table(entries) => {
                let mut out = Map::new();
                let mut seen = HashSet::new();
                for entry in entries {
                    if !seen.insert(entry.key.as_ref()) {
                        self.duplicate(entry);
                    }
                    let value = self.json(&entry.value);
                    out.insert(entry.key.to_string(), value);
                }
                Value::Object(out)
            }
        }
    }

    fn no_json(&mut self, spot: &Spot<'_>, what: &str, hint: &str) -> Value {
        let message = format!("`{}` must be JSON, which cannot hold {what}", self.here());
        self.broken(spot, Diagnostic::error(code::TYPE, message).with_hint(hint));
        Value::Null
    }

    fn wrong_type(&mut self, spot: &Spot<'_>, kind: &Kind, node: &Node<'_>) {
        let here = self.here();
        let message = match (kind, node) {
            (Kind::Whole(min, max), Node::Whole(_)) => {
                format!("`{here}` must be a whole number from {min} to {max}")
            }
            _ => format!(
                "`{here}` must be {}, but is {}",
                kind_name(kind),
                node.type_name()
            ),
        };
        let finding = Diagnostic::error(code::TYPE, message).with_hint(type_hint(kind, node));
        self.broken(spot, finding);
    }

    fn missing(&mut self, table: &Spot<'_>, key: &Key) {
        // The path already ends in the key.
        let message = format!("`{}` is missing", self.here());
        let finding = Diagnostic::error(code::KEY_MISSING, message).with_hint(example(key));
        self.broken(table, finding);
    }

    fn duplicate(&mut self, entry: &Entry<'_>) {
        let message = format!("the key `{}` stands twice", self.below(&entry.key));
        let finding =
            Diagnostic::error(code::KEY_DUPLICATE, message).with_hint("remove one of the two");
        self.report
            .add(&self.path, Some(entry.key_span.clone()), finding);
    }

    fn unknown(&mut self, entry: &Entry<'_>, shape: &Shape) {
        let extension = self.path.is_empty() && entry.key.starts_with("x-");
        if extension && matches!(entry.value.node, Node::Table(_) | Node::List(_)) {
            return;
        }
        let message = format!("unknown key `{}`", self.below(&entry.key));
        let mut finding = Diagnostic::error(code::KEY_UNKNOWN, message);
        if !self.report.is_full() {
            finding = finding.with_hint(if extension {
                format!("only tables may be added: [{}]", entry.key)
            } else {
                key_hint(&entry.key, shape)
            });
        }
        self.report
            .add(&self.path, Some(entry.key_span.clone()), finding);
    }

    fn broken(&mut self, spot: &Spot<'_>, finding: Diagnostic) {
        self.report.broken(&self.path, spot.span.clone(), finding);
    }

    /// The path of a key in the present table.
    fn below(&self, key: &str) -> String {
        match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.here()),
        }
    }

    fn here(&self) -> String {
        Path(&self.path).to_string()
    }
}

/// A value that stands for one that is missing or wrong.
fn empty(kind: &Kind) -> Value {
    match kind {
        Kind::Text => Value::from(""),
        Kind::Flag => Value::from(false),
        Kind::Whole(min, max) => Value::from(0.clamp(*min, *max)),
        Kind::Texts | Kind::Tables(_) => Value::Array(Vec::new()),
        Kind::Json => Value::Null,
        Kind::Table(shape) => {
            let required = shape.keys.iter().filter(|key| key.required);
            required
                .map(|key| (key.name.to_owned(), empty(&key.kind)))
                .collect::<Map<_, _>>()
                .into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of a document that has everything is in the table, and the other way round.
    #[test]
    fn the_table_and_the_raw_form_have_the_same_keys() {
        fn keys(value: &Value, at: &str, out: &mut Vec<String>) {
            match value {
                Value::Object(fields) if !at.ends_with("_schema") => {
                    for (key, value) in fields {
                        out.push(format!("{at}.{key}"));
                        keys(value, &format!("{at}.{key}"), out);
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| keys(item, at, out)),
                _ => {}
            }
        }
        fn names(shape: &Shape, at: &str, out: &mut Vec<String>) {
            for key in shape.keys {
                out.push(format!("{at}.{}", key.name));
                if let Kind::Table(inner) | Kind::Tables(inner) = key.kind {
                    names(inner, &format!("{at}.{}", key.name), out);
                }
            }
        }
        let raw = crate::manifest::tests::everything();
        let (mut have, mut want) = (Vec::new(), Vec::new());
        keys(&serde_json::to_value(raw).unwrap(), "", &mut have);
        names(&DOCUMENT, "", &mut want);
        // `entry` and `command` exclude each other in a real manifest.
        have.extend([".run.entry".to_owned(), ".run.command".to_owned()]);
        for list in [&mut have, &mut want] {
            list.sort();
            list.dedup();
        }
        assert_eq!(have, want);
    }
}
