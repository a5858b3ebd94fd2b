//! What is refused, with the path and the rule of each mistake.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Intent, Terms, at};

const NOW: &str = "2026-01-05T09:00:00Z";

fn problems(intent: &Value, terms: &Terms) -> String {
    let compiled = Intent::read(intent).and_then(|intent| intent.compile(at(NOW), terms));
    match compiled {
        Ok(_) => "fine".to_owned(),
        Err(error) => {
            let problems = error.problems.iter();
            let words =
                problems.map(|problem| format!("{} {}", problem.path, problem.rule.as_str()));
            words.collect::<Vec<_>>().join(", ")
        }
    }
}

fn check(intent: Value, want: &str) {
    let terms = Terms {
        min_distance: SignedDuration::ZERO,
        ..Terms::default()
    };
    assert_eq!(problems(&intent, &terms), want, "{intent}");
}

#[test]
fn every_conflict_is_named_with_its_path() {
    check(
        json!({"kind": "recurring", "frequency": "daily", "time": "9:00", "weekdays": ["monday"],
            "day_of_month": 3, "month": 2, "colour": 1}),
        "time form, weekdays conflict, day_of_month conflict, month conflict, colour unknown_field",
    );
    check(
        json!({"kind": "recurring", "frequency": "weekly", "time": "09:00", "weekdays": ["monday", "funday", 3]}),
        "weekdays[1] form, weekdays[2] type",
    );
    check(
        json!({"kind": "recurring", "frequency": "weekly"}),
        "time missing, weekdays missing",
    );
    check(
        json!({"kind": "recurring", "frequency": "yearly", "time": "09:00", "interval": 0}),
        "interval range, day_of_month missing, month missing",
    );
    check(
        json!({"kind": "recurring", "frequency": "monthly", "time": "24:00", "day_of_month": 32, "interval": 366}),
        "time form, interval range, day_of_month range",
    );
    check(
        json!({"kind": "recurring", "frequency": "hourly", "time": "09:00"}),
        "frequency form",
    );
    check(json!({"kind": "weekly"}), "kind form");
    check(json!({"frequency": "daily"}), "kind missing");
    check(json!("daily"), " type");
    check(
        json!({"kind": "recurring", "frequency": "weekly", "time": "09:00", "weekdays": []}),
        "weekdays range",
    );
}

#[test]
fn one_offs_are_in_the_future_and_exist() {
    let one_off = |timing: Value| json!({"kind": "one_off", "timezone": "America/New_York", "timing": timing});
    let local = |date: &str, time: &str| one_off(json!({"at": {"date": date, "time": time}}));
    check(local("2026-03-08", "02:30"), "timing.at gap");
    check(local("2026-01-05", "04:00"), "timing.at past");
    check(local("2026-01-05", "04:01"), "fine");
    check(local("2026-04-31", "04:01"), "timing.at.date form");
    check(local("2026-4-30", "04:01"), "timing.at.date form");
    check(
        one_off(json!({"at": "2026-04-30T10:00:00"})),
        "timing.at form",
    );
    check(
        one_off(json!({"at": "2026-04-31T10:00:00Z"})),
        "timing.at form",
    );
    check(
        one_off(json!({"at": "2026-04-30T24:00:00Z"})),
        "timing.at form",
    );
    check(
        one_off(json!({"at": "2026-04-30T23:59:60Z"})),
        "timing.at form",
    );
    check(one_off(json!({"at": "2026-04-30"})), "timing.at form");
    check(one_off(json!({"at": "2026-04-30T10:00Z"})), "fine");
    check(
        one_off(json!({"at": "2026-04-30T10:00:00.123456789+02:00"})),
        "fine",
    );
    check(
        one_off(json!({"at": "2026-04-30T10:00:00.1234567891+02:00"})),
        "timing.at form",
    );
    check(
        one_off(json!({"after": {"value": 0, "unit": "day"}})),
        "timing.after.value range",
    );
    check(
        one_off(json!({"after": {"value": 1, "unit": "month"}})),
        "timing.after.unit form",
    );
    check(
        one_off(json!({"after": {"value": 100_000, "unit": "week"}})),
        "fine",
    );
    check(
        one_off(json!({"after": {"value": 100_001, "unit": "week"}})),
        "timing.after.value range",
    );
    check(
        one_off(json!({"after": {"value": 1, "unit": "day"}, "at": "x"})),
        "timing.at conflict",
    );
    check(one_off(json!({})), "timing.after missing");
    check(json!({"kind": "one_off"}), "timing missing");
    check(
        json!({"kind": "one_off", "timing": {"after": {"value": 1, "unit": "day"}}, "frequency": "daily"}),
        "frequency unknown_field",
    );
}

#[test]
fn a_gap_names_the_times_around_it() {
    let intent = json!({"kind": "one_off", "timezone": "America/New_York",
        "timing": {"at": {"date": "2026-03-08", "time": "02:30"}}});
    let compiled =
        Intent::read(&intent).and_then(|intent| intent.compile(at(NOW), &Terms::default()));
    let error = compiled.expect_err("there is no such time").to_string();
    assert_eq!(
        error,
        "schedule.timing.at: the clocks of America/New_York jump over 2026-03-08 02:30; write 01:30 or 03:30 (gap)"
    );
}

#[test]
fn zones_are_known_or_suggested() {
    for (zone, want) in [
        ("Europe/Pariss", "did you mean \"Europe/Paris\"?"),
        ("new york", "did you mean \"America/New_York\"?"),
        ("Tokyo", "did you mean \"Asia/Tokyo\"?"),
        ("", "write an IANA name"),
        ("Mars/Olympus Mons", "write an IANA name"),
        ("../../etc/passwd", "write an IANA name"),
    ] {
        let intent =
            json!({"kind": "recurring", "frequency": "daily", "time": "09:00", "timezone": zone});
        let error = Intent::read(&intent).expect_err("no such zone");
        assert_eq!(error.problems.len(), 1, "{zone}");
        let problem = &error.problems[0];
        assert_eq!(
            (problem.path.as_str(), problem.rule.as_str()),
            ("timezone", "timezone")
        );
        assert!(
            problem.message.contains(want),
            "{zone}: {}",
            problem.message
        );
    }
}

#[test]
fn expressions_are_pointed_at_by_field() {
    for (expression, want) in [
        ("0 9 * *", "five fields"),
        ("0 0 9 * * *", "this one has 6"),
        ("61 9 * * *", "field 1 (minute) is \"61\""),
        ("0 25 * * *", "field 2 (hour) is \"25\""),
        ("0 9 * FOO *", "field 4 (month) is \"FOO\""),
        ("0 9 * * 9", "field 5 (day of week) is \"9\""),
        ("@reboot", "five fields"),
        ("", "this one has 0"),
    ] {
        let error = Intent::read(&json!({"kind": "cron", "expression": expression}));
        let error = error.expect_err("no expression").to_string();
        assert!(error.contains(want), "{expression}: {error}");
    }
    check(
        json!({"kind": "cron", "expression": "0 9 30 2 *"}),
        " never",
    );
    check(json!({"kind": "cron"}), "expression missing");
    check(
        json!({"kind": "cron", "expression": "x".repeat(500)}),
        "expression range",
    );
}

#[test]
fn what_never_comes_is_refused() {
    check(
        json!({"kind": "recurring", "frequency": "yearly", "time": "09:00", "month": 2, "day_of_month": 30}),
        " never",
    );
    check(
        json!({"kind": "recurring", "frequency": "monthly", "interval": 12, "time": "09:00", "day_of_month": 31,
            "start_date": "2026-02-01"}),
        " never",
    );
    check(
        json!({"kind": "interval", "every": {"value": 1, "unit": "day"}, "start": {"date": "2026-03-08", "time": "02:30"},
            "timezone": "America/New_York"}),
        "start gap",
    );
}

#[test]
fn the_least_distance_is_computed() {
    let check = |intent: Value, min_minutes: i64, want: &str| {
        let terms = Terms {
            min_distance: SignedDuration::from_mins(min_minutes),
            ..Terms::default()
        };
        assert_eq!(
            problems(&intent, &terms),
            want,
            "{intent} at least {min_minutes} minutes"
        );
    };
    const DAY: i64 = 24 * 60;
    let cron = |expression: &str, zone: &str| json!({"kind": "cron", "expression": expression, "timezone": zone});
    let daily = |time: &str, gap: &str| {
        json!({"kind": "recurring", "frequency": "daily", "time": time,
        "timezone": "America/New_York", "gap": gap})
    };
    // A day is a day in the weeks of clock changes too.
    for gap in ["skip", "shift"] {
        check(daily("02:30", gap), DAY, "fine");
        check(daily("02:30", gap), DAY + 1, "frequency too_often");
    }
    check(cron("30 2 * * *", "America/New_York"), DAY, "fine");
    check(cron("0 * * * *", "UTC"), DAY, "expression too_often");
    check(cron("0 9,17 * * *", "UTC"), 8 * 60, "fine");
    check(
        cron("0 9,17 * * *", "UTC"),
        8 * 60 + 1,
        "expression too_often",
    );
    // From the last time of a day to the first of the next.
    check(cron("0 1,12,23 * * *", "UTC"), 2 * 60, "fine");
    check(
        cron("0 1,12,23 * * *", "UTC"),
        2 * 60 + 1,
        "expression too_often",
    );
    check(cron("0 1,12,23 * * MON,WED", "UTC"), 11 * 60, "fine");
    // The 29th of February and the first of March are neighbours in leap years alone.
    check(cron("0 0 1,29 2,3 *", "UTC"), DAY, "fine");
    check(
        cron("0 0 1,29 2,3 *", "UTC"),
        DAY + 1,
        "expression too_often",
    );
    check(cron("* * * * *", "America/New_York"), 1, "fine");
    check(
        cron("* * * * *", "America/New_York"),
        2,
        "expression too_often",
    );
    // Half an hour is shown twice there: from 01:45 to 01:45.
    check(cron("45 * * * *", "Australia/Lord_Howe"), 30, "fine");
    check(
        cron("45 * * * *", "Australia/Lord_Howe"),
        31,
        "expression too_often",
    );
    check(cron("45 * * * *", "America/New_York"), 60, "fine");
    check(
        json!({"kind": "interval", "every": {"value": 23, "unit": "hour"}}),
        DAY,
        "every too_often",
    );
    check(
        json!({"kind": "interval", "every": {"value": 1, "unit": "day"}}),
        DAY,
        "fine",
    );
    let weekly = json!({"kind": "recurring", "frequency": "weekly", "interval": 2, "time": "09:00",
        "weekdays": ["monday", "wednesday"]});
    check(weekly.clone(), 2 * DAY, "fine");
    check(weekly, 2 * DAY + 1, "frequency too_often");
    check(
        json!({"kind": "one_off", "timing": {"after": {"value": 1, "unit": "second"}}}),
        1000 * DAY,
        "fine",
    );
}

#[test]
fn records_are_read_strictly() {
    let good = json!({"timezone": "UTC", "rule": {"kind": "recurring", "frequency": "weekly", "interval": 1,
        "start_date": "2026-01-05", "time": "09:00", "weekdays": ["monday"], "gap": "skip"}});
    let read = |value: &Value| serde_json::from_value::<super::Cadence>(value.clone());
    assert!(read(&good).is_ok(), "{:?}", read(&good));
    for (pointer, value) in [
        ("/timezone", json!("Nowhere")),
        ("/rule/kind", json!("sometimes")),
        ("/rule/interval", json!(0)),
        ("/rule/weekdays", json!([])),
        ("/rule/weekdays", json!(["tuesday", "monday"])),
        ("/rule/time", json!("9:00")),
        ("/rule/gap", json!("")),
        ("/rule/frequency", json!("daily")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("it is there") = value;
        assert!(read(&bad).is_err(), "{bad}");
    }
    let mut bad = good.clone();
    bad["rule"]["extra"] = json!(1);
    assert!(read(&bad).is_err());
    let mut bad = good;
    bad["extra"] = json!(1);
    assert!(read(&bad).is_err());
}
