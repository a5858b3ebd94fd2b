//! How long a call to a worker takes beside a bare client of the same program.
//!
//! `taskset -c 0 roundtrip BYTES PROGRAM [ARGUMENTS]`: the program speaks the protocol and echoes the hook
//! `echo`. Prints microseconds a call, of the wall clock and of the processor time of both sides;
//! bare and worker are measured in turns. On one quiet processor both are the same.

#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time and starts a peer"
)]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kodex_backend::{Launch, Package, Worker, WorkerBackend, WorkerOptions};
use kodex_plugin::{
    Call, Clock, Context, Deadline, Json, Limits, Manifest, Plugin, PluginError, PluginName,
    Request, RequestKind,
    host::NoHost,
    manifest::{Run, Version},
};
use serde_json::value::RawValue;

const TURNS: usize = 20;
const CALLS: usize = 2_000;

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        kodex_plugin::clock::millis(since.unwrap_or_default())
    }
}

async fn settle<T>(call: Call<'_, T>) -> Result<T, PluginError> {
    match call {
        Call::Ready(result) => result,
        Call::Pending(future) => future.await,
    }
}

/// A client as one would write it for this alone: blocking pipes, one line at a time.
struct Bare {
    child: std::process::Child,
    stdin: std::process::ChildStdin,
    stdout: BufReader<std::process::ChildStdout>,
    line: Vec<u8>,
    frame: Vec<u8>,
    id: u64,
}

#[derive(serde::Deserialize)]
struct Answer<'a> {
    id: u64,
    #[serde(borrow)]
    result: &'a RawValue,
}

impl Bare {
    fn start(program: &str, args: &[String]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut bare = Self {
            stdin: child.stdin.take().expect("a pipe"),
            stdout: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
            line: Vec::new(),
            frame: Vec::new(),
            id: 0,
        };
        bare.ask("initialize", r#"{"plugin":"echo"}"#);
        bare
    }

    fn ask(&mut self, method: &str, params: &str) {
        self.id += 1;
        self.frame.clear();
        let _ = writeln!(
            self.frame,
            r#"{{"jsonrpc":"2.0","id":{},"method":"{method}","params":{params}}}"#,
            self.id
        );
        self.stdin.write_all(&self.frame).expect("it reads");
        self.line.clear();
        self.stdout
            .read_until(b'\n', &mut self.line)
            .expect("it answers");
        let answer: Answer<'_> = serde_json::from_slice(&self.line).expect("an answer");
        assert_eq!(answer.id, self.id);
        std::hint::black_box(answer.result.to_owned());
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn worker(program: &str, args: &[String]) -> Worker {
    let run = Run::Process {
        command: Vec::new(),
        env: Vec::new(),
    };
    let name = PluginName::new("echo").expect("a name");
    let backend = WorkerBackend::new(WorkerOptions::new(
        Arc::new(RealClock),
        tokio::runtime::Handle::current(),
    ));
    let launch = Launch::Command(kodex_backend::Command {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
    });
    backend
        .open_worker(Package {
            manifest: Manifest::new(name, Version::new("0.1.0"), "", run),
            root: "/".into(),
            limits: Limits::default(),
            launch,
        })
        .expect("a worker")
}

async fn echo(worker: &Worker, payload: &Json) {
    let timeout = Duration::from_secs(30);
    let request = Request {
        kind: RequestKind::Hook,
        name: "echo",
        payload,
        deadline: Deadline {
            at: Instant::now() + timeout,
            timeout,
        },
        caller: None,
    };
    std::hint::black_box(settle(worker.call(request)).await.expect("an echo"));
}

async fn eight(worker: &Worker, payload: &Json, n_calls: usize) {
    let mut callers = Vec::new();
    for _ in 0..8 {
        callers.push(async {
            for _ in 0..n_calls / 8 {
                echo(worker, payload).await;
            }
        });
    }
    let mut callers = callers.into_iter();
    let mut next = || callers.next().expect("eight callers");
    tokio::join!(
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next()
    );
}

/// Time that the main thread of a process spent on a processor, in microseconds.
fn cpu_us(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let first = text.split(' ').next().unwrap_or_default();
    first.parse::<f64>().unwrap_or_default() / 1e3
}

/// What one turn cost for each call.
#[derive(Clone, Copy)]
struct Cost {
    wall_us: f64,
    cpu_us: f64,
}

struct Meter {
    started_at: Instant,
    cpu_us: f64,
    pid: u32,
}

impl Meter {
    fn start(pid: u32) -> Self {
        Self {
            started_at: Instant::now(),
            cpu_us: cpu_us(pid) + cpu_us(std::process::id()),
            pid,
        }
    }

    fn stop(self) -> Cost {
        let wall_us = self.started_at.elapsed().as_secs_f64() * 1e6;
        let cpu_us = cpu_us(self.pid) + cpu_us(std::process::id()) - self.cpu_us;
        Cost {
            wall_us: wall_us / CALLS as f64,
            cpu_us: cpu_us / CALLS as f64,
        }
    }
}

/// The best turn and the middle one: on a busy machine the best says more.
fn sorted(mut spans: Vec<f64>) -> [f64; 2] {
    spans.sort_by(f64::total_cmp);
    [spans[0], spans[spans.len() / 2]]
}

fn main() {
    let mut args = std::env::args().skip(1);
    let size = args.next().and_then(|size| size.parse::<usize>().ok());
    let size = size.expect("the size of the payload in bytes").max(11);
    let program = args.next().expect("a program");
    let args: Vec<String> = args.collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    {
        let text = serde_json::json!({"text": "x".repeat(size - 11)}).to_string();
        let payload = Json::parse(&text, &Limits::default()).expect("JSON");
        let params = format!(
            r#"{{"kind":"hook","name":"echo","payload":{text},"timeout_ms":30000,"deadline_unix_ms":1795000000000}}"#
        );
        let mut bare = Bare::start(&program, &args);
        let (mut one, mut other, mut at_once) = (Vec::new(), Vec::new(), Vec::new());
        runtime.block_on(async {
            let worker = worker(&program, &args);
            settle(worker.activate(Context {
                plugin: PluginName::new("echo").expect("a name"),
                config: Json::object(),
                grants: Vec::new(),
                host: Arc::new(NoHost),
            }))
            .await
            .expect("it starts");
            let pid = worker.health().pid.expect("a process");
            for _ in 0..TURNS {
                let meter = Meter::start(bare.child.id());
                (0..CALLS).for_each(|_| bare.ask("call", &params));
                one.push(meter.stop());
                let meter = Meter::start(pid);
                for _ in 0..CALLS {
                    echo(&worker, &payload).await;
                }
                other.push(meter.stop());
                let meter = Meter::start(pid);
                eight(&worker, &payload, CALLS).await;
                at_once.push(meter.stop());
            }
        });
        print(size, "wall", |cost| cost.wall_us, &one, &other, &at_once);
        print(size, "cpu", |cost| cost.cpu_us, &one, &other, &at_once);
    }
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn print(
    size: usize,
    what: &str,
    of: fn(&Cost) -> f64,
    one: &[Cost],
    other: &[Cost],
    at_once: &[Cost],
) {
    let of = |costs: &[Cost]| sorted(costs.iter().map(of).collect());
    for (turn, ((one, other), at_once)) in ["best", "median"]
        .iter()
        .zip(of(one).into_iter().zip(of(other)).zip(of(at_once)))
    {
        println!(
            "{size} B, {what}, {turn}: bare {one:.2} us, worker {other:.2} us ({:.2}x), 8 in flight {at_once:.2} us a call",
            other / one
        );
    }
}
