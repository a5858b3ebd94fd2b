//! What to write instead.

use super::{
    Node,
    keys::{ALL, Key, Kind, Shape},
};
use crate::{manifest::run_kinds, suggest};

/// Words that other formats use for ours.
static SYNONYMS: &[(&str, &str)] = &[
    ("args", "command"),
    ("cmd", "command"),
    ("event", "on"),
    ("exec", "command"),
    ("hookname", "on"),
    ("main", "entry"),
    ("module", "entry"),
    ("order", "priority"),
    ("parameters", "input_schema"),
    ("schema", "input_schema"),
    ("timeout_ms", "timeout"),
    ("type", "kind"),
    ("runtime", "run"),
];

pub(super) fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Texts => "a list of texts",
        Kind::Flag => "true or false",
        Kind::Whole(..) => "a whole number",
        Kind::Json => "a JSON value",
        Kind::Table(_) => "a table",
        Kind::Tables(_) => "a list of tables",
    }
}

pub(super) fn type_hint(kind: &Kind, node: &Node<'_>) -> String {
    match (kind, node) {
        (Kind::Texts, Node::Text(text)) => {
            let words: Vec<_> = text.split_whitespace().take(8).collect();
            format!("write a list: {words:?}")
        }
        (Kind::Text, Node::List(_)) => "write a single text in quotation marks".to_owned(),
        (Kind::Text, Node::Whole(number)) => {
            format!("write it in quotation marks: \"{number}\"")
        }
        (Kind::Text, _) => "write it in quotation marks".to_owned(),
        (Kind::Flag, _) => "write true or false, without quotation marks".to_owned(),
        (Kind::Tables(shape), Node::Table(_)) => {
            format!("each entry has a header of its own: {}", shape.title)
        }
        (Kind::Table(shape) | Kind::Tables(shape), _) => {
            format!("write a table: {}", shape.title)
        }
        (Kind::Whole(..), _) => "write a whole number without quotation marks".to_owned(),
        (Kind::Texts, _) => "write a list of texts, such as [\"a\", \"b\"]".to_owned(),
        (Kind::Json, _) => "write a JSON value".to_owned(),
    }
}

/// For a key that is not known: a close one, or the table it belongs to, or all there are.
pub(super) fn key_hint(key: &str, shape: &Shape) -> String {
    let names = || shape.keys.iter().map(|key| key.name);
    let synonym = SYNONYMS
        .iter()
        .find(|(word, ours)| *word == key && names().any(|name| name == *ours))
        .map(|(_, ours)| *ours);
    if let Some(name) = synonym.or_else(|| suggest::closest(key, names())) {
        return format!("did you mean `{name}`?");
    }
    let home = ALL
        .iter()
        .find(|other| other.title != shape.title && other.keys.iter().any(|k| k.name == key));
    if let Some(home) = home {
        return format!("`{key}` belongs in {}", home.title);
    }
    let known: Vec<_> = names().map(|name| format!("`{name}`")).collect();
    format!("known keys: {}", known.join(", "))
}

/// For a key that is missing: a line to add.
pub(super) fn example(key: &Key) -> String {
    let name = key.name;
    match (&key.kind, name) {
        (_, "manifest") => "write as the first line: manifest = 1".to_owned(),
        (_, "version") => "add: version = \"0.1.0\"".to_owned(),
        (_, "kind") => format!("add: kind = \"python\", or another of {}", run_kinds()),
        (_, "on") => "add the hook to answer, for example: on = \"prompt.submit\"".to_owned(),
        (Kind::Table(shape) | Kind::Tables(shape), _) => format!("add a table {}", shape.title),
        _ => format!("add: {name} = \"...\""),
    }
}
