//! JSON in the form that Python's `json.dumps(.., indent=2)` has: two blanks per level, only ASCII,
//! keys in their order, numbers as they were written.
//!
//! It works on text, token by token: a detour over a tree would change `1.0`, `1e5` and numbers of
//! thirty digits, and what a plugin wrote is not ours to change. It checks nothing; what comes here
//! has passed the door or was serialised by this program.

use serde::Serialize;

/// The JSON form of a value, ending in a newline.
pub(crate) fn document<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut out = python(&serde_json::to_string(value)?);
    out.push('\n');
    Ok(out)
}

/// Lays out a JSON text.
pub(crate) fn python(text: &str) -> String {
    let mut writer = Writer {
        out: String::with_capacity(text.len() * 2),
        depth: 0,
    };
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' => at + 1,
            open @ (b'{' | b'[') => writer.open(bytes, at, open),
            close @ (b'}' | b']') => writer.close(at, close),
            b',' => writer.comma(at),
            b':' => writer.colon(at),
            b'"' => writer.string(text, at),
            _ => writer.token(text, at),
        };
    }
    writer.out
}

struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    fn newline(&mut self) {
        self.out.push('\n');
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }

    /// Opens a container; an empty one is closed at once and stays on its line.
    fn open(&mut self, bytes: &[u8], at: usize, open: u8) -> usize {
        self.out.push(char::from(open));
        let mut next = at + 1;
        while bytes.get(next).is_some_and(u8::is_ascii_whitespace) {
            next += 1;
        }
        if let Some(close @ (b'}' | b']')) = bytes.get(next) {
            self.out.push(char::from(*close));
            return next + 1;
        }
        self.depth += 1;
        self.newline();
        next
    }

    fn close(&mut self, at: usize, close: u8) -> usize {
        self.depth = self.depth.saturating_sub(1);
        self.newline();
        self.out.push(char::from(close));
        at + 1
    }

    fn comma(&mut self, at: usize) -> usize {
        self.out.push(',');
        self.newline();
        at + 1
    }

    fn colon(&mut self, at: usize) -> usize {
        self.out.push_str(": ");
        at + 1
    }

    /// Numbers and words pass as they are.
    fn token(&mut self, text: &str, at: usize) -> usize {
        let rest = &text[at..];
        let is_end = |c: char| matches!(c, ',' | '}' | ']' | ':' | '"') || c.is_ascii_whitespace();
        let length = rest.find(is_end).unwrap_or(rest.len()).max(1);
        let end = (at + length..=text.len()).find(|end| text.is_char_boundary(*end));
        let end = end.unwrap_or(text.len());
        self.out.push_str(&text[at..end]);
        end
    }

    /// A string: the same characters in Python's spelling.
    fn string(&mut self, text: &str, at: usize) -> usize {
        self.out.push('"');
        let mut chars = text[at + 1..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.out.push('"');
                    return at + 1 + offset + 1;
                }
                '\\' => match chars.next() {
                    Some((_, 'u')) => {
                        let digits: String =
                            chars.by_ref().take(4).map(|(_, digit)| digit).collect();
                        self.unit(u16::from_str_radix(&digits, 16).unwrap_or(0xFFFD));
                    }
                    Some((_, short)) => self.character(match short {
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        itself => itself,
                    }),
                    None => {}
                },
                plain => self.character(plain),
            }
        }
        text.len()
    }

    fn character(&mut self, c: char) {
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            self.unit(*unit);
        }
    }

    fn unit(&mut self, unit: u16) {
        use std::fmt::Write as _;
        let short = match unit {
            0x08 => "\\b",
            0x09 => "\\t",
            0x0A => "\\n",
            0x0C => "\\f",
            0x0D => "\\r",
            0x22 => "\\\"",
            0x5C => "\\\\",
            0x20..=0x7E => {
                // The range is ASCII, so the low byte is the character.
                self.out.push(char::from(unit.to_le_bytes()[0]));
                return;
            }
            _ => {
                // Writing to a String does not fail.
                let _ = write!(self.out, "\\u{unit:04x}");
                return;
            }
        };
        self.out.push_str(short);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right side was printed by `json.dumps(json.loads(text), indent=2)`, except for numbers.
    fn check(text: &str, want: &str) {
        assert_eq!(python(text), want, "{text}");
    }

    #[test]
    fn containers_are_laid_out_as_python_does() {
        check("[]", "[]");
        check(" { } ", "{}");
        check("[ [ ],{ }\n]", "[\n  [],\n  {}\n]");
        check(
            r#"{"a":{"b":[1,2]},"c":null}"#,
            "{\n  \"a\": {\n    \"b\": [\n      1,\n      2\n    ]\n  },\n  \"c\": null\n}",
        );
        check("\"top\"", "\"top\"");
        check("true", "true");
    }

    #[test]
    fn numbers_and_the_order_and_number_of_keys_stay() {
        for number in [
            "1.0",
            "1e5",
            "-0",
            "-0.0",
            "1E+400",
            "123456789012345678901234567890",
            "0.1000",
        ] {
            check(number, number);
        }
        check(
            r#"{"b":1,"a":2,"b":3}"#,
            "{\n  \"b\": 1,\n  \"a\": 2,\n  \"b\": 3\n}",
        );
    }

    #[test]
    fn strings_are_ascii_in_pythons_spelling() {
        for (text, want) in [
            (r#""é""#, r#""\u00e9""#),
            (r#""\u00E9""#, r#""\u00e9""#),
            ("\"\u{1F600}\"", r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00""#, r#""\ud83d\ude00""#),
            (r#""a\/b""#, r#""a/b""#),
            (r#""\u0041\u000a\u0022""#, r#""A\n\"""#),
            ("\"\u{7f}\"", r#""\u007f""#),
            (
                r#""\b\f\n\r\t\\\"\u0000\u001F""#,
                r#""\b\f\n\r\t\\\"\u0000\u001f""#,
            ),
            (r#""[{,:}]""#, r#""[{,:}]""#),
            ("\"\u{2028}\"", r#""\u2028""#),
        ] {
            check(text, want);
        }
    }

    #[test]
    fn text_that_is_no_json_is_no_reason_to_panic() {
        for text in [
            "",
            "\"",
            "\"\\",
            "\"\\u12",
            "é",
            "]]]",
            "{\"a\"",
            ",,",
            "\\",
            "\"\\ué\"",
        ] {
            let _ = python(text);
        }
    }
}
