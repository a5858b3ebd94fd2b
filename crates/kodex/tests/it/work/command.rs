//! Commands as runners and destinations.

use super::*;
use kodex::{CommandDelivery, CommandLine, CommandRunner, FileDelivery};

fn shell(script: &str, timeout: Duration) -> CommandLine {
    CommandLine {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        timeout,
    }
}

struct Stand {
    runtime: Runtime,
    id: String,
}

async fn stand(
    store: &Arc<dyn Store>,
    name: &str,
    script: &str,
    params: Value,
    more: impl Fn(Builder) -> Builder,
) -> Stand {
    let (plugin, told) = asking(name, params);
    let runner = CommandRunner::new(shell(script, Duration::from_secs(5)));
    let runtime = built(more(builder(store, vec![plugin]).runner(Arc::new(runner)))).await;
    pulse(&runtime).await;
    let id = id_of(&told.lock().expect("no panic")[0]);
    Stand { runtime, id }
}

/// A command that behaves so ends its run so: state, stable word, and what the answer or reason holds.
#[tokio::test]
async fn each_way_of_a_command_has_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SqliteOptions::new(folder.path().join("s"), Arc::new(SystemClock));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).await.expect("a store opens"));
    use RunStatus::{Blocked, Completed, Failed};
    let cases: &[(&str, &str, RunStatus, &str, &str)] = &[
        ("prompt", "cat", Completed, "", "do prompt"),
        (
            "facts",
            "echo $KODEX_RUN_PLUGIN $KODEX_RUN_ATTEMPT $KODEX_RUN_DESTINATION $KODEX_RUN_METADATA",
            Completed,
            "",
            "facts 1 session:session of facts {}",
        ),
        (
            "environment",
            "env | grep -c HOME; true",
            Completed,
            "",
            "0",
        ),
        (
            "deaf",
            "exec 0<&-; echo heard nothing",
            Completed,
            "",
            "heard nothing",
        ),
        (
            "fails",
            "echo half; echo why >&2; exit 3",
            Failed,
            "run.exit",
            "why",
        ),
        (
            "quiet",
            "exit 4",
            Failed,
            "run.exit",
            "exited with status 4",
        ),
        (
            "signal",
            "kill -9 $$",
            Failed,
            "attempts_exhausted",
            "SIGKILL",
        ),
        (
            "later",
            "echo no >&2; exit 75",
            Failed,
            "attempts_exhausted",
            "tried again",
        ),
        (
            "declares",
            r#"echo '{"status":"completed","answer":"said"}' > $KODEX_RUN_RESULT; echo noise"#,
            Completed,
            "",
            "said",
        ),
        (
            "refuses",
            r#"echo '{"status":"failed","error":"will not"}' > $KODEX_RUN_RESULT"#,
            Failed,
            "run.failed",
            "will not",
        ),
        (
            "blocks",
            r#"echo '{"status":"blocked","error":"needs a word"}' > $KODEX_RUN_RESULT"#,
            Blocked,
            "run.blocked",
            "needs a word",
        ),
        (
            "garbles",
            "echo '{\"status\":\"done\"}' > $KODEX_RUN_RESULT",
            Failed,
            "run.result",
            "unknown variant",
        ),
        (
            "link",
            "ln -s /etc/passwd $KODEX_RUN_RESULT",
            Failed,
            "run.result",
            "is no file",
        ),
        (
            "slices",
            r#"if [ -f "$KODEX_RUN_CHECKPOINT" ]; then cat $KODEX_RUN_CHECKPOINT; else echo '{"status":"continue","checkpoint":{"at":1}}' > $KODEX_RUN_RESULT; fi"#,
            Completed,
            "",
            r#"{"at":1}"#,
        ),
        (
            "binary",
            r"printf 'a\000\377b'",
            Completed,
            "",
            "a\u{fffd}b",
        ),
    ];
    for (name, script, status, code, text) in cases {
        let Stand { runtime, id } =
            stand(&store, name, script, wish(name), |builder| builder).await;
        let working = runtime.work().await.expect("works");
        let done = reaches(&runtime, &id, *status).await;
        let said = done
            .answer
            .clone()
            .or(done.reason.clone())
            .unwrap_or_default();
        assert!(said.contains(text), "{name}: {done:?}");
        if !code.is_empty() {
            assert_eq!(done.reason_code.as_deref(), Some(*code), "{name}: {done:?}");
        }
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    }
}

#[tokio::test]
async fn a_command_is_ended_with_its_group_at_its_deadline_and_when_it_floods() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SqliteOptions::new(folder.path().join("s"), Arc::new(SystemClock));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).await.expect("a store opens"));
    let mark = folder.path().join("pid");
    let slow = format!("sleep 600 & echo $! > {}; wait", mark.display());
    for (name, script, timeout, code) in [
        ("slow", slow.as_str(), 300, "run.deadline"),
        ("flood", "yes", 20_000, "run.flood"),
        ("none", "", 300, "run.command"),
    ] {
        let (plugin, told) = asking(name, wish(name));
        let mut command = shell(script, Duration::from_millis(timeout));
        if name == "none" {
            command.program = "/no/such/program".into();
        }
        let runner = Arc::new(CommandRunner::new(command));
        // A busy machine must not take the run away meanwhile.
        let settings = WorkSettings {
            lease: Duration::from_secs(30),
            ..brisk()
        };
        let start = builder(&store, vec![plugin]).work(settings);
        let runtime = built(start.runner(runner)).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = runtime.work().await.expect("works");
        let done = reaches(&runtime, &id, RunStatus::Failed).await;
        assert_eq!(done.reason_code.as_deref(), Some(code), "{name}: {done:?}");
        if name == "slow" {
            let pid = std::fs::read_to_string(&mark).expect("it began");
            let is_gone = || async {
                (!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()).then_some(())
            };
            until("the grandchild is gone", is_gone).await;
        }
        let lines = runtime.works().logs(&id, 0, 10).await.expect("lines");
        assert!(!lines.is_empty(), "{name}");
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    }
}

#[tokio::test]
async fn a_cancelled_run_takes_its_command_along() {
    each(|store| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("pid");
        let script = format!("echo $$ > {}; sleep 600", mark.display());
        let Stand { runtime, id } =
            stand(&store, "asks", &script, wish("k"), |builder| builder).await;
        let working = runtime.work().await.expect("works");
        let pid = until("it began", || async {
            let text = std::fs::read_to_string(&mark).ok()?;
            text.trim().parse::<u32>().ok()
        })
        .await;
        runtime.works().cancel(&id).await.expect("asked");
        reaches(&runtime, &id, RunStatus::Cancelled).await;
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "it is gone"
        );
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn answers_reach_files_and_commands() {
    each(|store| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("taken");
        let script = format!("cat > {}", taken.display());
        let commands =
            CommandDelivery::new([("keep".to_owned(), shell(&script, Duration::from_secs(5)))]);
        let (commands, root) = (Arc::new(commands), folder.path().join("answers"));
        let more = |builder: Builder| {
            builder
                .destination("file", Arc::new(FileDelivery::new(&root)))
                .destination("command", commands.clone())
        };
        for (kind, address, status) in [
            ("file", "a/report.md", RunStatus::Completed),
            ("file", "../report.md", RunStatus::Failed),
            ("command", "keep", RunStatus::Completed),
            ("command", "drop", RunStatus::Failed),
        ] {
            let mut params = wish(&format!("{kind} {address}"));
            params["destination"] = json!({"kind": kind, "address": address});
            let Stand { runtime, id } = stand(&store, "asks", "cat", params, more).await;
            let working = runtime.work().await.expect("works");
            let done = reaches(&runtime, &id, status).await;
            if status == RunStatus::Failed {
                assert_eq!(
                    done.reason_code.as_deref(),
                    Some("run.delivery"),
                    "{address}"
                );
            }
            working
                .drain(Duration::from_secs(5), std::future::pending())
                .await;
        }
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).expect("written");
        assert_eq!(read(root.join("a/report.md")), "do file a/report.md\n");
        assert_eq!(read(taken), "do command keep");
    })
    .await;
}
