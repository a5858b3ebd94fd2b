//! Tables, an independent walk through local minutes, and properties.

mod intents;
mod oracle;
mod properties;
mod tables;

use jiff::Timestamp;
use serde_json::Value;

use super::{Cadence, Intent, Terms};

/// A moment, written with its distance from UTC.
pub(super) fn at(text: &str) -> Timestamp {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A cadence without a least distance.
pub(super) fn cadence(intent: &Value, now: &str) -> Cadence {
    let terms = Terms {
        min_distance: jiff::SignedDuration::ZERO,
        ..Terms::default()
    };
    let compiled = Intent::read(intent).and_then(|intent| intent.compile(at(now), &terms));
    compiled.unwrap_or_else(|error| panic!("{intent}: {error}"))
}

/// The next occurrences in the cadence's zone, in short.
pub(super) fn following(cadence: &Cadence, after: Timestamp, count: usize) -> Vec<String> {
    let next = |at: &Timestamp| cadence.next_after(*at);
    let first = cadence.next_after(after);
    std::iter::successors(first, next)
        .take(count)
        .map(|at| {
            let zoned = at.to_zoned(cadence.zone().tz.clone());
            zoned.strftime("%Y-%m-%d %H:%M %:z").to_string()
        })
        .collect()
}
