//! Configuration files: where they are found, which wins, and how their mistakes are shown.

use crate::world::{Done, World, plugin};

const SEEN: &str = "return {'config': self.context, 'payload': payload}";

/// A plugin that shows what it was activated with.
fn shows(name: &str) -> String {
    plugin(name, SEEN).replace(
        "def activate(self, context): pass",
        "def activate(self, context): self.context = context",
    )
}

fn with_config(text: &str) -> World {
    World::with(&[
        (".kodex/config.toml", text),
        ("plugins/a.py", &shows("a")),
        ("plugins/b.py", &shows("b")),
    ])
}

fn emitted(world: &World) -> serde_json::Value {
    let done = world.run("emit x");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[test]
fn contexts_reach_the_plugins_key_by_key() {
    let world = with_config(
        "[context]\norg = \"acme\"\nn = 1.50\nday = 2026-01-02\n[plugin.b.context]\norg = \"other\"\nlist = [1, {a = true}]\n",
    );
    let seen = emitted(&world);
    assert_eq!(
        seen[0]["config"],
        serde_json::json!({"org": "acme", "n": 1.5, "day": "2026-01-02"})
    );
    assert_eq!(
        seen[1]["config"],
        serde_json::json!({"org": "other", "n": 1.5, "day": "2026-01-02", "list": [1, {"a": true}]})
    );
}

#[test]
fn order_and_priority_decide_who_is_asked_first() {
    let names = |world: &World| -> Vec<String> {
        let done = world.run("explain x --json");
        let explained: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
        let plugins = explained["plugins"].as_array().expect("a list");
        plugins
            .iter()
            .map(|plugin| plugin["plugin"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&with_config("")), ["a", "b"]);
    assert_eq!(names(&with_config("order = [\"b\", \"a\"]")), ["b", "a"]);
    assert_eq!(
        names(&with_config("order = [\"b\"]\n[plugin.a]\npriority = -5")),
        ["b", "a"]
    );
    assert_eq!(names(&with_config("[plugin.b]\npriority = -5")), ["b", "a"]);
}

#[test]
fn a_plugin_can_be_switched_off() {
    let world = with_config("[plugin.a]\nenabled = false\n");
    assert_eq!(world.run("list").stdout, "b v1.0.0 | - | Does b.\n");
    let done = world.run("explain x");
    assert!(done.stdout.contains("not enabled"), "{}", done.stdout);
}

#[test]
fn the_nearest_project_file_is_read_and_its_paths_are_seen_from_the_project() {
    let world = with_config("plugin_dirs = [\"plugins\"]\n[[source]]\npath = \"more\"\n");
    world.write("more/c.py", shows("c"));
    let list = "a v1.0.0 | - | Does a.\nb v1.0.0 | - | Does b.\nc v1.0.0 | - | Does c.\n";
    assert_eq!(world.run("list").stdout, list);
    let doctor = world.run("doctor").stdout;
    assert!(doctor.contains("\"source\": \"more/c.py\""), "{doctor}");
    world.write("deep/er/here", "");
    let inside = world
        .command(["list"])
        .current_dir(world.work().join("deep/er"))
        .spawn()
        .expect("kodex");
    assert_eq!(crate::world::finished(inside).stdout, list);
    assert_eq!(
        world.run("--plugin-dir more list").stdout,
        "c v1.0.0 | - | Does c.\n",
        "flags win"
    );
}

#[test]
fn the_users_file_is_below_the_projects() {
    let world = with_config("[context]\nfrom = \"project\"\n");
    let user = world.home().join(".config/kodex");
    std::fs::create_dir_all(&user).expect("a folder");
    std::fs::write(
        user.join("config.toml"),
        "[context]\nfrom = \"user\"\nuser = true\n[plugin.b]\nenabled = false\n",
    )
    .expect("a file");
    let config = |world: &World| emitted(world)[0]["config"].clone();
    assert_eq!(
        config(&world),
        serde_json::json!({"from": "project", "user": true})
    );
    let elsewhere = world.home().join("xdg");
    let world = world.set("XDG_CONFIG_HOME", elsewhere.as_os_str());
    assert_eq!(
        config(&world),
        serde_json::json!({"from": "project"}),
        "XDG_CONFIG_HOME moves the user's file"
    );
    world.write("mine.toml", "[context]\nfrom = \"file\"\n");
    let done = world.run("--config mine.toml emit x");
    assert!(
        done.stdout.contains("\"from\": \"file\"") && !done.stdout.contains("project"),
        "{}",
        done.stdout
    );
}

#[test]
fn timeouts_and_limits_are_obeyed() {
    let slow = plugin("slow", "import time; time.sleep(30)");
    let world = World::with(&[
        ("plugins/a.py", &slow),
        (".kodex/config.toml", "[plugin.slow]\ntimeout = \"300ms\"\n"),
    ]);
    let seen = emitted(&world);
    assert_eq!(seen[0]["plugin"], "slow");
    assert!(
        seen[0]["error"].as_str().expect("text").contains("300"),
        "{seen}"
    );
    let world = with_config("[limits]\ndepth = 3\nframe_bytes = 2000\n");
    assert_eq!(world.args(["emit", "x", "--payload", "[[[]]]"]).code(), 0);
    let done = world.args(["emit", "x", "--payload", "[[[[]]]]"]);
    assert!(done.stderr.contains("json.too_deep"), "{}", done.stderr);
}

#[test]
fn python_can_be_chosen() {
    let world = with_config("[python]\ninterpreter = \"none/python3\"\n");
    let done = world.run("list");
    let shown = world.work().join("none/python3");
    assert!(
        done.stderr.contains("error[python.not_found]"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("none/python3"),
        "{} {}",
        shown.display(),
        done.stderr
    );
    let found = world.set("KODEX_UNUSED", "1");
    assert_eq!(found.run("--python python3 list").stderr, "", "flags win");
}

fn broken(text: &str) -> Done {
    let done = with_config(text).run("list");
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (2, ""),
        "{text}\n{}",
        done.stderr
    );
    done
}

/// A mistake, the code, the place, and a word of the advice or message.
fn check(text: &str, code: &str, place: &str, word: &str) {
    let done = broken(text);
    assert!(
        done.stderr.starts_with(&format!("error[{code}]: ")),
        "{text}\n{}",
        done.stderr
    );
    assert!(
        done.stderr
            .contains(&format!(".kodex/config.toml:{place}\n")),
        "{text}\n{}",
        done.stderr
    );
    assert!(done.stderr.contains(word), "{text}\n{}", done.stderr);
}

#[test]
fn a_mistake_is_shown_with_its_place_and_refuses_the_file() {
    check(
        "plugn_dirs = []",
        "config.key.unknown",
        "1:1",
        "did you mean `plugin_dirs`?",
    );
    check(
        "[plugin.a]\nenabeld = true",
        "config.key.unknown",
        "2:1",
        "did you mean `enabled`?",
    );
    check(
        "[guard.breaker]\nx_y_z = 1",
        "config.key.unknown",
        "2:1",
        "known here: `window`",
    );
    check(
        "[plugin.a]\nenabled = \"yes\"",
        "config.type",
        "2:11",
        "expected a boolean",
    );
    check("[plugin]\na = 3", "config.type", "2:5", "expected a table");
    check("order = \"a\"", "config.type", "1:9", "expected");
    check("[[source]]\n", "config.key.missing", "1:1", "`path`");
    check(
        "[plugin.a]\ntimeout = \"5\"",
        "config.value",
        "2:11",
        "`500ms`",
    );
    check(
        "[plugin.a]\ntimeout = \"0s\"",
        "config.value",
        "2:11",
        "longer than zero",
    );
    check("[limits]\ndepth = 0", "config.value", "2:9", "from 1");
    check("[limits]\nqueue = -3", "config.value", "2:9", "from 1");
    check("[context]\na = nan", "config.value", "1:1", "NaN");
    check("a = ", "config.syntax", "1:5", "");
    check("a = 1\na = 2", "config.syntax", "2:1", "");
    check(
        "order = [\"a\", \"b\", \"a\"]",
        "config.order.conflict",
        "1:20",
        "twice",
    );
    check(
        "order = [\"a\"]\n[plugin.a]\npriority = 3",
        "config.order.conflict",
        "3:12",
        "only one",
    );
    check("strict = tru", "config.syntax", "1:10", "");
}

#[test]
fn a_file_that_cannot_be_read_is_configuration() {
    let world = World::new();
    world.write("latin1.toml", b"x = \"\xe9\"");
    world.write("large.toml", vec![b'#'; (1 << 20) + 1]);
    for (file, word) in [
        ("none.toml", "No such file"),
        (".", "directory"),
        ("latin1.toml", "no UTF-8 (byte 5)"),
        ("large.toml", "more than"),
    ] {
        let done = world.args(["--config", file, "list"]);
        assert_eq!(done.code(), 2, "{file}");
        assert!(
            done.stderr.starts_with("error[config.unreadable]: ") && done.stderr.contains(word),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn settings_for_a_plugin_that_is_not_there_are_mentioned() {
    let world = with_config("[plugin.aa]\nenabled = true\n");
    let done = world.run("check");
    assert_eq!(done.code(), 0);
    assert!(
        done.stdout.contains("config.plugin.unknown"),
        "{}",
        done.stdout
    );
}

/// Only root can make files that belong to somebody else.
#[test]
fn a_strangers_file_above_the_working_directory_is_passed_over() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = with_config("[plugin.a]\nenabled = false\n");
    world.write("mine/plugins/a.py", shows("a"));
    let list = || {
        let child = world
            .command(["list"])
            .current_dir(world.work().join("mine"))
            .spawn();
        crate::world::finished(child.expect("kodex"))
    };
    assert_eq!(list().stdout, "", "a file of one's own above is read");
    let stranger = |path: &str| {
        std::os::unix::fs::chown(world.work().join(path), Some(12_345), None).expect("chown")
    };
    stranger(".kodex/config.toml");
    let done = list();
    assert_eq!(done.stdout, "a v1.0.0 | - | Does a.\n");
    assert!(
        done.stderr.starts_with("warning[config.owner]: "),
        "{}",
        done.stderr
    );
    assert_eq!(
        world.run("list").stdout,
        "b v1.0.0 | - | Does b.\n",
        "in the working directory it is read"
    );
    stranger("mine");
    assert_eq!(
        list().stdout,
        "",
        "whoever owns the working directory decides there anyway"
    );
}
