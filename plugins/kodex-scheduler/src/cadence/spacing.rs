//! How closely occurrences may follow each other: the least distance, computed from the rule.
//!
//! The distance of two occurrences is the larger of the real time between them and the time between
//! the local times they stand for. So a daily rule has a distance of one day in the week of a clock
//! change too, and an hour that is shown twice does not hide that a rule runs every half hour.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
};

use super::{
    Cadence, Form,
    calendar::days_between,
    walk::{self, Fold, Local},
};

/// Days with occurrences that are looked at. A rule whose closest days are further apart than this
/// many others is taken by its closest ones so far; for a rule of one day a year that is the whole cycle
/// of the calendar twice over.
const N_DAYS: usize = 1_000;

/// Clock changes that are looked at, for rules that follow the clock through them.
const N_CHANGES: usize = 8;

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Cadence {
    /// The least distance between two occurrences after a moment; none where there are not two.
    #[must_use]
    pub fn least_distance(&self, after: Timestamp) -> Option<SignedDuration> {
        match &self.form {
            Form::Once(_) => None,
            Form::Interval(interval) => Some(interval.every()),
            Form::Calendar(rule, _) => {
                let rule = |from| rule.at_or_after(from);
                self.least_local(&rule, after)
            }
            Form::Cron(cron, _) => {
                let rule = |from| cron.at_or_after(from);
                let least = self.least_local(&rule, after)?;
                Some(if self.changes().fold == Fold::Both {
                    least.min(self.least_at_changes(&rule, least, after))
                } else {
                    least
                })
            }
        }
    }

    /// The least distance of local times: within a day, and from the last time of a day to the first of
    /// the next. All days of a rule have the same times.
    fn least_local(&self, rule: Local<'_>, after: Timestamp) -> Option<SignedDuration> {
        let midnight = |day: Date| day.to_datetime(Time::midnight());
        let first = rule(self.zone.local(after))?.date();
        let opens = rule(midnight(first))?;
        let (mut least, mut closes) = (SignedDuration::MAX, opens);
        while let Some(next) = after_local(rule, closes).filter(|next| next.date() == first) {
            least = least.min(closes.duration_until(next));
            closes = next;
        }
        let within = opens.duration_until(closes);
        let mut day = first;
        for _ in 0..N_DAYS {
            let Some(next) = day.tomorrow().ok().and_then(|day| rule(midnight(day))) else {
                break;
            };
            let days = days_between(day, next.date());
            let apart = SignedDuration::from_hours(days.saturating_mul(24));
            least = least.min(apart.saturating_sub(within));
            day = next.date();
            // Days cannot be closer than neighbours.
            if days == 1 {
                break;
            }
        }
        (least != SignedDuration::MAX).then_some(least)
    }

    /// The least distance across the next changes of the clocks. Only occurrences closer to a change
    /// than the least distance so far can be closer to each other.
    fn least_at_changes(
        &self,
        rule: Local<'_>,
        so_far: SignedDuration,
        after: Timestamp,
    ) -> SignedDuration {
        let mut least = so_far;
        for change in self.zone.tz.following(after).take(N_CHANGES) {
            let Ok(from) = change.timestamp().checked_sub(so_far.min(DAY)) else {
                continue;
            };
            let mut before = None;
            let mut at = from;
            while let Some(slot) = walk::next(rule, &self.zone, self.changes(), at) {
                if let Some(before) = before.replace(slot) {
                    let apart = before.at.duration_until(slot.at);
                    least = least.min(apart.max(before.local.duration_until(slot.local)));
                }
                if slot.at >= change.timestamp() {
                    break;
                }
                at = slot.at;
            }
        }
        least
    }
}

fn after_local(rule: Local<'_>, local: DateTime) -> Option<DateTime> {
    rule(local.checked_add(SignedDuration::from_secs(1)).ok()?)
}
