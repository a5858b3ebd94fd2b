//! What `kodex doctor` says of the store and the work in it, and a disk without room.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;

use crate::{
    serve::{Node, all_are, page, until, world},
    world::World,
};

/// The report, and the status it ends with.
fn doctor(world: &World) -> (Value, i32) {
    let done = world.run("doctor --full --json");
    let report = serde_json::from_str(&done.stdout);
    (
        report.unwrap_or_else(|error| panic!("{error}: {}", done.stdout)),
        done.code(),
    )
}

fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    let code = |found: &'_ Value| found["code"].as_str().map(str::len);
    assert!(findings.iter().all(|found| code(found).is_some()));
    findings
        .iter()
        .filter_map(|found| found["code"].as_str())
        .collect()
}

/// Puts a file where the store's folder is; gives what undoes it.
fn take_away(world: &World) -> impl FnOnce() {
    let store = world.work().join(".kodex/store");
    let away = world.work().join("away");
    fs::rename(&store, &away).expect("moved");
    fs::write(&store, "no folder").expect("written");
    move || {
        fs::remove_file(&store).expect("removed");
        fs::rename(&away, &store).expect("moved back");
    }
}

#[test]
fn the_doctor_looks_into_the_store_where_nobody_is_resident() {
    let world = world(0, "cat");
    let (report, code) = doctor(&world);
    assert_eq!(
        (code, &report["health"]["store"]["answers"]),
        (0, &true.into()),
        "{report}"
    );
    assert_eq!(world.run("state set maker a 1").code(), 0);
    let (report, code) = doctor(&world);
    assert_eq!((code, codes(&report)), (0, vec![]), "{report}");
    assert!(report["health"].get("daemon").is_none(), "{report}");
    let put_back = take_away(&world);
    let (report, code) = doctor(&world);
    assert_eq!(
        (code, codes(&report)),
        (1, vec!["store.unreachable"]),
        "{report}"
    );
    assert_eq!(
        report["health"]["store"]["failure"], "store.unreachable",
        "{report}"
    );
    assert_eq!(report["healthy"], false);
    let done = world.run("doctor --full");
    assert!(
        done.stdout.contains("error[store.unreachable]"),
        "{}",
        done.stdout
    );
    // The first runtime's report stays as it is; people hear of it all the same.
    let done = world.run("doctor");
    assert_eq!(done.code(), 0);
    assert!(
        done.stdout.starts_with("{\n  \"plugin_count\": 1"),
        "{}",
        done.stdout
    );
    assert!(
        done.stderr.contains("error[store.unreachable]"),
        "{}",
        done.stderr
    );
    put_back();
    assert_eq!(doctor(&world).1, 0);
}

#[test]
fn the_doctor_asks_who_is_resident() {
    let world = world(2, "cat; exit 3");
    // Before the node has it, so that there is something to take away.
    assert_eq!(world.run("state set maker a 1").code(), 0);
    let node = Node::start(&world, "");
    until("two failed runs", || all_are(&world, 2, "failed"));
    let failed = |report: &Value| {
        let rows = report["health"]["queues"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let n = |row: &Value| {
            (row["queue"] == "run" && row["state"] == "failed").then(|| row["n"].clone())
        };
        rows.iter().find_map(n)
    };
    // Counts are a few seconds old.
    let report = until("two counted runs", || {
        let (report, code) = doctor(&world);
        assert_eq!(code, 0, "{report}");
        (failed(&report) == Some(2.into())).then_some(report)
    });
    let daemon = &report["health"]["daemon"];
    assert_eq!(
        (&daemon["pid"], &daemon["ready"]),
        (&node.pid().into(), &true.into())
    );
    let done = world.run("doctor --full");
    assert!(
        done.stdout.contains("runs       2 failed"),
        "{}",
        done.stdout
    );
    let put_back = take_away(&world);
    let report = until("trouble", || {
        let (report, code) = doctor(&world);
        (code == 1).then_some(report)
    });
    assert_eq!(codes(&report), ["daemon.unready"], "{report}");
    assert_eq!(
        report["health"]["daemon"]["reason"], "store_unreachable",
        "{report}"
    );
    put_back();
    until("health", || (doctor(&world).1 == 0).then_some(()));
    node.stop();
}

#[test]
fn what_was_given_up_is_told() {
    let world = world(1, "exit 75");
    let config = world
        .read(".kodex/config.toml")
        .replace("[work]", "[work]\nattempts = 2");
    world.write(".kodex/config.toml", config);
    let node = Node::start(&world, "");
    until("a dead run", || all_are(&world, 1, "failed"));
    node.stop();
    let (report, code) = doctor(&world);
    assert_eq!((code, codes(&report)), (0, vec!["work.dead"]), "{report}");
}

#[test]
fn a_disk_without_room_stops_claims_until_there_is_some() {
    let world = world(0, "cat");
    assert_eq!(world.run("state set maker a 1").code(), 0);
    let node = Node::begin(&world, "--http 127.0.0.1:0 --beat 200ms");
    let address = node.http();
    let is_ready = || (page(&address, "/readyz").0 == 200).then_some(());
    until("readiness", is_ready);
    // No file of the process may grow any more.
    let pid = i32::try_from(node.pid()).ok().and_then(Pid::from_raw);
    let limit = |current| {
        let limit = Rlimit {
            current,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).expect("a limit");
    };
    limit(Some(0));
    let full = "{\"status\":\"unavailable\",\"reason\":\"store_unwritable\"}\n";
    until("unreadiness", || {
        (page(&address, "/readyz") == (503, full.to_owned())).then_some(())
    });
    assert_eq!(page(&address, "/livez").0, 200);
    let (report, code) = doctor(&world);
    assert_eq!(
        (code, codes(&report)),
        (1, vec!["daemon.unready"]),
        "{report}"
    );
    assert_eq!(
        report["health"]["store"]["failure"], "store.full",
        "{report}"
    );
    // What comes meanwhile waits: nothing is taken, nothing is lost.
    world.write("wanted", "3");
    limit(None);
    until("readiness", is_ready);
    until("three completed runs", || all_are(&world, 3, "completed"));
    node.signal(Signal::TERM);
    assert_eq!(node.ended().code(), 0);
}
