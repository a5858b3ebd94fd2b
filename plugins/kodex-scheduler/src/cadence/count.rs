//! How many occurrences there are in a span of time, counted without visiting each of them: a rule of every
//! minute is counted by its days, and between two changes of the clocks local times are counted as they are.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
};

use super::{
    Cadence, Form,
    walk::{self, Local},
};

impl Cadence {
    /// How many occurrences there are after one moment and not after another.
    #[must_use]
    pub fn count_in(&self, after: Timestamp, until: Timestamp) -> u64 {
        if until <= after {
            return 0;
        }
        match &self.form {
            Form::Once(once) => {
                let at = Timestamp::from_millisecond(once.at_ms);
                u64::from(at.is_ok_and(|at| at > after && at <= until))
            }
            Form::Interval(interval) => interval.count_in(after, until),
            Form::Calendar(rule, _) => {
                let rule = |from| rule.at_or_after(from);
                let count = |from, to| visited(&rule, from, to);
                walk::count(&rule, &count, &self.zone, self.changes(), after, until)
            }
            Form::Cron(cron, _) => {
                let rule = |from| cron.at_or_after(from);
                let times = cron.times();
                let count = |from: DateTime, to: DateTime| {
                    let n_days = match cron.is_daily() {
                        true => days_between(from.date(), to.date()),
                        false => visited_days(&rule, from.date(), to.date()),
                    };
                    let on = |at: DateTime| match is_day(&rule, at.date()) {
                        true => times.n_before(at.time()),
                        false => 0,
                    };
                    (n_days.saturating_mul(times.n_in_day()) + on(to)).saturating_sub(on(from))
                };
                walk::count(&rule, &count, &self.zone, self.changes(), after, until)
            }
        }
    }
}

/// Times of day at which a rule runs, on each of its days: minutes of hours.
pub(super) struct Times {
    pub(super) hours: Vec<u16>,
    pub(super) minutes: Vec<u16>,
}

impl Times {
    fn n_in_day(&self) -> u64 {
        n(self.hours.len()) * n(self.minutes.len())
    }

    fn n_before(&self, time: Time) -> u64 {
        let part = |number: i8| u16::from(number.unsigned_abs());
        let (hour, minute) = (part(time.hour()), part(time.minute()));
        let is_within = time > Time::constant(time.hour(), time.minute(), 0, 0);
        let is_before = |at: &u16| *at < minute || is_within && *at == minute;
        let whole = self.hours.iter().filter(|at| **at < hour).count();
        let begun = match self.hours.contains(&hour) {
            true => self.minutes.iter().filter(|at| is_before(at)).count(),
            false => 0,
        };
        n(whole) * n(self.minutes.len()) + n(begun)
    }
}

fn n(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn days_between(from: Date, to: Date) -> u64 {
    u64::try_from(super::calendar::days_between(from, to)).unwrap_or(0)
}

fn midnight(day: Date) -> DateTime {
    day.to_datetime(Time::midnight())
}

fn is_day(rule: Local<'_>, day: Date) -> bool {
    rule(midnight(day)).is_some_and(|at| at.date() == day)
}

/// Days of a rule from one on, without another.
fn visited_days(rule: Local<'_>, from: Date, to: Date) -> u64 {
    let following = |day: Date| Some(rule(midnight(day))?.date()).filter(|day| *day < to);
    let days = std::iter::successors(following(from), |day| following(day.tomorrow().ok()?));
    n(days.count())
}

/// Times of a rule that has one a day at most, from one on, without another.
fn visited(rule: Local<'_>, from: DateTime, to: DateTime) -> u64 {
    let following = |from: DateTime| rule(from).filter(|at| *at < to);
    let second = jiff::SignedDuration::from_secs(1);
    let times = std::iter::successors(following(from), |at| {
        following(at.checked_add(second).ok()?)
    });
    n(times.count())
}
