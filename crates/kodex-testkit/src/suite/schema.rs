//! Whether a document has the form of a JSON Schema. It checks the schema itself, never an instance
//! against it, and knows the keywords that tools use; unknown ones are allowed, as the standard
//! says.

use serde_json::{Map, Value};

const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// How the value of a keyword must look.
#[derive(Clone, Copy)]
enum Form {
    Schema,
    Schemas,
    NamedSchemas,
    Text,
    Number,
    Count,
    Flag,
    Names,
    Choices,
}

/// The keywords of draft 2020-12 (and the older `definitions`) whose form is checked.
const KEYWORDS: &[(&str, Form)] = &[
    ("$defs", Form::NamedSchemas),
    ("$ref", Form::Text),
    ("additionalProperties", Form::Schema),
    ("allOf", Form::Schemas),
    ("anyOf", Form::Schemas),
    ("contains", Form::Schema),
    ("definitions", Form::NamedSchemas),
    ("description", Form::Text),
    ("else", Form::Schema),
    ("enum", Form::Choices),
    ("exclusiveMaximum", Form::Number),
    ("exclusiveMinimum", Form::Number),
    ("format", Form::Text),
    ("if", Form::Schema),
    ("items", Form::Schema),
    ("maxItems", Form::Count),
    ("maxLength", Form::Count),
    ("maxProperties", Form::Count),
    ("maximum", Form::Number),
    ("minItems", Form::Count),
    ("minLength", Form::Count),
    ("minProperties", Form::Count),
    ("minimum", Form::Number),
    ("multipleOf", Form::Number),
    ("not", Form::Schema),
    ("oneOf", Form::Schemas),
    ("pattern", Form::Text),
    ("patternProperties", Form::NamedSchemas),
    ("prefixItems", Form::Schemas),
    ("properties", Form::NamedSchemas),
    ("propertyNames", Form::Schema),
    ("required", Form::Names),
    ("then", Form::Schema),
    ("title", Form::Text),
    ("unevaluatedProperties", Form::Schema),
    ("uniqueItems", Form::Flag),
];

/// Deeper schemas are beyond what agents accept; the bound also keeps the walk from running away.
const DEEPEST: usize = 64;

/// What is wrong with the schema of a tool's input, which must describe an object.
pub(super) fn input_fault(schema: &Value) -> Option<String> {
    let Value::Object(fields) = schema else {
        return Some("it must be an object".into());
    };
    if fields.get("type").is_none_or(|kind| kind != "object") {
        return Some("its \"type\" must be \"object\"".into());
    }
    let known = fields.get("properties").and_then(Value::as_object);
    let required = fields.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !known.is_some_and(|known| known.contains_key(name)) {
            return Some(format!("{name:?} is required, but is no property"));
        }
    }
    fault(schema)
}

/// What is wrong with a schema, if anything.
pub(super) fn fault(schema: &Value) -> Option<String> {
    at("", schema, 0)
}

fn at(place: &str, schema: &Value, depth: usize) -> Option<String> {
    if depth > DEEPEST {
        return Some(format!("{place}: more than {DEEPEST} levels"));
    }
    match schema {
        Value::Bool(_) => None,
        Value::Object(fields) => keywords(place, fields, depth),
        _ => Some(format!("{}must be an object or a boolean", spot(place))),
    }
}

fn keywords(place: &str, fields: &Map<String, Value>, depth: usize) -> Option<String> {
    let type_fault = fields.get("type").filter(|kind| !is_type(kind));
    if type_fault.is_some() {
        return Some(format!(
            "{}names no type of JSON",
            spot(&format!("{place}/type"))
        ));
    }
    KEYWORDS.iter().find_map(|(keyword, form)| {
        let value = fields.get(*keyword)?;
        keyword_fault(&format!("{place}/{keyword}"), value, *form, depth + 1)
    })
}

fn keyword_fault(place: &str, value: &Value, form: Form, depth: usize) -> Option<String> {
    let must = |right: bool, what: &str| (!right).then(|| format!("{}must be {what}", spot(place)));
    match form {
        Form::Schema => at(place, value, depth),
        Form::Schemas => match value.as_array() {
            Some(schemas) if !schemas.is_empty() => {
                let one = |(n, schema)| at(&format!("{place}/{n}"), schema, depth);
                schemas.iter().enumerate().find_map(one)
            }
            _ => must(false, "a list of at least one schema"),
        },
        Form::NamedSchemas => match value.as_object() {
            Some(schemas) => schemas
                .iter()
                .find_map(|(name, schema)| at(&format!("{place}/{name}"), schema, depth)),
            None => must(false, "an object of schemas"),
        },
        Form::Text => must(value.is_string(), "a text"),
        Form::Number => must(value.is_number(), "a number"),
        Form::Count => must(value.is_u64(), "a whole number from 0 up"),
        Form::Flag => must(value.is_boolean(), "true or false"),
        Form::Names => must(are_names(value), "a list of different texts"),
        Form::Choices => must(
            value.as_array().is_some_and(|choices| !choices.is_empty()),
            "a list of at least one value",
        ),
    }
}

fn is_type(value: &Value) -> bool {
    let known = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
    match value {
        Value::Array(kinds) => !kinds.is_empty() && kinds.iter().all(known),
        one => known(one),
    }
}

fn are_names(value: &Value) -> bool {
    let Some(names) = value.as_array() else {
        return false;
    };
    names
        .iter()
        .enumerate()
        .all(|(n, name)| name.is_string() && !names[..n].contains(name))
}

fn spot(place: &str) -> String {
    if place.is_empty() {
        "it ".to_owned()
    } else {
        format!("{place} ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keywords_are_sorted_and_unique() {
        assert!(KEYWORDS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn input_schemas_are_judged() {
        let check = |schema: Value, want: Option<&str>| match (input_fault(&schema), want) {
            (None, None) => {}
            (Some(fault), Some(words)) => assert!(fault.contains(words), "{fault} / {words}"),
            (got, want) => panic!("{schema}: got {got:?}, want {want:?}"),
        };
        let with = |key: &str, value: Value| json!({"type": "object", key: value});
        check(json!({"type": "object"}), None);
        check(
            with(
                "properties",
                json!({"a": true, "b": {"type": ["string", "null"]}}),
            ),
            None,
        );
        check(with("x-hint", json!([1, 2])), None);
        check(json!(true), Some("must be an object"));
        check(json!({}), Some("\"type\" must be"));
        check(json!({"type": "string"}), Some("\"type\" must be"));
        check(
            with("properties", json!([])),
            Some("/properties must be an object of schemas"),
        );
        check(
            with("properties", json!({"a": {"type": "text"}})),
            Some("/properties/a/type names no type"),
        );
        check(
            with("properties", json!({"a": "string"})),
            Some("/properties/a must be an object or a boolean"),
        );
        check(
            with("required", json!(["a"])),
            Some("\"a\" is required, but is no property"),
        );
        check(
            json!({"type": "object", "properties": {"a": {}}, "required": ["a", "a"]}),
            Some("/required must be a list of different"),
        );
        check(
            with("required", json!("a")),
            Some("/required must be a list"),
        );
        check(
            with("anyOf", json!([])),
            Some("/anyOf must be a list of at least one"),
        );
        check(with("anyOf", json!([{}, 7])), Some("/anyOf/1 must be"));
        check(
            with("minProperties", json!(-1)),
            Some("/minProperties must be a whole"),
        );
        check(
            with("additionalProperties", json!("no")),
            Some("/additionalProperties must"),
        );
        check(
            with("description", json!(7)),
            Some("/description must be a text"),
        );
        let items = json!({"a": {"type": "array", "items": {"enum": []}}});
        check(
            with("properties", items),
            Some("/properties/a/items/enum must be"),
        );
    }

    #[test]
    fn a_bottomless_schema_ends() {
        let deep = (0..DEEPEST + 2).fold(json!({}), |inner, _| json!({"not": inner}));
        assert!(fault(&deep).is_some_and(|fault| fault.contains("levels")));
    }
}
