//! `contract/schemas/v1`: one JSON Schema per type that crosses the boundary, and the list of them.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::page::{Page, cell};

const FOLDER: &str = "contract/schemas/v1";

const INTRODUCTION: &str = "# Schemas

JSON Schema (2020-12) of everything that crosses between host and plugin, and of what `kodex` prints with `--json`.
Fields that a schema does not name are allowed in hook payloads and replies, so that both can grow.

| schema | of |
|---|---|
";

/// The schemas and the page that lists them.
pub(crate) fn pages() -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    let mut list = INTRODUCTION.to_owned();
    let mut all = kodex_plugin::schema::all();
    all.extend(kodex_cli::schemas());
    all.sort_by_key(|(file, _)| *file);
    for (file, mut schema) in all {
        let about = schema["description"].as_str().unwrap_or_default();
        let first = about.split("\n\n").next().unwrap_or_default();
        list += &format!("| [{file}](../../{FOLDER}/{file}) | {} |\n", cell(first));
        schema["$comment"] = "Written by `cargo xtask codegen`; edit the Rust type.".into();
        schema.sort_all_objects();
        let text = serde_json::to_string_pretty(&schema).context(file)?;
        pages.push(Page {
            path: format!("{FOLDER}/{file}"),
            text: text + "\n",
        });
    }
    pages.push(Page::reference(
        "schemas",
        "the types of `kodex-plugin` and `kodex-cli`",
        &list,
    ));
    Ok(pages)
}

/// The fields of an object's schema as a Markdown table, or a sentence where there are none.
pub(crate) fn fields(schema: &Value) -> String {
    let properties = schema["properties"].as_object();
    let Some(properties) = properties.filter(|all| !all.is_empty()) else {
        let about = schema["description"]
            .as_str()
            .map_or_else(|| kind(schema), str::to_owned);
        return about + "\n";
    };
    let required: BTreeSet<&str> = strings(&schema["required"]).collect();
    let mut table = "| field | type | meaning |\n|---|---|---|\n".to_owned();
    for (name, field) in properties {
        let optional = if required.contains(name.as_str()) {
            ""
        } else {
            ", optional"
        };
        let about = field["description"].as_str().unwrap_or_default();
        table += &format!(
            "| `{name}` | {}{optional} | {} |\n",
            cell(&kind(field)),
            cell(about)
        );
    }
    table
}

/// What kind of value a schema describes, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return format!("`{name}`");
    }
    if let Some(choices) = schema["enum"].as_array() {
        let words: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
        return words.join(", ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let kinds: Vec<String> = choices
                .iter()
                .map(kind)
                .filter(|kind| kind != "null")
                .collect();
            return kinds.join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(one) if one == "array" => format!("array of {}", kind(&schema["items"])),
        Value::String(one) => one.clone(),
        many @ Value::Array(_) => strings(many)
            .filter(|kind| *kind != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => schema
            .get("const")
            .map_or("any value".to_owned(), |only| format!("`{only}`")),
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_said_in_a_word() {
        let check = |schema: Value, expected: &str| assert_eq!(kind(&schema), expected);
        check(json!({"type": "string"}), "string");
        check(json!({"type": ["string", "null"]}), "string");
        check(
            json!({"type": "array", "items": {"type": "integer"}}),
            "array of integer",
        );
        check(
            json!({"anyOf": [{"$ref": "#/$defs/Origin"}, {"type": "null"}]}),
            "`Origin`",
        );
        check(json!({"enum": ["a", "b"]}), "`\"a\"`, `\"b\"`");
        check(json!({"const": "a"}), "`\"a\"`");
        check(json!(true), "any value");
    }

    #[test]
    fn fields_become_rows() {
        let schema = json!({
            "properties": {"a": {"type": "string", "description": "First."}, "b": true},
            "required": ["a"],
        });
        let rows = "| `a` | string | First. |\n| `b` | any value, optional |  |\n";
        assert!(fields(&schema).ends_with(rows), "{}", fields(&schema));
        assert_eq!(fields(&json!({"type": "null"})), "null\n");
    }
}
