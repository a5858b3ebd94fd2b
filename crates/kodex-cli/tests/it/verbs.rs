//! The verbs that the first runtime did not have.

use serde_json::{Value, json};

use crate::world::{ENRICHER, World, plugin};

/// A plugin with tools, a typed hook and a permission.
const COUNTER: &str = r#"
import kodex

plugin = kodex.Plugin("word-count", "1.2.0", "Counts words.", capabilities=["words"])
plugin.permission("fs:read ${project}/{src,docs}/**", "reads what it counts")


@plugin.tool(
    "count",
    description="Counts the words of a text.",
    input_schema={"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
    output_schema={"type": "object", "required": ["words"]},
)
def count(input):
    if input["text"] == "refuse":
        raise kodex.ToolInputError("that text is refused")
    if input["text"] == "raise":
        raise ValueError("broken on purpose")
    if input["text"] == "wrong":
        return {}
    return {"words": len(input["text"].split())}


@plugin.hook("tool.before", timeout="2s", priority=-7)
def guard(payload):
    return kodex.deny("not that") if payload.get("bad") else kodex.allow()
"#;

fn world() -> World {
    World::with(&[
        ("plugins/counter.py", COUNTER),
        ("plugins/enricher.py", ENRICHER),
    ])
}

fn json_of(world: &World, argv: &[&str]) -> Value {
    let done = world.args(argv);
    serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("{argv:?}: {error}\n{}\n{}", done.stdout, done.stderr))
}

#[test]
fn a_tool_knows_its_caller_and_no_input_can_change_it() {
    let code = r#"
import kodex

plugin = kodex.Plugin("asks", "1.0.0", "Says who calls.")


@plugin.tool("who")
def who(input, ctx):
    return {"caller": ctx.caller}


@plugin.tool("here", needs_caller=True)
def here(input, ctx):
    return {"here": ctx.caller["source"]["address"]}
"#;
    let world = World::with(&[("plugins/asks.py", code)]);
    let caller = json!({
        "call_id": "7", "source": {"kind": "session", "address": "s-1"}, "visibility": "public",
        "direct": true, "actor": {"id": "u-1"},
    });
    let tool = ["call", "asks/who", "--input", r#"{"caller": "me"}"#];
    assert_eq!(json_of(&world, &tool), json!({"caller": null}));
    let given = caller.to_string();
    let known = [&tool[..], &["--caller", &given]].concat();
    assert_eq!(json_of(&world, &known), json!({"caller": caller}));
    let here = ["call", "asks/here"];
    let done = world.args(here);
    assert_eq!(done.code(), 1, "{}", done.stdout);
    assert!(
        done.stderr.contains("tool.caller.unknown"),
        "{}",
        done.stderr
    );
    let known = [&here[..], &["--caller", &given]].concat();
    assert_eq!(json_of(&world, &known), json!({"here": "s-1"}));
    for wrong in [
        "7",
        "{}",
        r#"{"call_id": "1", "source": {"kind": "session", "address": "s"}, "who": 1}"#,
    ] {
        let done = world.args([&tool[..], &["--caller", wrong]].concat());
        assert_eq!(done.code(), 2, "{}", done.stderr);
        assert!(done.stderr.contains("caller.invalid"), "{}", done.stderr);
    }
}

#[test]
fn call_asks_a_tool_by_either_name() {
    let world = world();
    for tool in ["word-count/count", "wordCount_count"] {
        let done = world.args(["call", tool, "--input", r#"{"text": "one two"}"#]);
        assert_eq!(
            (done.stdout.as_str(), done.code()),
            ("{\n  \"words\": 2\n}\n", 0),
            "{}",
            done.stderr
        );
    }
    for (input, code, word) in [
        (
            "{}",
            "tool.input.invalid",
            "\"text\" is a required property",
        ),
        (
            r#"{"text": "refuse"}"#,
            "tool.input.invalid",
            "that text is refused",
        ),
        (r#"{"text": "raise"}"#, "plugin.raised", "broken on purpose"),
        (r#"{"text": "wrong"}"#, "tool.output.invalid", "words"),
    ] {
        let done = world.args(["call", "word-count/count", "--input", input]);
        assert_eq!((done.code(), done.stdout.as_str()), (1, ""), "{input}");
        assert!(
            done.stderr.starts_with(&format!("error[{code}]: ")) && done.stderr.contains(word),
            "{}",
            done.stderr
        );
    }
    let done = world.run("call word-count/cuont");
    assert!(
        done.stderr.contains("error[tool.unknown]"),
        "{}",
        done.stderr
    );
}

#[test]
fn call_without_a_name_lists_the_tools() {
    let world = world();
    let tools = json_of(&world, &["call", "--json"]);
    assert_eq!(tools[0]["name"], "wordCount_count");
    assert_eq!(
        tools[0]["tool"]["input_schema"]["required"],
        json!(["text"])
    );
    assert!(
        world
            .run("call")
            .stdout
            .contains("Counts the words of a text.")
    );
}

#[test]
fn the_outcome_is_combined_as_the_hook_wants_it() {
    let world = world();
    let whole = json_of(
        &world,
        &[
            "emit",
            "tool.before",
            "--outcome",
            "--payload",
            r#"{"bad": true}"#,
        ],
    );
    assert_eq!(
        (&whole["outcome"], &whole["combine"]),
        (&json!(1), &json!("decide"))
    );
    assert_eq!(
        whole["result"],
        json!({"kind": "decided", "verdict": {"decision": "deny", "reason": "not that", "plugin": "word-count"}})
    );
    assert_eq!(
        whole["entries"][0]["plugin"], "word-count",
        "its priority is lower"
    );
    let whole = json_of(&world, &["emit", "tool.before", "--outcome"]);
    assert_eq!(whole["result"]["verdict"]["decision"], "allow");
    let failing = World::with(&[("plugins/a.py", &plugin("a", "raise ValueError('x')"))]);
    let whole = json_of(&failing, &["emit", "some.hook", "--outcome"]);
    assert_eq!(
        whole["entries"][0]["failure"],
        json!({"kind": "error", "code": "plugin.raised", "message": "x"})
    );
}

#[test]
fn a_capability_routes() {
    let world = world();
    let all = world.run("emit prompt.preprocess").stdout;
    assert!(all.contains("context-enricher"));
    assert_eq!(
        world
            .run("emit prompt.preprocess --capability context.enrich")
            .stdout,
        all
    );
    assert_eq!(
        world
            .run("emit prompt.preprocess --capability words")
            .stdout,
        "[]\n"
    );
    assert_eq!(
        world
            .run("emit prompt.preprocess --capability nobody")
            .stdout,
        "[]\n"
    );
}

#[test]
fn explain_says_who_is_asked_and_why_not() {
    let world = world();
    world.write("plugins/broken.py", "raise ValueError('broken on purpose')");
    world.write(".kodex/config.toml", "[plugin.off]\nenabled = false\n");
    world.write("plugins/off.py", plugin("off", "return 1"));
    let explained = json_of(&world, &["explain", "tool.before", "--json"]);
    assert_eq!(
        (&explained["explain"], &explained["known"]),
        (&json!(1), &json!(true))
    );
    let reasons: Vec<_> = explained["plugins"]
        .as_array()
        .expect("plugins")
        .iter()
        .map(|why| (why["plugin"].clone(), why["reason"].clone()))
        .collect();
    assert_eq!(reasons[0], (json!("word-count"), json!("asked")));
    assert!(
        reasons.contains(&(json!("off"), json!("not_enabled"))),
        "{reasons:?}"
    );
    assert!(
        reasons.contains(&(json!("-"), json!("not_loaded"))),
        "{reasons:?}"
    );
    let text = world.run("explain prompt.preprocess").stdout;
    for word in [
        "answers tool.before",
        "broken on purpose",
        "not enabled",
        "asked on every hook",
    ] {
        assert!(
            text.replace('\n', " ")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .contains(word),
            "{word}: {text}"
        );
    }
}

#[test]
fn explain_with_a_payload_shows_the_replies() {
    let world = world();
    let explained = json_of(
        &world,
        &[
            "explain",
            "tool.before",
            "--json",
            "--payload",
            r#"{"bad": true}"#,
        ],
    );
    assert_eq!(
        explained["outcome"]["entries"][0]["reply"]["decision"],
        "deny"
    );
    assert_eq!(explained["plugins"][0]["calls"]["calls"]["ok"], 1);
    let text = world
        .args(["explain", "tool.before", "--payload", "{}"])
        .stdout;
    assert!(text.contains("REPLY") && text.contains("allow"), "{text}");
}

#[test]
fn explain_knows_the_codes() {
    let world = World::new();
    assert_eq!(
        world.run("explain config.key.unknown").stdout,
        "config.key.unknown: A key of the configuration is not known. Correct or remove it.\n"
    );
    assert_eq!(
        json_of(&world, &["explain", "worker.banner", "--json"])["code"],
        "worker.banner"
    );
}

#[test]
fn permissions_are_shown_in_normal_form_with_their_digest() {
    let world = world();
    let all = json_of(&world, &["permissions", "word-count", "--json"]);
    assert_eq!(
        all[0]["permissions"],
        json!([{"allow": "fs:read ${project}/{docs,src}/**", "reason": "reads what it counts"}])
    );
    assert_eq!(all[0]["digest"].as_str().expect("a digest").len(), 64);
    let text = world.run("permissions").stdout;
    assert!(
        text.contains("context-enricher v0.1.0") && text.contains("asks for nothing"),
        "{text}"
    );
    assert!(
        text.contains("  fs:read ${project}/{docs,src}/**\n      reads what it counts\n"),
        "{text}"
    );
}

#[test]
fn check_shows_every_mistake_with_its_line() {
    let world = World::with(&[(
        "plugins/bad/kodex.toml",
        "manifest = 1\n[plugin]\nname = \"bad\"\nversion = \"1.0.0\"\ndescripton = \"d\"\n[run]\nkind = \"process\"\ncommand = [\"./x\"]\n",
    )]);
    let done = world.run("check");
    assert_eq!(done.code(), 1, "{}", done.stdout);
    for word in [
        "error[manifest.key.unknown]",
        "plugins/bad/kodex.toml:5:1",
        "5 | descripton = \"d\"",
        "description",
        "not ok",
    ] {
        assert!(done.stdout.contains(word), "{word}\n{}", done.stdout);
    }
    let checked = json_of(&world, &["check", "--json"]);
    assert_eq!(
        (&checked["check"], &checked["ok"]),
        (&json!(1), &json!(false))
    );
    let findings = checked["findings"].as_array().expect("findings");
    let unknown = findings
        .iter()
        .find(|found| found["code"] == "manifest.key.unknown")
        .expect("the finding");
    assert_eq!(unknown["position"]["line"], 5);
}

#[test]
fn check_looks_at_one_path_and_runs_nothing_else() {
    let world = world();
    let marker = world.work().join("ran");
    world.write(
        "plugins/other.py",
        format!("open({:?}, 'w')", marker.display().to_string()),
    );
    let done = world.run("check plugins/counter.py");
    assert_eq!(
        (done.stdout.as_str(), done.code()),
        ("ok: 1 can be loaded; errors: 0, warnings: 0\n", 0)
    );
    assert!(!marker.exists(), "another plugin was run");
    assert_eq!(world.run("check plugins").code(), 0);
    assert!(marker.exists());
}

#[test]
fn the_full_doctor_fails_where_something_is_wrong() {
    let world = world();
    let healthy = json_of(&world, &["doctor", "--full", "--json"]);
    assert_eq!(
        (&healthy["report"], &healthy["healthy"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(world.run("doctor --full").code(), 0);
    world.write("plugins/broken.py", "raise ValueError('broken on purpose')");
    let done = world.run("doctor --full");
    assert_eq!(done.code(), 1);
    assert!(
        done.stdout.contains("broken on purpose") && done.stdout.contains("1 error"),
        "{}",
        done.stdout
    );
    assert_eq!(
        world.run("doctor").code(),
        0,
        "the first runtime's report never fails"
    );
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.args(["completions", shell]).stdout;
        assert!(
            script.contains("capabilities") && script.contains("plugin-dir"),
            "{shell}"
        );
    }
    assert!(world.run("man").stdout.contains(".TH kodex 1"));
    assert_eq!(world.run("man --dir pages").code(), 0);
    let written = json_of(&world, &["man", "--dir", "pages", "--json"]);
    for file in written["files"].as_array().expect("files") {
        assert!(
            world
                .read(file.as_str().expect("a path"))
                .contains(".TH kodex"),
            "{file}"
        );
    }
    assert_eq!(world.run("completions tcsh").code(), 2);
}

#[test]
fn help_and_version_go_to_standard_output() {
    let world = World::new();
    let help = world.run("--help");
    assert_eq!(help.code(), 0);
    for verb in [
        "list",
        "emit",
        "doctor",
        "scaffold",
        "capabilities",
        "check",
        "call",
        "explain",
        "dev",
        "permissions",
        "completions",
        "man",
    ] {
        assert!(help.stdout.contains(verb), "{verb}");
        assert_eq!(world.args([verb, "--help"]).code(), 0, "{verb}");
    }
    assert_eq!(
        world.run("--version").stdout,
        format!("kodex {}\n", env!("CARGO_PKG_VERSION"))
    );
    let none = world.run("");
    assert_eq!((none.code(), none.stdout.as_str()), (2, ""));
}

#[test]
fn globals_are_taken_after_the_verb_too() {
    let world = World::with(&[
        ("one/a.py", &plugin("a", "return 1")),
        ("two/b.py", &plugin("b", "return 2")),
    ]);
    assert_eq!(
        world.run("list --plugin-dir one --plugin-dir two").stdout,
        "a v1.0.0 | - | Does a.\nb v1.0.0 | - | Does b.\n"
    );
    assert_eq!(
        world.run("--plugin-dir one list --plugin-dir two").stdout,
        "b v1.0.0 | - | Does b.\n"
    );
    assert_eq!(
        world.run("emit x --plugin-dir one --json").stdout,
        "[\n  1\n]\n"
    );
}

#[test]
fn the_log_is_silent_until_it_is_asked_for() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return 1"))]);
    assert_eq!(world.run("emit x").stderr, "");
    let done = world.run("-v emit x");
    assert_eq!(done.stdout, "[\n  1\n]\n");
    assert!(done.stderr.contains("loaded"), "{}", done.stderr);
    let logged = world.set("KODEX_LOG", "kodex=info").run("emit x");
    assert!(logged.stderr.contains("loaded"), "{}", logged.stderr);
}
