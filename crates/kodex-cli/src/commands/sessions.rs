//! `kodex sessions`: an agent says that one of its sessions has ended, so that jobs can follow.
//!
//! It is called at the end of a turn whose answer is out already. So whatever fails while jobs are asked for or
//! executed is told on standard error and changes no exit status; only a session that cannot be used does.

use std::{fmt::Write as _, time::Duration};

use kodex::{
    Diagnostic, Followers, Runtime,
    contract::wire::work::{RunStatus, SessionProjection},
};
use kodex_server::wire::SessionParams;
use serde::Serialize;

use crate::{
    commands::runs::failed,
    daemon::Daemon,
    input,
    invocation::Invocation,
    lifeline,
    problem::{Exit, Problem},
    render::{finding, json, text},
    verb::Verb,
};

/// Jobs have bounds of their own, well below this one.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a handler may still take once [`PATIENCE`] is over.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks at the jobs.
const LOOK: Duration = Duration::from_millis(20);
/// The refusal of a session itself.
const UNUSABLE: &str = "work.session";

/// Say what becomes of an agent's sessions
#[derive(Debug, clap::Args)]
pub(crate) struct Sessions {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say that a session has ended: every plugin with the job session.completed gets one
    ///
    /// A resident runtime executes the jobs. Without one they are executed here, each within its time limit;
    /// one that fails is tried again by whoever works on the store next. The exit status is 0 also when jobs
    /// could not be asked for, because the turn has its answer already; standard error says what went wrong.
    Complete {
        /// The session: JSON, @FILE, or - for standard input
        #[arg(
            long,
            value_name = "JSON",
            default_value = "-",
            allow_negative_numbers = true
        )]
        session: String,
        #[command(flatten)]
        daemon: Daemon,
    },
}

/// What follows a session, in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Followed {
    /// Jobs that were not asked for before.
    n_added: usize,
    /// Whether a resident runtime executes them.
    resident: bool,
    /// All jobs that follow it.
    jobs: Vec<Job>,
}

/// One of them.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Job {
    /// Its id.
    id: String,
    /// Where it is; none where nobody here has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<RunStatus>,
}

impl Verb for Sessions {
    const NAME: &'static str = "sessions";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let What::Complete { session, daemon } = self.what;
        let limits = invocation.config()?.guard.limits.clone();
        invocation.need_store()?;
        let given = input::json("--session", &session, &limits).await?;
        let session: SessionProjection = given.to().map_err(|error| {
            Problem::failed(UNUSABLE, format!("--session is no session: {error}"))
                .help("docs/guides/durable-work.md shows its form")
        })?;
        match complete(session, &daemon, invocation).await {
            Ok(followed) => {
                invocation.out = match invocation.globals.json {
                    true => json::document(&followed)?,
                    false => shown(&followed),
                };
                Ok(Exit::Fine)
            }
            Err(problem) if problem.exit == Exit::Failed && problem.found.code != UNUSABLE => {
                warn(&problem.found.code, &problem.found.message, invocation);
                Ok(Exit::Fine)
            }
            Err(problem) => Err(problem),
        }
    }
}

async fn complete(
    session: SessionProjection,
    daemon: &Daemon,
    invocation: &mut Invocation,
) -> Result<Followed, Problem> {
    let params = |like| SessionParams {
        session: session.clone(),
        like,
    };
    if let Some(answer) = daemon.ask("sessions/complete", params, invocation).await? {
        let followers: Followers = answer.to().map_err(|error| {
            Problem::failed(
                "daemon.answer",
                format!("the resident runtime's answer is none: {error}"),
            )
        })?;
        let job = |id| Job { id, status: None };
        return Ok(Followed {
            n_added: followers.n_added,
            resident: true,
            jobs: followers.ids.into_iter().map(job).collect(),
        });
    }
    let runtime = invocation.open_for_jobs().await?;
    let followers = runtime.session_ended(session).await.map_err(failed)?;
    if followers.n_added > 0 {
        work(&runtime, &followers.ids).await?;
    }
    let mut jobs = Vec::with_capacity(followers.ids.len());
    for id in followers.ids {
        let found = runtime.works().find(&id).await.map_err(failed)?;
        if let (Some(code), Some(reason)) = (&found.reason_code, &found.reason) {
            let text = format!(
                "job {id} of {} is {}: {reason}",
                found.plugin,
                found.status.as_str()
            );
            warn(code, &text, invocation);
        }
        jobs.push(Job {
            id,
            status: Some(found.status),
        });
    }
    Ok(Followed {
        n_added: followers.n_added,
        resident: false,
        jobs,
    })
}

/// Executes jobs here until each of these has been tried.
async fn work(runtime: &Runtime, ids: &[String]) -> Result<(), Problem> {
    lifeline::tidy_up().await;
    let working = runtime.work().await.map_err(failed)?;
    let all = async {
        // What is not done by then goes on elsewhere, or the next time.
        let tried = tokio::time::timeout(PATIENCE, tried(runtime, ids)).await;
        working.drain(GRACE, std::future::pending()).await;
        tried.unwrap_or(Ok(()))
    };
    tokio::select! {
        done = all => done,
        never = lifeline::keep() => match never {},
    }
}

async fn tried(runtime: &Runtime, ids: &[String]) -> Result<(), Problem> {
    for id in ids {
        loop {
            let found = runtime.works().find(id).await.map_err(failed)?;
            let is_tried = found.attempt > 0 && found.status != RunStatus::Running;
            if is_tried || found.status.is_over() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

fn warn(code: &str, message: &str, invocation: &Invocation) {
    finding::print(&Diagnostic::warning(code, message), None, invocation.stderr);
}

fn shown(followed: &Followed) -> String {
    let mut out = String::new();
    for job in &followed.jobs {
        let state = match job.status {
            Some(status) => status.as_str(),
            None => "asked for",
        };
        let _ = writeln!(out, "{} {}", text::line(&job.id), state.replace('_', " "));
    }
    out
}
