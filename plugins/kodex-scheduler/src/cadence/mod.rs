//! When a task runs: the stored form of a schedule and the arithmetic on it.
//!
//! A caller says what they mean as an [`Intent`]; on the server's clock it is compiled into a
//! [`Cadence`], which answers one question: what comes after this moment? Everything is a pure function.
//! Nothing here reads a clock, searches without a bound, or counts from the last run: a late tick never
//! moves the next occurrence.
//!
//! | | |
//! |---|---|
//! | one-off | a moment; a local time that the clocks jump over is refused |
//! | calendar | days, weeks, months, quarters, years at a time of day; a time that the clocks jump over is skipped, or shifted to the end of the jump; one that they show twice counts the first time |
//! | cron | the same at fixed hours; with `*` or `*/n` hours it follows the clock, so an hour that is shown twice counts twice |
//! | interval | a span of real time from an anchor; clock changes do not matter |

mod calendar;
mod count;
mod cron;
mod describe;
mod error;
mod fields;
mod intent;
mod interval;
mod spacing;
mod stored;
mod walk;
mod zone;

#[cfg(test)]
mod tests;

use jiff::{Timestamp, civil::DateTime};

pub use calendar::{Calendar, Frequency};
pub use cron::Cron;
pub use error::{IntentError, Problem, Rule};
pub use intent::{Intent, Terms};
pub use interval::Interval;
pub use walk::Gap;
pub use zone::{Missing, Zone, data_version};

use walk::{Changes, Fold, Slot};

/// When a task runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Cadence {
    zone: Zone,
    form: Form,
}

/// The forms of a cadence.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// One moment.
    Once(Once),
    /// Every so long.
    Interval(Interval),
    /// A rule of the calendar.
    Calendar(Calendar, Gap),
    /// A cron expression.
    Cron(Cron, Gap),
}

/// One moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    /// In milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// The local time that was meant, where one was: what stays when the zone's rules change.
    pub local: Option<DateTime>,
}

impl Cadence {
    /// A cadence of a zone and a form.
    #[must_use]
    pub fn new(zone: Zone, form: Form) -> Self {
        Self { zone, form }
    }

    /// The zone of its local times.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Its form.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Whether it can run more than once.
    #[must_use]
    pub fn is_recurring(&self) -> bool {
        !matches!(self.form, Form::Once(_))
    }

    /// The first occurrence after a moment. None when there is none before the year 10000.
    ///
    /// ```
    /// use jiff::Timestamp;
    /// use kodex_scheduler::cadence::{Intent, Terms};
    /// use serde_json::json;
    ///
    /// let intent = Intent::read(&json!({
    ///     "kind": "recurring", "frequency": "daily", "time": "09:00", "timezone": "Europe/Paris",
    /// }))?;
    /// let now: Timestamp = "2026-03-27T12:00:00Z".parse()?;
    /// let cadence = intent.compile(now, &Terms::default())?;
    /// let saturday = cadence.next_after(now).expect("it is daily");
    /// let sunday = cadence.next_after(saturday).expect("it is daily");
    /// assert_eq!(saturday.to_string(), "2026-03-28T08:00:00Z");
    /// assert_eq!(sunday.to_string(), "2026-03-29T07:00:00Z");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.slot_after(after).map(|slot| slot.at)
    }

    /// The last occurrence after one moment and not after another.
    #[must_use]
    pub fn latest_in(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut found = self.next_after(after).filter(|at| *at <= until)?;
        // `next_after` never goes back as its argument goes on, so the last moment that still has an
        // occurrence before `until` is found by halving.
        let (mut low, mut high) = (found.as_millisecond(), until.as_millisecond());
        while low < high {
            let middle = low + (high - low) / 2;
            let from = Timestamp::from_millisecond(middle).ok()?;
            match self.next_after(from).filter(|at| *at <= until) {
                Some(at) => {
                    found = at;
                    low = at.as_millisecond();
                }
                None => high = middle,
            }
        }
        Some(found)
    }

    /// The same cadence under the present zone data: a one-off that was meant as a local time moves
    /// with its zone. None when nothing changes.
    #[must_use]
    pub fn refreshed(&self) -> Option<Self> {
        let Form::Once(Once {
            at_ms,
            local: Some(local),
        }) = self.form
        else {
            return None;
        };
        let moment = self.zone.instant(local).or_else(|missing| {
            let later = missing.later.unwrap_or(local);
            self.zone.instant(later)
        });
        let now_ms = moment.ok()?.as_millisecond();
        (now_ms != at_ms).then(|| {
            let once = Once {
                at_ms: now_ms,
                local: Some(local),
            };
            Self::new(self.zone.clone(), Form::Once(once))
        })
    }

    fn slot_after(&self, after: Timestamp) -> Option<Slot> {
        let moment = |at: Timestamp| Slot {
            at,
            local: self.zone.local(at),
        };
        match &self.form {
            Form::Once(once) => {
                let at = Timestamp::from_millisecond(once.at_ms).ok()?;
                (at > after).then(|| moment(at))
            }
            Form::Interval(interval) => interval.next_after(after).map(moment),
            Form::Calendar(rule, _) => {
                let rule = |from| rule.at_or_after(from);
                walk::next(&rule, &self.zone, self.changes(), after)
            }
            Form::Cron(cron, _) => {
                let rule = |from| cron.at_or_after(from);
                walk::next(&rule, &self.zone, self.changes(), after)
            }
        }
    }

    fn changes(&self) -> Changes {
        let (gap, fold) = match &self.form {
            Form::Once(_) | Form::Interval(_) => (Gap::Skip, Fold::First),
            Form::Calendar(_, gap) => (*gap, Fold::First),
            Form::Cron(cron, gap) if cron.is_wild() => (*gap, Fold::Both),
            Form::Cron(_, gap) => (*gap, Fold::First),
        };
        Changes { gap, fold }
    }
}
