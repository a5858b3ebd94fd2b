//! How a resident runtime is, as the socket tells it.

use serde::{Deserialize, Serialize};

/// The version of the socket's methods.
pub(crate) const PROTOCOL: u32 = 1;

/// How a resident runtime is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// The version of the socket's methods: 1.
    pub protocol: u32,
    /// The version of Kodex.
    pub kodex: String,
    /// Its process.
    pub pid: u32,
    /// What it was made from, as a digest.
    pub config: String,
    /// Whether it takes work.
    pub ready: bool,
    /// Why not: `starting`, `draining`, `store_unreachable` or `store_unwritable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The stable code of what the store said last, where it takes no work because of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_failure: Option<String>,
    /// When it started, in milliseconds since 1970-01-01 UTC, as all times here.
    pub started_at_ms: u64,
    /// For how long it has run, in milliseconds.
    pub up_ms: u64,
    /// Plugins in its catalog.
    pub n_plugins: usize,
    /// Candidates that could not be loaded.
    pub n_refused: usize,
    /// How often the catalog was built.
    pub generation: u64,
    /// Where its store is, without a password.
    pub store: String,
    /// Where probes and metrics are answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// What it does; none until work has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkStatus>,
    /// Its heartbeats.
    pub pulses: PulseStatus,
    /// The store's runs and jobs by state, at most a few seconds old; none when they could not be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<QueueStatus>>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkStatus {
    /// Runs and jobs that it holds.
    pub n_held: usize,
    /// Claims since the start.
    pub n_claimed: u64,
    /// Claims ended since the start.
    pub n_ended: u64,
}

/// What became of heartbeats.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PulseStatus {
    /// Those that ran.
    pub n_done: u64,
    /// Those that could not.
    pub n_failed: u64,
    /// When the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at_ms: Option<u64>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_took_ms: Option<u64>,
}

/// How many runs or jobs are in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueueStatus {
    /// `run` or `job`.
    pub queue: String,
    /// As `kodex runs` knows it in the store.
    pub state: String,
    /// How many.
    pub n: u64,
}
