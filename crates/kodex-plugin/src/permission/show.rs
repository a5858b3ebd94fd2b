//! Showing a permission, or any text of a plugin, to the person who decides about it.
//!
//! What is shown must be what is granted: nothing invisible, nothing cut off unnoticed. A question
//! may offer "always" only when the whole text is on the screen.

/// How many characters a question shows at most. Longer texts cannot be read in one look, and what
/// is not read is not agreed to.
pub const SHOWN_CHARS: usize = 240;

/// A text that is safe to print on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The text, escaped and perhaps cut.
    pub text: String,
    /// Whether the text is whole and needed no escape. Only then may "always" be offered.
    pub complete: bool,
}

/// Escapes what nobody can see, and cuts what nobody would read.
///
/// ```
/// use kodex_plugin::permission::show;
/// assert!(show("fs:read ${project}/src/**").complete);
/// let shown = show("fs:read \u{1b}[2Kharmless");
/// assert_eq!((shown.text.as_str(), shown.complete), ("fs:read \\u{1b}[2Kharmless", false));
/// ```
#[must_use]
pub fn show(text: &str) -> Shown {
    let mut shown = Shown {
        text: String::new(),
        complete: true,
    };
    for (index, c) in text.chars().enumerate() {
        if index == SHOWN_CHARS {
            shown.text.push('…');
            shown.complete = false;
            break;
        }
        if c.is_control() || is_invisible(c) {
            shown.text.extend(c.escape_unicode());
            shown.complete = false;
        } else {
            shown.text.push(c);
        }
    }
    shown
}

/// Characters without a shape of their own: blanks other than the space, joiners, marks that change
/// the direction of text, fillers, variation selectors, tags.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{1680}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_hidden_texts_are_never_complete() {
        for (text, complete) in [
            ("net:connect api.example.com:443".to_owned(), true),
            ("a".repeat(SHOWN_CHARS), true),
            ("a".repeat(SHOWN_CHARS + 1), false),
            ("a".repeat(5_000), false),
            ("a\u{202e}b".to_owned(), false),
            ("a\u{200b}b".to_owned(), false),
            ("\u{9b}31m".to_owned(), false),
        ] {
            let shown = show(&text);
            assert_eq!(shown.complete, complete, "{text:?}");
            assert!(
                shown
                    .text
                    .chars()
                    .all(|c| !c.is_control() && !is_invisible(c))
            );
            assert!(shown.text.chars().count() <= SHOWN_CHARS * 10 + 1);
        }
    }
}
