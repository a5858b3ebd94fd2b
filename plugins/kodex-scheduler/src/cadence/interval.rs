//! Fixed spans of real time, counted from an anchor, so that a late tick never moves the next one.

use jiff::{SignedDuration, Timestamp};

/// Every so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The span in milliseconds, from 1.
    pub every_ms: i64,
    /// The first occurrence, in milliseconds since 1970-01-01 UTC.
    pub anchor_ms: i64,
}

impl Interval {
    /// The span.
    #[must_use]
    pub fn every(&self) -> SignedDuration {
        SignedDuration::from_millis(self.every_ms)
    }

    /// The first occurrence after a moment.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.as_millisecond();
        if after < self.anchor_ms {
            return Timestamp::from_millisecond(self.anchor_ms).ok();
        }
        let passed = after
            .checked_sub(self.anchor_ms)?
            .checked_div(self.every_ms)?;
        let ahead = passed.checked_add(1)?.checked_mul(self.every_ms)?;
        Timestamp::from_millisecond(self.anchor_ms.checked_add(ahead)?).ok()
    }

    /// How many occurrences there are after one moment and not after another.
    #[must_use]
    pub fn count_in(&self, after: Timestamp, until: Timestamp) -> u64 {
        let n_until = |at: Timestamp| {
            let passed = i128::from(at.as_millisecond()) - i128::from(self.anchor_ms);
            match passed {
                0.. => passed / i128::from(self.every_ms.max(1)) + 1,
                _ => 0,
            }
        };
        u64::try_from(n_until(until) - n_until(after)).unwrap_or(0)
    }
}
