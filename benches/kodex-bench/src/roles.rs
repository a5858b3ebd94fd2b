//! The small programs that the benches start, chosen by their first argument:
//!
//! | argument | what it is |
//! |---|---|
//! | `serve` | a worker in Rust, over the loop of `examples/changelog-rust` |
//! | `bare` | the least that a worker in Rust can be: lines of JSON in, lines of JSON out |
//! | `stat FOLDER` | the least that a listing can do: look at every file |
//! | `idle PYTHON CACHE [FOLDER]` | a runtime that loaded a folder; prints its resident memory |
//! | `events HANDLERS EVENTS` | the loop of the bench `dispatch` alone, to look into with `perf` |
//! | `calls LANGUAGE SIDE LANES CALLS` | one turn of the bench `worker` alone, likewise; `SIDE` is `kodex` or `bare` |

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, Write, stdin, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use kodex::{Define, PluginError, Python, Reply, Runtime, python::Search};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    machine,
    native::{self, HOOK},
    worker,
};

/// The name of the worker in Rust.
pub(crate) const RUST: &str = "bench-rust";

/// Does what the arguments say.
///
/// # Errors
/// When a pipe breaks, a folder cannot be read or a runtime cannot be built.
pub fn run() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["serve"] => serve(),
        ["bare"] => bare(),
        ["stat", folder] => look(Path::new(folder)),
        ["idle", python, cache, folders @ ..] => idle(python, cache, folders),
        ["events", n_handlers, n_events] => events(n_handlers.parse()?, n_events.parse()?),
        ["calls", language, side, lanes, n_calls] => {
            let is_bare = *side == "bare";
            let turn = worker::turn_alone(language, is_bare, lanes.parse()?, n_calls.parse()?)?;
            say(&turn);
            Ok(())
        }
        _ => bail!("no role is named by {arguments:?}"),
    }
}

fn serve() -> Result<()> {
    // It reads of the payload what the bare loop reads of it.
    let answer = |request: kodex::Request<'_>| {
        let event: Event = request
            .payload
            .to()
            .map_err(|error| PluginError::domain(error.to_string()))?;
        let tool = event.tool_name;
        Ok(Reply::from(json!({"decision": "approve", "tool": tool})))
    };
    let plugin = Define::new(RUST, "1.0.0", "Approves.")
        .hook(HOOK, answer)
        .build()?;
    Ok(changelog_rust::serve::serve(
        &*plugin,
        stdin().lock(),
        stdout(),
    )?)
}

/// What the worker's plugin reads of an event.
#[derive(Deserialize)]
struct Event {
    tool_name: String,
}

/// What the bare loop reads of a line.
#[derive(Deserialize)]
struct Message<'a> {
    id: u64,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    tool_name: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'a str,
    id: u64,
    result: Outer<'a>,
}

#[derive(Serialize)]
struct Outer<'a> {
    reply: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    decision: &'a str,
    tool: &'a str,
}

fn bare() -> Result<()> {
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let (mut line, mut answer) = (Vec::new(), Vec::new());
    while input.read_until(b'\n', &mut line)? > 0 {
        let message: Message<'_> = serde_json::from_slice(&line)?;
        let inner = Inner {
            decision: "approve",
            tool: message.params.tool_name,
        };
        let whole = Answer {
            jsonrpc: "2.0",
            id: message.id,
            result: Outer { reply: inner },
        };
        serde_json::to_writer(&mut answer, &whole)?;
        answer.push(b'\n');
        output.write_all(&answer)?;
        output.flush()?;
        line.clear();
        answer.clear();
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn look(folder: &Path) -> Result<()> {
    let mut n_bytes = 0;
    for entry in fs::read_dir(folder)? {
        n_bytes += fs::metadata(entry?.path())?.len();
    }
    println!("{n_bytes}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn idle(python: &str, cache: &str, folders: &[&str]) -> Result<()> {
    let search = Search {
        configured: Some(PathBuf::from(python)),
        ..Search::default()
    };
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let runtime = tokio.block_on(async {
        let builder = Runtime::builder().python(Python {
            entry_points: false,
            ..Python::new(search, cache)
        });
        folders
            .iter()
            .fold(builder, |builder, folder| builder.plugin_dir(*folder))
            .build()
            .await
    })?;
    let n_plugins = runtime.manifests().len();
    let status = fs::read_to_string("/proc/self/status")?;
    let resident_kb = machine::resident_kb(&status).context("no VmRSS in /proc/self/status")?;
    println!(
        "{}",
        json!({"plugins": n_plugins, "resident_kb": resident_kb})
    );
    tokio.block_on(runtime.shutdown());
    Ok(())
}

/// One event after the other, each with its own payload.
fn events(n_handlers: usize, n_events: usize) -> Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio.block_on(async {
        let runtime = native::runtime(n_handlers, 0).await?;
        let payload = native::payload();
        for _ in 0..n_events {
            std::hint::black_box(
                runtime
                    .emit(HOOK, kodex::Json::from(payload.clone()))
                    .await?,
            );
        }
        Ok(())
    })
}
