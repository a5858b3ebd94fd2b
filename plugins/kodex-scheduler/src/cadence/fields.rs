//! Reading a JSON object field by field, strictly, remembering everything that is wrong with it.

use std::ops::RangeInclusive;

use jiff::civil::{Date, Time};
use kodex_plugin::suggest;
use serde_json::{Map, Value};

use super::error::{IntentError, Rule};

/// An object that is being read. What nobody asked for is refused at the end.
pub(super) struct Fields<'v> {
    path: String,
    map: &'v Map<String, Value>,
    known: Vec<&'static str>,
    problems: IntentError,
}

impl<'v> Fields<'v> {
    pub(super) fn new(path: &str, value: &'v Value) -> Result<Self, IntentError> {
        match value {
            Value::Object(map) => Ok(Self {
                path: path.to_owned(),
                map,
                known: Vec::new(),
                problems: IntentError::default(),
            }),
            other => {
                let message = format!("must be an object, not {}", kind_of(other));
                Err(IntentError::one(path, Rule::Type, message))
            }
        }
    }

    /// The path of a field.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn add(&mut self, key: &str, rule: Rule, message: impl Into<String>) {
        let path = self.path(key);
        self.problems.add(&path, rule, message);
    }

    /// The field's value; `null` is none.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'v Value> {
        self.known.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Says that a field is missing, unless it is there or was refused for another reason.
    pub(super) fn need(&mut self, key: &'static str, why: &str) {
        if self.value(key).is_none() {
            self.add(key, Rule::Missing, why);
        }
    }

    /// Refuses a field that has no meaning beside the others.
    pub(super) fn refuse(&mut self, key: &'static str, why: &str) {
        if self.value(key).is_some() {
            self.add(key, Rule::Conflict, why);
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<&'v str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            let message = format!("must be a text, not {}", kind_of(value));
            self.add(key, Rule::Type, message);
        }
        text
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = self.value(key)?;
        let Some(number) = value.as_i64() else {
            let message = format!("must be a whole number, not {}", kind_of(value));
            self.add(key, Rule::Type, message);
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        let (least, most) = (range.start(), range.end());
        let message = format!("must be from {least} to {most}, not {number}");
        self.add(key, Rule::Range, message);
        None
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(key)?;
        let found = word(text, words);
        if let Err(message) = &found {
            self.add(key, Rule::Form, message);
        }
        found.ok()
    }

    pub(super) fn date(&mut self, key: &'static str) -> Option<Date> {
        let text = self.text(key)?;
        let date = date(text);
        if date.is_none() {
            let message = format!("{text:?} is no date; write one as YYYY-MM-DD");
            self.add(key, Rule::Form, message);
        }
        date
    }

    pub(super) fn time(&mut self, key: &'static str) -> Option<Time> {
        let text = self.text(key)?;
        let time = time(text);
        if time.is_none() {
            let message = format!("{text:?} is no time of day; write 00:00 to 23:59");
            self.add(key, Rule::Form, message);
        }
        time
    }

    /// Takes over what is wrong with a part.
    pub(super) fn join<T>(&mut self, part: Result<T, IntentError>) -> Option<T> {
        match part {
            Ok(part) => Some(part),
            Err(error) => {
                self.problems.problems.extend(error.problems);
                None
            }
        }
    }

    /// Refuses fields that nobody asked for, and gives the value if nothing at all is wrong.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, IntentError> {
        for key in self.map.keys() {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let shown: String = key.chars().take(40).collect();
            let hint = suggest::closest(key, self.known.iter().copied())
                .map(|known| format!("; did you mean {known:?}?"))
                .unwrap_or_default();
            let path = self.path(&shown);
            let message = format!("there is no such field{hint}");
            self.problems.add(&path, Rule::Unknown, message);
        }
        match value {
            Some(value) => self.problems.or(value),
            None => {
                if self.problems.problems.is_empty() {
                    let path = self.path.clone();
                    self.problems.add(&path, Rule::Missing, "is not complete");
                }
                Err(self.problems)
            }
        }
    }
}

/// The meaning of a word of a table.
pub(super) fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let shown: String = text.chars().take(40).collect();
    let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    Err(match suggest::closest(text, known.iter().copied()) {
        Some(close) => format!("{shown:?} is unknown; did you mean {close:?}?"),
        None => format!("{shown:?} is unknown; write one of {}", known.join(", ")),
    })
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A date as YYYY-MM-DD that is in the calendar.
pub(super) fn date(text: &str) -> Option<Date> {
    let [year, month, day] = numbers(text, '-', [4, 2, 2])?;
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// A time of day as HH:MM.
pub(super) fn time(text: &str) -> Option<Time> {
    let [hour, minute] = numbers(text, ':', [2, 2])?;
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
}

/// Numbers of fixed widths.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i16; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}
