//! An oracle: it goes through time minute by minute, reads a clock on the wall at each, and asks what
//! the rule says of that reading. It knows nothing of periods, offsets or stretches.
//!
//! `KODEX_ORACLE_YEARS=2020-2040` widens the range from the one year that every run looks at.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Value, json};

use super::{Cadence, cadence};

/// Zones with unusual clocks: jumps of half an hour, at midnight, on Fridays, negative summer time, no
/// changes at all, distances that are no whole hours, a day left out, changes of the rules.
const ZONES: [&str; 44] = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Lagos",
    "America/Asuncion",
    "America/Caracas",
    "America/Chicago",
    "America/Godthab",
    "America/Havana",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/Scoresbysund",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Antarctica/Vostok",
    "Asia/Almaty",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Damascus",
    "Asia/Gaza",
    "Asia/Hebron",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Chisinau",
    "Europe/Dublin",
    "Europe/London",
    "Europe/Paris",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Norfolk",
];

/// What a rule says of a local minute.
type Says = fn(DateTime) -> bool;

struct Case {
    intent: Value,
    says: Says,
    /// It runs at every reading, not only at the first.
    both: bool,
}

fn cases() -> Vec<Case> {
    let daily = |time: &str| json!({"kind": "recurring", "frequency": "daily", "time": time});
    let cron = |expression: &str| json!({"kind": "cron", "expression": expression});
    let at = |intent, says| Case {
        intent,
        says,
        both: false,
    };
    let follows = |intent, says| Case {
        intent,
        says,
        both: true,
    };
    vec![
        at(daily("00:00"), |t| (t.hour(), t.minute()) == (0, 0)),
        at(daily("01:45"), |t| (t.hour(), t.minute()) == (1, 45)),
        at(daily("02:30"), |t| (t.hour(), t.minute()) == (2, 30)),
        at(daily("23:30"), |t| (t.hour(), t.minute()) == (23, 30)),
        at(cron("0,30 0-3 * * *"), |t| {
            t.hour() <= 3 && t.minute() % 30 == 0
        }),
        at(cron("7 1,2,3 * * SUN,FRI"), |t| {
            let day = t.weekday().to_sunday_zero_offset();
            (1..=3).contains(&t.hour()) && t.minute() == 7 && (day == 0 || day == 5)
        }),
        follows(cron("*/20 * * * *"), |t| t.minute() % 20 == 0),
        follows(cron("15 */2 * * *"), |t| {
            t.minute() == 15 && t.hour() % 2 == 0
        }),
    ]
}

/// A minute, and what a clock on the wall shows in it.
struct Minute {
    at: Timestamp,
    reading: DateTime,
    /// What the clock jumped over to get here.
    left_out: Vec<DateTime>,
    /// It has shown this before.
    is_again: bool,
}

/// Some hours to both sides of a change of the clocks, minute by minute.
fn minutes(zone: &TimeZone, change: Timestamp) -> Vec<Minute> {
    const MINUTE: SignedDuration = SignedDuration::from_mins(1);
    let from = change - SignedDuration::from_hours(16);
    let mut shown = zone.to_datetime(from);
    let mut expected = shown;
    let mut minutes = Vec::new();
    for nth in 1..=32 * 60 {
        let at = from + SignedDuration::from_mins(nth);
        let reading = zone.to_datetime(at);
        expected += MINUTE;
        let mut left_out = Vec::new();
        while expected < reading {
            left_out.push(expected);
            expected += MINUTE;
        }
        expected = reading;
        minutes.push(Minute {
            at,
            reading,
            left_out,
            is_again: reading <= shown,
        });
        shown = shown.max(reading);
    }
    minutes
}

fn occurrences(case: &Case, gap: &str, minutes: &[Minute]) -> Vec<Timestamp> {
    let runs = |minute: &&Minute| {
        let mut left_out = minute.left_out.iter();
        let is_shifted = gap == "shift" && !case.both && left_out.any(|time| (case.says)(*time));
        let counts = case.both || !minute.is_again;
        is_shifted || (counts && (case.says)(minute.reading))
    };
    let minutes = minutes.iter().filter(runs);
    minutes.map(|minute| minute.at).collect()
}

fn check(case: &Case, gap: &str, name: &str, minutes: &[Minute]) {
    let (from, until) = (minutes[0].at, minutes[minutes.len() - 1].at);
    let from = from - SignedDuration::from_mins(1);
    let mut intent = case.intent.clone();
    intent["timezone"] = json!(name);
    intent["gap"] = json!(gap);
    let cadence: Cadence = cadence(&intent, "1980-01-01T00:00:00Z");
    let next = |at: &Timestamp| cadence.next_after(*at);
    let got: Vec<_> = std::iter::successors(cadence.next_after(from), next)
        .take_while(|at| *at <= until)
        .collect();
    let want = occurrences(case, gap, minutes);
    assert_eq!(got, want, "{intent} after {from}");
    // From wherever one asks, the answer is the same.
    for (index, at) in want.iter().enumerate() {
        let before = *at - SignedDuration::from_nanos(1);
        assert_eq!(
            cadence.next_after(before),
            Some(*at),
            "{intent} before {at}"
        );
        let after = *at + SignedDuration::from_millis(500);
        if let Some(following) = want.get(index + 1) {
            assert_eq!(
                cadence.next_after(after),
                Some(*following),
                "{intent} after {at}"
            );
        }
    }
}

/// Every case at one change of the clocks.
fn check_change(cases: &[Case], name: &str, change: Timestamp) {
    let zone = TimeZone::get(name).expect("the zone exists");
    let minutes = minutes(&zone, change);
    for case in cases {
        for gap in ["skip", "shift"] {
            check(case, gap, name, &minutes);
        }
    }
}

fn years() -> std::ops::RangeInclusive<i16> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a wider range is asked for by hand"
    )]
    let text = std::env::var("KODEX_ORACLE_YEARS").unwrap_or_else(|_| "2026-2026".to_owned());
    let (from, to) = text.split_once('-').expect("two years");
    from.parse().expect("a year")..=to.parse().expect("a year")
}

#[test]
fn cadences_agree_with_a_walk_through_the_minutes() {
    let cases = cases();
    let years = years();
    let mut n_changes = 0;
    for name in ZONES {
        let zone = TimeZone::get(name).expect("the zone exists");
        let first = jiff::civil::date(*years.start(), 1, 1)
            .to_zoned(TimeZone::UTC)
            .expect("a day");
        let last = jiff::civil::date(years.end() + 1, 1, 1)
            .to_zoned(TimeZone::UTC)
            .expect("a day");
        let mut changes: Vec<_> = zone
            .following(first.timestamp())
            .map(|change| change.timestamp())
            .take_while(|at| *at < last.timestamp())
            .collect();
        if changes.is_empty() {
            changes.push(first.timestamp());
        }
        n_changes += changes.len();
        for change in changes {
            check_change(&cases, name, change);
        }
    }
    assert!(n_changes >= 60, "only {n_changes} changes");
}

#[test]
fn past_oddities_agree_too() {
    let cases = cases();
    for (name, change) in [
        // A day left out; half hours; a change at midnight; clocks that went back within a month; a
        // quarter of an hour kept for good.
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("Asia/Pyongyang", "2015-08-14T15:00:00Z"),
        ("Asia/Pyongyang", "2018-05-04T15:00:00Z"),
        ("America/Caracas", "2007-12-09T07:00:00Z"),
        ("America/Caracas", "2016-05-01T07:00:00Z"),
        ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        ("Africa/Cairo", "2014-06-26T22:00:00Z"),
        ("Europe/Istanbul", "2016-09-06T21:00:00Z"),
        ("Antarctica/Casey", "2018-03-10T17:00:00Z"),
        ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),
        ("Pacific/Kwajalein", "1993-08-20T12:00:00Z"),
    ] {
        check_change(&cases, name, super::at(change));
    }
}
