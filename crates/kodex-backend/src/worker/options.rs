//! What the embedder decides about all its workers.

use std::{ffi::OsString, sync::Arc, time::Duration};

use kodex_plugin::{Clock, wire::Party};

use crate::{environment::SYSTEM_PATH, restarts::RestartPolicy};

/// How long a worker may take for what. The defaults are those of the reference manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerTimes {
    /// From the start to the answer to `initialize`.
    pub handshake: Duration,
    /// From a cancel message to the answer of the cancelled call.
    pub cancel_grace: Duration,
    /// From SIGTERM to SIGKILL.
    pub term_grace: Duration,
    /// From `shutdown` to the exit.
    pub shutdown: Duration,
    /// How long nothing may be read from what waits on standard input.
    pub write_timeout: Duration,
    /// How long a worker may send more messages than it is allowed to.
    pub flood_patience: Duration,
}

impl Default for WorkerTimes {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            cancel_grace: Duration::from_millis(250),
            term_grace: Duration::from_secs(1),
            shutdown: Duration::from_secs(2),
            write_timeout: Duration::from_secs(5),
            flood_patience: Duration::from_secs(1),
        }
    }
}

/// Everything that [`WorkerBackend`](super::WorkerBackend) needs besides a package.
#[derive(Clone)]
pub struct WorkerOptions {
    /// Where time is read.
    pub clock: Arc<dyn Clock>,
    /// Where a worker's pipes and timers are driven.
    pub runtime: tokio::runtime::Handle,
    /// Who the host says it is.
    pub host: Party,
    /// Folders in which programs are looked for; the worker's `PATH`.
    pub path: OsString,
    /// Time limits.
    pub times: WorkerTimes,
    /// The rule for restarts.
    pub restarts: RestartPolicy,
    /// A random number from 0 to 1, for the jitter of restarts.
    pub random: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl std::fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerOptions")
            .field("times", &self.times)
            .field("restarts", &self.restarts)
            .finish_non_exhaustive()
    }
}

impl WorkerOptions {
    /// The usual options.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, runtime: tokio::runtime::Handle) -> Self {
        Self {
            clock,
            runtime,
            host: Party {
                name: "kodex".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            path: SYSTEM_PATH.into(),
            times: WorkerTimes::default(),
            restarts: RestartPolicy::default(),
            random: Arc::new(random),
        }
    }
}

fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // 32 bits are plenty for jitter, and exact as a double.
    let bits = RandomState::new().build_hasher().finish() >> 32;
    u32::try_from(bits).map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}
