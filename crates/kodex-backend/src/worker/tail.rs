//! The end of what a worker wrote to standard error.

use std::collections::VecDeque;

/// How much of the last line goes into an error's text.
const LAST_LINE_MAX: usize = 400;

/// The last bytes of a stream.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    keep: usize,
    n_dropped: u64,
}

impl Tail {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            keep,
            n_dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.keep);
        let (gone, kept) = bytes.split_at(bytes.len() - fits);
        let n_over = (self.bytes.len() + kept.len()).saturating_sub(self.keep);
        self.bytes.drain(..n_over.min(self.bytes.len()));
        self.bytes.extend(kept);
        self.n_dropped += (gone.len() + n_over) as u64;
    }

    /// How many bytes were dropped because there were too many.
    pub(crate) fn n_dropped(&self) -> u64 {
        self.n_dropped
    }

    /// All of it, lossy where it is no UTF-8.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }

    /// The last line that is not blank, escaped and shortened.
    pub(crate) fn last_line(&self) -> Option<String> {
        let text = self.text();
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(shown(line.trim(), LAST_LINE_MAX))
    }
}

/// A text from a plugin as it may stand in a message for people: control characters and the marks
/// that turn the direction of writing are escaped, and its length is bounded.
pub(crate) fn shown(text: &str, max: usize) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() >= max {
            out.push('…');
            break;
        }
        match character {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(character.escape_unicode());
            }
            _ if character.is_control() => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_the_rest_counted() {
        for (pieces, want, n_dropped) in [
            (&["abc"][..], "abc", 0),
            (&["abcdefgh", "ij"], "cdefghij", 2),
            (&["0123456789abcdef"], "89abcdef", 8),
            (&["aaaa", "0123456789"], "23456789", 6),
        ] {
            let mut tail = Tail::new(8);
            for piece in pieces {
                tail.push(piece.as_bytes());
            }
            assert_eq!((tail.text().as_str(), tail.n_dropped()), (want, n_dropped));
        }
    }

    #[test]
    fn a_last_line_cannot_play_tricks_on_a_terminal() {
        let mut tail = Tail::new(1 << 10);
        tail.push(b"first\nbad \x1b[2J\xff \xe2\x80\xae end\n\n  \n");
        let line = tail.last_line().expect("a line");
        assert_eq!(line, "bad \\u{1b}[2J\u{fffd} \\u{202e} end");
        assert_eq!(shown(&"x".repeat(9), 4), "xxxx…");
    }
}
