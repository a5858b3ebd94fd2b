//! What the first words of a statement say. It decides how an answer is counted and read, and refuses
//! words that begin or end transactions, because the store does that. It decides nothing about rights:
//! the server's roles do.

/// The outline of one statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outline<'a> {
    /// The first word.
    pub(super) first: &'a str,
    /// The word of the main statement behind `WITH`; otherwise the first word.
    pub(super) main: &'a str,
    /// The statement without what ends it.
    pub(super) body: &'a str,
}

const MAIN: &[&str] = &[
    "select", "insert", "update", "delete", "merge", "values", "table",
];
const TRANSACTION: &[&str] = &[
    "abort",
    "begin",
    "commit",
    "end",
    "release",
    "rollback",
    "savepoint",
    "start",
];

impl<'a> Outline<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut words = Words {
            text,
            at: 0,
            depth: 0,
        };
        let first = words.next().unwrap_or("");
        let mut main = first;
        let mut second = None;
        for word in words.by_ref() {
            second = second.or(Some(word));
            if is(first, &["with"]) && is(main, &["with"]) && is(word, MAIN) {
                main = word;
            }
        }
        // `PREPARE TRANSACTION` is the only one that needs two words.
        if is(first, &["prepare"]) && second.is_some_and(|word| is(word, &["transaction"])) {
            main = "commit";
        }
        Self {
            first,
            main,
            body: &text[..words.at],
        }
    }

    /// Whether it begins, ends or divides a transaction.
    pub(super) fn is_transaction(&self) -> bool {
        is(self.main, TRANSACTION)
    }

    /// Whether the count that the server gives is one of changed rows.
    pub(super) fn changes(&self) -> bool {
        is(self.main, &["insert", "update", "delete", "merge", "copy"])
    }

    /// Whether it takes no more room than it gives back, so that it may run when none is left.
    pub(super) fn makes_room(&self) -> bool {
        is(
            self.first,
            &[
                "select", "values", "table", "delete", "truncate", "drop", "show", "vacuum",
                "explain",
            ],
        )
    }
}

fn is(word: &str, of: &[&str]) -> bool {
    of.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The words outside of brackets, quotes and comments, up to the `;`.
struct Words<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let rest = &self.text[self.at..];
            let byte = *rest.as_bytes().first()?;
            match byte {
                b';' => return None,
                b'(' | b'[' => self.depth += 1,
                b')' | b']' => self.depth = self.depth.saturating_sub(1),
                b'-' if rest.starts_with("--") => {
                    self.at += rest.find('\n').unwrap_or(rest.len());
                    continue;
                }
                b'/' if rest.starts_with("/*") => {
                    self.at += comment(rest);
                    continue;
                }
                b'\'' | b'"' => {
                    let escapes = byte == b'\'' && self.text[..self.at].ends_with(['e', 'E']);
                    self.at += quoted(rest, byte, escapes);
                    continue;
                }
                b'$' => {
                    self.at += dollar(rest);
                    continue;
                }
                _ if is_word(byte) => {
                    let len = rest
                        .bytes()
                        .take_while(|b| is_word(*b) || *b == b'$')
                        .count();
                    self.at += len;
                    if self.depth == 0 {
                        return Some(&rest[..len]);
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of a comment, with those inside it.
fn comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(text.len())
}

fn quoted(text: &str, quote: u8, escapes: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            // A doubled quote is read as the end of one text and the beginning of the next.
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn dollar(text: &str) -> usize {
    let tag = text[1..].bytes().take_while(|b| is_word(*b)).count();
    let mark = &text[..=tag];
    if text.as_bytes().get(tag + 1) != Some(&b'$')
        || mark.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
    {
        return 1;
    }
    let mark = &text[..tag + 2];
    text[mark.len()..]
        .find(mark)
        .map_or(text.len(), |end| end + 2 * mark.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines() {
        for (text, first, main, transaction) in [
            ("SELECT 1", "SELECT", "SELECT", false),
            (" -- commit\n/* /* */ */ Commit ;", "Commit", "Commit", true),
            (
                "with a as (insert into t values (1)) select 1",
                "with",
                "select",
                false,
            ),
            (
                "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a RETURNING x",
                "WITH",
                "INSERT",
                false,
            ),
            ("PREPARE TRANSACTION 'x'", "PREPARE", "commit", true),
            (
                "PREPARE transaction_of AS SELECT 1",
                "PREPARE",
                "PREPARE",
                false,
            ),
            ("(SELECT 1)", "", "", false),
            (
                "SELECT 'it''s', E'\\'', $a$ commit $a$, \"begin\", $1",
                "SELECT",
                "SELECT",
                false,
            ),
            ("ROLLBACK TO SAVEPOINT x", "ROLLBACK", "ROLLBACK", true),
            ("é", "é", "é", false),
        ] {
            let outline = Outline::of(text);
            assert_eq!((outline.first, outline.main), (first, main), "{text}");
            assert_eq!(outline.is_transaction(), transaction, "{text}");
        }
    }

    #[test]
    fn the_body_ends_before_the_semicolon() {
        for (text, body) in [
            ("SELECT ';' ; -- end", "SELECT ';' "),
            ("SELECT 1 -- a", "SELECT 1 -- a"),
            ("SELECT $$;$$, E'\\';'; ", "SELECT $$;$$, E'\\';'"),
            ("SELECT $1;", "SELECT $1"),
            ("SELECT '", "SELECT '"),
            ("SELECT $x", "SELECT $x"),
        ] {
            assert_eq!(Outline::of(text).body, body, "{text}");
        }
    }
}
