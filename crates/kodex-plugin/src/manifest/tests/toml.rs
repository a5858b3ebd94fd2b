//! `kodex.toml`: every rule, by its text and the findings it gives.

use std::{collections::BTreeSet, time::Duration};

use super::*;

/// The first five lines of a manifest in order; what a case adds starts at line 6.
const GOOD: &str = r#"manifest = 1
[plugin]
name = "a"
version = "0.1.0"
description = "A."
"#;

fn check(text: &str, want: &str) {
    let got = render(&parse_toml(text, "file"));
    let want: String = want
        .trim()
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    assert_eq!(got, want, "\n--- for\n{text}");
}

/// What a case adds to [`GOOD`], and what is found.
const AFTER_GOOD: &[(&str, &str)] = &[
    ("", ""),
    ("[x-mine]\nanything = true\n[[x-many]]\na = 1", ""),
    // Keys.
    ("nmae = 1", "6:1 manifest.key.unknown: unknown key `plugin.nmae`"),
    ("[plugins]", "6:2 manifest.key.unknown: unknown key `plugins`"),
    ("x-foo = 1", "6:1 manifest.key.unknown: unknown key `plugin.x-foo`"),
    ("name = \"b\"", "6:1 manifest.key.duplicate: the key `name` stands twice"),
    ("[plugin]", "6:2 manifest.key.duplicate: the key `plugin` stands twice"),
    (
        "[run]\nkind = \"native\"\n[[hook]]\non = \"x\"\nevent = \"y\"\n[[hook]]\npriority = 1",
        "10:1 manifest.key.unknown: unknown key `hook[0].event`
         11:1 manifest.key.missing: `hook[1].on` is missing",
    ),
    // Types.
    ("capabilities = \"a\"", "6:16 manifest.type: `plugin.capabilities` must be a list of texts, but is a text"),
    ("capabilities = [\"a\", 1]", "6:22 manifest.type: `plugin.capabilities[1]` must be a text, but is a whole number"),
    ("api = 1.0", "6:7 manifest.type: `plugin.api` must be a text, but is a number"),
    ("run = 1", "6:1 manifest.key.unknown: unknown key `plugin.run`"),
    ("[hook]\non = \"x\"", "6:1 manifest.type: `hook` must be a list of tables, but is a table"),
    (
        "[run]\nkind = \"native\"\n[[hook]]\non = \"x\"\npriority = 1.5\nrequired = \"yes\"",
        "10:12 manifest.type: `hook[0].priority` must be a whole number, but is a number
         11:12 manifest.type: `hook[0].required` must be true or false, but is a text",
    ),
    (
        "[run]\nkind = \"native\"\n[[hook]]\non = \"x\"\npriority = 3000000000",
        "10:12 manifest.type: `hook[0].priority` must be a whole number from -2147483648 to 2147483647",
    ),
    // Capabilities.
    ("capabilities = [\"b\", \" \", \"b\"]", "6:22 manifest.capability.blank (warning): an empty capability was left out
      6:27 manifest.capability.duplicate (warning): the capability \"b\" is listed twice"),
    ("capabilities = [\"a\\u0007\"]", "6:17 name.capability.invalid: capability \"a\\u{7}\" must not hold control characters"),
    // Contract versions.
    ("api = \"one\"", "6:7 manifest.api.invalid: `plugin.api` = \"one\" is no range of versions: unexpected character 'o' while parsing major version number"),
    ("api = \">=2\"", "6:7 manifest.api.unsupported: `plugin.api` = \">=2\" does not include contract version 1, which this Kodex speaks"),
    ("api = \">=1, <2\"", ""),
    // The way to run.
    ("[run]", "6:1 manifest.key.missing: `run.kind` is missing"),
    ("[run]\nkind = \"pyton\"", "7:8 manifest.run.kind: `run.kind` = \"pyton\" is no known way to run a plugin"),
    ("[run]\nkind = \"none\"", "7:8 manifest.run.kind: `run.kind` = \"none\" is no known way to run a plugin"),
    ("[run]\nkind = \"python\"", "6:1 manifest.key.missing: `run.entry` is missing; kind \"python\" needs it"),
    (
        "[run]\nkind = \"python\"\nentry = \"a.py\"\ncommand = [\"x\"]",
        "9:11 manifest.key.misplaced: `run.command` does not belong to kind \"python\"",
    ),
    (
        "[run]\nkind = \"wasm\"\nentry = \"a.wasm\"\nenv = []",
        "9:7 manifest.key.misplaced: `run.env` does not belong to kind \"wasm\"",
    ),
    ("[run]\nkind = \"native\"\nentry = \"x\"", "8:9 manifest.key.misplaced: `run.entry` does not belong to kind \"native\""),
    ("[run]\nkind = \"wasm\"\nentry = \" \"", "8:9 manifest.path.empty: `run.entry` is empty"),
    ("[run]\nkind = \"wasm\"\nentry = \"/a.wasm\"", "8:9 manifest.path.outside: `run.entry` = \"/a.wasm\" is an absolute path"),
    ("[run]\nkind = \"python\"\nentry = \"a/../../b.py\"", "8:9 manifest.path.outside: `run.entry` = \"a/../../b.py\" leaves the plugin's root"),
    ("[run]\nkind = \"python\"\nentry = \"c:b\"", "8:9 manifest.path.outside: `run.entry` = \"c:b\" is an absolute path"),
    ("[run]\nkind = \"python\"\nentry = \"package.module:Thing\"", ""),
    ("[run]\nkind = \"process\"\ncommand = []", "8:11 manifest.command.empty: `run.command` names no program"),
    ("[run]\nkind = \"process\"\ncommand = [\"\", \"x\"]", "8:11 manifest.command.empty: `run.command` names no program"),
    ("[run]\nkind = \"mcp\"\ncommand = \"node x.js\"", "8:11 manifest.type: `run.command` must be a list of texts, but is a text"),
    ("[run]\nkind = \"mcp\"\ncommand = [\"node x.js\"]", "8:12 manifest.command.words (warning): `run.command` starts the program \"node x.js\", whose name holds blanks"),
    ("[run]\nkind = \"command\"\ncommand = [\"/bin/sh\"]", "8:12 manifest.path.outside: `run.command[0]` = \"/bin/sh\" is an absolute path"),
    ("[run]\nkind = \"command\"\ncommand = [\"./hook.sh\", \"--all\"]\nenv = [\"TOKEN\", \"http_proxy\"]", ""),
    (
        "[run]\nkind = \"process\"\ncommand = [\"x\"]\nenv = [\"A=B\", \"LD_PRELOAD\", \"PATH\", \"A\", \"A\"]",
        "9:8 manifest.env.name: `run.env[0]` = \"A=B\" is no name of an environment variable
         9:15 manifest.env.loader: `run.env[1]` = \"LD_PRELOAD\" changes how programs are loaded and never passes to a plugin
         9:29 manifest.env.reserved: `run.env[2]` = \"PATH\" is set by Kodex itself
         9:42 manifest.env.duplicate (warning): `run.env` lists A twice",
    ),
    (
        "[[hook]]\non = \"x\"\n[[tool]]\nname = \"t\"\ndescription = \"T.\"\n[database]\nmigrations = \"m\"",
        "6:1 manifest.run.missing: `hook` needs code, but there is no [run]
         8:1 manifest.run.missing: `tool` needs code, but there is no [run]
         11:1 manifest.run.missing: `database` needs code, but there is no [run]",
    ),
    // Hooks.
    ("[run]\nkind = \"native\"\n[[hook]]\non = \"\"", "9:6 name.hook.invalid: hook name \"\" must not be empty"),
    (
        "[run]\nkind = \"native\"\n[[hook]]\non = \"x\"\n[[hook]]\non = \"x\"",
        "11:6 manifest.hook.duplicate: the plugin subscribes to \"x\" twice",
    ),
    (
        "[run]\nkind = \"native\"\n[[hook]]\non = \"tool.befor\"",
        "9:6 manifest.hook.close (note): the hook \"tool.befor\" is not one that Kodex knows; it collects every reply",
    ),
    (
        "[run]\nkind = \"native\"\n[[hook]]\non = \"session.end\"\nrequired = true\n[[hook]]\non = \"*\"\nrequired = true\n[[hook]]\non = \"prompt.submit\"\nrequired = true",
        "10:12 manifest.hook.required (warning): `hook[0].required` has no effect: \"session.end\" is not a chain hook",
    ),
    (
        "[run]\nkind = \"native\"\n[[hook]]\non = \"a\"\ntimeout = \"1.5s\"\n[[hook]]\non = \"b\"\ntimeout = \"0s\"\n[[hook]]\non = \"c\"\ntimeout = \"11m\"\n[[hook]]\non = \"d\"\ntimeout = \"10m\"",
        "10:11 manifest.timeout.invalid: `hook[0].timeout` = \"1.5s\" is no span of time: fractions are not allowed; use a smaller unit
         13:11 manifest.timeout.zero: `hook[1].timeout` = \"0s\" leaves no time at all
         16:11 manifest.timeout.long: `hook[2].timeout` = \"11m\" is longer than the 10m",
    ),
    // Tools.
    (
        "[run]\nkind = \"native\"\n[[tool]]\nname = \"1\"\ndescription = \" \"\n[[tool]]\nname = \"t\"\ndescription = \"T.\"\ninput_schema = 1\n[[tool]]\nname = \"t\"\ndescription = \"T.\"\ninput_schema = { type = \"string\" }",
        "9:8 name.tool.invalid: tool name \"1\" must start with a letter or '_'
         10:15 manifest.tool.description: `tool[0].description` is blank
         14:16 manifest.tool.schema: `tool[1].input_schema` must be a JSON Schema, which is a table
         16:8 manifest.tool.duplicate: two tools are called \"t\"
         18:16 manifest.tool.schema: `tool[2].input_schema` has a type other than \"object\", but a tool's input is always an object",
    ),
    (
        "[run]\nkind = \"native\"\n[[tool]]\nname = \"t\"\ndescription = \"T.\"\ninput_schema = { default = 1979-05-27, maximum = inf }\nannotations = { readOnly = true }\ntimeout_ms = 5",
        "11:28 manifest.type: `tool[0].input_schema` must be JSON, which cannot hold a date
         12:17 manifest.key.unknown: unknown key `tool[0].annotations.readOnly`
         13:1 manifest.key.unknown: unknown key `tool[0].timeout_ms`",
    ),
    // Permissions.
    (
        "[[permission]]\nallow = \"clock\"\nreason = \"a\\nb\"\n[[permission]]\nallow = \"clock\"",
        "8:10 manifest.reason.cleaned (warning): `permission[0].reason` was cut or cleaned before it is shown
         9:1 manifest.reason.missing (note): `clock` is asked for without a reason
         10:9 manifest.permission.duplicate (warning): the permission `clock` is asked for twice",
    ),
    ("[[permission]]\nallow = \"fs:reed ${project}/**\"\nreason = \"r\"", "7:13 permission.access.unknown: permission `fs:reed ${project}/**`: `reed` is no access of this scope"),
    ("[[permission]]\nallow = \"fs:\\u0072eed ${project}/**\"\nreason = \"r\"", "7:9 permission.access.unknown: permission `fs:reed ${project}/**`: `reed` is no access of this scope"),
    // The rest.
    (
        "[run]\nkind = \"native\"\n[database]\nmigrations = \"../m\"\nrenamed_from = \"a\"",
        "9:14 manifest.path.outside: `database.migrations` = \"../m\" leaves the plugin's root
         10:16 manifest.database.renamed_from: `database.renamed_from` is the plugin's present name",
    ),
    ("[requires]\nbin = [\"jq\", \"/bin/x\", \"\"]", "7:14 manifest.requires.bin: `requires.bin` lists \"/bin/x\", which is no name of a program
      7:24 manifest.requires.bin: `requires.bin` lists \"\", which is no name of a program"),
];

/// Whole files, and what is found.
const WHOLE: &[(&str, &str)] = &[
    (
        "",
        "1:1 manifest.key.missing: `manifest` is missing
         1:1 manifest.key.missing: `plugin` is missing",
    ),
    (
        "manifest = 2\n[plugin]\nname = \"Bad_Name\"\nversion = \"x\"\ndescription = \" \"",
        "1:12 manifest.format.unknown: `manifest` = 2 is a format that this Kodex does not read
         3:8 name.plugin.invalid: plugin name \"Bad_Name\" must start with a letter a to z
         4:11 manifest.version.invalid: the version \"x\" cannot be read
         5:15 manifest.description.blank: `plugin.description` is blank",
    ),
    (
        "manifest = 1\n[plugin]\nname = \"core\"\nversion = \"v1.2\"\ndescription = \"A.\"",
        "3:8 name.plugin.invalid: plugin name \"core\" is reserved for Kodex itself
         4:11 manifest.version.normalised (warning): the version \"v1.2\" is read as 1.2.0",
    ),
    // What does not parse is all that is said, and all of it.
    (
        "manifest = \n[plugin\nname = \"a\"",
        "1:12 manifest.syntax: this is no TOML: string values must be quoted, expected literal string
         2:8 manifest.syntax: this is no TOML: unclosed table, expected `]`",
    ),
];

#[test]
fn every_rule_points_at_its_place() {
    for (added, want) in AFTER_GOOD {
        check(&format!("{GOOD}{added}"), want);
    }
    for (text, want) in WHOLE {
        check(text, want);
    }
    check(
        &format!("x-foo = 1\n{GOOD}"),
        "1:1 manifest.key.unknown: unknown key `x-foo`",
    );
    check(
        &format!("run = 1\n{GOOD}"),
        "1:7 manifest.type: `run` must be a table, but is a whole number",
    );
    check(
        &format!("version = \"1\"\n{GOOD}"),
        "1:1 manifest.key.unknown: unknown key `version`",
    );
    check(
        &GOOD.replace("A.", &"ä".repeat(301)),
        "5:15 manifest.description.long (warning): `plugin.description` has more than 300 characters",
    );
}

#[test]
fn what_is_too_much_is_refused() {
    let native =
        format!("{GOOD}[run]\nkind = \"native\"\n[[tool]]\nname = \"t\"\ndescription = \"T.\"\n");
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    check(
        &format!("{native}input_schema = {{ a = {deep} }}"),
        "11:16 manifest.tool.schema_large: `tool[0].input_schema` is nested deeper than 32 levels",
    );
    check(
        &format!(
            "{native}input_schema = {{ a = \"{}\" }}",
            "x".repeat(70_000)
        ),
        "11:16 manifest.tool.schema_large: `tool[0].input_schema` has more than 65536 bytes",
    );
    let long = format!("{GOOD}api = \"{}\"", " ".repeat(MANIFEST_BYTES_MAX));
    check(
        &long,
        &format!(
            "manifest.too_large: the manifest has {} bytes; at most 1048576 are read",
            long.len()
        ),
    );
    let parsed = parse_toml(
        &format!("{GOOD}api = {}1{}", "[".repeat(9_000), "]".repeat(9_000)),
        "file",
    );
    assert_eq!(parsed.diagnostics[0].code, "manifest.too_deep");
    let unknown: String = (0..100).map(|n| format!("k{n} = 1\n")).collect();
    let parsed = parse_toml(&format!("{GOOD}{unknown}"), "file");
    assert_eq!(parsed.diagnostics.len(), 65);
    assert_eq!(
        render(&parsed).lines().last(),
        Some("manifest.more (note): 36 more findings are not shown")
    );
}

#[test]
fn hints_say_what_to_write() {
    for (added, want) in [
        ("nmae = 1", "did you mean `name`?"),
        ("Description = \"x\"", "did you mean `description`?"),
        ("timeout = \"1s\"", "`timeout` belongs in [[hook]]"),
        (
            "colour = 1",
            "known keys: `name`, `version`, `description`, `capabilities`, `api`",
        ),
        ("[[hooks]]", "did you mean `hook`?"),
        (
            "[run]\nkind = \"pyhton\"",
            "did you mean \"python\"? There are python, process, command, wasm, mcp, native",
        ),
        (
            "[run]\nkind = \"mcp\"\ncommand = \"node x.js\"",
            "write a list: [\"node\", \"x.js\"]",
        ),
        (
            "[run]\nkind = \"native\"\n[[hook]]\nevent = \"x\"\non = \"y\"",
            "did you mean `on`?",
        ),
        (
            "[run]\nkind = \"native\"\n[[hook]]\non = \"promt.submit\"",
            "did you mean \"prompt.submit\"?",
        ),
        ("[hook]", "each entry has a header of its own: [[hook]]"),
        ("api = 1", "write it in quotation marks: \"1\""),
    ] {
        let parsed = parse_toml(&format!("{GOOD}{added}"), "file");
        let hints: Vec<_> = parsed
            .diagnostics
            .iter()
            .filter_map(|one| one.hint.as_deref())
            .collect();
        assert!(hints.contains(&want), "{added}: {hints:?}");
    }
}

/// Nothing in the table of codes is made up: each is found by some text.
#[test]
fn every_code_is_emitted_by_some_case() {
    let toml = AFTER_GOOD.iter().map(|(added, _)| format!("{GOOD}{added}"));
    let whole = WHOLE.iter().map(|(text, _)| (*text).to_owned());
    let mut emitted: BTreeSet<String> = toml
        .chain(whole)
        .flat_map(|text| parse_toml(&text, "file").diagnostics)
        .map(|one| one.code)
        .collect();
    // Shown by `what_is_too_much_is_refused`, by the long description and by the JSON cases.
    let elsewhere = [
        "manifest.tool.schema_large",
        "manifest.too_large",
        "manifest.too_deep",
        "manifest.more",
        "manifest.description.long",
        "manifest.name.lenient",
        "manifest.version.free",
    ];
    emitted.extend(elsewhere.map(str::to_owned));
    let known: BTreeSet<_> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
    let unshown: Vec<_> = known.difference(&emitted).collect();
    assert!(unshown.is_empty(), "{unshown:?}");
}

#[test]
fn a_manifest_with_everything_is_read() {
    let text = r#"
manifest = 1
[plugin]
name = "context-enricher"
version = "0.1.0"
description = "  Adds extra prompt context before execution. "
capabilities = ["prompt.preprocess", "context.enrich"]
api = ">=1, <2"

[run]
kind = "python"
entry = "plugin.py"
env = ["API_TOKEN", "http_proxy"]

[[hook]]
on = "prompt.preprocess"
priority = -5
timeout = "1s"

[[hook]]
on = "prompt.submit"
required = true

[[tool]]
name = "search"
description = "Finds files."
input_schema = { type = "object", properties = { text = { type = "string" } }, required = ["text"] }
output_schema = { type = "array" }
timeout = "5s"
needs_caller = true
annotations = { read_only = true, destructive = false, idempotent = true, open_world = false }

[[permission]]
allow = "fs:read ${project}/src/**"
reason = "reads sources to build context"

[database]
migrations = "migrations"
renamed_from = "enricher"

[requires]
bin = ["jq"]

[x-editor]
colour = "blue"
"#;
    let parsed = parse_toml(text, "file");
    assert_eq!(render(&parsed), "");
    let manifest = parsed.manifest.expect("a good manifest");
    assert_eq!(manifest.to_raw(), everything());
    assert_eq!(manifest.hooks[0].timeout, Some(Duration::from_secs(1)));
    assert_eq!(manifest.tools[0].timeout_ms, Some(5_000));
    assert_eq!(manifest.run.kind(), "python");
}

#[test]
fn a_manifest_without_run_has_no_code() {
    let manifest = parse_toml(GOOD, "file")
        .manifest
        .expect("a declarative plugin");
    assert_eq!(manifest.run, Run::None);
    assert_eq!(manifest.to_json().get("run"), None);
}
