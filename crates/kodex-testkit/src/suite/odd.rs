//! Payloads that a plugin must survive. Each could come from an agent of another version, from a
//! model that invents arguments, or from somebody who looks for a crash.

use kodex_plugin::Json;
use serde_json::{Value, json};

/// As deep as the front door lets a document through, less the levels of the envelope around it.
const DEEPEST: usize = 60;

/// Long enough to overrun a fixed buffer or a byte-wise cut, short enough to keep the suite quick.
const LONG: usize = 64 << 10;

/// The names under which known payloads carry their values; each is given a value of a wrong kind.
const FIELDS: [&str; 8] = [
    "text",
    "prompt",
    "session",
    "tool",
    "input",
    "tool_input",
    "cwd",
    "items",
];

/// A label for the finding and the payload; the empty object first.
pub(super) fn payloads() -> Vec<(&'static str, Json)> {
    let all_fields = |value: &Value| -> Value {
        let pair = |field: &&str| ((*field).to_owned(), value.clone());
        Value::Object(FIELDS.iter().map(pair).collect())
    };
    let rows = [
        ("an empty object", json!({})),
        ("null", Value::Null),
        ("true", json!(true)),
        ("0", json!(0)),
        ("the largest integer", json!(u64::MAX)),
        ("the smallest integer", json!(i64::MIN)),
        ("a huge double", json!(1.5e308)),
        ("an empty string", json!("")),
        ("an empty array", json!([])),
        ("an array of everything", json!([null, 1, "a", [], {}])),
        ("fields that are null", all_fields(&Value::Null)),
        ("fields that are numbers", all_fields(&json!(-7.5))),
        ("fields that are empty strings", all_fields(&json!(""))),
        ("fields that are arrays", all_fields(&json!([{"text": 1}]))),
        (
            "fields that are objects",
            all_fields(&json!({"name": 1, "input": "x"})),
        ),
        (
            "an unknown field and an empty key",
            json!({"": "", "x-unknown": {"": []}}),
        ),
        (
            "text beyond ASCII",
            all_fields(&json!(
                "e\u{301} \u{1f9d1}\u{200d}\u{1f4bb} \u{202e}abc \u{feff}"
            )),
        ),
        (
            "control characters",
            all_fields(&json!("a\u{0}b\r\n\u{1b}[31m\u{7f}")),
        ),
        (
            "long strings",
            all_fields(&json!("\u{e4}".repeat(LONG / 2))),
        ),
        ("deep nesting", nested()),
    ];
    rows.into_iter()
        .map(|(label, value)| (label, Json::from(value)))
        .collect()
}

fn nested() -> Value {
    (0..DEEPEST / 2).fold(json!("bottom"), |inner, _| json!({"input": [inner]}))
}

#[cfg(test)]
mod tests {
    use kodex_plugin::{Limits, json};

    use super::*;

    #[test]
    fn every_payload_could_really_arrive() {
        for (label, payload) in payloads() {
            json::check(payload.text().as_bytes(), &Limits::default()).expect(label);
        }
        assert_eq!(payloads()[0].1, Json::object());
    }
}
