//! Why an intent was refused: every broken rule with the path of its field, not only the first.

use std::fmt;

/// One broken rule of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, from the root of the intent: `weekdays[1]`, `timing.after.value`.
    pub path: String,
    /// Which rule.
    pub rule: Rule,
    /// What is wrong and what to write, for people and models.
    pub message: String,
}

/// The rules that an intent can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The field does not exist.
    Unknown,
    /// The field is needed here.
    Missing,
    /// The value has another JSON type than the field.
    Type,
    /// The text does not have its form, or names a date or time that does not exist.
    Form,
    /// The value is outside its bounds.
    Range,
    /// The field has no meaning beside the others.
    Conflict,
    /// There is no such time zone.
    Zone,
    /// The clocks jump over this local time.
    Gap,
    /// The moment has passed.
    Past,
    /// Nothing would ever run.
    Never,
    /// Occurrences would follow each other too closely.
    TooOften,
}

impl Rule {
    /// The word in errors that programs read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_field",
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Form => "form",
            Self::Range => "range",
            Self::Conflict => "conflict",
            Self::Zone => "timezone",
            Self::Gap => "gap",
            Self::Past => "past",
            Self::Never => "never",
            Self::TooOften => "too_often",
        }
    }
}

/// An intent that cannot become a cadence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntentError {
    /// What is wrong, in the order of the fields. Never empty in an error.
    pub problems: Vec<Problem>,
}

impl IntentError {
    pub(super) fn one(path: &str, rule: Rule, message: impl Into<String>) -> Self {
        let mut error = Self::default();
        error.add(path, rule, message);
        error
    }

    pub(super) fn add(&mut self, path: &str, rule: Rule, message: impl Into<String>) {
        self.problems.push(Problem {
            path: path.to_owned(),
            rule,
            message: message.into(),
        });
    }

    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for IntentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let path = if problem.path.is_empty() {
                "schedule".to_owned()
            } else {
                format!("schedule.{}", problem.path)
            };
            write!(
                f,
                "{separator}{path}: {} ({})",
                problem.message,
                problem.rule.as_str()
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for IntentError {}
