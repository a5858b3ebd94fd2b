//! Moments as milliseconds since 1970-01-01 UTC, the form in which hosts and tables have them.

use jiff::Timestamp;

/// Milliseconds since 1970-01-01 UTC.
pub type Ms = i64;

/// The same moment for arithmetic; one beyond the calendar is its end.
#[must_use]
pub fn timestamp(ms: Ms) -> Timestamp {
    let end = if ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_millisecond(ms).unwrap_or(end)
}

/// A moment as people and models read it.
#[must_use]
pub fn text(ms: Ms) -> String {
    timestamp(ms).to_string()
}

/// One second, minute, hour and day.
pub(crate) const SECOND: Ms = 1_000;
pub(crate) const MINUTE: Ms = 60 * SECOND;
pub(crate) const HOUR: Ms = 60 * MINUTE;
pub(crate) const DAY: Ms = 24 * HOUR;
