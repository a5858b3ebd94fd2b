//! Time as a value that somebody hands in. The contract reads no clock; the runtime has the one
//! implementation that does, and tests move theirs by hand.

use std::time::{Duration, Instant};

/// Where the host reads time.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time, for deadlines and durations.
    fn now(&self) -> Instant;
    /// Wall-clock time as milliseconds since 1970-01-01 UTC, for people and for other machines.
    fn unix_ms(&self) -> u64;

    /// The wall-clock reading that corresponds to a monotonic moment.
    fn unix_ms_at(&self, at: Instant) -> u64 {
        let ahead = at.saturating_duration_since(self.now());
        self.unix_ms().saturating_add(millis(ahead))
    }
}

/// A span as whole milliseconds, saturating.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
