//! `kodex upgrade`, `kodex state` and `kodex store`, on files; with a Python plugin that uses them.

use std::fs;

use serde_json::{Value, json};

use crate::world::World;

const MANIFEST: &str = r#"
manifest = 1
[plugin]
name = "jot"
version = "0.1.0"
description = "Keeps lines."
[run]
kind = "python"
entry = "plugin.py"
[[tool]]
name = "add"
description = "Keeps a line."
[[tool]]
name = "all"
description = "Gives all lines."
[[tool]]
name = "leave_open"
description = "Begins a transaction and never ends it."
[database]
migrations = "migrations"
"#;

const CODE: &str = r#"
import kodex
from kodex import db, state

plugin = kodex.Plugin("jot", "0.1.0", "Keeps lines.")
plugin.database("migrations")


@plugin.tool("add", description="Keeps a line.")
def add(input):
    with db.transaction():
        db.execute("INSERT INTO lines (text) VALUES (:text)", {"text": input["text"]})
        if input.get("fail"):
            raise ValueError("changed its mind")
    state.update("n", lambda n: n + 1, 0)
    return {"n": state.get("n")}


@plugin.tool("all", description="Gives all lines.")
def all(input):
    return {"lines": [row["text"] for row in db.query("SELECT text FROM lines ORDER BY id")]}


@plugin.tool("leave_open", description="Begins a transaction and never ends it.")
def leave_open(input):
    db.transaction().__enter__()
    db.execute("INSERT INTO lines (text) VALUES ('never seen')")
    return {}


@plugin.step("0002_first")
def first(step):
    db.execute("INSERT INTO lines (text) VALUES ('from the step')")
    return {"scanned": 1, "migrated": 1}
"#;

fn world() -> World {
    World::with(&[
        ("plugins/jot/kodex.toml", MANIFEST),
        ("plugins/jot/plugin.py", CODE),
        (
            "plugins/jot/migrations/0001_lines.sql",
            "CREATE TABLE lines (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n",
        ),
        ("plugins/jot/migrations/0002_first.sql", "-- kodex: code\n"),
    ])
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Runs, and gives the status with what was printed on either stream.
fn check(world: &World, line: &str) -> (i32, String) {
    let words: Vec<_> = line.split(' ').collect();
    let done = world.args(&words);
    (done.code(), format!("{}{}", done.stdout, done.stderr))
}

#[test]
fn an_upgrade_says_each_step_and_is_silent_when_there_is_nothing_to_do() {
    let world = world();
    let (code, text) = check(&world, "upgrade --check");
    assert_eq!((code, text.lines().count()), (1, 2), "{text}");
    let (code, text) = check(&world, "call jot/add --input {\"text\":\"a\"}");
    assert!(
        code == 1 && text.contains("[journal.behind]") && text.contains("0001_lines.sql"),
        "{text}"
    );
    let (code, text) = check(&world, "--strict list");
    assert!(code == 1 && text.contains("[journal.behind]"), "{text}");
    assert!(
        !world.home().join(".local").exists(),
        "looking writes nothing"
    );
    let (code, text) = check(&world, "--strict upgrade");
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split(" (").next().unwrap_or(line))
        .collect();
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        lines,
        [
            "applying plugin:jot/0001_lines.sql",
            "applied plugin:jot/0001_lines.sql: scanned 1, migrated 1, existing 0, missing 0",
            "applying plugin:jot/0002_first.sql",
            "applied plugin:jot/0002_first.sql: scanned 1, migrated 1, existing 0, missing 0",
            "done: scanned 2, migrated 2, existing 0, missing 0",
        ]
    );
    assert_eq!(check(&world, "upgrade"), (0, String::new()));
    assert_eq!(check(&world, "upgrade --check"), (0, String::new()));
    let report = document(&world.args(["upgrade", "--json"]).stdout);
    assert_eq!(
        (&report["version"], &report["n_pending"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        report["plugins"][0]["counts"],
        json!({"scanned": 2, "migrated": 0, "existing": 2, "missing": 0})
    );
}

#[test]
fn a_plugin_in_python_has_tables_and_values_and_loses_nothing_half_done() {
    let world = world();
    world.args(["upgrade"]);
    let call =
        |tool: &str, input: &str| world.args(["call", &format!("jot/{tool}"), "--input", input]);
    assert_eq!(
        document(&call("add", r#"{"text": "a"}"#).stdout),
        json!({"n": 1})
    );
    let failed = call("add", r#"{"text": "b", "fail": true}"#);
    assert!(
        failed.code() == 1 && failed.stderr.contains("changed its mind"),
        "{failed:?}"
    );
    assert_eq!(call("leave_open", "{}").code(), 0);
    assert_eq!(
        document(&call("all", "{}").stdout),
        json!({"lines": ["from the step", "a"]})
    );
    assert_eq!(check(&world, "state get jot n"), (0, "1\n".to_owned()));
}

#[test]
fn a_changed_file_stops_the_upgrade_and_the_plugin() {
    let world = world();
    world.args(["upgrade"]);
    world.write(
        "plugins/jot/migrations/0001_lines.sql",
        "CREATE TABLE lines (id INTEGER PRIMARY KEY, text TEXT);\n",
    );
    world.write("plugins/jot/migrations/0002_second.sql", "SELECT 1;\n");
    let (code, text) = check(&world, "upgrade");
    assert_eq!(code, 1);
    for part in [
        "[journal.duplicate_number]",
        "0002_first.sql and 0002_second.sql",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    fs::remove_file(world.work().join("plugins/jot/migrations/0002_second.sql")).expect("removed");
    let (code, text) = check(&world, "upgrade");
    assert!(
        code == 1
            && text.contains("[journal.changed]")
            && text.contains("plugin:jot/0001_lines.sql"),
        "{text}"
    );
    let (code, text) = check(&world, "call jot/all");
    assert!(code == 1 && text.contains("[journal.changed]"), "{text}");
    let (code, text) = check(&world, "store check");
    assert!(
        code == 1 && text.contains("[journal.changed]") && text.contains("not ok"),
        "{text}"
    );
}

#[test]
fn values_are_for_people_too() {
    let world = world();
    for (line, code, printed) in [
        (
            "state get jot k",
            1,
            "error[state.absent]: plugin jot has no value for \"k\"",
        ),
        ("state set jot k {\"a\":1}", 0, ""),
        ("state set jot k 2 --if-absent", 1, "error[state.exists]"),
        ("state get jot k", 0, "{\n  \"a\": 1\n}\n"),
        ("state set jot a/b -1 --ttl 60m", 0, ""),
        ("state set jot a/b 1 --ttl soon", 2, "error[usage]: --ttl"),
        ("state set jot a/b {", 1, "error[json.syntax]"),
        ("state list jot", 0, "a/b\nk\n"),
        ("state list jot a/", 0, "a/b\n"),
        ("state list other", 0, ""),
        ("state delete jot k", 0, ""),
        ("state delete jot k", 0, ""),
        ("state list jot", 0, "a/b\n"),
    ] {
        let (ended, text) = check(&world, line);
        assert_eq!(ended, code, "{line}: {text}");
        let is_whole = printed.is_empty() || printed.ends_with('\n');
        assert!(
            if is_whole {
                text == printed
            } else {
                text.starts_with(printed)
            },
            "{line}: {text}"
        );
    }
    let value = document(&world.args(["state", "get", "jot", "a/b", "--json"]).stdout);
    assert!(
        value["value"] == -1 && value["expires_at_ms"].is_u64(),
        "{value}"
    );
}

#[test]
fn a_store_is_saved_restored_and_copied() {
    let world = world();
    world.args(["upgrade"]);
    world.args(["call", "jot/add", "--input", r#"{"text": "kept"}"#]);
    let lines = json!({"lines": ["from the step", "kept"]});
    let at = |place: &str, verb: &[&str]| {
        let words = [&["--store", place], verb].concat();
        world.args(&words)
    };
    assert_eq!(check(&world, "store backup saved").0, 0);
    let again = check(&world, "store backup saved");
    assert_eq!(again.0, 1, "{again:?}");
    assert_eq!(
        at("sqlite:restored", &["store", "restore", "saved"]).code(),
        0
    );
    assert_eq!(
        document(&at("sqlite:restored", &["call", "jot/all"]).stdout),
        lines
    );
    let onto = at("sqlite:restored", &["store", "restore", "saved"]);
    assert_eq!(onto.code(), 1, "{onto:?}");
    let copied = world.args([
        "store",
        "copy",
        "--from",
        "sqlite:restored",
        "--to",
        "sqlite:copied",
        "--json",
    ]);
    assert_eq!(
        document(&copied.stdout)["plugins"][0]["tables"][0]["n_rows"],
        2,
        "{copied:?}"
    );
    assert_eq!(
        document(&at("sqlite:copied", &["call", "jot/all"]).stdout),
        lines
    );
    let onto = world.args([
        "store",
        "copy",
        "--from",
        "sqlite:restored",
        "--to",
        "sqlite:copied",
    ]);
    assert!(
        onto.code() == 1 && onto.stderr.contains("[transfer.not_empty]"),
        "{onto:?}"
    );
    for place in ["sqlite:saved", "sqlite:copied"] {
        assert!(
            at(place, &["store", "check"]).stdout.starts_with("ok: "),
            "{place}"
        );
    }
}

#[test]
fn the_place_comes_from_flag_variable_file_or_folder() {
    let world = world().set("KODEX_DATABASE_URL", "sqlite:from-variable");
    world.args(["state", "set", "jot", "k", "1"]);
    assert!(world.work().join("from-variable/kodex.db").is_file());
    world.args([
        "--store",
        "sqlite:from-flag",
        "state",
        "set",
        "jot",
        "k",
        "1",
    ]);
    assert!(world.work().join("from-flag/kodex.db").is_file());
    let world = world.unset("KODEX_DATABASE_URL");
    world.write(
        ".kodex/config.toml",
        "[store]\nurl = \"sqlite:from-file\"\n",
    );
    world.args(["state", "set", "jot", "k", "1"]);
    assert!(world.work().join("from-file/kodex.db").is_file());
    world.write(".kodex/config.toml", "");
    world.args(["state", "set", "jot", "k", "1"]);
    assert!(world.work().join(".kodex/store/kodex.db").is_file());
    fs::remove_dir_all(world.work().join(".kodex")).expect("removed");
    world.args(["state", "set", "jot", "k", "1"]);
    assert!(
        world
            .home()
            .join(".local/share/kodex/store/kodex.db")
            .is_file()
    );
}

#[test]
fn a_store_that_cannot_be_is_named_without_its_password() {
    let world = world();
    world.write("file", "x");
    for (place, code, word) in [
        ("foo:bar", 2, "[store.place]"),
        ("sqlite:", 2, "[store.place]"),
        ("sqlite:file", 1, "[store.unreachable]"),
        (
            "postgres://me:secret@127.0.0.1:1/x",
            1,
            "[store.unreachable]",
        ),
    ] {
        let done = world.args(["--store", place, "state", "list", "jot"]);
        assert_eq!(done.code(), code, "{place}: {}", done.stderr);
        assert!(
            done.stderr.contains(word) && !done.stderr.contains("secret"),
            "{place}: {}",
            done.stderr
        );
    }
    let done = world.args([
        "--store",
        "postgres://me:secret@127.0.0.1:1/x",
        "store",
        "backup",
        "b",
    ]);
    assert!(
        done.code() == 2 && done.stderr.contains("pg_dump"),
        "{}",
        done.stderr
    );
    // Plugins that want nothing of it do not notice.
    let done = world.args(["--store", "postgres://me:secret@127.0.0.1:1/x", "list"]);
    assert_eq!(done.code(), 0, "{}", done.stderr);
}
