//! Points and spans of time as text. The server counts from 2000-01-01 in days and microseconds; its
//! calendar is Gregorian throughout.

use std::fmt::Write as _;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Days from 0000-03-01 to 2000-01-01: five centuries of four hundred years less two months.
const TO_2000: i64 = 730_425;

/// A timestamp, with `Z` where it is a moment in UTC.
pub(super) fn moment(micros: i64, is_utc: bool) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (date, era) = parts(micros.div_euclid(DAY));
    let zone = if is_utc { "Z" } else { "" };
    format!("{date}T{}{zone}{era}", clock(micros.rem_euclid(DAY)))
}

/// A date.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => {
            let (date, era) = parts(days.into());
            date + era
        }
    }
}

/// A time of day; 24:00:00 is one.
pub(super) fn clock(micros: i64) -> String {
    let seconds = micros / SECOND;
    let mut out = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    fraction(&mut out, micros % SECOND);
    out
}

/// An offset from UTC, which the server counts westward.
pub(super) fn offset(west: i32) -> String {
    let sign = if west > 0 { '-' } else { '+' };
    let seconds = west.unsigned_abs();
    let mut out = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if !seconds.is_multiple_of(60) {
        let _ = write!(out, ":{:02}", seconds % 60);
    }
    out
}

/// A span in the form of ISO 8601. Its three parts are not turned into each other: a day may have 23 hours.
pub(super) fn interval(months: i32, days: i32, micros: i64) -> String {
    let mut out = String::from("P");
    let mut part = |count: i64, unit: char| {
        if count != 0 {
            let _ = write!(out, "{count}{unit}");
        }
    };
    part((months / 12).into(), 'Y');
    part((months % 12).into(), 'M');
    part(days.into(), 'D');
    let seconds = micros / SECOND;
    if micros != 0 {
        out.push('T');
        let mut part = |count: i64, unit: char| {
            if count != 0 {
                let _ = write!(out, "{count}{unit}");
            }
        };
        part(seconds / 3600, 'H');
        part(seconds / 60 % 60, 'M');
        let rest = micros % (60 * SECOND);
        if rest != 0 {
            let sign = if rest < 0 { "-" } else { "" };
            let rest = rest.abs();
            let _ = write!(out, "{sign}{}", rest / SECOND);
            fraction(&mut out, rest % SECOND);
            out.push('S');
        }
    }
    if out.len() == 1 {
        "PT0S".to_owned()
    } else {
        out
    }
}

fn fraction(out: &mut String, micros: i64) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// Year, month and day, and what follows a date before the year 1.
fn parts(days_since_2000: i64) -> (String, &'static str) {
    // Years are counted from March, so that the leap day is the last one of its year.
    let days = days_since_2000 + TO_2000;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if year > 0 {
        (format!("{year:04}-{month:02}-{day:02}"), "")
    } else {
        (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, want) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (-1, "1999-12-31"),
            (366, "2001-01-01"),
            (-10_957, "1970-01-01"),
            (9_801, "2026-11-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (i32::MAX, "infinity"),
        ] {
            assert_eq!(date(days), want, "{days}");
        }
    }

    #[test]
    fn moments_and_spans() {
        assert_eq!(moment(0, true), "2000-01-01T00:00:00Z");
        assert_eq!(moment(-1, false), "1999-12-31T23:59:59.999999");
        assert_eq!(moment(1_500_000, true), "2000-01-01T00:00:01.5Z");
        assert_eq!(clock(DAY), "24:00:00");
        assert_eq!(offset(-19_800), "+05:30");
        assert_eq!(offset(3_601), "-01:00:01");
        for (months, days, micros, want) in [
            (0, 0, 0, "PT0S"),
            (14, 3, 4 * 3600 * SECOND + 5 * SECOND / 2, "P1Y2M3DT4H2.5S"),
            (-1, 1, -90 * SECOND, "P-1M1DT-1M-30S"),
            (0, 0, -SECOND / 2, "PT-0.5S"),
        ] {
            assert_eq!(interval(months, days, micros), want);
        }
    }
}
