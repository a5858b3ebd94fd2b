//! What follows what, written by hand.

use serde_json::{Value, json};

use super::{at, cadence, following};

fn check(intent: Value, now: &str, want: &[&str]) {
    let cadence = cadence(&intent, now);
    let got = following(&cadence, at(now), want.len());
    assert_eq!(got, want, "{intent} after {now}");
    let text = serde_json::to_string(&cadence).expect("a cadence writes");
    let read = serde_json::from_str(&text).expect("a cadence reads what it wrote");
    assert_eq!(cadence, read, "{text}");
}

fn daily(time: &str, zone: &str, gap: &str) -> Value {
    json!({"kind": "recurring", "frequency": "daily", "time": time, "timezone": zone, "gap": gap})
}

fn cron(expression: &str, zone: &str, gap: &str) -> Value {
    json!({"kind": "cron", "expression": expression, "timezone": zone, "gap": gap})
}

#[test]
fn a_day_stays_a_day_when_the_clocks_change() {
    check(
        daily("09:00", "America/New_York", "skip"),
        "2026-03-07T00:00:00-05:00",
        &[
            "2026-03-07 09:00 -05:00",
            "2026-03-08 09:00 -04:00",
            "2026-03-09 09:00 -04:00",
        ],
    );
}

#[test]
fn a_time_that_is_left_out_is_skipped_or_shifted() {
    let now = "2026-03-07T00:00:00-05:00";
    check(
        daily("02:30", "America/New_York", "skip"),
        now,
        &["2026-03-07 02:30 -05:00", "2026-03-09 02:30 -04:00"],
    );
    check(
        daily("02:30", "America/New_York", "shift"),
        now,
        &[
            "2026-03-07 02:30 -05:00",
            "2026-03-08 03:00 -04:00",
            "2026-03-09 02:30 -04:00",
        ],
    );
    check(
        cron("30 2 * * *", "America/New_York", "shift"),
        now,
        &[
            "2026-03-07 02:30 -05:00",
            "2026-03-08 03:00 -04:00",
            "2026-03-09 02:30 -04:00",
        ],
    );
    // Several times that were left out, and one at the end of the jump, are one occurrence.
    check(
        cron("0,30 2,3 8 * *", "America/New_York", "shift"),
        now,
        &[
            "2026-03-08 03:00 -04:00",
            "2026-03-08 03:30 -04:00",
            "2026-04-08 02:00 -04:00",
        ],
    );
    // The second before the jump is a moment like any other.
    check(
        daily("02:30", "America/New_York", "shift"),
        "2026-03-08T01:59:59-05:00",
        &["2026-03-08 03:00 -04:00"],
    );
    check(
        daily("02:30", "America/New_York", "shift"),
        "2026-03-08T03:00:00-04:00",
        &["2026-03-09 02:30 -04:00"],
    );
}

#[test]
fn a_time_that_is_shown_twice_counts_once() {
    let now = "2026-11-01T00:00:00-04:00";
    let want = ["2026-11-01 01:30 -04:00", "2026-11-02 01:30 -05:00"];
    check(daily("01:30", "America/New_York", "skip"), now, &want);
    check(cron("30 1 * * *", "America/New_York", "skip"), now, &want);
    // Between the two, and in the second of them.
    for now in [
        "2026-11-01T01:30:00-04:00",
        "2026-11-01T01:00:00-05:00",
        "2026-11-01T01:30:00-05:00",
    ] {
        check(daily("01:30", "America/New_York", "skip"), now, &want[1..]);
    }
    // An hour is not the only span that clocks move by.
    check(
        daily("01:45", "Australia/Lord_Howe", "skip"),
        "2026-04-04T12:00:00+11:00",
        &["2026-04-05 01:45 +11:00", "2026-04-06 01:45 +10:30"],
    );
}

#[test]
fn a_rule_that_follows_the_clock_runs_in_both_hours() {
    check(
        cron("*/30 * * * *", "America/New_York", "skip"),
        "2026-11-01T00:30:00-04:00",
        &[
            "2026-11-01 01:00 -04:00",
            "2026-11-01 01:30 -04:00",
            "2026-11-01 01:00 -05:00",
            "2026-11-01 01:30 -05:00",
            "2026-11-01 02:00 -05:00",
        ],
    );
    check(
        cron("0 */2 * * *", "America/New_York", "shift"),
        "2026-03-08T00:00:00-05:00",
        &["2026-03-08 04:00 -04:00", "2026-03-08 06:00 -04:00"],
    );
}

#[test]
fn a_day_that_a_country_left_out_ends_nothing() {
    check(
        daily("09:00", "Pacific/Apia", "skip"),
        "2011-12-29T00:00:00-10:00",
        &["2011-12-29 09:00 -10:00", "2011-12-31 09:00 +14:00"],
    );
    check(
        cron("0 9 * * *", "Pacific/Apia", "shift"),
        "2011-12-29T12:00:00-10:00",
        &["2011-12-31 00:00 +14:00", "2011-12-31 09:00 +14:00"],
    );
}

#[test]
fn weeks_begin_on_monday_and_the_first_is_that_of_the_start() {
    let rule = json!({"kind": "recurring", "frequency": "weekly", "interval": 2, "time": "10:00",
        "weekdays": ["thursday", "monday", "thursday"], "start_date": "2026-01-07"});
    check(
        rule,
        "2026-01-01T00:00:00Z",
        &[
            "2026-01-08 10:00 +00:00",
            "2026-01-19 10:00 +00:00",
            "2026-01-22 10:00 +00:00",
            "2026-02-02 10:00 +00:00",
        ],
    );
    // A Sunday belongs to the week that is ending.
    let rule = json!({"kind": "recurring", "frequency": "weekly", "interval": 2, "time": "10:00",
        "weekdays": ["sunday", "monday"], "start_date": "2026-01-11"});
    check(
        rule,
        "2026-01-01T00:00:00Z",
        &[
            "2026-01-11 10:00 +00:00",
            "2026-01-19 10:00 +00:00",
            "2026-01-25 10:00 +00:00",
        ],
    );
}

#[test]
fn months_without_the_day_are_passed_over() {
    check(
        json!({"kind": "recurring", "frequency": "monthly", "day_of_month": 31, "time": "00:00"}),
        "2026-01-01T00:00:00Z",
        &[
            "2026-01-31 00:00 +00:00",
            "2026-03-31 00:00 +00:00",
            "2026-05-31 00:00 +00:00",
        ],
    );
    check(
        json!({"kind": "recurring", "frequency": "yearly", "month": 2, "day_of_month": 29, "time": "12:00"}),
        "2096-01-01T00:00:00Z",
        &["2096-02-29 12:00 +00:00", "2104-02-29 12:00 +00:00"],
    );
    check(
        json!({"kind": "recurring", "frequency": "quarterly", "day_of_month": 15, "time": "12:00"}),
        "2026-01-16T00:00:00Z",
        &[
            "2026-02-15 12:00 +00:00",
            "2026-05-15 12:00 +00:00",
            "2026-08-15 12:00 +00:00",
        ],
    );
    check(
        json!({"kind": "recurring", "frequency": "yearly", "interval": 3, "month": 6, "day_of_month": 1,
            "time": "12:00", "start_date": "2026-01-01"}),
        "2026-07-01T00:00:00Z",
        &["2029-06-01 12:00 +00:00", "2032-06-01 12:00 +00:00"],
    );
}

#[test]
fn a_series_is_anchored_and_not_counted_from_now() {
    let rule = json!({"kind": "recurring", "frequency": "daily", "interval": 3, "time": "08:00",
        "start_date": "2026-01-01"});
    check(
        rule.clone(),
        "2026-01-01T08:00:00Z",
        &["2026-01-04 08:00 +00:00"],
    );
    check(
        rule.clone(),
        "2026-01-05T08:00:00Z",
        &["2026-01-07 08:00 +00:00"],
    );
    check(rule, "2025-01-05T08:00:00Z", &["2026-01-01 08:00 +00:00"]);
    // Without a start the first that fits is the anchor: today has passed.
    let rule = json!({"kind": "recurring", "frequency": "daily", "interval": 3, "time": "08:00"});
    check(
        rule,
        "2026-01-05T09:00:00Z",
        &["2026-01-06 08:00 +00:00", "2026-01-09 08:00 +00:00"],
    );
}

#[test]
fn intervals_are_real_time_from_an_anchor() {
    let rule = json!({"kind": "interval", "every": {"value": 90, "unit": "minute"},
        "start": {"date": "2026-03-08", "time": "00:00"}, "timezone": "America/New_York"});
    check(
        rule.clone(),
        "2026-03-08T00:00:00-05:00",
        &[
            "2026-03-08 01:30 -05:00",
            "2026-03-08 04:00 -04:00",
            "2026-03-08 05:30 -04:00",
        ],
    );
    check(
        rule,
        "2026-03-01T00:00:00-05:00",
        &["2026-03-08 00:00 -05:00"],
    );
    let rule = json!({"kind": "interval", "every": {"value": 1, "unit": "hour"}});
    check(
        rule,
        "2026-01-01T00:20:00Z",
        &["2026-01-01 01:20 +00:00", "2026-01-01 02:20 +00:00"],
    );
}

#[test]
fn cron_expressions_mean_what_they_mean_elsewhere() {
    let now = "2026-02-27T12:00:00Z";
    for (expression, want) in [
        (
            "0 9 * * 1-5",
            &["2026-03-02 09:00 +00:00", "2026-03-03 09:00 +00:00"][..],
        ),
        (
            "@daily",
            &["2026-02-28 00:00 +00:00", "2026-03-01 00:00 +00:00"],
        ),
        ("@midnight", &["2026-02-28 00:00 +00:00"]),
        (
            "15 8 L * *",
            &["2026-02-28 08:15 +00:00", "2026-03-31 08:15 +00:00"],
        ),
        (
            "0 0 13 * 5",
            &["2026-03-06 00:00 +00:00", "2026-03-13 00:00 +00:00"],
        ),
        (
            "0 12 * * MON#1",
            &["2026-03-02 12:00 +00:00", "2026-04-06 12:00 +00:00"],
        ),
        (
            "0 0 29 2 *",
            &["2028-02-29 00:00 +00:00", "2032-02-29 00:00 +00:00"],
        ),
        ("0 0 * * 7", &["2026-03-01 00:00 +00:00"]),
    ] {
        check(cron(expression, "UTC", "skip"), now, want);
    }
}

#[test]
fn one_offs_are_reckoned_on_the_clock_of_the_server() {
    let now = "2026-10-31T22:00:00Z";
    let after = |value: u32, unit: &str| json!({"kind": "one_off", "timing": {"after": {"value": value, "unit": unit}}});
    check(after(90, "second"), now, &["2026-10-31 22:01 +00:00"]);
    check(after(2, "week"), now, &["2026-11-14 22:00 +00:00"]);
    let local = |date: &str, time: &str| json!({"kind": "one_off", "timezone": "America/New_York", "timing": {"at": {"date": date, "time": time}}});
    // Elapsed time, not a time of day; and a time that is shown twice counts the first time.
    check(
        local("2026-11-01", "01:30"),
        now,
        &["2026-11-01 01:30 -04:00"],
    );
    let exact = json!({"kind": "one_off", "timing": {"at": "2026-11-01T01:30-05:00"}});
    check(exact, now, &["2026-11-01 06:30 +00:00"]);
}

#[test]
fn a_one_off_comes_once() {
    let intent = json!({"kind": "one_off", "timing": {"after": {"value": 1, "unit": "day"}}});
    let cadence = cadence(&intent, "2026-01-01T00:00:00Z");
    let at = cadence
        .next_after(at("2026-01-01T00:00:00Z"))
        .expect("it comes");
    assert_eq!(cadence.next_after(at), None);
    assert!(!cadence.is_recurring());
}

#[test]
fn the_end_of_the_calendar_ends_a_series_without_a_search() {
    let cadence = cadence(
        &daily("09:00", "Europe/Paris", "skip"),
        "9999-12-01T00:00:00Z",
    );
    assert_eq!(cadence.next_after(at("9999-12-30T12:00:00Z")), None);
}

#[test]
fn the_latest_that_was_missed_is_found() {
    let cadence = cadence(
        &cron("*/5 9-10 * * MON", "Europe/Paris", "skip"),
        "2020-01-01T00:00:00Z",
    );
    let check = |after: &str, until: &str, want: Option<&str>| {
        let got = cadence.latest_in(at(after), at(until));
        assert_eq!(got, want.map(at), "in {after} to {until}");
    };
    check(
        "2020-01-01T00:00:00Z",
        "2026-11-18T12:00:00Z",
        Some("2026-11-16T09:55:00Z"),
    );
    check(
        "2026-11-16T09:50:00Z",
        "2026-11-18T12:00:00Z",
        Some("2026-11-16T09:55:00Z"),
    );
    check(
        "2026-11-16T09:50:00Z",
        "2026-11-16T09:55:00Z",
        Some("2026-11-16T09:55:00Z"),
    );
    check("2026-11-16T09:55:00Z", "2026-11-18T12:00:00Z", None);
}

#[test]
fn descriptions_say_what_will_happen() {
    let now = "2026-01-05T09:00:00Z";
    for (intent, want) in [
        (
            daily("09:00", "europe/paris", "skip"),
            "every day at 09:00 (Europe/Paris)",
        ),
        (
            daily("02:30", "Europe/Paris", "shift"),
            "every day at 02:30 (Europe/Paris), after a clock change that leaves the time out",
        ),
        (
            json!({"kind": "recurring", "frequency": "weekly", "interval": 2, "time": "10:00",
            "weekdays": ["thursday", "monday", "friday"]}),
            "every 2 weeks on Monday, Thursday and Friday at 10:00, counted from 2026-01-05 (UTC)",
        ),
        (
            json!({"kind": "recurring", "frequency": "yearly", "time": "10:00", "month": 2, "day_of_month": 29}),
            "on February 29 of every year at 10:00 (UTC)",
        ),
        (
            json!({"kind": "recurring", "frequency": "monthly", "interval": 2, "time": "10:00", "day_of_month": 1}),
            "on day 1 of every 2 months at 10:00, counted from 2026-02-01 (UTC)",
        ),
        (
            json!({"kind": "one_off", "timing": {"after": {"value": 3, "unit": "hour"}}}),
            "once on 2026-01-05 at 12:00 (UTC)",
        ),
        (
            json!({"kind": "interval", "every": {"value": 120, "unit": "minute"}}),
            "every 2 hours, counted from 2026-01-05 at 11:00 (UTC)",
        ),
        (
            cron("0 9 * * MON-FRI", "UTC", "skip"),
            "At 09:00, on Monday, Tuesday, Wednesday, Thursday, and Friday (cron \"0 9 * * MON-FRI\", UTC)",
        ),
    ] {
        assert_eq!(cadence(&intent, now).describe(), want, "{intent}");
    }
}
