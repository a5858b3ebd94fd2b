//! Who executes agent runs, and where their answers go: two traits for embedders.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use kodex_plugin::{
    Json, PluginName,
    wire::work::{Destination, Visibility},
};
use kodex_store::{
    Store,
    queue::{JobLease, LINE_BYTES, LogLine, LogStream},
};

use super::request::{BoundSubject, RunRequest};

/// A pending answer.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Executes agent runs: the embedding agent, or a configured command.
///
/// A run is executed at least once: after a crash it begins again, with the same id. The future is dropped
/// when the run is cancelled or this process lost its lease; whatever it started must end with it.
pub trait AgentRunner: Send + Sync + 'static {
    /// Executes one slice of a run.
    fn run<'a>(&'a self, run: &'a Run) -> Pending<'a, RunEnd>;
}

/// Brings the answer of a run to a kind of destination.
///
/// An answer may be brought more than once, always with the same [`Run::id`], by which the other side can
/// tell.
pub trait Deliver: Send + Sync + 'static {
    /// Brings one answer. An error is tried again.
    fn deliver<'a>(
        &'a self,
        run: &'a Run,
        answer: &'a str,
    ) -> Pending<'a, Result<(), DeliverError>>;
}

/// Why an answer was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeliverError {
    /// Whether trying again may help.
    pub transient: bool,
    /// For people; without the answer.
    pub message: String,
}

/// An agent run, as whoever executes it sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run {
    /// The same for all attempts and slices; a good idempotency key.
    pub id: String,
    /// Which plugin asked for it. The run acts for the system, never for a person.
    pub plugin: PluginName,
    /// What the agent is asked to do.
    pub input: String,
    /// Where the answer goes.
    pub destination: Destination,
    /// Where the wish came from.
    pub source: Destination,
    /// Who may see what is said at the destination.
    pub visibility: Visibility,
    /// Short facts.
    pub metadata: BTreeMap<String, String>,
    /// Whose stored credentials may be used, for this destination alone; none for the system's own.
    pub subject: Option<String>,
    /// The scheduled task that this person agreed to.
    pub subject_task: Option<String>,
    /// What asked for the answer, in a few words.
    pub attribution: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many planned pauses there were.
    pub slice: u32,
    /// What the last slice left.
    pub checkpoint: Option<Json>,
    /// Where lines about the run go.
    pub log: RunLog,
}

impl Run {
    pub(crate) fn new(id: &str, plugin: &PluginName, request: RunRequest, log: RunLog) -> Self {
        let subject = request
            .subject
            .filter(|subject| subject.destination == request.destination);
        let (subject, subject_task) = match subject {
            Some(BoundSubject { user, task, .. }) => (Some(user), task),
            None => (None, None),
        };
        Self {
            id: id.to_owned(),
            plugin: plugin.clone(),
            input: request.input,
            destination: request.destination,
            source: request.source,
            visibility: request.visibility,
            metadata: request.metadata,
            subject,
            subject_task,
            attribution: request.attribution,
            attempt: 1,
            slice: 0,
            checkpoint: None,
            log,
        }
    }
}

/// How a slice of a run ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RunEnd {
    /// The agent has answered.
    Completed {
        /// The answer; an empty one is replaced by a sentence that says so.
        answer: String,
    },
    /// The agent failed; another attempt would fail the same way.
    Failed {
        /// Stable word.
        code: &'static str,
        /// For people.
        error: String,
    },
    /// Something went wrong that may pass.
    Retry {
        /// Stable word.
        code: &'static str,
        /// For people.
        error: String,
        /// How long to wait; none for the engine's own pause.
        after: Option<Duration>,
    },
    /// It cannot go on until somebody changes something, for example because it lacks an authorisation.
    Blocked {
        /// For people. Never a link that grants something.
        reason: String,
    },
    /// Its time is over but it is not done: it goes on later with what it leaves here.
    Continue {
        /// What the next slice needs; none keeps what is there.
        checkpoint: Option<Json>,
        /// How long to wait.
        after: Duration,
    },
    /// The place is occupied; tried again without counting.
    Busy {
        /// How long to wait.
        after: Duration,
    },
}

/// Lines about one run. Writing never fails; what cannot be stored is dropped and counted by the log
/// of the process.
#[derive(Clone)]
pub struct RunLog {
    store: Arc<dyn Store>,
    lease: JobLease,
}

impl std::fmt::Debug for RunLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunLog").finish_non_exhaustive()
    }
}

impl RunLog {
    pub(crate) fn new(store: Arc<dyn Store>, lease: JobLease) -> Self {
        Self { store, lease }
    }

    /// Adds lines; long ones are cut.
    pub async fn write(&self, lines: Vec<LogLine>) {
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.store.queue().log(&self.lease, &lines).await {
            tracing::warn!(run = %self.lease.id, n_lines = lines.len(), code = error.code(), "lines of a run were lost: {error}");
        }
    }

    /// Adds a line of Kodex' own.
    pub async fn note(&self, text: impl Into<String>) {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(LINE_BYTES));
        let stream = LogStream::Kodex;
        self.write(vec![LogLine { stream, text }]).await;
    }
}
