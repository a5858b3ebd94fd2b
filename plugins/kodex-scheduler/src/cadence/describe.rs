//! A cadence in words, written by the server so that what people read is what will happen.

use jiff::{Timestamp, civil::Weekday};

use super::{
    Cadence, Calendar, Form, Frequency, Gap,
    intent::{WEEKDAYS, span},
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Cadence {
    /// One line in English.
    #[must_use]
    pub fn describe(&self) -> String {
        let zone = self.zone.name();
        match &self.form {
            Form::Once(once) => match Timestamp::from_millisecond(once.at_ms) {
                Ok(at) => format!("once on {} ({zone})", self.minute(at)),
                Err(_) => "never".to_owned(),
            },
            Form::Interval(interval) => {
                let anchor = Timestamp::from_millisecond(interval.anchor_ms).unwrap_or_default();
                let every = span(interval.every());
                format!(
                    "every {every}, counted from {} ({zone})",
                    self.minute(anchor)
                )
            }
            Form::Calendar(rule, gap) => format!("{} ({zone}){}", calendar(rule), shifted(*gap)),
            Form::Cron(cron, gap) => {
                let words = cron.describe();
                let words = words.trim_end_matches('.');
                let shifted = if cron.is_wild() { "" } else { shifted(*gap) };
                format!("{words} (cron {:?}, {zone}){shifted}", cron.expression())
            }
        }
    }

    fn minute(&self, at: Timestamp) -> String {
        self.zone
            .local(at)
            .strftime("%Y-%m-%d at %H:%M")
            .to_string()
    }
}

fn shifted(gap: Gap) -> &'static str {
    match gap {
        Gap::Skip => "",
        Gap::Shift => ", after a clock change that leaves the time out",
    }
}

fn calendar(rule: &Calendar) -> String {
    let every = |one: &str, many: &str| match rule.interval {
        1 => format!("every {one}"),
        n => format!("every {n} {many}"),
    };
    let day = rule.day_of_month;
    let days = match rule.frequency {
        Frequency::Daily => every("day", "days"),
        Frequency::Weekly => format!("{} on {}", every("week", "weeks"), list(&rule.weekdays)),
        Frequency::Monthly => format!("on day {day} of {}", every("month", "months")),
        Frequency::Quarterly => format!(
            "on day {day} of a month of {}",
            every("quarter", "quarters")
        ),
        Frequency::Yearly => {
            let month = usize::try_from(rule.month - 1)
                .ok()
                .and_then(|at| MONTHS.get(at));
            format!(
                "on {} {day} of {}",
                month.unwrap_or(&"?"),
                every("year", "years")
            )
        }
    };
    let time = rule.time.strftime("%H:%M");
    let from = match rule.interval {
        1 => String::new(),
        _ => format!(", counted from {}", rule.start),
    };
    format!("{days} at {time}{from}")
}

fn list(days: &[Weekday]) -> String {
    let names: Vec<_> = days.iter().map(|day| capital(*day)).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "no day".to_owned(),
    }
}

fn capital(day: Weekday) -> String {
    let word = WEEKDAYS.iter().find(|(_, known)| *known == day);
    let mut letters = word.map_or("?", |(word, _)| word).chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
