//! Every way of misbehaving has its own named error, ends what it must end and disturbs nobody else.
//!
//! Each group of cases runs in a process of its own, where descriptors can be counted.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use kodex_plugin::{Failure, Limits, Plugin, PluginError, Reply};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::support::{Plug, n_descriptors, options, until};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// One row: a mode, what it is asked, and what comes of it.
struct Case {
    mode: &'static str,
    payload: Value,
    timeout: Duration,
    limits: Limits,
    want: Want,
}

enum Want {
    /// The activation fails.
    NoStart(&'static str, &'static str),
    /// The call fails with this code and a text that holds this.
    Error(&'static str, &'static str),
    /// The call is answered, and this many answers are discarded.
    Reply(Value, u64),
}
use Want::{Error, NoStart, Reply as Replies};

fn case(mode: &'static str, want: Want) -> Case {
    Case {
        mode,
        payload: json!({"text": "hello"}),
        timeout: LONG,
        limits: Limits {
            frame_timeout: Duration::from_millis(300),
            ..Limits::default()
        },
        want,
    }
}

fn echoed(n_discarded: u64) -> Want {
    Replies(json!({"text": "hello"}), n_discarded)
}

impl Case {
    fn asked(self, payload: Value) -> Self {
        Self { payload, ..self }
    }

    fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn with_frames_of(mut self, frame_bytes: usize) -> Self {
        self.limits.frame_bytes = frame_bytes;
        self
    }
}

/// Runs the cases alone in a process: this one if it runs nothing else, a new one otherwise.
fn alone(test: &str, cases: Vec<Case>) {
    if std::env::args().any(|arg| arg == "--exact") {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        return runtime.block_on(check_all(cases));
    }
    run_alone(test);
}

fn run_alone(test: &str) {
    let output = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", &format!("misbehaving::{test}"), "--nocapture"])
        .output()
        .expect("this program starts");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn check_all(cases: Vec<Case>) {
    let well = Plug::misbehaving("well", Limits::default(), options());
    well.activate().await.expect("the healthy plugin starts");
    let n_before = n_descriptors();
    let n_tasks = || Handle::current().metrics().num_alive_tasks();
    let n_tasks_before = n_tasks();
    for case in cases {
        let mode = case.mode;
        let over = AtomicBool::new(false);
        let n_answered = AtomicUsize::new(0);
        let others = async {
            while !over.load(Ordering::Relaxed) {
                let reply = well.hook(json!("still here"), LONG).await;
                assert_eq!(reply, Ok(Reply::from(json!("still here"))), "{mode}");
                n_answered.fetch_add(1, Ordering::Relaxed);
                // Paces the other worker's calls; the loop ends with the case.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let this = async {
            check(case).await;
            over.store(true, Ordering::Relaxed);
        };
        tokio::join!(this, others);
        assert!(n_answered.into_inner() > 0, "{mode}: the others went on");
        until("the descriptors are closed", || n_descriptors() <= n_before).await;
        until("the spawned tasks are over", || n_tasks() <= n_tasks_before).await;
    }
}

async fn check(case: Case) {
    let mode = case.mode;
    let mut options = options();
    if mode == "silent" {
        options.times.handshake = SHORT;
    }
    let plug = Plug::misbehaving(mode, case.limits.clone(), options);
    let activated = plug.activate().await;
    if let NoStart(code, text) = case.want {
        assert_error(mode, activated, code, text);
    } else {
        activated.unwrap_or_else(|error| panic!("{mode} starts: {error}"));
        let reply = plug.hook(case.payload, case.timeout).await;
        match case.want {
            NoStart(..) => {}
            Error(code, text) => assert_error(mode, reply, code, text),
            Replies(value, n_discarded) => {
                assert_eq!(reply, Ok(Reply::from(value)), "{mode}");
                until("the answers are counted", || {
                    plug.worker.health().discarded == n_discarded
                })
                .await;
            }
        }
    }
    let started_at = Instant::now();
    plug.close(mode).await;
    assert!(
        started_at.elapsed() < Duration::from_secs(4),
        "{mode}: ends in time"
    );
}

impl Plug {
    /// Stops the plugin and sees that nothing of it is left.
    async fn close(self, mode: &str) {
        crate::support::settle(self.worker.deactivate())
            .await
            .unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert_eq!(
            self.survivors(),
            Vec::<u32>::new(),
            "{mode}: nothing is left"
        );
    }
}

fn assert_error<T: std::fmt::Debug>(
    mode: &str,
    got: Result<T, PluginError>,
    code: &str,
    text: &str,
) {
    let error = got.expect_err(mode);
    assert_eq!(error.code, code, "{mode}: {error}");
    assert!(error.message.contains(text), "{mode}: {error}");
    assert!(
        !error.message.chars().any(char::is_control),
        "{mode}: nothing that a terminal would obey"
    );
}

#[test]
fn bad_starts_are_named() {
    alone(
        "bad_starts_are_named",
        vec![
            case(
                "banner",
                NoStart("worker.banner", r"Welcome to \u{1b}[1mplugin"),
            ),
            case(
                "exit-at-start",
                NoStart("worker.exited", "no module named nonsense"),
            ),
            case("silent", NoStart("worker.handshake.timeout", "200ms")),
            case(
                "wrong-version",
                NoStart("worker.handshake.version", "version 99"),
            ),
            case(
                "wrong-name",
                NoStart("worker.handshake.name", "somebody-else"),
            ),
            case(
                "refuse-to-start",
                NoStart("worker.handshake.refused", "the index is missing"),
            ),
            case(
                "empty-handshake",
                NoStart("worker.handshake.invalid", "contract"),
            ),
        ],
    );
}

#[test]
fn bad_lines_are_named() {
    alone(
        "bad_lines_are_named",
        vec![
            case("late-banner", Error("worker.banner", "debug: here I am")),
            case("half-frame", Error("worker.frame.stalled", "29 bytes")),
            case("drip", Error("worker.frame.stalled", "300ms")),
            case("endless-line", Error("worker.frame.too_long", "1048576")),
            case("deep", Error("worker.frame.too_long", "1048576")),
            case("deep", Error("worker.frame.too_deep", "64 levels")).with_frames_of(4 << 20),
            case("million-keys", Error("worker.frame.too_long", "1048576")),
            case(
                "huge-number",
                Error("worker.frame.syntax", "number out of range"),
            ),
            case("not-a-number", Error("worker.frame.syntax", "NaN")),
            case("bad-utf8", Error("worker.frame.syntax", "UTF-8")),
            case(
                "lone-surrogate",
                Error("worker.frame.syntax", "lone surrogate"),
            ),
            case("nul", Error("worker.frame.syntax", "control character")),
            case(
                "byte-order-mark",
                Error("worker.frame.syntax", "byte order mark"),
            ),
            case(
                "duplicate-keys",
                Error("worker.frame.envelope", "duplicate field"),
            ),
            case(
                "odd-but-right",
                Replies(json!("{\"text\": \"hello\"}\u{2028}"), 0),
            ),
        ],
    );
}

#[test]
fn floods_are_named() {
    alone(
        "floods_are_named",
        vec![
            case("flood", Error("worker.flood", "1000 messages")),
            case("flood-of-answers", Error("worker.flood", "1000 messages")),
            case("flood-of-requests", Error("worker.flood", "1000 messages")),
            case("flood-of-log", echoed(0)),
            case("deaf", Error("worker.write.stalled", "400ms")).asked(json!("x".repeat(300_000))),
        ],
    );
}

/// A gigabyte a second of whatever kind must not become a gigabyte of memory.
#[test]
fn floods_cost_no_memory() {
    if !std::env::args().any(|arg| arg == "--exact") {
        return run_alone("floods_cost_no_memory");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let warm = Plug::misbehaving("well", Limits::default(), options());
        warm.activate().await.expect("it starts");
        let before = peak_kib();
        for mode in [
            "endless-line",
            "flood",
            "flood-of-answers",
            "flood-of-requests",
            "flood-of-log",
        ] {
            let plug = Plug::misbehaving(mode, Limits::default(), options());
            plug.activate().await.expect("it starts");
            let _ = plug.hook(json!(null), LONG).await;
            plug.close(mode).await;
        }
        let grown = peak_kib() - before;
        assert!(grown < 64 << 10, "{grown} KiB more than before");
    });
}

/// The most memory that this process ever had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn bad_processes_are_named() {
    let timeout = |mode| case(mode, Error("worker.timeout", "deadline")).within(SHORT);
    alone(
        "bad_processes_are_named",
        vec![
            timeout("hang"),
            timeout("spin"),
            timeout("stop-itself"),
            timeout("never"),
            timeout("no-cancel"),
            timeout("ignore-sigterm"),
            timeout("grandchildren"),
            case("grandchildren", Error("worker.exited", "status 0")).asked(json!("exit")),
            case(
                "crash",
                Error(
                    "worker.exited",
                    "status 3; the last line of its log: \"about to fall\"",
                ),
            ),
            case("abort", Error("worker.killed_by_signal", "SIGABRT")),
            case(
                "exit-in-mid-answer",
                Error("worker.exited", "in the middle of a line"),
            ),
            case("answer-and-exit", echoed(0)),
            case(
                "close-stdout",
                Error("worker.stdout.closed", "standard output"),
            ),
            case("close-stdin", echoed(0)),
        ],
    );
}

#[test]
fn bad_answers_are_named_or_ignored() {
    let told = |payload: Value, code, text| case("as-told", Error(code, text)).asked(payload);
    let error = |number: i64, own: &str| json!({"error": {"code": number, "message": "so", "data": {"code": own}}});
    alone(
        "bad_answers_are_named_or_ignored",
        vec![
            case("well", echoed(0)),
            case("strange-ids", echoed(9)),
            case("answer-ahead", echoed(1)),
            case("answer-twice", echoed(1)),
            told(error(-32000, "plugin.raised"), "plugin.raised", "so"),
            told(error(-32000, "shop.closed"), "shop.closed", "so"),
            told(error(-32000, "worker.timeout"), "plugin.raised", "so"),
            told(
                error(-32001, "tool.input.refused"),
                "tool.input.refused",
                "so",
            ),
            told(error(-32002, ""), "call.cancelled", "so"),
            told(error(-32601, ""), "method.unknown", "so"),
            told(error(-32700, ""), "wire.frame.syntax", "so"),
            told(error(-32603, ""), "internal", "so"),
            told(error(7, ""), "plugin.raised", "so"),
            told(
                json!({"error": {"code": "x", "message": 1}}),
                "worker.reply.invalid",
                "\"code\"",
            ),
            told(json!({"error": "no"}), "worker.reply.invalid", "\"code\""),
            told(
                json!({"result": 1}),
                "worker.reply.invalid",
                "{\"reply\": ...}",
            ),
            told(
                json!({"result": {"reply": 1, "more": 2}}),
                "worker.reply.invalid",
                "more",
            ),
            told(json!({"result": null}), "worker.reply.invalid", "reply"),
            told(json!({}), "worker.frame.envelope", "no message"),
            told(
                json!({"result": {}, "error": {"code": 1, "message": ""}}),
                "worker.frame.envelope",
                "no message",
            ),
            told(
                json!({"result": {}, "more": 1}),
                "worker.frame.envelope",
                "more",
            ),
            case("as-told", Replies(Value::Null, 0)).asked(json!({"result": {"reply": null}})),
        ],
    );
}

#[test]
fn failures_are_of_the_right_kind() {
    for (code, failure) in [
        ("worker.timeout", Failure::Timeout),
        ("worker.exited", Failure::Crash),
        ("worker.killed", Failure::Crash),
        ("worker.banner", Failure::Protocol),
        ("worker.frame.too_long", Failure::TooLarge),
        ("worker.reply.invalid", Failure::InvalidReply),
        ("worker.quarantined", Failure::Quarantined),
    ] {
        let known = kodex_backend::CODES.iter().find(|known| known.code == code);
        assert_eq!(known.map(|known| known.failure), Some(failure), "{code}");
    }
}
