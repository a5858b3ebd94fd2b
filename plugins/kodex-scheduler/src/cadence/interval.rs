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
}
