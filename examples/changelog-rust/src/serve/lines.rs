//! Lines from a pipe, bounded: what is longer is read past and never kept.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// As much as a pipe holds on most systems, so that what came together is seen together.
const BUFFER: usize = 64 << 10;

pub(super) enum Line<'a> {
    Text(&'a [u8]),
    TooLong,
    End,
}

pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER, input),
            line: Vec::new(),
            limit,
        }
    }

    /// Whether the next line is here without waiting.
    pub(super) fn has_line(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }

    /// Waits for the next line. Half a line at the end of the input is no line.
    pub(super) fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        let mut length = 0;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok([]) => return Ok(Line::End),
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            length += part.len();
            if length <= self.limit {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(if length <= self.limit {
                    Line::Text(&self.line)
                } else {
                    Line::TooLong
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of a size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn check(text: &str, want: &[&str]) {
        for size in 1..=text.len().max(1) {
            let mut lines = Lines::new(Pieces(text.as_bytes(), size), 5);
            let mut got = Vec::new();
            loop {
                match lines.next().expect("pieces do not fail") {
                    Line::Text(line) => got.push(String::from_utf8_lossy(line).into_owned()),
                    Line::TooLong => got.push("too long".to_owned()),
                    Line::End => break,
                }
            }
            assert_eq!(got, want, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn lines_are_cut_and_bounded() {
        check("", &[]);
        check("a\nbc\n", &["a", "bc"]);
        check("\n\r\n", &["", "\r"]);
        check("half", &[]);
        check("12345\n123456\n1\n", &["12345", "too long", "1"]);
        check("123456789", &[]);
    }
}
