//! The words of a permission: blanks, quotes, escapes, brackets, and the same things written back.
//!
//! It knows no scope. A word keeps its place in the whole text, so every fault points at the bytes
//! that caused it.

use std::ops::Range;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::{
    error::{Fault, Rule},
    show::is_invisible,
};

/// Longest text of one permission. The longest sensible path fits several times.
pub const MAX_TEXT: usize = 4096;

/// A piece of the text and where it starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) start: usize,
}

impl<'t> Word<'t> {
    pub(super) fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    pub(super) fn part(self, range: Range<usize>) -> Self {
        Self {
            text: &self.text[range.clone()],
            start: self.start + range.start,
        }
    }

    pub(super) fn from(self, at: usize) -> Self {
        self.part(at..self.text.len())
    }

    /// The word without blanks at its ends.
    pub(super) fn trimmed(self) -> Self {
        let front = self.text.len() - self.text.trim_start_matches(' ').len();
        let text = self.text.trim_matches(' ');
        Self {
            text,
            start: self.start + front,
        }
    }

    pub(super) fn fault(self, rule: Rule, message: impl Into<String>) -> Fault {
        Fault::new(rule, self.span(), message)
    }

    /// The parts between separators that stand outside quotes and brackets.
    pub(super) fn split(self, separator: char) -> Result<Vec<Self>, Fault> {
        let mut parts = Vec::new();
        let mut from = 0;
        for at in self.top_level(separator)? {
            parts.push(self.part(from..at));
            from = at + separator.len_utf8();
        }
        parts.push(self.from(from));
        Ok(parts)
    }

    /// Where a character stands outside quotes, brackets and braces.
    fn top_level(self, wanted: char) -> Result<Vec<usize>, Fault> {
        let mut found = Vec::new();
        let mut open: Vec<(usize, char)> = Vec::new();
        let mut chars = self.text.char_indices();
        while let Some((at, c)) = chars.next() {
            match (open.last(), c) {
                (Some((_, '"')), '\\') => {
                    chars.next();
                }
                (Some((_, close)), c) if *close == c => {
                    open.pop();
                }
                (Some((_, '"')), _) => {}
                (_, '"') => open.push((at, '"')),
                (_, '[') => open.push((at, ']')),
                (_, '{') => open.push((at, '}')),
                (None, c) if c == wanted => found.push(at),
                _ => {}
            }
        }
        match open.first() {
            None => Ok(found),
            Some((at, close)) => Err(self
                .part(*at..*at + 1)
                .fault(Rule::TextUnclosed, format!("no closing `{close}` follows"))),
        }
    }

    /// The items of `[a, b]`, or the word itself as the only item.
    pub(super) fn items(self) -> Result<Vec<Self>, Fault> {
        let inner = self
            .text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let Some(inner) = inner else {
            return Ok(vec![self]);
        };
        let inner = self.part(1..1 + inner.len()).trimmed();
        if inner.text.is_empty() {
            return Ok(Vec::new());
        }
        let items = inner.split(',')?.into_iter().map(Self::trimmed);
        let items: Vec<_> = items.collect();
        match items.iter().find(|item| item.text.is_empty()) {
            None => Ok(items),
            Some(item) => Err(item.fault(Rule::ConstraintValue, "an item of the list is empty")),
        }
    }

    /// The word inside its quotes, for values that need no escape.
    pub(super) fn plain(self) -> Self {
        let inner = self.text.strip_prefix('"');
        match inner.and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => self.part(1..1 + inner.len()),
            None => self,
        }
    }

    /// The text of a word that may be quoted as a whole. `more` names characters that need no
    /// quotes here.
    pub(super) fn unquoted(self, more: &str) -> Result<Quoted, Fault> {
        if self.text.starts_with('"') {
            return unquote(self);
        }
        match self.text.char_indices().find(|(_, c)| !is_bare(*c, more)) {
            Some((at, c)) => Err(needs_quotes(self.part(at..at + c.len_utf8()))),
            None => Ok(Quoted {
                text: nfc(self.text),
                n_wild: self.text.matches('*').count(),
                end: self.text.len(),
            }),
        }
    }
}

/// Splits a permission at its blanks, after refusing what no permission may hold.
pub(super) fn words(text: &str) -> Result<Vec<Word<'_>>, Fault> {
    let whole = Word { text, start: 0 };
    if text.len() > MAX_TEXT {
        let message = format!(
            "the text has {} bytes; at most {MAX_TEXT} are allowed",
            text.len()
        );
        return Err(whole.fault(Rule::TextTooLong, message));
    }
    for (at, c) in text.char_indices() {
        let place = whole.part(at..at + c.len_utf8());
        if c.is_control() {
            let message = format!(
                "the control character U+{:04X} is not allowed",
                u32::from(c)
            );
            return Err(place.fault(Rule::TextControl, message));
        }
        if is_invisible(c) {
            let message = format!(
                "the invisible character U+{:04X} is not allowed",
                u32::from(c)
            );
            let hint = format!("inside quotes, write it as `\\u{{{:x}}}`", u32::from(c));
            return Err(place.fault(Rule::TextInvisible, message).with_hint(hint));
        }
    }
    let mut words = whole.split(' ')?;
    words.retain(|word| !word.text.is_empty());
    Ok(words)
}

/// Characters that need no quotes. `more` names further ones that the place allows.
pub(super) fn is_bare(c: char, more: &str) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || "._-+@:%~^=#".contains(c) || more.contains(c)
}

fn needs_quotes(place: Word<'_>) -> Fault {
    let message = format!("`{}` cannot stand here unquoted", place.text);
    let fault = place.fault(Rule::PatternCharacter, message);
    match place.text {
        "\\" => fault.with_hint("segments are separated by `/`"),
        _ => fault.with_hint("put the whole segment or value in double quotes"),
    }
}

/// A text without its quotes.
pub(super) struct Quoted {
    pub(super) text: String,
    /// How often a `*` stood there without a backslash.
    pub(super) n_wild: usize,
    /// Where the word goes on after the closing quote.
    end: usize,
}

/// Reads the quoted text at the start of a word, which must be all of it.
fn unquote(word: Word<'_>) -> Result<Quoted, Fault> {
    let quoted = quoted(word)?;
    if quoted.end < word.text.len() {
        return Err(word
            .from(quoted.end)
            .fault(
                Rule::PatternCharacter,
                "something follows the closing quote",
            )
            .with_hint("quote the whole segment or value"));
    }
    Ok(quoted)
}

/// Reads the quoted text at the start of a word.
fn quoted(word: Word<'_>) -> Result<Quoted, Fault> {
    let mut text = String::new();
    let mut n_wild = 0;
    let mut chars = word.text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                return Ok(Quoted {
                    text: nfc(&text),
                    n_wild,
                    end: at + 1,
                });
            }
            '\\' => {
                let (c, length) = escape(word.from(at))?;
                text.push(c);
                for _ in 1..length {
                    chars.next();
                }
            }
            c => {
                n_wild += usize::from(c == '*');
                text.push(c);
            }
        }
    }
    Err(word
        .part(0..1)
        .fault(Rule::TextUnclosed, "no closing `\"` follows"))
}

/// One escape at the start of a word: the character and how many characters spell it.
fn escape(word: Word<'_>) -> Result<(char, usize), Fault> {
    let after = &word.text[1..];
    if let Some(c) = after.chars().next().filter(|c| "\"\\*".contains(*c)) {
        return Ok((c, 2));
    }
    let digits = after
        .strip_prefix("u{")
        .and_then(|rest| rest.split_once('}'))
        .map(|(digits, _)| digits)
        .filter(|digits| digits.len() <= 6);
    let c = digits.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
    match (c, digits) {
        (Some(c), Some(digits)) if !digits.starts_with('+') => {
            let length = digits.len() + 4;
            if c.is_control() {
                let message = format!(
                    "the control character U+{:04X} is not allowed",
                    u32::from(c)
                );
                return Err(word.part(0..length).fault(Rule::TextControl, message));
            }
            Ok((c, length))
        }
        _ => Err(word
            .part(0..1)
            .fault(Rule::TextEscape, "this escape does not exist")
            .with_hint("known are `\\\"`, `\\\\`, `\\*` and `\\u{…}`")),
    }
}

/// Unicode normal form C, without copying what is already normal more than once.
pub(super) fn nfc(text: &str) -> String {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.to_owned(),
        IsNormalized::No | IsNormalized::Maybe => text.nfc().collect(),
    }
}

/// Writes a name so that it reads back as itself: bare where that is possible.
pub(super) fn write_literal(out: &mut String, text: &str) {
    let bare = |c: char| is_bare(c, "") && !is_invisible(c);
    if !text.is_empty() && text.chars().all(bare) {
        out.push_str(text);
    } else {
        write_quoted(out, text);
    }
}

/// Writes a name in quotes, with every escape it needs.
pub(super) fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' | '*' => out.extend(['\\', c]),
            c if is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
}
