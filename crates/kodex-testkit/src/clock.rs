//! A clock that stands still until the test moves it. It never sleeps and never reads the wall
//! clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::Clock;

/// Where a new clock's wall-clock time starts: 2026-01-01 00:00:00 UTC.
const START_UNIX_MS: u64 = 1_767_225_600_000;

const NANOS_PER_MS: u64 = 1_000_000;

/// A [`Clock`] moved by hand. Clones show, and move, the same time.
///
/// ```
/// use std::time::Duration;
/// use kodex_plugin::Clock;
/// use kodex_testkit::HandClock;
///
/// let clock = HandClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(30));
/// assert_eq!(clock.now() - before, Duration::from_secs(30));
/// ```
#[derive(Debug, Clone)]
pub struct HandClock {
    // Monotonic time is opaque: the one way to have a value of it is to read it once.
    origin: Instant,
    hands: Arc<Hands>,
}

/// Two hands, because a wall clock may jump while monotonic time does not.
#[derive(Debug)]
struct Hands {
    elapsed_nanos: AtomicU64,
    unix_start_ms: AtomicU64,
}

impl HandClock {
    /// A clock that stands at the start of 2026.
    #[must_use]
    pub fn new() -> Self {
        Self::at_unix_ms(START_UNIX_MS)
    }

    /// A clock that stands at a moment of your choice, in milliseconds since 1970-01-01 UTC.
    ///
    /// ```
    /// use kodex_plugin::Clock;
    /// assert_eq!(kodex_testkit::HandClock::at_unix_ms(7).unix_ms(), 7);
    /// ```
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "the origin of a clock that nothing else moves; its value is never looked at"
    )]
    pub fn at_unix_ms(unix_ms: u64) -> Self {
        Self {
            origin: Instant::now(),
            hands: Arc::new(Hands {
                elapsed_nanos: AtomicU64::new(0),
                unix_start_ms: AtomicU64::new(unix_ms),
            }),
        }
    }

    /// Moves both monotonic and wall-clock time forward. Time never runs backwards; at the end of
    /// what fits (584 years) it stands still.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kodex_plugin::Clock;
    /// let clock = kodex_testkit::HandClock::at_unix_ms(1_000);
    /// clock.advance(Duration::from_millis(250));
    /// assert_eq!(clock.unix_ms(), 1_250);
    /// ```
    pub fn advance(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let add = |elapsed: u64| Some(elapsed.saturating_add(nanos));
        let _ = self
            .hands
            .elapsed_nanos
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
    }

    /// Sets the wall clock alone, forwards or backwards, as a user or a time server does.
    /// Deadlines do not move with it.
    ///
    /// ```
    /// use kodex_plugin::Clock;
    /// let clock = kodex_testkit::HandClock::new();
    /// let before = clock.now();
    /// clock.set_unix_ms(5);
    /// assert_eq!((clock.unix_ms(), clock.now()), (5, before));
    /// ```
    pub fn set_unix_ms(&self, unix_ms: u64) {
        let elapsed = self.elapsed_nanos() / NANOS_PER_MS;
        self.hands
            .unix_start_ms
            .store(unix_ms.wrapping_sub(elapsed), Ordering::SeqCst);
    }

    /// How far the clock was moved since it was made.
    ///
    /// ```
    /// let clock = kodex_testkit::HandClock::new();
    /// assert!(clock.elapsed().is_zero());
    /// ```
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos())
    }

    fn elapsed_nanos(&self) -> u64 {
        self.hands.elapsed_nanos.load(Ordering::SeqCst)
    }
}

impl Default for HandClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HandClock {
    fn now(&self) -> Instant {
        self.origin + self.elapsed()
    }

    fn unix_ms(&self) -> u64 {
        // Wrapping, because a wall clock set back before its own start is held as a start below 0.
        let start = self.hands.unix_start_ms.load(Ordering::SeqCst);
        start.wrapping_add(self.elapsed_nanos() / NANOS_PER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_until_moved_and_clones_move_together() {
        let clock = HandClock::at_unix_ms(1_000);
        let other = clock.clone();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        other.advance(Duration::from_micros(1_500));
        assert_eq!(clock.now() - start, Duration::from_micros(1_500));
        assert_eq!(clock.unix_ms(), 1_001);
    }

    #[test]
    fn the_wall_clock_may_jump_back_while_deadlines_stay() {
        let clock = HandClock::at_unix_ms(1_000);
        clock.advance(Duration::from_secs(60));
        let due_at = clock.now() + Duration::from_secs(1);
        clock.set_unix_ms(10);
        assert_eq!(clock.unix_ms(), 10);
        assert_eq!(clock.unix_ms_at(due_at), 1_010);
        clock.advance(Duration::from_millis(5));
        assert_eq!(clock.unix_ms(), 15);
    }

    #[test]
    fn moving_too_far_stops_at_the_end() {
        let clock = HandClock::new();
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.elapsed(), Duration::from_nanos(u64::MAX));
    }
}
