//! The round trip to one language's worker, in turns with its limit and its peers.

use std::{io::Write, path::PathBuf, process::Stdio, time::Instant};

use anyhow::{Context, Result, bail};

use super::{
    BENCH, LANES, Turns,
    bare::Bare,
    language::{Language, Mcp},
    payload, with,
    workers::Worker,
};
use crate::{
    programs::command,
    report::{Figure, Report},
    samples::{Samples, us},
    size::Size,
};

/// Calls in one turn of a worker: enough for a 99th percentile of its own.
const CALLS: usize = 400;
/// Calls in one turn of a peer, which takes ten times as long for each.
const CALLS_OF_PEER: usize = 80;
/// Programs started in one turn.
const STARTS: usize = 3;

/// One at a time, and eight in flight.
#[derive(Default)]
struct Both {
    one: Turns,
    many: Turns,
}

/// Measures one language.
pub(super) fn measure(
    report: &mut Report,
    size: Size,
    language: &Language,
    share: f64,
) -> Result<()> {
    let worker = Worker::start(&language.plugin)?;
    let mut bare = Bare::start(&language.bare)?;
    let mut echo = Bare::echo()?;
    let mut mcp = Mcp::start(language)?;
    let (mut ours, mut limit, mut peer) = (Both::default(), Both::default(), Both::default());
    let [mut once, mut pipe] = [const { Vec::new() }; 2].map(Samples::from);
    let (n_calls, n_of_peer) = (size.count(CALLS), size.count(CALLS_OF_PEER));
    // Interpreters are fast only after they ran for a while.
    worker.turn(1, 2 * n_calls)?;
    bare.turn(1, 2 * n_calls)?;
    for _ in size.rounds(20, share) {
        limit.one.push(bare.turn(1, n_calls)?);
        ours.one.push(worker.turn(1, n_calls)?);
        limit.many.push(bare.turn(LANES, n_calls)?);
        ours.many.push(worker.turn(LANES, n_calls)?);
        if let Some(mcp) = &mut mcp {
            peer.one.push(mcp.turn(1, n_of_peer)?);
            peer.many.push(mcp.turn(LANES, n_of_peer)?);
        }
        pipe.push(Samples::from(echo.turn(1, n_calls)?.us).median());
        for _ in 0..size.count(STARTS).min(STARTS) {
            once.push(start_once(&language.once)?);
        }
    }
    let mcp = mcp.map_or_else(|| language.mcp_name.to_owned(), |mcp| mcp.name(language));
    figures(report, language, &mcp, &ours, &limit, &peer);
    let name = |case: &str| format!("{}_{case}", language.name);
    let spawn = Figure::lower(BENCH, &name("once_1"), "us", &ours.one.p50_us)
        .peer(language.once_name, &once);
    report.add(&with(spawn, language.targets.once));
    let echo = Figure::lower(BENCH, &name("pipe_1"), "us", &ours.one.p50_us);
    report.add(&echo.limit("pipe echo through cat", &pipe));
    Ok(())
}

fn figures(
    report: &mut Report,
    language: &Language,
    mcp: &str,
    ours: &Both,
    limit: &Both,
    peer: &Both,
) {
    let name = |case: &str| format!("{}_{case}", language.name);
    let bare = format!("bare loop in {}", language.name);
    let one = Figure::lower(BENCH, &name("p50_1"), "us", &ours.one.p50_us)
        .limit(&bare, &limit.one.p50_us)
        .peer(mcp, &peer.one.p50_us);
    report.add(&with(one, language.targets.one));
    report.add(
        &Figure::lower(BENCH, &name("p99_1"), "us", &ours.one.p99_us)
            .limit("p50 of the same calls", &ours.one.p50_us)
            .target("ratio_limit<=3"),
    );
    report.add(
        &Figure::lower(BENCH, &name("p50_8"), "us", &ours.many.p50_us)
            .limit(&bare, &limit.many.p50_us)
            .peer(mcp, &peer.many.p50_us)
            .target("ratio_limit<=1.3"),
    );
    report.add(
        &Figure::higher(BENCH, &name("calls_8"), "1/s", &ours.many.per_second)
            .limit(&bare, &limit.many.per_second)
            .peer(mcp, &peer.many.per_second),
    );
}

/// A program that is started, reads the event, answers and ends; the time of all that.
fn start_once(program: &[PathBuf]) -> Result<f64> {
    let (program, arguments) = program.split_first().context("no program")?;
    let payload = payload();
    let started_at = Instant::now();
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    stdin.write_all(payload.as_bytes())?;
    stdin.write_all(b"\n")?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let took = us(started_at.elapsed());
    let answer = String::from_utf8_lossy(&output.stdout);
    if !answer.contains("approve") {
        bail!("{} did not approve: {answer}", program.display());
    }
    Ok(took)
}
