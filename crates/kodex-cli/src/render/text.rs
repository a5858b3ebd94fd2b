//! Text from plugins on its way to a terminal: what could move the cursor, set a title, change
//! colours or turn lines around is shown, not obeyed.

use std::{borrow::Cow, fmt::Write as _};

/// One line: every control character is spelled out, also newlines and tabs.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    spelled(text, is_hazard)
}

/// Several lines: newlines and tabs stay.
pub(crate) fn block(text: &str) -> Cow<'_, str> {
    spelled(text, |c| is_hazard(c) && !matches!(c, '\n' | '\t'))
}

fn spelled(text: &str, is_hazard: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_hazard(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Writing to a String does not fail.
            c => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

/// Control characters of both sets, and what is invisible and changes how its neighbours are read:
/// directions, joiners, tags.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{AD}'
                | '\u{61C}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        for (text, want) in [
            ("plain ä 日本", "plain ä 日本"),
            ("a\x1b[31mred", "a\\u{1b}[31mred"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{2066}b\u{200f}", "a\\u{2066}b\\u{200f}"),
            ("one\ntwo\tthree\r", "one\\ntwo\\tthree\\r"),
        ] {
            assert_eq!(line(text), want);
        }
        assert_eq!(block("one\n\ttwo\x1b"), "one\n\ttwo\\u{1b}");
    }
}
