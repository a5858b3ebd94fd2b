//! From the start to the end: drains, second signals, crashes, a store that goes and comes back.

use std::fs::{self, OpenOptions};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    serve::{Node, all_are, descendants, page, runs, socket, until, world},
    world::{Lines, Watched},
};

#[test]
fn it_beats_soon_and_works_off_what_was_asked_for() {
    let world = world(5, "cat; echo \" done by $KODEX_RUN_PLUGIN\"");
    let node = Node::start(&world, "");
    until("five completed runs", || all_are(&world, 5, "completed"));
    for n in 0..5 {
        let answer = world.read(&format!("answers/{n}.txt"));
        assert_eq!(answer.trim(), format!("number {n} done by maker"));
    }
    node.stop();
}

#[test]
fn a_runner_gets_what_it_was_promised_and_no_secrets() {
    let world = world(1, "env > env.txt; pwd >> env.txt")
        .set("SECRET_KEY", "s3cret")
        .set("PASSED_KEY", "passed");
    let config = world.read(".kodex/config.toml")
        + "pass_env = [\"PASSED_KEY\"]\n[runner.env]\nSAID = \"so\"\nHOME = \"/nowhere\"\n";
    world.write(".kodex/config.toml", config);
    let node = Node::start(&world, "");
    until("a completed run", || all_are(&world, 1, "completed"));
    let env = world.read("env.txt");
    for line in [
        "PASSED_KEY=passed",
        "SAID=so",
        "HOME=/nowhere",
        "KODEX_RUN_PLUGIN=maker",
    ] {
        assert!(
            env.lines().any(|seen| seen == line),
            "{line} is missing in {env}"
        );
    }
    assert!(!env.contains("s3cret"), "{env}");
    assert!(env.contains(&world.work().display().to_string()), "{env}");
    node.stop();
}

#[test]
fn a_drain_lets_what_runs_come_to_its_end() {
    let world = world(
        1,
        "cat; echo $$ > pid; until [ -e go ]; do sleep 0.05; done",
    );
    let node = Node::start(&world, "--http 127.0.0.1:0 --grace 50s --beat 200ms");
    until("a run", || {
        fs::read_to_string(world.work().join("pid")).ok()
    });
    node.signal(Signal::TERM);
    node.says("nothing new is begun");
    // It is there and says why it takes nothing more.
    let done = world.run("status --json");
    assert_eq!(done.code(), 1);
    assert!(
        done.stdout.contains("\"reason\": \"draining\""),
        "{}",
        done.stdout
    );
    let done = world.run("emit probe.x -v");
    assert!(
        done.code() == 0 && done.stderr.contains("daemon.draining"),
        "{}",
        done.stderr
    );
    world.write("go", "");
    let done = node.ended();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    all_are(&world, 1, "completed").expect("a completed run");
    assert!(!socket(&world).exists());
}

#[test]
fn a_second_signal_gives_back_at_once() {
    for (argv, n_signals) in [("--grace 600s", 2), ("--grace 200ms", 1), ("--grace 0", 1)] {
        let world = world(
            1,
            "echo $$ > pid.part; mv pid.part pid; cat >/dev/null; sleep 600",
        );
        let node = Node::start(&world, argv);
        let runner = until("a run", || {
            fs::read_to_string(world.work().join("pid")).ok()
        });
        let runner = Watched::new(&runner);
        node.signal(Signal::TERM);
        node.says("nothing new is begun");
        if n_signals == 2 {
            node.signal(Signal::INT);
        }
        let done = node.ended();
        assert_eq!(done.code(), 0, "{argv}: {}", done.stderr);
        assert!(runner.ends(), "{argv}: the runner is left over");
        // The attempt does not count, and nobody has to wait for a lease.
        let runs = all_are(&world, 1, "pending").expect("a pending run");
        assert_eq!(runs[0]["attempt"], 0, "{}", runs[0]);
        assert_eq!(runs[0]["n_crashes"], 0, "{}", runs[0]);
    }
}

#[test]
fn what_a_killed_process_held_is_taken_up_by_the_next() {
    let script = "cat >/dev/null; echo $$ > pid.part; mv pid.part pid; [ -e again ] || sleep 600; echo second";
    let world = world(1, script);
    let node = Node::start(&world, "");
    let runner = until("a run", || {
        fs::read_to_string(world.work().join("pid")).ok()
    });
    node.signal(Signal::KILL);
    node.ended();
    world.write("again", "");
    let node = Node::start(&world, "");
    let runs = until("a completed run", || all_are(&world, 1, "completed"));
    assert_eq!(runs[0]["n_crashes"], 1, "{}", runs[0]);
    assert_eq!(world.read("answers/0.txt").trim(), "second");
    assert_ne!(world.read("pid"), runner);
    node.stop();
}

/// A runner with a child, one that left its group and session, and one without Kodex' mark; the second time it
/// just answers.
const FAMILY: &str = "cat >/dev/null; if [ -e again ]; then echo second; exit; fi
sleep 600 & setsid sleep 600 & env -i /bin/sh -c 'sleep 600 & wait' &
echo up > up.part; mv up.part up; wait";

#[test]
fn nothing_is_left_of_a_killed_process() {
    // With its lifeline, and where that was killed too.
    for has_lifeline in [true, false] {
        let world = world(1, FAMILY);
        let node = Node::start(&world, "");
        // Five processes of the runner, a worker, a lifeline.
        let family = until("the whole family", || {
            let is_up = world.work().join("up").exists();
            // Some come and go at the start.
            let watched = |pid: u32| Some((pid, Watched::find(&pid.to_string())?));
            let family = descendants(node.pid()).into_iter().filter_map(watched);
            let family: Vec<_> = family.collect();
            (is_up && family.len() >= 7).then_some(family)
        });
        let of = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut pids = family.iter().map(|(pid, _)| *pid);
        let lifeline = pids.find(|pid| of(pid).contains("--lifeline-of"));
        let lifeline = i32::try_from(lifeline.expect("a lifeline")).expect("a process id");
        let lifeline = Pid::from_raw(lifeline).expect("a process id");
        let family: Vec<Watched> = family.into_iter().map(|(_, watched)| watched).collect();
        if !has_lifeline {
            // It must not see the end of the other one.
            kill_process(lifeline, Signal::STOP).expect("a signal");
        }
        node.signal(Signal::KILL);
        node.ended();
        if has_lifeline {
            assert!(family.iter().all(Watched::ends), "somebody is left over");
        } else {
            kill_process(lifeline, Signal::KILL).expect("a signal");
        }
        world.write("again", "");
        let node = Node::start(&world, "");
        assert!(family.iter().all(Watched::ends), "somebody is left over");
        let runs = until("a completed run", || all_are(&world, 1, "completed"));
        assert_eq!(runs[0]["n_crashes"], 1, "{}", runs[0]);
        assert_eq!(world.read("answers/0.txt").trim(), "second");
        node.stop();
    }
}

#[test]
fn a_lifeline_that_is_gone_is_replaced_and_goes_with_its_process() {
    let world = world(0, "cat");
    let node = Node::start(&world, "");
    let find = || {
        let of = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let family = descendants(node.pid());
        family
            .into_iter()
            .find(|pid| of(pid).contains("--lifeline-of"))
    };
    let first = until("a lifeline", find);
    let pid = i32::try_from(first).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process id"), Signal::KILL).expect("a signal");
    node.says("the lifeline was ended");
    let second = until("another one", || find().filter(|pid| *pid != first));
    let second = Watched::new(&second.to_string());
    node.stop();
    assert!(second.ends());
}

#[test]
fn signals_end_it_at_any_moment() {
    let world = world(0, "cat");
    // Before anything is loaded, and right after.
    let hang = format!("{}\nimport time\ntime.sleep(600)\n", "import os");
    world.write("plugins/hang.py", hang);
    let node = Node::begin(&world, "");
    node.signal(Signal::TERM);
    let code = node.ended().code();
    // Before it listens to signals, the signal ends it as it does any program.
    assert!(code == 0 || code == -1, "{code}");
    fs::remove_file(world.work().join("plugins/hang.py")).expect("removed");
    let node = Node::start(&world, "");
    node.signal(Signal::INT);
    assert_eq!(node.ended().code(), 0);
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    for (more, code, status) in [
        (
            "[runner]\ncommand = [\"no-such-agent\"]\n",
            "config.program",
            2,
        ),
        ("[runner]\ncommand = []\n", "config.value", 2),
        (
            "[runner]\ncommand = [\"sh\"]\nshell = true\n",
            "config.key.unknown",
            2,
        ),
        (
            "[destinations.webhook]\nhosts = [\"*.example.com\"]\n",
            "config.value",
            2,
        ),
        (
            "[destinations.command.mail]\ncommand = [\"./no-such\"]\n",
            "config.program",
            2,
        ),
        ("[serve]\nhttp = \"7340\"\n", "config.value", 2),
        (
            "[serve]\nhttp = \"0.0.0.0:7340\"\n",
            "serve.http.exposed",
            2,
        ),
        ("[work]\nlease = \"10ms\"\n", "config.value", 2),
        ("[work]\nn_runs = 0\n", "config.value", 2),
        ("[heartbeat]\nevery = \"0s\"\n", "config.value", 2),
        ("[serve]\nlog_format = \"xml\"\n", "config.value", 2),
    ] {
        let world = crate::world::World::with(&[(".kodex/config.toml", more)]);
        let done = world.run("serve");
        assert_eq!(done.code(), status, "{more}: {}", done.stderr);
        assert!(done.stderr.contains(code), "{more}: {}", done.stderr);
    }
}

#[test]
fn a_store_that_goes_and_comes_back_is_seen_by_the_probe() {
    let world = world(0, "cat");
    // The store is there before it goes.
    assert_eq!(world.run("state set maker a 1").code(), 0);
    let node = Node::begin(&world, "--http 127.0.0.1:0");
    let address = node.http();
    until("readiness", || {
        (page(&address, "/readyz").0 == 200).then_some(())
    });
    let store = world.work().join(".kodex/store");
    let away = world.work().join("away");
    fs::rename(&store, &away).expect("moved");
    fs::write(&store, "no folder").expect("written");
    let gone = (
        503,
        "{\"status\":\"unavailable\",\"reason\":\"store_unreachable\"}\n".to_owned(),
    );
    until("unreadiness", || {
        (page(&address, "/readyz") == gone).then_some(())
    });
    assert_eq!(page(&address, "/livez").0, 200);
    fs::remove_file(&store).expect("removed");
    fs::rename(&away, &store).expect("moved back");
    until("readiness", || {
        (page(&address, "/readyz").0 == 200).then_some(())
    });
    assert!(runs(&world).is_empty());
    node.stop();
}

#[test]
fn the_log_is_json_when_that_is_wished() {
    let world = world(0, "cat");
    let node = Node::begin(&world, "--log-format json");
    let line = node.says("the resident runtime is at work");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&line["event"], &line["level"]),
        (&"serving".into(), &"INFO".into())
    );
    node.stop();
}

#[test]
fn a_log_that_cannot_be_written_does_not_end_it() {
    let world = world(1, "cat");
    let full = OpenOptions::new().write(true).open("/dev/full");
    let mut command = world.command(["serve", "-vv", "--beat", "200ms"]);
    let child = command.stderr(full.expect("a full disk")).spawn();
    let node = Node {
        child: Some(child.expect("kodex")),
        log: Lines::new(std::io::empty()),
    };
    until("a completed run", || all_are(&world, 1, "completed"));
    node.stop();
}
