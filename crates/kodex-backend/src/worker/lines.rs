//! Bytes in, lines out. The buffer grows only as far as the longest allowed line.

use std::io::BufRead;

/// A line has more bytes than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Where all but rare messages fit in one read.
const FIRST_ROOM: usize = 16 << 10;
/// More room than this is given back after use.
const KEEP: usize = 128 << 10;

/// Splits a stream into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// What stands between `start` and `end` was received and not yet handed out.
    start: usize,
    end: usize,
    /// Up to here there is no newline.
    searched: usize,
    longest: usize,
}

impl Lines {
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            buffer: vec![0; FIRST_ROOM],
            start: 0,
            end: 0,
            searched: 0,
            longest,
        }
    }

    /// Room for more bytes; never empty. Tell with [`Lines::filled`] how many were put there.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end, self.searched) = (0, 0, 0);
            if self.buffer.len() > KEEP {
                // A long line is rare; its memory is not kept.
                self.buffer = vec![0; FIRST_ROOM];
            }
        } else if self.end == self.buffer.len() {
            self.make_room();
        }
        &mut self.buffer[self.end..]
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.searched -= self.start;
        self.start = 0;
        if self.end * 2 > self.buffer.len() {
            // The longest line, its carriage return and newline, and one byte to see that it is longer.
            let len = (self.buffer.len() * 2).min(self.longest.saturating_add(3));
            self.buffer.resize(len.max(self.end + 1), 0);
        }
    }

    pub(crate) fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.buffer.len());
    }

    /// The next whole line, without its newline.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let Some(offset) = newline(&self.buffer[self.searched..self.end]) else {
            self.searched = self.end;
            // One more byte may be a carriage return.
            return match self.end - self.start > self.longest + 1 {
                true => Err(TooLong),
                false => Ok(None),
            };
        };
        let line = self.start..self.searched + offset;
        self.start = line.end + 1;
        self.searched = self.start;
        let line = &self.buffer[line];
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        match text.len() > self.longest {
            true => Err(TooLong),
            false => Ok(Some(text)),
        }
    }

    /// What was received of a line that has no end yet.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

/// Where the first newline is. The standard library looks at many bytes at a time here.
fn newline(mut bytes: &[u8]) -> Option<usize> {
    let whole = bytes;
    let n = bytes.skip_until(b'\n').ok()?;
    (n > 0 && whole[n - 1] == b'\n').then(|| n - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds the text in pieces of the given size.
    fn split(text: &[u8], piece: usize, longest: usize) -> (Vec<Vec<u8>>, bool, Vec<u8>) {
        let mut lines = Lines::new(longest);
        let (mut got, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let room = lines.room();
            let n = piece.min(rest.len()).min(room.len());
            assert!(n > 0, "there is always room");
            room[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            lines.filled(n);
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => got.push(line.to_vec()),
                    Ok(None) => break,
                    Err(TooLong) => return (got, true, Vec::new()),
                }
            }
        }
        let partial = lines.partial().to_vec();
        (got, false, partial)
    }

    #[test]
    fn a_line_may_be_as_long_as_allowed_and_no_longer() {
        for (len, end, too_long) in [
            (10, "\n", false),
            (10, "\r\n", false),
            (11, "\n", true),
            (12, "", true),
            (11, "", false),
        ] {
            let text = format!("{}{end}", "x".repeat(len));
            assert_eq!(split(text.as_bytes(), 4, 10).1, too_long, "{len} {end:?}");
        }
    }

    #[test]
    fn memory_is_given_back_after_a_long_line() {
        let mut lines = Lines::new(1 << 20);
        for _ in 0..6 {
            let n = lines.room().len();
            lines.filled(n);
            assert_eq!(lines.next_line(), Ok(None));
        }
        lines.room()[0] = b'\n';
        lines.filled(1);
        assert!(lines.next_line().is_ok_and(|line| line.is_some()));
        lines.room();
        assert_eq!(lines.buffer.len(), FIRST_ROOM);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            text in "[ab\r\n]{0,200}", piece in 1usize..50
        ) {
            let (got, too_long, partial) = split(text.as_bytes(), piece, 1_000);
            prop_assert!(!too_long);
            let mut want: Vec<&str> = text.split('\n').collect();
            let rest = want.pop().unwrap_or_default();
            let want: Vec<Vec<u8>> = want
                .iter()
                .map(|line| line.strip_suffix('\r').unwrap_or(line).as_bytes().to_vec())
                .collect();
            prop_assert_eq!(got, want);
            prop_assert_eq!(partial, rest.as_bytes());
        }
    }
}
