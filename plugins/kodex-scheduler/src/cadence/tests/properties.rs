//! What holds for every cadence.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Cadence, cadence};

const ZONES: [&str; 6] = [
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Tehran",
    "America/Santiago",
];

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&ZONES[..])
}

fn gap() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["skip", "shift"][..])
}

fn time() -> impl Strategy<Value = String> {
    (0..24, 0..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"))
}

fn start() -> impl Strategy<Value = Option<String>> {
    let date = (2019..2030, 1..13, 1..29).prop_map(|(y, m, d)| format!("{y}-{m:02}-{d:02}"));
    prop::option::of(date)
}

fn calendars() -> impl Strategy<Value = Value> {
    let days = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let weekdays = prop::sample::subsequence(days.to_vec(), 1..=7);
    let frequency =
        prop::sample::select(&["daily", "weekly", "monthly", "quarterly", "yearly"][..]);
    (frequency, 1..40_u16, time(), weekdays, 1..32_u8, 1..13, start(), zone(), gap()).prop_map(
        |(frequency, interval, time, weekdays, day, month, start, zone, gap)| {
            let mut intent = json!({"kind": "recurring", "frequency": frequency, "interval": interval,
                "time": time, "timezone": zone, "gap": gap, "start_date": start});
            match frequency {
                "daily" => {}
                "weekly" => intent["weekdays"] = json!(weekdays),
                "yearly" => {
                    intent["month"] = json!(month);
                    intent["day_of_month"] = json!(day.min(28));
                }
                _ => intent["day_of_month"] = json!(day.min(28)),
            }
            intent
        },
    )
}

fn crons() -> impl Strategy<Value = Value> {
    let minute = prop_oneof![
        Just("*".to_owned()),
        Just("*/7".to_owned()),
        (0..60_u8).prop_map(|m| m.to_string()),
        Just("5,50".to_owned())
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        Just("*/3".to_owned()),
        (0..24_u8).prop_map(|h| h.to_string()),
        Just("0-4".to_owned())
    ];
    let day = prop_oneof![Just("*"), Just("L"), Just("1,15"), Just("29")];
    let weekday = prop_oneof![3 => Just("*"), 1 => Just("MON-FRI"), 1 => Just("SUN#2")];
    (minute, hour, day, weekday, zone(), gap()).prop_map(|(minute, hour, day, weekday, zone, gap)| {
        json!({"kind": "cron", "expression": format!("{minute} {hour} {day} * {weekday}"), "timezone": zone, "gap": gap})
    })
}

fn intervals() -> impl Strategy<Value = Value> {
    let unit = prop::sample::select(&["second", "minute", "hour", "day"][..]);
    (1..500, unit, zone()).prop_map(|(value, unit, zone)| {
        json!({"kind": "interval", "every": {"value": value, "unit": unit}, "timezone": zone})
    })
}

fn any_cadence() -> impl Strategy<Value = Cadence> {
    prop_oneof![calendars(), crons(), intervals()]
        .prop_map(|intent| cadence(&intent, "2024-06-01T00:00:00Z"))
}

/// From 2020 to 2039, in milliseconds.
fn moment() -> impl Strategy<Value = Timestamp> {
    (1_577_836_800_000_i64..2_208_988_800_000)
        .prop_map(|ms| Timestamp::from_millisecond(ms).expect("in range"))
}

proptest! {
    #[test]
    fn the_next_is_later_and_nothing_lies_between(cadence in any_cadence(), after in moment(), part in 0.0..1.0_f64) {
        let Some(next) = cadence.next_after(after) else {
            return Ok(());
        };
        prop_assert!(next > after);
        // Asked from anywhere before it, it is the same one.
        let span = next.as_millisecond() - after.as_millisecond();
        let between = after.as_millisecond() + (span as f64 * part) as i64;
        let between = Timestamp::from_millisecond(between.min(next.as_millisecond() - 1)).expect("in range");
        prop_assert_eq!(cadence.next_after(between), Some(next));
    }

    #[test]
    fn no_two_are_closer_than_the_least_distance(cadence in any_cadence(), after in moment()) {
        let Some(least) = cadence.least_distance(after) else {
            return Ok(());
        };
        let next = |slot: &super::super::walk::Slot| cadence.slot_after(slot.at);
        let slots: Vec<_> = std::iter::successors(cadence.slot_after(after), next).take(60).collect();
        for pair in slots.windows(2) {
            let apart = pair[0].at.duration_until(pair[1].at);
            let local = pair[0].local.duration_until(pair[1].local);
            prop_assert!(apart.max(local) >= least, "{least:?}: {pair:?}");
        }
    }

    #[test]
    fn what_is_written_is_read(cadence in any_cadence()) {
        let text = serde_json::to_string(&cadence).expect("writes");
        prop_assert_eq!(serde_json::from_str::<Cadence>(&text).expect("reads"), cadence);
    }

    #[test]
    fn the_latest_is_the_last_before_the_end(cadence in any_cadence(), after in moment(), hours in 1..2_000_i64) {
        let until = after + jiff::SignedDuration::from_hours(hours);
        match cadence.latest_in(after, until) {
            None => prop_assert!(cadence.next_after(after).is_none_or(|next| next > until)),
            Some(latest) => {
                prop_assert!(latest > after && latest <= until);
                prop_assert!(cadence.next_after(latest).is_none_or(|next| next > until));
                let before = latest - jiff::SignedDuration::from_nanos(1);
                prop_assert_eq!(cadence.next_after(before), Some(latest));
            }
        }
    }

    #[test]
    fn counting_is_walking(cadence in any_cadence(), after in moment(), hours in 1..3_000_i64) {
        let until = after + jiff::SignedDuration::from_hours(hours);
        let next = |at: &Timestamp| cadence.next_after(*at).filter(|at| *at <= until);
        let walked = std::iter::successors(next(&after), next).take(6_000).collect::<Vec<_>>();
        let until = match walked.len() {
            6_000 => walked[5_999],
            _ => until,
        };
        prop_assert_eq!(cadence.count_in(after, until), walked.len() as u64);
        // From one of them on, too, where a step may end in the middle of a change of the clocks.
        if let Some(middle) = walked.get(walked.len() / 2) {
            let n_before = cadence.count_in(after, *middle);
            prop_assert_eq!(n_before + cadence.count_in(*middle, until), walked.len() as u64);
        }
    }
}

/// Rules at hours that clocks jump over or show twice, counted in short spans around every change of a zone.
#[test]
fn counting_is_walking_around_changes() {
    let rules = [
        json!({"kind": "recurring", "frequency": "daily", "time": "02:30"}),
        json!({"kind": "recurring", "frequency": "daily", "time": "03:00", "gap": "shift"}),
        json!({"kind": "cron", "expression": "*/20 2,3 * * *", "gap": "shift"}),
        json!({"kind": "cron", "expression": "0,30 0-3 * * *", "gap": "skip"}),
        json!({"kind": "cron", "expression": "*/15 * * * *"}),
        json!({"kind": "cron", "expression": "10 */2 * * SUN"}),
    ];
    let mut n_counted = 0;
    for zone in [
        &ZONES[..],
        &["Pacific/Apia", "America/Havana", "Africa/Cairo"][..],
    ]
    .concat()
    {
        for rule in &rules {
            let mut rule = rule.clone();
            rule["timezone"] = json!(zone);
            let cadence = cadence(&rule, "2011-01-01T00:00:00Z");
            let from: Timestamp = "2011-01-01T00:00:00Z".parse().expect("a moment");
            for change in cadence.zone().tz.clone().following(from).take(6) {
                for (before, after) in [(600, 600), (90, 90), (61, 1), (30, 0), (0, 61)] {
                    let span = jiff::SignedDuration::from_mins;
                    let (after, until) = (
                        change.timestamp() - span(before),
                        change.timestamp() + span(after),
                    );
                    let next = |at: &Timestamp| cadence.next_after(*at).filter(|at| *at <= until);
                    let walked = std::iter::successors(next(&after), next).count() as u64;
                    assert_eq!(
                        cadence.count_in(after, until),
                        walked,
                        "{rule} {after} {until}"
                    );
                    n_counted += walked;
                }
            }
        }
    }
    assert!(n_counted > 1_000, "{n_counted}");
}

/// Three years of every minute are counted by their days.
#[test]
fn many_are_counted_at_once() {
    let after = "2024-01-01T00:00:00Z".parse().expect("a moment");
    let until = "2027-01-01T00:00:00Z".parse().expect("a moment");
    for (intent, want) in [
        (
            json!({"kind": "cron", "expression": "* * * * *"}),
            1_096 * 1_440,
        ),
        (
            json!({"kind": "cron", "expression": "* * * * *", "timezone": "Europe/Paris"}),
            1_096 * 1_440,
        ),
        (
            json!({"kind": "cron", "expression": "*/5 9-17 * * MON-FRI"}),
            784 * 9 * 12,
        ),
        (
            json!({"kind": "interval", "every": {"value": 1, "unit": "minute"}}),
            1_096 * 1_440,
        ),
        (
            json!({"kind": "recurring", "frequency": "daily", "time": "09:00"}),
            1_096,
        ),
    ] {
        let cadence = cadence(&intent, "2024-01-01T00:00:00Z");
        assert_eq!(cadence.count_in(after, until), want, "{intent}");
    }
}
