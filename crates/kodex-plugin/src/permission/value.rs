//! Values of constraints: counts, sizes, spans of time, money, and single words.
//!
//! There is one unit per kind inside (bytes, milliseconds, millionths of a dollar), so that limits
//! compare as numbers. Zero is refused everywhere: a limit of nothing is no permission.

use super::{
    error::{Fault, Rule},
    text::Word,
};

/// Largest number that every language reads from JSON without loss.
const MAX_NUMBER: u64 = (1 << 53) - 1;

const SIZES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const SPANS: &[(&str, u64)] = &[
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Millionths in one unit of money.
const MICROS: u64 = 1_000_000;

/// A whole number from 1.
pub(super) fn count(word: Word<'_>) -> Result<u64, Fault> {
    let word = word.plain();
    digits(word.text).ok_or_else(|| {
        word.fault(
            Rule::ConstraintValue,
            format!("`{}` is no whole number from 1", word.text),
        )
        .with_hint("write digits only, without a leading zero")
    })
}

/// A number of bytes, with an optional binary unit.
pub(super) fn size(word: Word<'_>) -> Result<u64, Fault> {
    let word = word.plain();
    let (number, unit) = split_unit(word.text);
    let factor = match unit {
        "" => Some(1),
        unit => factor(SIZES, unit),
    };
    scaled(number, factor).ok_or_else(|| {
        word.fault(Rule::ConstraintValue, format!("`{}` is no size", word.text))
            .with_hint("write bytes such as `1048576`, or `1MiB`; units are KiB, MiB, GiB, TiB")
    })
}

/// A span of time in milliseconds. The unit is required.
pub(super) fn span(word: Word<'_>) -> Result<u64, Fault> {
    let word = word.plain();
    let (number, unit) = split_unit(word.text);
    scaled(number, factor(SPANS, unit)).ok_or_else(|| {
        word.fault(
            Rule::ConstraintValue,
            format!("`{}` is no span of time", word.text),
        )
        .with_hint("write a number and a unit, such as `5m`; units are ms, s, m, h, d")
    })
}

/// The canonical text of a span: the largest unit that divides it.
pub(super) fn write_span(ms: u64) -> String {
    let largest = SPANS.iter().find(|(_, factor)| ms.is_multiple_of(*factor));
    let (unit, factor) = largest.unwrap_or(&("ms", 1));
    format!("{}{unit}", ms / factor)
}

/// An amount of money in millionths.
pub(super) fn money(word: Word<'_>) -> Result<u64, Fault> {
    let word = word.plain();
    let (whole, fraction) = word.text.split_once('.').unwrap_or((word.text, "0"));
    let amount = || {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !is_number(whole) || has_leading_zero || !is_number(fraction) || fraction.len() > 6 {
            return None;
        }
        let micros = format!("{fraction:0<6}").parse::<u64>().ok()?;
        let whole = whole.parse::<u64>().ok()?.checked_mul(MICROS)?;
        let amount = whole.checked_add(micros)?;
        (1..=MAX_NUMBER).contains(&amount).then_some(amount)
    };
    amount().ok_or_else(|| {
        word.fault(
            Rule::ConstraintValue,
            format!("`{}` is no amount of money", word.text),
        )
        .with_hint("write US dollars such as `2.50`, with at most six decimals")
    })
}

/// The canonical text of an amount.
pub(super) fn write_money(micros: u64) -> String {
    let (whole, fraction) = (micros / MICROS, micros % MICROS);
    let text = format!("{whole}.{fraction:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One of a closed set of words.
pub(super) fn choice<T: Copy>(word: Word<'_>, known: &[(&str, T)]) -> Result<T, Fault> {
    let text = word.unquoted("")?.text;
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        word.fault(
            Rule::ConstraintValue,
            format!("`{text}` is not one of the values"),
        )
        .with_known(&text, &names)
    })
}

/// A name made of letters, digits and the further characters, starting with a letter or digit.
pub(super) fn is_name(text: &str, more: &str, max: usize) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= max
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn digits(text: &str) -> Option<u64> {
    let is_plain = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|_| is_plain)?;
    (number <= MAX_NUMBER).then_some(number)
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(at.unwrap_or(text.len()))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    let found = units.iter().find(|(name, _)| *name == unit);
    found.map(|(_, factor)| *factor)
}

fn scaled(number: &str, factor: Option<u64>) -> Option<u64> {
    let product = digits(number)?.checked_mul(factor?)?;
    (product <= MAX_NUMBER).then_some(product)
}
