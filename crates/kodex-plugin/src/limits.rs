//! Bounds on what crosses the boundary.

use std::time::Duration;

/// Bounds on messages and output of one plugin. The defaults are those of the reference manual;
/// an operator may change them per plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame or reply, in bytes.
    pub frame_bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// How much of the end of a worker's standard error is kept, in bytes.
    pub stderr_bytes: usize,
    /// Messages per second that a plugin may send besides its answers.
    pub messages_per_second: u32,
    /// How many such messages may come at once.
    pub messages_burst: u32,
    /// Calls that may run in one plugin at the same time.
    pub concurrency: u32,
    /// Calls that may wait for a free place.
    pub queue: u32,
    /// How long a frame that was begun may take to be finished.
    pub frame_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 1 << 20,
            depth: 64,
            stderr_bytes: 64 << 10,
            messages_per_second: 1_000,
            messages_burst: 2_000,
            concurrency: 4,
            queue: 64,
            frame_timeout: Duration::from_secs(5),
        }
    }
}
