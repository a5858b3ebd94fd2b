//! What an embedder decides about durable work: ready values.

use std::time::Duration;

/// Bounds and times of durable work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkSettings {
    /// Agent runs at the same time in this process.
    pub n_runs: usize,
    /// Jobs at the same time in this process.
    pub n_jobs: usize,
    /// Runs and jobs of one plugin at the same time over all nodes; none for no such bound.
    pub n_per_plugin: Option<usize>,
    /// Runs and jobs of one plugin that may wait; each kind for itself. More are refused.
    pub n_waiting: u64,
    /// How long a claim is good for without being renewed; it is renewed three times as often. A job whose
    /// process died is taken up by another one after this and one sweep.
    pub lease: Duration,
    /// How often leases that ran out are looked for.
    pub sweep: Duration,
    /// How long nobody looks for work when nothing says that there is some.
    pub poll: Duration,
    /// Attempts of a run, and of a job that does not say.
    pub attempts: u32,
    /// How often the answer of a run is brought to its place before it is given up; the agent's attempts are
    /// not touched by that.
    pub deliveries: u32,
    /// How often a job may take its process down with it before it is given up.
    pub crashes: u32,
    /// The pauses after the first, second, ... failed attempt; the last one holds for all further.
    pub pauses: Vec<Duration>,
    /// How long a run may stay unfinished.
    pub run_age: Duration,
    /// How long a job may stay unfinished.
    pub job_age: Duration,
    /// How long what has ended is kept.
    pub retention: Duration,
    /// How long a handler of a job may take when its subscription does not say.
    pub job_timeout: Duration,
}

impl Default for WorkSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            n_runs: 2,
            n_jobs: 8,
            n_per_plugin: None,
            n_waiting: 10_000,
            lease: seconds(30),
            sweep: seconds(10),
            poll: seconds(1),
            attempts: 5,
            deliveries: 10,
            crashes: 3,
            pauses: [1, 5, 30, 120, 600].map(seconds).into(),
            run_age: seconds(86_400),
            job_age: seconds(7 * 86_400),
            retention: seconds(7 * 86_400),
            job_timeout: seconds(60),
        }
    }
}

impl WorkSettings {
    /// The pause after so many failed attempts.
    pub(crate) fn pause(&self, n_failed: u32) -> Duration {
        let at = usize::try_from(n_failed.saturating_sub(1)).unwrap_or(usize::MAX);
        let last = self.pauses.last().copied().unwrap_or_default();
        self.pauses.get(at).copied().unwrap_or(last)
    }
}
