//! How many messages a plugin may send besides its answers: a token bucket with a patience.
//!
//! Pure: time is handed in. A bucket that ran dry asks for a pause, which is back-pressure on the
//! pipe; one that stays dry for longer than the patience is a flood.

use std::time::{Duration, Instant};

use kodex_plugin::Limits;

/// A message pays one token for every started piece of this size, so that few huge messages cannot
/// cost more time than many small ones.
const BYTES_PER_TOKEN: usize = 64 << 10;

/// How long reading pauses when the bucket is dry: long enough to be no busy loop, short enough for
/// an answer that waits behind the flood.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Fine,
    /// Take this message, then read nothing for this long.
    Pause(Duration),
    /// It has been too much for too long.
    Flood,
}

#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    patience: Duration,
    tokens: f64,
    filled_at: Option<Instant>,
    dry_since: Option<Instant>,
}

/// Requests that are served, for each message of other kinds.
const REQUESTS_PER_MESSAGE: u32 = 20;

impl Bucket {
    /// The bucket of requests that are served.
    pub(super) fn of_requests(limits: &Limits, patience: Duration) -> Self {
        let limits = Limits {
            messages_per_second: limits
                .messages_per_second
                .saturating_mul(REQUESTS_PER_MESSAGE),
            messages_burst: limits.messages_burst.saturating_mul(REQUESTS_PER_MESSAGE),
            ..limits.clone()
        };
        Self::new(&limits, patience)
    }

    pub(super) fn new(limits: &Limits, patience: Duration) -> Self {
        let burst = f64::from(limits.messages_burst.max(1));
        Self {
            per_second: f64::from(limits.messages_per_second),
            burst,
            patience,
            tokens: burst,
            filled_at: None,
            dry_since: None,
        }
    }

    /// Accounts for one message of `bytes`.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) -> Verdict {
        let gone = self
            .filled_at
            .replace(now)
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.tokens = (self.tokens + gone.as_secs_f64() * self.per_second).min(self.burst);
        if self.tokens >= self.burst / 2.0 {
            self.dry_since = None;
        }
        let price = bytes.div_ceil(BYTES_PER_TOKEN).max(1);
        self.tokens -= u32::try_from(price).map_or(self.burst, f64::from);
        if self.tokens >= 0.0 {
            return Verdict::Fine;
        }
        let dry_since = *self.dry_since.get_or_insert(now);
        if now.saturating_duration_since(dry_since) > self.patience {
            return Verdict::Flood;
        }
        // A debt is bounded, or one huge message would stop reading for good.
        self.tokens = self.tokens.max(-self.burst);
        Verdict::Pause(PAUSE)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; time is moved by hand from there"
)]
mod tests {
    use super::*;

    /// Sends `per_tick` messages every 10 ms for `ticks` ticks, honouring pauses.
    fn check(per_tick: u32, ticks: u32, bytes: usize) -> &'static str {
        let limits = Limits {
            messages_per_second: 100,
            messages_burst: 200,
            ..Limits::default()
        };
        let mut bucket = Bucket::new(&limits, Duration::from_secs(1));
        let (mut now, mut paused_until, mut paused) = (Instant::now(), None, false);
        for _ in 0..ticks {
            now += Duration::from_millis(10);
            for _ in 0..per_tick {
                if paused_until.is_some_and(|until| now < until) {
                    break;
                }
                match bucket.take(now, bytes) {
                    Verdict::Fine => {}
                    Verdict::Pause(span) => {
                        paused = true;
                        paused_until = Some(now + span);
                    }
                    Verdict::Flood => return "flood",
                }
            }
        }
        if paused { "paused" } else { "fine" }
    }

    #[test]
    fn a_burst_passes_a_stream_is_slowed_a_flood_ends() {
        for (per_tick, ticks, bytes, want) in [
            (1, 1_000, 10, "fine"),
            (200, 1, 10, "fine"),
            (201, 1, 10, "paused"),
            (3, 120, 10, "paused"),
            (3, 1_000, 10, "flood"),
            (1, 300, 1 << 20, "flood"),
        ] {
            assert_eq!(
                check(per_tick, ticks, bytes),
                want,
                "{per_tick} x {ticks}, {bytes} B"
            );
        }
    }
}
