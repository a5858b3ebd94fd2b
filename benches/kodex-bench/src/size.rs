//! How much is measured: enough for a test, for a look, or for a figure to quote.

use std::time::{Duration, Instant};

use clap::ValueEnum;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// Everything once, with next to nothing in it: proves that the bench runs.
    Tiny,
    /// Under a minute.
    Quick,
    /// As long as it takes for steady medians.
    Full,
}

/// What a quick bench may take for its rounds. The rest of the minute is for making plugins, for
/// starting peers and for a busy machine.
const QUICK: Duration = Duration::from_secs(36);
const FULL: Duration = Duration::from_secs(8 * 60);

/// Fewer rounds have no middle worth the name.
const FEWEST: usize = 3;

impl Size {
    /// At most `most` rounds (three times as many at full size) that take no more than a share of
    /// the time for the whole bench.
    pub(crate) fn rounds(self, most: usize, share: f64) -> Rounds {
        let (most, budget) = match self {
            Self::Tiny => (1, Duration::ZERO),
            Self::Quick => (most, QUICK),
            Self::Full => (3 * most, FULL),
        };
        let until = Instant::now() + budget.mul_f64(share);
        Rounds {
            n_done: 0,
            most,
            until,
        }
    }

    /// How long one sample of something that takes nanoseconds is.
    pub(crate) fn span(self) -> Duration {
        match self {
            Self::Tiny => Duration::from_micros(100),
            Self::Quick | Self::Full => Duration::from_millis(10),
        }
    }

    /// A count, or a handful.
    pub(crate) fn count(self, n: usize) -> usize {
        match self {
            Self::Tiny => n.min(8),
            Self::Quick | Self::Full => n,
        }
    }
}

/// Rounds that stop when there are enough of them or when their time is over.
#[derive(Debug)]
pub(crate) struct Rounds {
    n_done: usize,
    most: usize,
    until: Instant,
}

impl Iterator for Rounds {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let is_late = self.n_done >= FEWEST && Instant::now() >= self.until;
        if self.n_done >= self.most || is_late {
            return None;
        }
        self.n_done += 1;
        Some(self.n_done - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_by_number_or_by_time() {
        assert_eq!(Size::Tiny.rounds(10, 0.1).count(), 1);
        assert_eq!(Size::Quick.rounds(10, 0.5).count(), 10);
        assert_eq!(Size::Full.rounds(10, 0.5).count(), 30);
        assert_eq!(Size::Quick.rounds(10, 0.0).count(), FEWEST);
        assert_eq!(Size::Quick.rounds(2, 0.0).count(), 2);
    }
}
