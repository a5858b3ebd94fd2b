//! `kodex status`: how the resident runtime is.

use std::fmt::Write as _;

use kodex::Doctor;
use kodex_server::{Status as Said, wire::NoParams};
use serde::Serialize;

use crate::{
    daemon::At,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, moment, report, text},
    verb::Verb,
};

/// Show how the resident runtime is
///
/// The exit status is 1 when there is none, and when it takes no work.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    at: At,
    /// Also what `kodex doctor --full` says of the plugins as they run there
    #[arg(long)]
    full: bool,
}

/// All there is to know.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Shown {
    #[serde(flatten)]
    status: Said,
    /// Only with `--full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    doctor: Option<Doctor>,
}

impl Verb for Status {
    const NAME: &'static str = "status";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let status: Said = self.at.ask("status", &NoParams {}, invocation).await?;
        let doctor: Option<Doctor> = match self.full {
            true => Some(self.at.ask("doctor", &NoParams {}, invocation).await?),
            false => None,
        };
        let exit = if status.ready {
            Exit::Fine
        } else {
            Exit::Failed
        };
        let shown = Shown { status, doctor };
        invocation.out = match invocation.globals.json {
            true => json::document(&shown)?,
            false => {
                let mut out = lines(&shown.status);
                if let Some(doctor) = &shown.doctor {
                    out.push('\n');
                    out.push_str(&report::doctor(doctor, true, invocation.stdout));
                }
                out
            }
        };
        Ok(exit)
    }
}

fn lines(status: &Said) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name:<10} {}", text::line(value));
    };
    let state = match &status.reason {
        None => "ready".to_owned(),
        Some(reason) => format!("not ready: {reason}"),
    };
    line("state", &state);
    line(
        "process",
        &format!("{}, kodex {}", status.pid, status.kodex),
    );
    line("since", &moment::shown(status.started_at_ms));
    line("store", &status.store);
    if let Some(http) = &status.http {
        line("http", http);
    }
    let refused = match status.n_refused {
        0 => String::new(),
        n => format!(", {n} could not be loaded"),
    };
    line("plugins", &format!("{}{refused}", status.n_plugins));
    if let Some(work) = &status.work {
        let (held, claimed, ended) = (work.n_held, work.n_claimed, work.n_ended);
        line(
            "work",
            &format!("{held} held, {claimed} taken, {ended} ended"),
        );
    }
    let pulses = &status.pulses;
    let last = match pulses.last_at_ms {
        Some(at) => format!(", the last at {}", moment::shown(at)),
        None => String::new(),
    };
    line(
        "heartbeat",
        &format!("{} done, {} failed{last}", pulses.n_done, pulses.n_failed),
    );
    match &status.queues {
        None => line("queues", "the store does not say"),
        Some(queues) => {
            for one in queues {
                line(
                    &format!("{}s", one.queue),
                    &format!("{} {}", one.n, one.state),
                );
            }
        }
    }
    out
}
