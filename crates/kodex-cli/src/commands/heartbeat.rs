//! `kodex heartbeat`: one pulse by hand, for machines on which something else keeps the time.

use std::{fmt::Write as _, time::Duration};

use kodex::{Pulse, PulseOutcome};

use crate::{
    commands::runs::failed,
    invocation::Invocation,
    lifeline,
    problem::{Exit, Problem},
    render::{json, text},
    verb::Verb,
};

/// Call every plugin that waits for the heartbeat, once
///
/// Two at once do no harm. With `--work` agent runs and jobs that are due are executed afterwards, so that cron
/// and this command are all that is needed; `kodex serve` does both all the time.
#[derive(Debug, clap::Args)]
pub(crate) struct Heartbeat {
    /// Then execute what is due, until nothing is or this span is over, such as 10m
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "10m")]
    work: Option<String>,
}

impl Verb for Heartbeat {
    const NAME: &'static str = "heartbeat";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let span = self
            .work
            .as_deref()
            .map(kodex::contract::span::parse_span)
            .transpose();
        let span = span.map_err(|error| {
            Problem::usage(
                "usage",
                format!("--work: {error}; write it as 30s, 10m or 2h"),
            )
        })?;
        invocation.need_store()?;
        let runtime = invocation.open().await?;
        let settings = invocation.config()?.work.heartbeat.clone();
        let pulse = runtime.heartbeat(&settings).await.map_err(failed)?;
        if let Some(span) = span {
            lifeline::tidy_up().await;
            let working = runtime.work().await.map_err(failed)?;
            let work = async {
                // What is not done by then goes on elsewhere, or the next time.
                let _ = tokio::time::timeout(span, working.until_idle()).await;
                working
                    .drain(Duration::from_secs(1), std::future::pending())
                    .await;
            };
            tokio::select! {
                () = work => {}
                never = lifeline::keep() => match never {},
            }
        }
        invocation.out = match invocation.globals.json {
            true => json::document(&pulse)?,
            false => shown(&pulse),
        };
        let is_fine = |outcome| matches!(outcome, PulseOutcome::Done | PulseOutcome::Busy);
        let has_failed = pulse.plugins.iter().any(|one| !is_fine(one.outcome));
        Ok(if has_failed { Exit::Failed } else { Exit::Fine })
    }
}

fn shown(pulse: &Pulse) -> String {
    let mut out = String::new();
    if pulse.n_recovered > 0 {
        let _ = writeln!(out, "took back {} lost runs and jobs", pulse.n_recovered);
    }
    for one in &pulse.plugins {
        let word = match one.outcome {
            PulseOutcome::Done => "done",
            PulseOutcome::Busy => "another pulse is at it",
            PulseOutcome::Failed => "failed",
            PulseOutcome::TimedOut => "timed out",
        };
        let _ = write!(out, "{}: {word}", one.plugin);
        if one.n_started > 0 {
            let _ = write!(out, ", {} runs started", one.n_started);
        }
        if let Some(error) = &one.error {
            let _ = write!(out, ": {}", text::line(error));
        }
        out.push('\n');
    }
    if pulse.n_left > 0 {
        let _ = writeln!(out, "{} plugins come first the next time", pulse.n_left);
    }
    out
}
