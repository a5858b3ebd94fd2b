//! The same answers with a resident runtime and without.

use crate::{
    serve::{Node, world},
    world::World,
};

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
