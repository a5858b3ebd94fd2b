//! The same answers with a resident runtime and without.

use crate::{
    serve::{Node, world},
    world::World,
};

/// Lines that a resident runtime answers, and whether it does.
const LINES: &[(&str, bool)] = &[
    ("emit probe.x --payload {\"a\":1.0,\"b\":[1e5,\"é\"]}", true),
    (
        "emit probe.x --payload {\"b\":1,\"a\":{\"z\":-0.0,\"c\":12345678901234567890123}}",
        true,
    ),
    ("emit probe.x --payload {} --outcome", true),
    ("emit probe.x --payload {\"b\":1,\"a\":2} --outcome", true),
    ("emit fails.now --outcome", true),
    ("emit probe.x --capability none", true),
    ("emit nobody.asks", true),
    ("emit Bad..Name", true),
    ("emit probe.x --payload {\"a\":1} --fail-fast", true),
    ("emit fails.now", true),
    ("emit fails.now --fail-fast", true),
    ("call maker/twice --input {\"n\":21}", true),
    ("call maker_twice --input {\"n\":21}", true),
    ("call twice --input {\"n\":21}", true),
    ("call maker/echo --input {\"b\":1,\"a\":[2.50]}", true),
    ("call twic", true),
    ("call maker/twice --input {}", true),
    ("call", false),
    ("emit probe.x --strict", false),
    ("emit probe.x --no-cache", false),
    ("emit probe.x --payload {", false),
];

const FAILING: &str = r#"
import kodex

plugin = kodex.Plugin("failing", "0.1.0", "Fails.")


@plugin.hook("fails.now")
def fails(payload):
    raise ValueError("no luck")
"#;

fn both() -> World {
    let world = world(0, "cat");
    world.write("plugins/failing.py", FAILING);
    world.write("plugins/broken.py", "def get_plugin(:\n");
    world
}

#[test]
fn answers_are_the_same_with_a_resident_runtime_and_without() {
    let world = both();
    let ask = |line: &str, more: &[&str]| {
        let words = line.split(' ').chain(more.iter().copied());
        let done = world.args(words);
        (done.code(), done.stdout, done.stderr)
    };
    // The cache knows the plugins afterwards, so that neither way says more about them.
    let alone: Vec<_> = LINES.iter().map(|(line, _)| ask(line, &[])).collect();
    let node = Node::start(&world, "");
    for ((line, is_answered), alone) in LINES.iter().zip(alone) {
        assert_eq!(ask(line, &[]), alone, "{line}");
        let no_daemon: &[&str] = match line.starts_with("call") || line.starts_with("emit") {
            true => &["--no-daemon"],
            false => &[],
        };
        assert_eq!(ask(line, no_daemon), alone, "{line} --no-daemon");
        let (_, _, told) = ask(line, &["-v"]);
        if alone.0 == 0 {
            assert_eq!(
                told.contains("answered by the resident runtime"),
                *is_answered,
                "{line}: {told}"
            );
        }
        let (_, _, told) = ask(line, &["-v", "--no-daemon"]);
        assert!(!told.contains("answered by the resident"), "{line}: {told}");
    }
    node.stop();
}

#[test]
fn what_changed_since_is_answered_without_it_until_it_reloads() {
    let world = both();
    let node = Node::start(&world, "");
    let ask = || world.run("emit probe.x -v");
    assert!(ask().stderr.contains("answered by the resident runtime"));
    let changed = world.read("plugins/maker.py").replace("\"got\"", "\"new\"");
    world.write("plugins/maker.py", changed);
    let done = ask();
    assert!(done.stdout.contains("\"new\""), "{}", done.stdout);
    assert!(done.stderr.contains("daemon.other"), "{}", done.stderr);
    let done = world.run("reload");
    assert_eq!((done.code(), done.stdout.as_str()), (0, "changed maker\n"));
    assert_eq!(world.run("reload").stdout, "nothing changed\n");
    let done = ask();
    assert!(done.stdout.contains("\"new\""), "{}", done.stdout);
    assert!(
        done.stderr.contains("answered by the resident runtime"),
        "{}",
        done.stderr
    );
    // A signal does the same.
    world.write("plugins/broken.py", "");
    std::fs::remove_file(world.work().join("plugins/failing.py")).expect("removed");
    node.signal(rustix::process::Signal::HUP);
    node.says("plugins were reloaded");
    assert!(ask().stderr.contains("answered by the resident runtime"));
    node.stop();
}

#[test]
fn another_configuration_is_another_runtime() {
    let world = both();
    let node = Node::start(&world, "");
    world.write("other/maker.py", world.read("plugins/maker.py"));
    let done = world.run("emit probe.x -v --plugin-dir other");
    assert!(done.stderr.contains("daemon.other"), "{}", done.stderr);
    assert_eq!(done.code(), 0);
    node.stop();
}

#[test]
fn without_one_status_and_reload_say_so() {
    let world = both();
    for line in ["status", "reload"] {
        let done = world.run(line);
        assert_eq!(done.code(), 1);
        assert!(done.stderr.contains("daemon.absent"), "{}", done.stderr);
    }
    let node = Node::start(&world, "");
    let done = world.run("status --json");
    let status: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!((done.code(), &status["ready"]), (0, &true.into()));
    assert_eq!(status["n_plugins"], 2, "{status}");
    assert_eq!(status["n_refused"], 1, "{status}");
    let done = world.run("status --full");
    assert!(
        done.stdout.starts_with("state      ready\n"),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("maker"), "{}", done.stdout);
    node.stop();
}
