//! What Python plugins without a manifest file declare in code: import each one, once, in a process
//! that is thrown away.
//!
//! One inspector process serves many sources, one after another, because most of the cost of a
//! source alone would be Python's start. The price: sources in one process can influence each
//! other, as they could in the first Python runtime, which imported all of them into itself. One
//! that replaces a function of a shared module changes what the next ones see; one that writes to
//! the protocol's pipe could answer for another. What that buys an attacker is a wrong *listing*
//! of a plugin that sits in the same trusted folder: a worker serves one plugin only, and
//! refuses to start one whose name is not the listed one. Sources of different trust belong in
//! different calls of [`Inspector::inspect`]; and which sources share a process depends on their
//! order alone, never on timing, so a listing is the same every time.
//!
//! A source that hangs, exits or crashes takes its process with it. It alone is blamed, the process
//! group is ended, and a new process goes on with the next source. No source is inspected twice:
//! `activate` may have effects outside the process.
//!
//! This module does not read what was declared (that is the manifest parser's) and keeps nothing
//! (that is the [cache](super::cache)'s).

mod message;
mod process;

use std::{
    borrow::Cow, ffi::OsString, future::poll_fn, path::PathBuf, pin::Pin, task::Poll,
    time::Duration,
};

use kodex_plugin::{Json, Limits};
use process::{Ending, Process};

use crate::environment::SYSTEM_PATH;

/// How long one source may take to be imported, built and activated.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How many inspector processes work side by side.
pub const N_PROCESSES: usize = 2;

/// A second process pays for its own start only when it takes over about this many sources.
const SOURCES_WORTH_A_PROCESS: usize = 64;

/// Where a plugin's code lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file with `get_plugin()`, as an absolute path.
    File(PathBuf),
    /// An object of an installed package.
    Object {
        /// `module:attr`.
        object: String,
        /// Directories to search besides the interpreter's own.
        path: Vec<PathBuf>,
    },
}

/// One thing to inspect.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where its code lies.
    pub source: Source,
    /// The user's configuration for it, an object: plugins of the first runtime are activated with it.
    pub context: Json,
    /// What the user set for plugins of certain names, an object by name: whole contexts, each
    /// used in place of [`Subject::context`] once the plugin has said its name.
    pub by_name: Json,
}

/// What a source declares: its manifest in JSON form, not yet parsed, or why there is none.
pub type Inspection = Result<Json, InspectError>;

/// Why a source could not be inspected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InspectError {
    /// Stable code; see `contract/WIRE.md` for those that the SDK gives.
    pub code: Cow<'static, str>,
    /// What happened. For the codes of the SDK this is the text that the first Python runtime
    /// would have recorded.
    pub message: String,
    /// The exception's traceback, for the plugin's author.
    pub traceback: Option<String>,
}

impl InspectError {
    /// It was not imported, built and activated in time.
    pub const TIMEOUT: &'static str = "load.python.timeout";
    /// It ended the process.
    pub const EXITED: &'static str = "load.python.exited";
    /// It wrote more into the protocol's pipe than any answer may have.
    pub const FLOOD: &'static str = "load.python.flood";
    /// It wrote into the protocol's pipe what is no answer.
    pub const PROTOCOL: &'static str = "load.python.protocol";
    /// It cannot be asked for: a path that is no text, a context that is too large.
    pub const REQUEST: &'static str = "load.python.request";
    /// Python or the SDK did not start; no source is to blame.
    pub const INSPECTOR: &'static str = "load.python.inspector";

    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            traceback: None,
        }
    }

    /// Whether the code of the plugin itself answered (with an error), rather than taking its
    /// process down. An answer can be expected to be the same next time.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        ![
            Self::TIMEOUT,
            Self::EXITED,
            Self::FLOOD,
            Self::PROTOCOL,
            Self::INSPECTOR,
        ]
        .contains(&self.code.as_ref())
    }
}

/// How to inspect.
#[derive(Debug, Clone)]
pub struct Inspector {
    /// The interpreter's program.
    pub program: PathBuf,
    /// The unpacked SDK, see [`Sdk::install`](super::Sdk::install).
    pub sdk_dir: PathBuf,
    /// The whole environment of the processes.
    pub env: Vec<(OsString, OsString)>,
    /// Their working directory.
    pub cwd: PathBuf,
    /// How long one source may take.
    pub deadline: Duration,
    /// How many processes work side by side, at most.
    pub n_processes: usize,
    /// Bounds on lines, nesting and the kept end of standard error.
    pub limits: Limits,
}

impl Inspector {
    /// An inspector with the defaults: a system `PATH`, UTF-8, and nothing else in the environment.
    #[must_use]
    pub fn new(program: PathBuf, sdk_dir: PathBuf, cwd: PathBuf) -> Self {
        Self {
            program,
            sdk_dir,
            env: vec![
                ("PATH".into(), SYSTEM_PATH.into()),
                ("LANG".into(), "C.UTF-8".into()),
            ],
            cwd,
            deadline: DEADLINE,
            n_processes: N_PROCESSES,
            limits: Limits::default(),
        }
    }

    /// Inspects the subjects and returns one inspection for each, in the same order.
    ///
    /// Dropping the future ends the processes. It needs a tokio runtime with I/O and time.
    pub async fn inspect(&self, subjects: &[Subject]) -> Vec<Inspection> {
        if subjects.is_empty() {
            return Vec::new();
        }
        let n_lanes = subjects
            .len()
            .div_ceil(SOURCES_WORTH_A_PROCESS)
            .min(self.n_processes)
            .max(1);
        let share = subjects.len().div_ceil(n_lanes);
        let lanes = subjects
            .chunks(share)
            .map(|share| Box::pin(self.lane(share)) as Lane<'_>);
        together(lanes.collect())
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    /// One process after another over a share of the subjects.
    async fn lane(&self, subjects: &[Subject]) -> Vec<Inspection> {
        let mut done = Vec::with_capacity(subjects.len());
        while done.len() < subjects.len() {
            let ending = match Process::start(self) {
                Ok(process) => process.serve(&subjects[done.len()..], &mut done).await,
                Err(error) => {
                    Ending::Unusable(format!("cannot start {}: {error}", self.program.display()))
                }
            };
            match ending {
                Ending::Finished => {}
                Ending::Blamed(error) => done.push(Err(error)),
                Ending::Unusable(why) => {
                    let error = InspectError::new(InspectError::INSPECTOR, why);
                    done.resize(subjects.len(), Err(error));
                }
            }
        }
        done
    }
}

type Lane<'a> = Pin<Box<dyn Future<Output = Vec<Inspection>> + Send + 'a>>;

/// Drives a handful of futures in one task, so that they borrow and end with their caller.
async fn together(mut lanes: Vec<Lane<'_>>) -> Vec<Vec<Inspection>> {
    let mut outputs: Vec<Option<Vec<Inspection>>> = lanes.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (lane, output) in lanes.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(done) = lane.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
