//! How much one statement may take.

use std::time::{Duration, Instant};

/// Bounds of one statement. The engine enforces each of them while the statement runs.
///
/// ```
/// use kodex_store::Bounds;
/// use std::time::Duration;
///
/// let bounds = Bounds { n_rows: 100, ..Bounds::default() };
/// assert_eq!(bounds.timeout, Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long the statement may run before it is cancelled in the engine.
    pub timeout: Duration,
    /// When the call that asks for it is over; the earlier of the two counts.
    pub until: Option<Instant>,
    /// Most rows that one answer may hold. One more is [`StoreError::TooManyRows`], never a silent cut.
    ///
    /// [`StoreError::TooManyRows`]: crate::StoreError::TooManyRows
    pub n_rows: usize,
    /// Most bytes of values that one answer may hold, counted as they stand in the engine.
    pub bytes: usize,
    /// Longest statement text, in bytes.
    pub text_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            until: None,
            // Enough for a screen, an export goes through a cursor.
            n_rows: 10_000,
            // Half of what a frame on the wire may hold, because text grows when it is escaped.
            bytes: 4 << 20,
            text_bytes: 256 << 10,
        }
    }
}
