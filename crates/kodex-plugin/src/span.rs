//! Spans of time as people write them: `500ms`, `1s`, `2m`.
//!
//! One grammar for manifests, policy and the command line: a whole number directly followed by
//! `ms`, `s` or `m`. No fractions, no sums, no blanks: `1.5s` is `1500ms`.

use std::time::Duration;

/// Why a text is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no span of time: {rule}")]
pub struct SpanError {
    text: String,
    rule: &'static str,
}

impl SpanError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "span.invalid"
    }

    /// The rule that was broken, as a sentence without its stop.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

/// Reads a span of time.
///
/// ```
/// use kodex_plugin::span::parse_span;
/// use std::time::Duration;
/// assert_eq!(parse_span("500ms")?, Duration::from_millis(500));
/// assert_eq!(parse_span("2m")?, Duration::from_secs(120));
/// assert!(parse_span("1.5s").is_err());
/// # Ok::<(), kodex_plugin::span::SpanError>(())
/// ```
///
/// # Errors
/// [`SpanError`] says which part of the grammar the text breaks.
pub fn parse_span(text: &str) -> Result<Duration, SpanError> {
    read(text).map_err(|rule| SpanError {
        text: text.to_owned(),
        rule,
    })
}

fn read(text: &str) -> Result<Duration, &'static str> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    if number.is_empty() {
        return Err("it must start with a whole number");
    }
    let number = number.parse::<u64>().map_err(|_| "the number is too big")?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number
            .checked_mul(60)
            .map(Duration::from_secs)
            .ok_or("the number is too big"),
        "" => Err("the unit is missing: ms, s or m"),
        unit if unit.starts_with(['.', ',']) => {
            Err("fractions are not allowed; use a smaller unit")
        }
        _ => Err("the unit must be ms, s or m"),
    }
}

/// Writes a span in the largest unit that holds it without a rest. Parts of a millisecond are
/// rounded up, so that a span never becomes zero on its way through text.
///
/// ```
/// use kodex_plugin::span::format_span;
/// use std::time::Duration;
/// assert_eq!(format_span(Duration::from_secs(120)), "2m");
/// assert_eq!(format_span(Duration::from_millis(1_500)), "1500ms");
/// ```
#[must_use]
pub fn format_span(span: Duration) -> String {
    let rest = u128::from(!span.subsec_nanos().is_multiple_of(1_000_000));
    match span.as_millis() + rest {
        0 => "0s".to_owned(),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_has_three_units_and_no_fractions() {
        for (text, want) in [
            ("0s", "0s"),
            ("500ms", "500ms"),
            ("1000ms", "1s"),
            ("60s", "1m"),
            ("90s", "90s"),
            ("10m", "10m"),
            ("007s", "7s"),
            ("", "whole number"),
            ("s", "whole number"),
            ("-1s", "whole number"),
            ("+1s", "whole number"),
            (" 1s", "whole number"),
            ("1", "unit is missing"),
            ("1 s", "unit must be"),
            ("1s ", "unit must be"),
            ("1h", "unit must be"),
            ("1S", "unit must be"),
            ("1m30s", "unit must be"),
            ("1.5s", "fractions"),
            ("1,5s", "fractions"),
            ("99999999999999999999s", "too big"),
            ("18446744073709551615m", "too big"),
            ("١s", "whole number"),
        ] {
            match parse_span(text) {
                Ok(span) => assert_eq!(format_span(span), want, "{text:?}"),
                Err(error) => assert!(error.to_string().contains(want), "{text:?}: {error}"),
            }
        }
    }

    #[test]
    fn parts_of_a_millisecond_are_rounded_up() {
        assert_eq!(format_span(Duration::from_nanos(1)), "1ms");
        assert_eq!(format_span(Duration::from_micros(1_500)), "2ms");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0..u64::MAX / 2) {
            let span = Duration::from_millis(ms);
            prop_assert_eq!(parse_span(&format_span(span)), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = parse_span(&text);
        }
    }
}
