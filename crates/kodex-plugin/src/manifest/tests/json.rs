//! The JSON form: the same rules, and the lenient ones for plugins that declare themselves in code.

use super::*;

fn check(text: &str, in_code: bool, want: &str) {
    let got = render(&parse_json(text, "file", in_code));
    let want: String = want
        .trim()
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    assert_eq!(got, want, "\n--- for\n{text}");
}

fn plugin(name: &str, version: &str, rest: &str) -> String {
    format!(
        r#"{{"manifest": 1, "plugin": {{"name": "{name}", "version": "{version}", "description": "A."}}{rest}}}"#
    )
}

#[test]
fn the_same_rules_hold_with_exact_places() {
    check(&plugin("a", "0.1.0", ""), false, "");
    check(
        &plugin("a", "0.1.0", ", \"x-mine\": {}, \"run\": null"),
        false,
        "",
    );
    check(
        "{\n  \"manifest\": 1,\n  \"plugin\": {\"name\": 7, \"version\": \"1\", \"colour\": 1},\n  \"hook\": [{\"on\": \"a\", \"timeout\": \"1h\"}]\n}",
        false,
        "3:13 manifest.key.missing: `plugin.description` is missing
         3:22 manifest.type: `plugin.name` must be a text, but is a whole number
         3:36 manifest.version.normalised (warning): the version \"1\" is read as 1.0.0
         3:41 manifest.key.unknown: unknown key `plugin.colour`
         4:12 manifest.run.missing: `hook` needs code, but there is no [run]
         4:35 manifest.timeout.invalid: `hook[0].timeout` = \"1h\" is no span of time: the unit must be ms, s or m",
    );
    check(
        "[]",
        false,
        "1:1 manifest.type: a manifest is a table, but this is a list",
    );
    check(
        "\"x\"",
        false,
        "1:1 manifest.type: a manifest is a table, but this is a text",
    );
}

#[test]
fn what_is_no_json_is_pointed_at() {
    check(
        "",
        false,
        "1:1 manifest.syntax: this is no JSON: EOF while parsing a value",
    );
    check(
        "{\n \"a\": nope}",
        false,
        "2:8 manifest.syntax: this is no JSON: expected ident",
    );
    check(
        "{\"a\": 1,}",
        false,
        "1:9 manifest.syntax: this is no JSON: trailing comma",
    );
    check(
        "{} {}",
        false,
        "1:4 manifest.syntax: this is no JSON: trailing characters",
    );
    check(
        "{\"a\": \"\\ud800\"}",
        false,
        "1:8 manifest.syntax: this is no JSON: lone surrogate in a string",
    );
    check(
        &"[".repeat(100),
        false,
        "1:65 manifest.too_deep: the manifest is nested too deep",
    );
}

#[test]
fn duplicate_keys_are_refused_on_every_level() {
    check(
        &plugin("a", "0.1.0", ", \"plugin\": 1"),
        false,
        "1:83 manifest.key.duplicate: the key `plugin` stands twice",
    );
    check(
        r#"{"manifest": 1, "plugin": {"name": "a", "name": "b", "version": "1.0.0", "description": "A."}}"#,
        true,
        "1:41 manifest.key.duplicate: the key `plugin.name` stands twice",
    );
    check(
        &plugin(
            "a",
            "0.1.0",
            r#", "run": {"kind": "native"}, "tool": [{"name": "t", "description": "T.", "input_schema": {"type": "object", "type": "object"}}]"#,
        ),
        false,
        "1:189 manifest.key.duplicate: the key `tool[0].input_schema.type` stands twice",
    );
}

#[test]
fn plugins_that_declare_themselves_in_code_may_be_called_what_they_like() {
    let text = plugin("My Plugin", "next", "");
    check(
        &text,
        false,
        "1:36 name.plugin.invalid: plugin name \"My Plugin\" must start with a letter a to z
         1:60 manifest.version.invalid: the version \"next\" cannot be read",
    );
    check(
        &text,
        true,
        "1:36 manifest.name.lenient (warning): the plugin's name \"My Plugin\" must start with a letter a to z
         1:60 manifest.version.free (warning): the version \"next\" is no semantic version",
    );
    let manifest = parse_json(&text, "file", true).manifest.expect("lenient");
    assert_eq!(
        (manifest.name.as_str(), manifest.version.text.as_str()),
        ("My Plugin", "next")
    );
    // What was read leniently is written and read back.
    let again = parse_json(&manifest.to_json().to_string(), "file", true);
    assert_eq!(again.manifest, Some(manifest));
    check(
        &plugin("", "", ""),
        true,
        "1:36 name.plugin.invalid: plugin name \"\" must start with a letter a to z
         1:51 manifest.version.invalid: the version \"\" cannot be read",
    );
    // The first runtime cleaned capabilities without a word.
    let text = r#"{"manifest": 1, "plugin": {"name": "a", "version": "0.1.0", "description": "A.", "capabilities": [" b", "", "a", "b"]}}"#;
    check(text, true, "");
    let manifest = parse_json(text, "file", true).manifest.expect("good");
    assert_eq!(
        manifest
            .capabilities
            .iter()
            .map(|c| c.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
}

#[test]
fn findings_name_the_plugin_where_it_is_known() {
    let parsed = parse_json(&plugin("a", "1", ""), "file", false);
    assert_eq!(parsed.diagnostics[0].plugin.as_deref(), Some("a"));
}
