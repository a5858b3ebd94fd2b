//! A hook in another process: a round trip to a worker in each language, one at a time and eight in
//! flight.
//!
//! The limit is the least that a worker in that language can be, behind a blocking client. The peers
//! are a tool call over MCP and a program that is started for each event. Everything sees the same
//! payload, and everything but [apart] stays on one processor.

mod activation;
mod apart;
mod bare;
mod language;
mod plugins;
mod round_trip;
mod workers;

use anyhow::{Context, Result};

use crate::{
    machine,
    programs::Programs,
    report::{Figure, Report},
    samples::Samples,
    size::Size,
};

const BENCH: &str = "worker";

/// How many calls are in flight in the second half of each turn.
const LANES: usize = 8;

/// About 200 bytes: the event of a tool that is about to run.
fn payload() -> String {
    let command = format!("echo {}", "x".repeat(80));
    let event = serde_json::json!({
        "hook_event_name": "PreToolUse",
        "session_id": "s",
        "cwd": ".",
        "tool_name": "Bash",
        "tool_input": {"command": command},
    });
    event.to_string()
}

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let processors = machine::pin_to_one_processor()?;
    if processors.far.is_none() {
        crate::note("there is one processor: no worker can be on another than its host");
    }
    let languages = language::all(programs)?;
    let share = 1.0 / languages.len() as f64;
    for language in &languages {
        round_trip::measure(report, size, language, 0.65 * share)?;
        apart::measure(report, size, language, processors, 0.2 * share)?;
    }
    activation::measure(report, size, programs, 0.15)
}

/// One turn of one side in one language, after as many calls to warm up, and what it came to: to look
/// into with `perf` and `strace`.
pub(crate) fn turn_alone(
    language: &str,
    is_bare: bool,
    lanes: usize,
    n_calls: usize,
) -> Result<String> {
    machine::pin_to_one_processor()?;
    let programs = Programs::find(std::path::Path::new(""))?;
    let language = language::all(&programs)?
        .into_iter()
        .find(|known| known.name == language)
        .with_context(|| format!("nothing is measured in {language}"))?;
    let turn = if is_bare {
        let mut bare = bare::Bare::start(&language.bare)?;
        bare.turn(lanes, n_calls)?;
        bare.turn(lanes, n_calls)?
    } else {
        let worker = workers::Worker::start(&language.plugin)?;
        worker.turn(lanes, n_calls)?;
        worker.turn(lanes, n_calls)?
    };
    let mut turns = Turns::default();
    turns.push(turn);
    Ok(format!(
        "p50 {:.2} us, p99 {:.2} us, {:.0} calls/s",
        turns.p50_us.median(),
        turns.p99_us.median(),
        turns.per_second.median()
    ))
}

/// Times of single calls, in microseconds, and of all of them, in seconds.
#[derive(Debug, Default)]
struct Turn {
    us: Vec<f64>,
    seconds: f64,
}

/// What the turns of one client come to.
#[derive(Debug, Default)]
struct Turns {
    p50_us: Samples,
    p99_us: Samples,
    per_second: Samples,
}

impl Turns {
    fn push(&mut self, turn: Turn) {
        self.per_second.push(turn.us.len() as f64 / turn.seconds);
        let calls = Samples::from(turn.us);
        self.p50_us.push(calls.median());
        self.p99_us.push(calls.quantile(0.99));
    }
}

/// A figure with its target, where section 2 sets one.
fn with(figure: Figure, target: Option<&str>) -> Figure {
    match target {
        Some(target) => figure.target(target),
        None => figure,
    }
}
