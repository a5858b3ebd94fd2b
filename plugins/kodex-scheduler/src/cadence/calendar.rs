//! Rules of the calendar: days, weeks, months, quarters and years counted from a start date.
//!
//! Everything here is local: dates and times as a clock on the wall shows them. What becomes of a time
//! that the clocks jump over or show twice is decided in `walk.rs`. Finding the next day is arithmetic
//! on periods, so it costs the same after a year as after a century.

use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time, Weekday},
};

/// How a period is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Frequency {
    /// Every so many days.
    Daily,
    /// Days of every so many weeks; weeks begin on Monday.
    Weekly,
    /// A day of every so many months.
    Monthly,
    /// A day of every third month, or of every so many times three.
    Quarterly,
    /// A day of every so many years.
    Yearly,
}

impl Frequency {
    /// The frequencies and their words.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("daily", Self::Daily),
        ("weekly", Self::Weekly),
        ("monthly", Self::Monthly),
        ("quarterly", Self::Quarterly),
        ("yearly", Self::Yearly),
    ];
}

/// A rule of the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// How a period is counted.
    pub frequency: Frequency,
    /// Every how many periods, from 1.
    pub interval: u16,
    /// The first possible day. The period that holds it is the first one that counts.
    pub start: Date,
    /// The time of day, to the minute.
    pub time: Time,
    /// For weeks: the days, Monday first, without duplicates.
    pub weekdays: Vec<Weekday>,
    /// For months and longer: the day. A month without it is passed over, not shifted.
    pub day_of_month: i8,
    /// For years: the month.
    pub month: i8,
}

/// After so many months the calendar repeats, weekdays included, so a rule of months that finds no
/// day in them never will.
const CYCLE_MONTHS: i32 = 400 * 12;

impl Calendar {
    /// The first local time of the rule that is not before this one.
    #[must_use]
    pub fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let day = self.day_from(from.date())?;
        if day == from.date() && self.time < from.time() {
            return Some(
                self.day_from(from.date().tomorrow().ok()?)?
                    .to_datetime(self.time),
            );
        }
        Some(day.to_datetime(self.time))
    }

    /// The first day of the rule that is not before this one.
    fn day_from(&self, from: Date) -> Option<Date> {
        let from = from.max(self.start);
        match self.frequency {
            Frequency::Daily => {
                let days = next_multiple(days_between(self.start, from), self.interval.into());
                plus_days(self.start, days)
            }
            Frequency::Weekly => self.day_of_week_from(from),
            Frequency::Monthly => self.day_of_month_from(from, 1),
            Frequency::Quarterly => self.day_of_month_from(from, 3),
            Frequency::Yearly => self.day_of_month_from(from, 12),
        }
    }

    fn day_of_week_from(&self, from: Date) -> Option<Date> {
        let monday = monday_of(self.start)?;
        let week = days_between(monday, from).div_euclid(7);
        let interval = i64::from(self.interval);
        let first = next_multiple(week, interval);
        // The first week that counts may have no such day left; the one after it has.
        [first, first + interval].into_iter().find_map(|week| {
            let days = self.weekdays.iter();
            days.filter_map(|day| {
                plus_days(monday, week * 7 + i64::from(day.to_monday_zero_offset()))
            })
            .find(|day| *day >= from)
        })
    }

    fn day_of_month_from(&self, from: Date, months: i32) -> Option<Date> {
        let step = i32::from(self.interval) * months;
        let start = match self.frequency {
            Frequency::Yearly => i32::from(self.start.year()) * 12 + i32::from(self.month) - 1,
            _ => month_number(self.start),
        };
        let ahead = i64::from((month_number(from) - start).max(0));
        let first = i32::try_from(next_multiple(ahead, step.into())).ok()?;
        (0..=CYCLE_MONTHS)
            .map_while(|nth| {
                let month = first
                    .checked_add(nth.checked_mul(step)?)?
                    .checked_add(start)?;
                let year = i16::try_from(month.div_euclid(12)).ok()?;
                let month = i8::try_from(month.rem_euclid(12) + 1).ok()?;
                (year <= 9999).then_some((year, month))
            })
            .filter_map(|(year, month)| Date::new(year, month, self.day_of_month).ok())
            .find(|day| *day >= from)
    }
}

fn month_number(date: Date) -> i32 {
    i32::from(date.year()) * 12 + i32::from(date.month()) - 1
}

fn monday_of(date: Date) -> Option<Date> {
    plus_days(date, -i64::from(date.weekday().to_monday_zero_offset()))
}

pub(super) fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

fn plus_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(days.days()).ok()
}

/// The first multiple of `step` that is not below `number`; both are not negative.
fn next_multiple(number: i64, step: i64) -> i64 {
    number.div_euclid(step) * step
        + if number.rem_euclid(step) == 0 {
            0
        } else {
            step
        }
}
