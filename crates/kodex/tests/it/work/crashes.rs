//! Nodes that go at certain points of the work: while a command starts or speaks, in the middle of a sweep or
//! of a drain, without any file descriptors left.

use std::path::Path;

use super::*;
use kodex::store::queue::Recover;
use kodex::{CommandLine, CommandRunner};

/// A shell that may take its time; it gets the folder of the test in `$D`.
fn runner(script: &str, folder: &Path) -> Arc<CommandRunner> {
    Arc::new(CommandRunner::new(CommandLine {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("D".into(), folder.display().to_string().into()),
        ],
        cwd: "/".into(),
        timeout: Duration::from_secs(600),
    }))
}

/// The first time a command stays at some point of its work, until its node is gone; the second time it ends.
/// The node that goes leaves no process behind, and the next one finishes the run.
async fn check(store: &Arc<dyn Store>, name: &str, stays: &str, lines: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!(
        "if [ -e $D/pid ]; then cat; exit; fi; {stays}; echo $$ > $D/new; mv $D/new $D/pid; sleep 600"
    );
    let (plugin, told) = asking(name, wish(name));
    let node =
        || built(builder(store, vec![plugin.clone()]).runner(runner(&script, folder.path())));
    let one = node().await;
    pulse(&one).await;
    let id = id_of(&told.lock().expect("no panic")[0]);
    let working = one.work().await.expect("works");
    let pid = until("it began", || async {
        let text = std::fs::read_to_string(folder.path().join("pid")).ok()?;
        text.trim().parse::<u32>().ok()
    })
    .await;
    for line in lines {
        until("it is heard", || async {
            let logged = one.works().logs(&id, 0, 100).await.expect("lines");
            logged
                .iter()
                .any(|logged| logged.text == *line)
                .then_some(())
        })
        .await;
    }
    drop(working);
    drop(one);
    until("the command is gone", || async {
        has_ended(pid).then_some(())
    })
    .await;
    let two = node().await;
    let working = two.work().await.expect("works");
    let done = reaches(&two, &id, RunStatus::Completed).await;
    assert_eq!((done.n_crashes, done.attempt), (1, 2), "{done:?}");
    assert_eq!(done.answer.as_deref(), Some(format!("do {name}").as_str()));
    working
        .drain(Duration::from_secs(5), std::future::pending())
        .await;
}

/// Whether a process runs no more; that its parent has not asked how it ended is nothing to it.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, state)| state.starts_with('Z'))
}

/// CP07: the command is there and has said nothing.
#[tokio::test]
async fn cp07_a_node_that_goes_before_its_command_speaks_leaves_the_run_to_another() {
    each(|store| async move { check(&store, "silent", "true", &[]).await }).await;
}

/// CP08: half of the output is there; what was heard stays in the log, and no half answer counts.
#[tokio::test]
async fn cp08_a_node_that_goes_while_its_command_speaks_delivers_no_half_answer() {
    each(|store| async move {
        check(
            &store,
            "half",
            "echo half an ans; echo some trouble >&2",
            &["some trouble"],
        )
        .await;
    })
    .await;
}

/// Runs that were claimed by nodes that are gone, with leases that have ended.
async fn lost(store: &Arc<dyn Store>, n: usize) -> Vec<String> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = told.clone();
    let many = Doing::new("many").on("heartbeat", move |context, beat| {
        let notes = notes.clone();
        async move {
            for nth in 0..n {
                let mut params = wish(&format!("k{nth}"));
                params["ticket"] = beat["ticket"].clone();
                let answer = ask(&context, "agent/dispatch", params).await;
                notes.lock().expect("no panic").push(id_of(&answer));
            }
            Ok(Reply::nothing())
        }
    });
    let stuck = Scripted::new((0..n).map(|_| Step::Hang));
    let settings = WorkSettings {
        n_runs: n,
        sweep: Duration::from_secs(600),
        ..brisk()
    };
    let plugins = vec![many.built()];
    let node = built(builder(store, plugins).work(settings).runner(stuck.clone())).await;
    let working = node.work().await.expect("works");
    pulse(&node).await;
    until("all run", || async { (stuck.n_ran() == n).then_some(()) }).await;
    drop(working);
    let ids = told.lock().expect("no panic").clone();
    until("their leases end", || async {
        let now = store.queue().now_ms().await.expect("a time");
        for id in &ids {
            let job = store
                .queue()
                .find(id)
                .await
                .expect("reads")
                .expect("is there");
            if job.until_ms.is_some_and(|until| until > now) {
                return None;
            }
        }
        Some(())
    })
    .await;
    ids
}

/// CP15: there is no leader; whoever sweeps may go in the middle, and any other sweeps the rest.
#[tokio::test]
async fn cp15_a_sweep_that_stops_halfway_is_finished_by_another_node() {
    each(|store| async move {
        let ids = lost(&store, 5).await;
        let rules = |limit| Recover {
            limit,
            max_crashes: 3,
            pauses_ms: &[0],
        };
        let first = store.queue().recover(&rules(2)).await.expect("sweeps");
        assert_eq!(first.len(), 2);
        let (one, two) = (rules(10), rules(10));
        let (one, two) = tokio::join!(store.queue().recover(&one), store.queue().recover(&two));
        let (one, two) = (one.expect("sweeps"), two.expect("sweeps"));
        assert_eq!(one.len() + two.len(), 3, "each is taken back once");
        let runner = Scripted::new([]);
        let node =
            built(builder(&store, vec![Doing::new("many").built()]).runner(runner.clone())).await;
        let working = node.work().await.expect("works");
        for id in &ids {
            let done = reaches(&node, id, RunStatus::Completed).await;
            assert_eq!((done.n_crashes, done.attempt), (1, 2));
        }
        assert_eq!(runner.n_ran(), 5);
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

/// CP19: a node that dies while it waits for its work to end, before it has given anything back.
#[tokio::test]
async fn cp19_a_node_that_dies_while_it_drains_loses_nothing() {
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let stuck = Scripted::new([Step::Hang]);
        let one = built(builder(&store, vec![plugin.clone()]).runner(stuck.clone())).await;
        pulse(&one).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = one.work().await.expect("works");
        until("it runs", || async { (stuck.n_ran() == 1).then_some(()) }).await;
        let health = working.watch();
        let draining = working.drain(Duration::from_secs(600), std::future::pending());
        tokio::select! {
            () = draining => panic!("nothing ends what it waits for"),
            () = until("it drains", || async { health().draining.then_some(()) }) => {}
        }
        let runner = Scripted::new([]);
        let two = built(builder(&store, vec![plugin]).runner(runner.clone())).await;
        let working = two.work().await.expect("works");
        let done = reaches(&two, &id, RunStatus::Completed).await;
        assert_eq!((done.n_crashes, runner.n_ran()), (1, 1));
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

/// Tells a process of this test that it is the one to run out of file descriptors.
const FEW: &str = "KODEX_TEST_FEW_FILES";

/// CP30: a command that cannot be started for want of file descriptors is tried again, and the node lives.
#[test]
fn cp30_a_command_that_cannot_be_started_is_tried_again() {
    #[expect(clippy::disallowed_methods, reason = "the test is its own child")]
    let is_child = std::env::var_os(FEW).is_some();
    if is_child {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        return runtime.expect("a runtime").block_on(without_files());
    }
    let test = std::env::current_exe().expect("is known");
    let name = "work::crashes::cp30_a_command_that_cannot_be_started_is_tried_again";
    #[expect(clippy::disallowed_methods, reason = "the test is its own child")]
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -n 64; exec \"$0\" --exact {name} --nocapture"
        ))
        .arg(test)
        .env(FEW, "1")
        .output()
        .expect("runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn without_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = SqliteOptions::new(folder.path().join("s"), Arc::new(SystemClock));
    options.n_readers = 1;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).await.expect("a store opens"));
    let (plugin, told) = asking("asks", wish("k"));
    let settings = WorkSettings {
        attempts: 1_000,
        ..brisk()
    };
    let runner = runner("cat", folder.path());
    let node = built(builder(&store, vec![plugin]).work(settings).runner(runner)).await;
    pulse(&node).await;
    let id = id_of(&told.lock().expect("no panic")[0]);
    node.works().find(&id).await.expect("it is there");
    // What the node needs for itself is open by now, or finds the two that are left; a command needs more.
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    files.truncate(files.len() - 2);
    let working = node.work().await.expect("works");
    let tried = until("it was tried in vain", || async {
        let item = node.works().find(&id).await.ok()?;
        (item.reason_code.is_some()).then_some(item)
    })
    .await;
    assert_eq!(tried.n_crashes, 0, "{tried:?}");
    drop(files);
    let done = reaches(&node, &id, RunStatus::Completed).await;
    assert_eq!(done.answer.as_deref(), Some("do k"));
    working
        .drain(Duration::from_secs(5), std::future::pending())
        .await;
}
