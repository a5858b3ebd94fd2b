//! Several nodes on one store: they share the work and never double it.

use std::{collections::BTreeMap, fs};

use rustix::process::Signal;

use crate::{
    serve::{
        Node, all_are, page,
        server::{Database, Door},
        until, world,
    },
    world::World,
};

/// Every run leaves a line with the node that ran it.
const NOTING: &str = "read -r input; echo \"$KODEX_RUN_ID\" >> \"$NODE.ran\"; echo \"$input\"";

fn node(world: &World, name: &str) -> Node {
    Node::start(world, &format!("--socket run-{name}/k.sock --beat 200ms"))
}

/// How often each run was executed.
fn executions(world: &World) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(world.work()).expect("a folder").flatten() {
        if entry.file_name().to_string_lossy().ends_with(".ran") {
            for id in fs::read_to_string(entry.path()).expect("text").lines() {
                *found.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    found
}

fn sharing(n: usize) -> World {
    let world = world(n, &NOTING.replace("$NODE", "$PPID"));
    let config = world
        .read(".kodex/config.toml")
        .replace("[work]", "[work]\nn_runs = 2");
    world.write(".kodex/config.toml", config);
    world
}

fn share(place: &str) {
    let world = sharing(20).set("KODEX_DATABASE_URL", place);
    let (a, b) = (node(&world, "a"), node(&world, "b"));
    until("twenty completed runs", || all_are(&world, 20, "completed"));
    a.stop();
    b.stop();
    let executions = executions(&world);
    assert_eq!(executions.len(), 20, "{executions:?}");
    assert!(executions.values().all(|n| *n == 1), "{executions:?}");
}

#[test]
fn two_nodes_share_runs_on_files_without_doubling_them() {
    share("sqlite:shared");
}

#[test]
fn two_nodes_share_runs_on_a_server_without_doubling_them() {
    let database = Database::new();
    share(&database.place());
}

#[test]
fn a_server_that_goes_and_comes_back_is_seen_by_the_probe() {
    let database = Database::new();
    let door = Door::to(database.address());
    let world = world(3, "cat").set("KODEX_DATABASE_URL", database.place_behind(&door));
    // Nobody is there at the start.
    door.shut();
    let node = Node::begin(&world, "--http 127.0.0.1:0 --beat 200ms");
    let address = node.http();
    let unready = |reason: &str| {
        let body = format!("{{\"status\":\"unavailable\",\"reason\":\"{reason}\"}}\n");
        (page(&address, "/readyz") == (503, body)).then_some(())
    };
    let is_ready = || (page(&address, "/readyz").0 == 200).then_some(());
    unready("starting").expect("it waits for the server");
    assert_eq!(page(&address, "/startupz").0, 503);
    assert_eq!(page(&address, "/livez").0, 200);
    door.open();
    until("readiness", is_ready);
    until("three completed runs", || all_are(&world, 3, "completed"));
    for _ in 0..2 {
        door.shut();
        until("unreadiness", || unready("store_unreachable"));
        let done = world.run("doctor --full");
        assert_eq!(done.code(), 1);
        assert!(
            done.stdout.contains("error[daemon.unready]"),
            "{}",
            done.stdout
        );
        assert_eq!(page(&address, "/livez").0, 200);
        assert_eq!(page(&address, "/metrics").0, 200);
        door.open();
        until("readiness", is_ready);
    }
    database.terminate();
    until("readiness", is_ready);
    world.write("wanted", "5");
    until("five completed runs", || all_are(&world, 5, "completed"));
    node.stop();
    // Nobody is resident any more.
    assert_eq!(world.run("doctor --full").code(), 0);
    door.shut();
    let done = world.run("doctor --full");
    assert_eq!(done.code(), 1);
    assert!(done.stdout.contains("error[store."), "{}", done.stdout);
}

#[test]
fn what_a_node_gives_back_is_taken_over_at_once() {
    // With a lease that nobody would wait for.
    let world = world(
        1,
        "cat >/dev/null; echo $$ > pid.part; mv pid.part pid; [ -e go ] || sleep 600; echo ok",
    );
    let config = world
        .read(".kodex/config.toml")
        .replace("lease = \"2s\"", "lease = \"600s\"");
    world.write(".kodex/config.toml", config);
    let a = Node::start(&world, "--grace 0 --beat 200ms");
    until("a run", || {
        fs::read_to_string(world.work().join("pid")).ok()
    });
    world.write("go", "");
    let b = Node::start(&world, "--socket other/k.sock --beat 200ms");
    a.signal(Signal::TERM);
    assert_eq!(a.ended().code(), 0);
    until("a completed run", || all_are(&world, 1, "completed"));
    b.stop();
}

#[test]
fn pulses_of_two_nodes_ask_for_nothing_twice() {
    let world = world(4, "cat");
    let a = Node::start(&world, "--beat 100ms --http 127.0.0.1:0");
    let b = Node::start(&world, "--socket other/k.sock --beat 100ms");
    until("four completed runs", || all_are(&world, 4, "completed"));
    until("a dozen pulses", || {
        let done = world.run("status --json");
        let status: serde_json::Value = serde_json::from_str(&done.stdout).ok()?;
        (status["pulses"]["n_done"].as_u64()? > 12).then_some(())
    });
    assert!(all_are(&world, 4, "completed").is_some());
    a.stop();
    b.stop();
}
