//! Ctrl-C at any moment: no process is left, nothing is half written, and the status says so.

use std::process::Child;

use rustix::process::{Signal, kill_process};

use crate::world::{Fifo, Watched, World, finished, pid, plugin};

/// Code that says who it is through a fifo, and then hangs for good, deaf to polite requests.
fn hang(fifo: &Fifo) -> String {
    format!(
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN); \
         f = open({:?}, 'w'); f.write(str(os.getpid())); f.close(); time.sleep(600)",
        fifo.path().display().to_string()
    )
}

fn interrupted(child: Child, signal: Signal, status: i32) {
    kill_process(pid(&child), signal).expect("a signal");
    let done = finished(child);
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (status, ""),
        "{}",
        done.stderr
    );
}

#[test]
fn while_a_plugin_hangs_at_its_import() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let world = World::with(&[("plugins/a.py", &plugin("a", "return 1"))]);
        assert_eq!(world.run("list").code(), 0);
        let fifo = world.fifo("said");
        world.write("plugins/b.py", hang(&fifo));
        let child = world.command(["list"]).spawn().expect("kodex");
        let inspector = Watched::new(&fifo.read());
        interrupted(child, signal, status);
        assert!(inspector.ends(), "the inspector is left over");
        std::fs::remove_file(world.work().join("plugins/b.py")).expect("removed");
        let done = world.run("list");
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("a v1.0.0 | - | Does a.\n", ""),
            "the cache is intact"
        );
    }
}

#[test]
fn while_a_hook_runs() {
    for verb in ["emit x", "explain x --payload {}", "emit x --outcome"] {
        let world = World::new();
        let fifo = world.fifo("said");
        world.write("plugins/a.py", plugin("a", &hang(&fifo)));
        world.write("plugins/b.py", plugin("b", "return 1"));
        let child = world.command(verb.split(' ')).spawn().expect("kodex");
        let worker = Watched::new(&fifo.read());
        interrupted(child, Signal::INT, 130);
        assert!(worker.ends(), "the worker is left over");
    }
}

#[test]
fn what_a_plugin_started_ends_with_it() {
    let world = World::new();
    let fifo = world.fifo("said");
    let body = format!(
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {:?}]); import time; time.sleep(600)",
        hang(&fifo)
    );
    world.write("plugins/a.py", plugin("a", &body));
    let child = world.command(["emit", "x"]).spawn().expect("kodex");
    let grandchild = Watched::new(&fifo.read());
    interrupted(child, Signal::INT, 130);
    assert!(grandchild.ends(), "a grandchild is left over");
}

#[test]
fn workers_are_gone_when_the_program_ends_by_itself() {
    let world = World::new();
    let fifo = world.fifo("said");
    let body = format!(
        "import os, threading; f = open({:?}, 'w'); f.write(str(os.getpid())); f.close(); threading.Thread(target=__import__('time').sleep, args=(600,)).start(); return 1",
        fifo.path().display().to_string()
    );
    world.write("plugins/a.py", plugin("a", &body));
    let child = world.command(["emit", "x"]).spawn().expect("kodex");
    let worker = Watched::new(&fifo.read());
    assert_eq!(finished(child).stdout, "[\n  1\n]\n");
    assert!(worker.ends(), "the worker is left over");
}

#[test]
fn dev_ends_with_everything_it_started() {
    let world = World::new();
    let fifo = world.fifo("said");
    world.write("plugins/a.py", plugin("a", &hang(&fifo)));
    let child = world
        .command(["dev", "--emit", "x"])
        .spawn()
        .expect("kodex");
    let worker = Watched::new(&fifo.read());
    kill_process(pid(&child), Signal::INT).expect("a signal");
    assert_eq!(finished(child).code(), 130);
    assert!(worker.ends(), "the worker is left over");
}

#[test]
fn while_it_waits_for_input() {
    let world = World::new();
    let fifo = world.fifo("input");
    let given = format!("@{}", fifo.path().display());
    let child = world
        .command(["emit", "x", "--payload", &given])
        .spawn()
        .expect("kodex");
    // Opening it succeeds as soon as the program reads from it.
    let writer = std::fs::File::options()
        .write(true)
        .open(fifo.path())
        .expect("a reader");
    interrupted(child, Signal::INT, 130);
    drop(writer);
}
