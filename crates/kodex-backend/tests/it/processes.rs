//! The process behind a worker: how it is started, what it finds, and that it never outlives its host.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kodex_plugin::{Life, Limits, Plugin, Reply};
use serde_json::json;

use crate::support::{Plug, options, settle, until};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_cannot_be_started_says_what_was_looked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str, mode: u32| {
        let file = folder.path().join(name);
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        file
    };
    let plain = write("plain", "#!/bin/sh\n", 0o644);
    let lost = write("lost", "#!/no/such/interpreter\n", 0o755);
    for (program, code, text) in [
        (
            Path::new("no-such-program"),
            "worker.spawn.not_found",
            "not found in /usr/local/sbin",
        ),
        (
            Path::new("bin/missing"),
            "worker.spawn.not_found",
            "there is no program",
        ),
        (
            Path::new("/no/such/program"),
            "worker.spawn.not_found",
            "/no/such/program",
        ),
        (lost.as_path(), "worker.spawn.not_found", "interpreter"),
        (plain.as_path(), "worker.spawn.denied", "executable"),
        (folder.path(), "worker.spawn.denied", "may not be started"),
    ] {
        let command = kodex_backend::Command {
            program: program.to_owned(),
            ..kodex_backend::Command::default()
        };
        let plug = Plug::open(command, Limits::default(), options());
        let error = plug.activate().await.expect_err("it cannot start");
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(text), "{error}");
        assert_eq!(plug.worker.health().pid, None);
    }
}

#[tokio::test]
async fn opening_starts_nothing_and_a_call_needs_an_activation() {
    let plug = Plug::misbehaving("well", Limits::default(), options());
    let error = plug.hook(json!(1), LONG).await.expect_err("not activated");
    assert_eq!(error.code, "worker.inactive");
    assert_eq!(plug.survivors(), Vec::<u32>::new());
    assert_eq!(plug.worker.health().state, Life::Idle);
}

#[tokio::test]
async fn a_process_finds_what_it_was_given_and_nothing_else() {
    let mut command = crate::support::python(
        &crate::support::fixture("misbehaving/misbehave.py"),
        &["environment"],
    );
    command.env = vec![
        ("TOKEN".into(), "secret".into()),
        ("LD_PRELOAD".into(), "/evil.so".into()),
        ("PYTHONPATH".into(), "/evil".into()),
    ];
    let plug = Plug::open(command, Limits::default(), options());
    plug.activate().await.expect("it starts");
    let reply = plug.hook(json!(null), LONG).await.expect("an answer");
    let world = reply.0.expect("a reply").into_value();
    let names: Vec<&String> = world["variables"]
        .as_object()
        .expect("variables")
        .keys()
        .collect();
    assert_eq!(
        names,
        [
            "KODEX_PLUGIN",
            "KODEX_PLUGIN_ROOT",
            "KODEX_WORKER",
            "LANG",
            "LC_CTYPE",
            "PATH",
            "TOKEN"
        ]
        .iter()
        .filter(|name| **name != "LC_CTYPE" || world["variables"]["LC_CTYPE"].is_string())
        .collect::<Vec<_>>()
    );
    assert_eq!(world["variables"]["KODEX_PLUGIN"], "fixture");
    assert_eq!(world["folder"], world["variables"]["KODEX_PLUGIN_ROOT"]);
    assert_eq!(world["leads"], true);
    // Three pipes and the listing itself: no descriptor of the host passed.
    assert_eq!(world["descriptors"], json!([0, 1, 2, 3]));
}

#[tokio::test]
async fn a_stopped_worker_stays_stopped_until_it_is_activated_again() {
    let plug = Plug::misbehaving("well", Limits::default(), options());
    plug.activate().await.expect("it starts");
    let stopped_at = Instant::now();
    settle(plug.worker.deactivate()).await.expect("it stops");
    assert!(
        stopped_at.elapsed() < Duration::from_secs(1),
        "it was asked, not killed"
    );
    assert_eq!(plug.survivors(), Vec::<u32>::new());
    let error = plug.hook(json!(1), LONG).await.expect_err("stopped");
    assert_eq!(error.code, "worker.stopped");
    settle(plug.worker.deactivate())
        .await
        .expect("twice is as good");
    plug.activate().await.expect("it starts again");
    assert_eq!(plug.hook(json!(1), LONG).await, Ok(Reply::from(json!(1))));
    assert_eq!(plug.worker.health().restarts, 0, "asked for is no restart");
}

#[tokio::test]
async fn a_dropped_worker_takes_its_tree_with_it() {
    for mode in ["well", "grandchildren", "silent"] {
        let mut plug = Plug::misbehaving(mode, Limits::default(), options());
        if mode == "silent" {
            let started = tokio::time::timeout(Duration::from_millis(200), plug.activate()).await;
            assert!(started.is_err(), "it is still starting");
        } else {
            plug.activate().await.expect("it starts");
            let call = plug.hook(json!(null), LONG);
            let _ = tokio::time::timeout(Duration::from_millis(200), call).await;
        }
        assert!(!plug.survivors().is_empty(), "{mode}: something runs");
        let other = Plug::misbehaving("well", Limits::default(), options());
        drop(std::mem::replace(&mut plug.worker, other.worker));
        assert_eq!(plug.survivors(), Vec::<u32>::new(), "{mode}");
    }
}

#[test]
fn a_runtime_that_is_dropped_leaves_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let plug = runtime.block_on(async {
        let plug = Plug::misbehaving("well", Limits::default(), options());
        plug.activate().await.expect("it starts");
        plug
    });
    assert_eq!(plug.survivors().len(), 1);
    drop(runtime);
    assert_eq!(plug.survivors(), Vec::<u32>::new());
}

/// Names no test; says to the test below that it is a host. Test programs take no arguments of ours.
const ROLE: &str = "--skip=the-role-of-a-host";

/// The part of a host: activates a worker, says its process, and hangs.
#[test]
fn host_that_waits_to_be_killed() {
    if !std::env::args().any(|arg| arg == ROLE) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let plug = Plug::misbehaving("well", Limits::default(), options());
        plug.activate().await.expect("it starts");
        println!("\nworker {}", plug.worker.health().pid.expect("a process"));
        // Its parent closes the pipe or kills it; without a parent it ends by itself.
        tokio::time::sleep(Duration::from_secs(30)).await;
    });
}

#[tokio::test]
async fn a_worker_ends_when_its_host_is_killed() {
    let mut host = Command::new(std::env::current_exe().expect("a program"))
        .args([
            "--exact",
            "processes::host_that_waits_to_be_killed",
            "--nocapture",
            ROLE,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let lines = BufReader::new(host.stdout.take().expect("a pipe")).lines();
    let worker: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("worker ")?.parse().ok())
        .expect("the host says its worker");
    let is_there = || fs::exists(format!("/proc/{worker}")).expect("a process table");
    assert!(is_there());
    host.kill().expect("it is ours");
    host.wait().expect("it is ours");
    until("the worker is gone", || !is_there()).await;
}
