//! New plugins: written whole, never over anything, and working as they are.

use std::fs;

use crate::world::World;

fn check(world: &World, argv: &str, stdout: &str, status: i32) {
    let done = world.run(argv);
    assert_eq!(
        (done.stdout.as_str(), done.code()),
        (stdout, status),
        "{argv}\n{}",
        done.stderr
    );
}

#[test]
fn a_python_file_is_made_where_the_first_runtime_made_it() {
    let world = World::with(&[("plugins/broken.py", "raise SystemExit(9)")]);
    fs::create_dir(world.work().join("plugins/sub")).expect("a folder");
    check(&world, "scaffold first", "plugins/first.py\n", 0);
    check(&world, "scaffold first", "", 1);
    check(&world, "--json scaffold second", "plugins/second.py\n", 0);
    check(
        &world,
        "--plugin-dir ./new//deep/ scaffold third",
        "new/deep/third.py\n",
        0,
    );
    check(&world, "--plugin-dir . scaffold fourth", "fourth.py\n", 0);
    check(&world, "scaffold sub/fifth", "plugins/sub/fifth.py\n", 0);
    check(&world, "scaffold missing/sixth", "", 1);
    check(&world, "scaffold with.dot", "plugins/with.dot.py\n", 0);
    let done = world.run("scaffold first");
    assert!(
        done.stderr
            .contains("Refusing to overwrite existing plugin: plugins/first.py\n"),
        "{}",
        done.stderr
    );
}

#[test]
fn nothing_is_left_over_when_it_fails() {
    let world = World::with(&[
        ("file", "x"),
        ("plugins/there.py", "old"),
        ("plugins/node-one/x", "old"),
    ]);
    check(&world, "--plugin-dir file scaffold a", "", 1);
    check(&world, "scaffold there --with-test", "", 1);
    check(&world, "scaffold node-one --kind node", "", 1);
    assert_eq!(world.read("plugins/there.py"), "old");
    let mut names: Vec<_> = fs::read_dir(world.work().join("plugins"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["node-one", "there.py"]);
}

#[test]
fn a_new_python_plugin_answers() {
    let world = World::new();
    check(&world, "scaffold first", "plugins/first.py\n", 0);
    check(
        &world,
        "list",
        "my-plugin v0.1.0 | hook.name | Describe what your plugin does.\n",
        0,
    );
    let done = world.args(["emit", "hook.name", "--payload", r#"{"a": 1}"#]);
    assert_eq!(
        done.stdout,
        "[\n  {\n    \"plugin\": \"my-plugin\",\n    \"payload\": {\n      \"a\": 1\n    }\n  }\n]\n"
    );
    check(&world, "emit other", "[]\n", 0);
    check(
        &world,
        "check plugins/first.py",
        "ok: 1 can be loaded; errors: 0, warnings: 0\n",
        0,
    );
}

/// Runs a program of this machine in a new plugin's folder; `None` where there is none.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests of new plugins are run by their own tools"
)]
fn run(program: &str, args: &[&str], folder: &std::path::Path) -> Option<(bool, String)> {
    let command = std::process::Command::new(program)
        .args(args)
        .env("KODEX", env!("CARGO_BIN_EXE_kodex"))
        .env("KODEX_CACHE_DIR", folder.join(".cache"))
        .current_dir(folder)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&command.stdout).into_owned()
        + &String::from_utf8_lossy(&command.stderr);
    Some((command.status.success(), text))
}

fn own_test_passes(program: &str, args: &[&str], folder: &std::path::Path) {
    if let Some((success, text)) = run(program, args, folder) {
        assert!(success, "{program} {args:?}\n{text}");
    }
}

#[test]
fn a_python_plugin_with_a_test_passes_it() {
    let world = World::new();
    check(
        &world,
        "scaffold first --with-test",
        "plugins/first.py\n",
        0,
    );
    check(
        &world,
        "list",
        "my-plugin v0.1.0 | hook.name | Describe what your plugin does.\n",
        0,
    );
    own_test_passes(
        "python3",
        &["_first_test.py"],
        &world.work().join("plugins"),
    );
}

#[test]
fn a_node_plugin_answers_and_passes_its_test() {
    let world = World::new();
    check(
        &world,
        "scaffold word-count --kind node",
        "plugins/word-count\n",
        0,
    );
    check(
        &world,
        "check",
        "ok: 1 can be loaded; errors: 0, warnings: 0\n",
        0,
    );
    let folder = world.work().join("plugins/word-count");
    if run("node", &["--version"], &folder).is_none() {
        return;
    }
    let done = world.args([
        "call",
        "word-count/count_words",
        "--input",
        r#"{"text": "a b"}"#,
    ]);
    assert_eq!(
        (done.stdout.as_str(), done.code()),
        ("{\n  \"words\": 2\n}\n", 0),
        "{}",
        done.stderr
    );
    own_test_passes("node", &["--test"], &folder);
}

#[test]
fn a_shell_plugin_answers_and_passes_its_test() {
    let world = World::new();
    let done = world.run("scaffold greeter --kind shell --json");
    let made: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(made["path"], "plugins/greeter");
    assert!(
        made["files"]
            .as_array()
            .expect("files")
            .contains(&"plugins/greeter/kodex.toml".into())
    );
    let folder = world.work().join("plugins/greeter");
    if run("jq", &["--version"], &folder).is_none() {
        return;
    }
    check(
        &world,
        "check plugins/greeter",
        "ok: 1 can be loaded; errors: 0, warnings: 0\n",
        0,
    );
    let done = world.args(["emit", "hook.name", "--payload", "[1.50]"]);
    let want =
        "[\n  {\n    \"plugin\": \"greeter\",\n    \"payload\": [\n      1.5\n    ]\n  }\n]\n";
    assert_eq!(done.stdout.replace("1.50", "1.5"), want, "{}", done.stderr);
    own_test_passes("sh", &["test.sh"], &folder);
}

/// Its dependencies come from the registry, so it is built from this repository here.
#[test]
fn a_rust_plugin_is_a_crate() {
    let world = World::new();
    check(&world, "scaffold word-count --kind rust", "word-count\n", 0);
    let manifest = world.read("word-count/Cargo.toml");
    assert!(
        manifest.contains(&format!("kodex-plugin = \"{}\"", env!("CARGO_PKG_VERSION"))),
        "{manifest}"
    );
    assert!(
        world
            .read("word-count/tests/plugin.rs")
            .contains("word_count::plugin()")
    );
    assert!(
        !world.read("word-count/README.md").contains("{{"),
        "every fact is filled in"
    );
}

#[test]
fn names_of_folders_are_names_of_plugins() {
    let world = World::new();
    for name in [
        "Upper",
        "../escape",
        "a/b",
        "a--b",
        "kodex",
        "1st",
        ".hidden",
    ] {
        for kind in ["node", "shell", "rust"] {
            let done = world.args(["scaffold", name, "--kind", kind]);
            assert_eq!(
                (done.code(), done.stdout.as_str()),
                (2, ""),
                "{name} {kind}"
            );
            assert!(
                done.stderr.starts_with("error[scaffold.name]: "),
                "{}",
                done.stderr
            );
        }
    }
    assert_eq!(fs::read_dir(world.work()).expect("a folder").count(), 0);
}
