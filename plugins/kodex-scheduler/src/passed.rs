//! Occurrences that never had a run, and why: no occurrence goes without a word.
//!
//! Each change of a [`Task`](crate::task::Task) that leaves occurrences behind says so in its [`Trace`], and
//! whoever stores the task stores its trace in the same transaction. The task's next run is the mark: what
//! lies before it has a run or is told of here, what lies behind it is still to come.
//!
//! Years of every minute are told in a few rows: single ones up to a bound, then one that says how many more
//! there are, counted and not visited.

use std::collections::BTreeSet;

use crate::{
    cadence::Cadence,
    moment::{Ms, timestamp},
};

/// Occurrences that have an entry of their own, in one step: two days of every hour. The others of the step
/// share one.
pub const N_SINGLE: usize = 48;

/// Why an occurrence had no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nobody was there in time, and the task does not catch up on it.
    Late,
    /// The task waited for a person.
    Blocked,
    /// A run of the task went on.
    Overlap,
    /// A run that was asked for by hand stood for it.
    ByHand,
    /// The task was paused.
    Paused,
    /// The task got another schedule before anybody looked at it.
    Rescheduled,
    /// The task was deleted before anybody looked at it.
    Deleted,
}

impl Why {
    /// The reasons and their words.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("late", Self::Late),
        ("blocked", Self::Blocked),
        ("overlap", Self::Overlap),
        ("by_hand", Self::ByHand),
        ("paused", Self::Paused),
        ("rescheduled", Self::Rescheduled),
        ("deleted", Self::Deleted),
    ];

    /// The word in rows and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, why)| *why == self);
        found.map_or("", |(word, _)| word)
    }

    /// `missed` where it should have run and could not, `skipped` where somebody wanted it so.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Late | Self::Blocked => "missed",
            Self::Overlap | Self::ByHand | Self::Paused | Self::Rescheduled | Self::Deleted => {
                "skipped"
            }
        }
    }
}

/// What a change of a task says about occurrences, until it is stored with the task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Spans that were left behind.
    pub passed: Vec<Passed>,
    /// What was said before is taken back from here on, since the clock has gone back and it is to come again.
    pub back: Option<Back>,
}

/// A span whose occurrences were passed over, where they have no run.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    /// What they are occurrences of: the task may have another one by now.
    pub cadence: Cadence,
    /// The first possible one.
    pub from_ms: Ms,
    /// The last possible one.
    pub to_ms: Ms,
    /// Why.
    pub why: Why,
    /// When that was decided.
    pub at_ms: Ms,
}

/// From where on nothing is said any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Back {
    /// What was told of before.
    pub cadence: Cadence,
    /// The first occurrence that is to come again.
    pub from_ms: Ms,
}

/// What is said about one occurrence, or about several that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The first of them.
    pub first_ms: Ms,
    /// The last of them.
    pub last_ms: Ms,
    /// How many there are.
    pub n: u64,
}

impl Trace {
    /// Remembers a span, if there is an occurrence in it.
    pub fn pass(&mut self, cadence: &Cadence, from_ms: Ms, to_ms: Ms, why: Why, at_ms: Ms) {
        let first = next_from(cadence, from_ms).filter(|first| *first <= to_ms);
        if let Some(first_ms) = first {
            self.passed.push(Passed {
                cadence: cadence.clone(),
                from_ms: first_ms,
                to_ms,
                why,
                at_ms,
            });
        }
    }
}

impl Passed {
    /// What there is to say, given the moments in the span for which the task has a run already.
    #[must_use]
    pub fn entries(&self, has_run: &BTreeSet<Ms>) -> Vec<Entry> {
        let mut entries = Vec::new();
        let following = |from_ms| next_from(&self.cadence, from_ms).filter(|at| *at <= self.to_ms);
        let mut next = following(self.from_ms);
        while let Some(at_ms) = next {
            if !has_run.contains(&at_ms) {
                if entries.len() == N_SINGLE {
                    entries.push(self.others(at_ms, has_run));
                    break;
                }
                entries.push(Entry {
                    first_ms: at_ms,
                    last_ms: at_ms,
                    n: 1,
                });
            }
            next = following(at_ms.saturating_add(1));
        }
        entries
    }

    fn others(&self, first_ms: Ms, has_run: &BTreeSet<Ms>) -> Entry {
        let before = timestamp(first_ms.saturating_sub(1));
        let until = timestamp(self.to_ms);
        let last = self.cadence.latest_in(before, until);
        let is_occurrence = |at: &&Ms| next_from(&self.cadence, **at) == Some(**at);
        let own = has_run.range(first_ms..=self.to_ms);
        let n_own = u64::try_from(own.filter(is_occurrence).count()).unwrap_or(u64::MAX);
        Entry {
            first_ms,
            last_ms: last.map_or(first_ms, |last| last.as_millisecond()),
            n: self.cadence.count_in(before, until).saturating_sub(n_own),
        }
    }
}

impl Back {
    /// What stays of an entry that begins before it; none when it begins later.
    #[must_use]
    pub fn rest(&self, entry: &Entry) -> Option<Entry> {
        if entry.first_ms >= self.from_ms {
            return None;
        }
        let before = timestamp(self.from_ms.saturating_sub(1));
        let n_after = self.cadence.count_in(before, timestamp(entry.last_ms));
        let begin = timestamp(entry.first_ms.saturating_sub(1));
        let last = self.cadence.latest_in(begin, before);
        Some(Entry {
            first_ms: entry.first_ms,
            last_ms: last.map_or(entry.first_ms, |last| last.as_millisecond()),
            n: entry.n.saturating_sub(n_after).max(1),
        })
    }
}

/// The first occurrence that is not before a moment.
fn next_from(cadence: &Cadence, from_ms: Ms) -> Option<Ms> {
    let before = timestamp(from_ms.saturating_sub(1));
    cadence.next_after(before).map(|at| at.as_millisecond())
}
