//! Runs and jobs for people: lists, logs, cancelling, trying again.

use kodex_plugin::{
    PluginName,
    wire::work::{Destination, RunStatus},
};
use kodex_store::queue::{Cancelled, Filter, Job, JobState, LogStream, N_TOGETHER};
use serde::Serialize;

use super::{JOBS, RUNS, WorkError, desk::status, request::RunRequest, run::RunResult};
use crate::Runtime;

/// Runs or jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WorkKind {
    /// Agent runs.
    Run,
    /// Plugins' jobs.
    Job,
}

impl WorkKind {
    fn queue(self) -> &'static str {
        match self {
            Self::Run => RUNS,
            Self::Job => JOBS,
        }
    }
}

/// Which runs or jobs to list.
#[derive(Debug, Clone)]
pub struct WorkFilter {
    /// Runs or jobs; none for both.
    pub kind: Option<WorkKind>,
    /// Of which plugin; none for all.
    pub plugin: Option<PluginName>,
    /// In which states, as they stand in the store; empty for all.
    pub states: Vec<JobState>,
    /// How many at most, the newest.
    pub limit: usize,
}

impl Default for WorkFilter {
    fn default() -> Self {
        Self {
            kind: None,
            plugin: None,
            states: Vec::new(),
            limit: 50,
        }
    }
}

/// One run or job. What a plugin asked for stands in `input` and `params` for the operator alone.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkItem {
    /// Its id.
    pub id: String,
    /// Run or job.
    pub kind: WorkKind,
    /// Whose it is.
    pub plugin: String,
    /// The job's name; `agent` for a run.
    pub name: String,
    /// Where it is.
    pub status: RunStatus,
    /// The engine gave it up: see `reason_code`.
    pub dead: bool,
    /// The stable word for why it is as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attempts that counted.
    pub attempt: u32,
    /// How many there may be.
    pub max_attempts: u32,
    /// How often its process was lost.
    pub n_crashes: u32,
    /// Planned pauses.
    pub n_slices: u32,
    /// How often people tried it again.
    pub generation: u32,
    /// When it was asked for, in milliseconds since 1970-01-01 UTC, as all times here.
    pub added_at_ms: u64,
    /// When it is or was due.
    pub due_at_ms: u64,
    /// When it was taken last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<u64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// Which process holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Where the answer of a run goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// What a run was asked to do; only where one is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// What a run answered; only where one is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkLine {
    /// Its number; gaps are lines that were dropped.
    pub number: u64,
    /// When it came, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// `out`, `err` or `kodex`.
    pub stream: String,
    /// The text.
    pub text: String,
}

/// The runs and jobs of a runtime's store; made by [`Runtime::works`].
#[derive(Debug)]
pub struct Works<'a> {
    runtime: &'a Runtime,
}

impl Runtime {
    /// Runs and jobs, for people.
    #[must_use]
    pub fn works(&self) -> Works<'_> {
        Works { runtime: self }
    }
}

impl Works<'_> {
    /// The newest ones, newest first.
    ///
    /// # Errors
    /// [`WorkError`] without a store, and when it fails.
    pub async fn list(&self, filter: &WorkFilter) -> Result<Vec<WorkItem>, WorkError> {
        let store = self.runtime.work_store()?;
        let mut found = Vec::new();
        let mut after: Option<(u64, String)> = None;
        while found.len() < filter.limit {
            let limit = (filter.limit - found.len()).min(N_TOGETHER);
            let page = Filter {
                queue: filter.kind.map(WorkKind::queue),
                plugin: filter.plugin.as_ref(),
                states: &filter.states,
                after: after.as_ref().map(|(at, id)| (*at, id.as_str())),
                limit,
            };
            let jobs = store.queue().list(&page).await?;
            let is_last = jobs.len() < limit;
            after = jobs.last().map(|job| (job.added_at_ms, job.id.clone()));
            found.extend(jobs.iter().map(|job| item(job, Depth::List)));
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// One of them with all there is to know.
    ///
    /// # Errors
    /// [`WorkError`] when there is none.
    pub async fn find(&self, id: &str) -> Result<WorkItem, WorkError> {
        Ok(item(&self.job(id).await?, Depth::One))
    }

    /// Lines of a log after a number, at most so many.
    ///
    /// # Errors
    /// [`WorkError`] when there is no such run or job.
    pub async fn logs(
        &self,
        id: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<WorkLine>, WorkError> {
        let job = self.job(id).await?;
        let store = self.runtime.work_store()?;
        let lines = store.queue().logs(&job.id, after, limit).await?;
        let shown = lines.into_iter().map(|line| WorkLine {
            number: line.number,
            at_ms: line.at_ms,
            stream: LogStream::as_str(line.stream).to_owned(),
            text: line.text,
        });
        Ok(shown.collect())
    }

    /// Asks for the end of one. Says whether it has ended already; a running one is told within a third of
    /// its lease.
    ///
    /// # Errors
    /// [`WorkError`] when there is none, and when it had ended before.
    pub async fn cancel(&self, id: &str) -> Result<bool, WorkError> {
        let job = self.job(id).await?;
        let store = self.runtime.work_store()?;
        match store.queue().cancel(&job.id).await? {
            Cancelled::Done => Ok(true),
            Cancelled::Asked => Ok(false),
            Cancelled::Unknown => Err(unknown(id)),
            Cancelled::Over(state) => Err(WorkError::State {
                kind: kind_of(&job.queue),
                id: id.to_owned(),
                state: state.as_str(),
                advice: "what has ended cannot be cancelled",
            }),
        }
    }

    /// Makes one pending again that has ended or is blocked.
    ///
    /// # Errors
    /// [`WorkError`] when there is none, and when it has not ended.
    pub async fn retry(&self, id: &str) -> Result<(), WorkError> {
        let job = self.job(id).await?;
        let store = self.runtime.work_store()?;
        match store.queue().revive(&job.id).await? {
            Some(true) => Ok(()),
            None => Err(unknown(id)),
            Some(false) => Err(WorkError::State {
                kind: kind_of(&job.queue),
                id: id.to_owned(),
                state: job.state.as_str(),
                advice: "it is tried again by itself; cancel it first to begin anew",
            }),
        }
    }

    async fn job(&self, id: &str) -> Result<Job, WorkError> {
        let store = self.runtime.work_store()?;
        store.queue().find(id).await?.ok_or_else(|| unknown(id))
    }
}

fn kind_of(queue: &str) -> &'static str {
    if queue == JOBS { "job" } else { "run" }
}

fn unknown(id: &str) -> WorkError {
    WorkError::Unknown {
        kind: if id.starts_with("job_") { "job" } else { "run" },
        id: id.to_owned(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Depth {
    List,
    One,
}

fn item(job: &Job, depth: Depth) -> WorkItem {
    let request = || serde_json::from_str::<RunRequest>(job.payload.get()).ok();
    let request = (job.queue == RUNS).then(request).flatten();
    let result = job
        .result
        .as_ref()
        .filter(|_| depth == Depth::One && job.queue == RUNS);
    let result = result.and_then(|result| serde_json::from_str::<RunResult>(result.get()).ok());
    WorkItem {
        id: job.id.clone(),
        kind: if job.queue == JOBS {
            WorkKind::Job
        } else {
            WorkKind::Run
        },
        plugin: job.plugin.to_string(),
        name: job.name.clone(),
        status: status(job),
        dead: job.state == JobState::Dead,
        reason_code: job.reason_code.clone(),
        reason: job.reason.clone(),
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        n_crashes: job.n_crashes,
        n_slices: job.n_slices,
        generation: job.generation,
        added_at_ms: job.added_at_ms,
        due_at_ms: job.due_at_ms,
        started_at_ms: job.started_at_ms,
        ended_at_ms: job.ended_at_ms,
        holder: job.holder.clone(),
        destination: request.as_ref().map(|request| request.destination.clone()),
        input: request
            .filter(|_| depth == Depth::One)
            .map(|request| request.input),
        answer: result.map(|result| result.answer),
    }
}
