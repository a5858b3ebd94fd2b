//! Cron expressions: five fields, read by croner, asked for local times only.
//!
//! What croner would do where the clocks change differs from what calendars do here, so it is never
//! given a time zone; `walk.rs` decides for both.

use croner::{
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use jiff::civil::DateTime;

use super::{
    count::Times,
    error::{IntentError, Rule},
};

/// Longer texts are lists that a person would not write by hand.
const MOST_CHARS: usize = 200;

const FIELDS: [&str; 5] = ["minute", "hour", "day of month", "month", "day of week"];

/// Short words for whole expressions. `@midnight` is left to croner's own table elsewhere, so it is
/// spelled out here with the others and croner never sees any of them.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A cron expression.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: String,
    parsed: Box<croner::Cron>,
    /// The hours of a day are every so many, counted from midnight: such a rule follows the clock.
    is_wild: bool,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression
    }
}

impl Cron {
    /// Reads an expression of five fields or a nickname such as `@daily`.
    ///
    /// # Errors
    /// The message names the field that is wrong.
    pub fn new(expression: &str) -> Result<Self, IntentError> {
        let error = |rule, message: String| IntentError::one("expression", rule, message);
        if expression.len() > MOST_CHARS {
            let message = format!("an expression has at most {MOST_CHARS} characters");
            return Err(error(Rule::Range, message));
        }
        let word = expression.trim().to_ascii_lowercase();
        let nickname = NICKNAMES.iter().find(|(name, _)| *name == word);
        let expression = nickname.map_or(expression, |(_, fields)| fields);
        let fields: Vec<_> = expression.split_ascii_whitespace().collect();
        if fields.len() != FIELDS.len() {
            let message = format!(
                "an expression has five fields (minute, hour, day of month, month, day of week), \
                this one has {}",
                fields.len()
            );
            return Err(error(Rule::Form, message));
        }
        let parsed = match parse(&fields) {
            Ok(parsed) => parsed,
            Err(cause) => return Err(error(Rule::Form, wrong_field(&fields, &cause))),
        };
        Ok(Self {
            expression: fields.join(" "),
            parsed: Box::new(parsed),
            is_wild: fields[1].starts_with('*'),
        })
    }

    /// The fields, with one blank between each two.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// What it means, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        self.parsed.describe()
    }

    /// Whether it follows the clock through the hours of a day, so that an hour that is shown twice
    /// counts twice.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.is_wild
    }

    /// Whether every day is one of its days.
    pub(super) fn is_daily(&self) -> bool {
        let mut days = self.expression.split(' ').skip(2);
        days.all(|field| field == "*")
    }

    /// The times of day, the same on each of its days.
    pub(super) fn times(&self) -> Times {
        let pattern = &self.parsed.pattern;
        Times {
            hours: pattern.hours.values(),
            minutes: pattern.minutes.values(),
        }
    }

    /// The first local time of the rule that is not before this one.
    #[must_use]
    pub fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        self.parsed.find_next_occurrence(&from, true).ok()
    }
}

fn parse(fields: &[&str]) -> Result<croner::Cron, CronError> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed);
    parser.build().parse(&fields.join(" "))
}

/// Croner's errors have no place, so each field is tried alone.
fn wrong_field(fields: &[&str], cause: &CronError) -> String {
    for (index, field) in fields.iter().enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[index] = field;
        if let Err(cause) = parse(&alone) {
            let nth = index + 1;
            return format!("field {nth} ({}) is {field:?}: {cause}", FIELDS[index]);
        }
    }
    cause.to_string()
}
