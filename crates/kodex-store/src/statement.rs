//! One SQL statement with its parameters, and the small lexer that gives both engines the same
//! parameter syntax.
//!
//! | in the text | means |
//! |---|---|
//! | `?` | the next positional parameter |
//! | `?2`, `$2` | the second positional parameter |
//! | `:name` | a named parameter, as often as it stands there |
//! | `??` | Postgres' operator `?` (`???` is `?` and a parameter); also `??|` and `??&` |
//!
//! Nothing inside strings, quoted names, comments and dollar quotes is a parameter, and neither is
//! a `::` cast. The lexer knows no grammar and decides nothing about safety; the engines do that.

use std::collections::BTreeMap;

use kodex_plugin::PluginName;
use serde_json::Value as Tree;

use crate::{Engine, StoreError, Value};

/// Most parameters: what a Postgres message can count, with room.
const N_PARAMS: usize = 32_000;

/// A statement as a plugin wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    text: String,
    params: Params,
}

/// The parameters of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Params {
    /// By position, from 1.
    Positional(Vec<Value>),
    /// By name.
    Named(BTreeMap<String, Value>),
}

impl Statement {
    /// A statement without parameters.
    pub fn new(text: impl Into<String>) -> Self {
        Self::with(text, Vec::new())
    }

    /// A statement with positional parameters.
    pub fn with(text: impl Into<String>, params: impl IntoIterator<Item = Value>) -> Self {
        Self {
            text: text.into(),
            params: Params::Positional(params.into_iter().collect()),
        }
    }

    /// A statement with named parameters.
    pub fn named<'a>(
        text: impl Into<String>,
        params: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Self {
        let params = params
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Self {
            text: text.into(),
            params: Params::Named(params.collect()),
        }
    }

    /// A statement with parameters as they stand in a request: an array, an object, or null for none.
    ///
    /// # Errors
    /// [`Mistake`] when they are something else or hold what is no [`Value`].
    pub fn from_json(text: impl Into<String>, params: Tree) -> Result<Self, Mistake> {
        let params = match params {
            Tree::Null => Params::Positional(Vec::new()),
            Tree::Array(items) => Params::Positional(
                items
                    .into_iter()
                    .map(Value::from_json)
                    .collect::<Result<_, _>>()?,
            ),
            Tree::Object(fields) => Params::Named(
                fields
                    .into_iter()
                    .map(|(name, value)| Ok((name, Value::from_json(value)?)))
                    .collect::<Result<_, Mistake>>()?,
            ),
            _ => return Err(Mistake::new("parameters are an array or an object")),
        };
        Ok(Self {
            text: text.into(),
            params,
        })
    }

    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text with every parameter numbered as the engine wants it, and the values in that order.
    ///
    /// # Errors
    /// [`Mistake`] when text and parameters do not fit, when there are two statements, or none.
    pub fn bind(&self, engine: Engine) -> Result<Bound<'_>, Mistake> {
        let mut lexer = Lexer::new(&self.text, engine);
        lexer.run()?;
        let Lexer {
            out, slots, edits, ..
        } = lexer;
        let values = match &self.params {
            Params::Positional(values) => positional(&slots, values)?,
            Params::Named(values) => named(&slots, values)?,
        };
        Ok(Bound {
            text: out,
            values,
            original: &self.text,
            edits,
        })
    }
}

/// What is wrong with a statement before any engine saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    problem: String,
    position: Option<usize>,
}

impl Mistake {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            position: None,
        }
    }

    /// The error for a plugin's statement.
    #[must_use]
    pub fn of(self, plugin: &PluginName) -> StoreError {
        StoreError::BadStatement {
            plugin: plugin.clone(),
            problem: self.problem,
            position: self.position,
        }
    }
}

/// A statement ready for an engine.
#[derive(Debug)]
pub struct Bound<'a> {
    /// The text with `?N` or `$N`.
    pub text: String,
    /// The value of parameter N at N - 1.
    pub values: Vec<&'a Value>,
    original: &'a str,
    /// Byte offsets in the new and in the old text right behind each replacement.
    edits: Vec<(usize, usize)>,
}

impl Bound<'_> {
    /// The character of the original text, from 1, for a byte offset of the rewritten one.
    #[must_use]
    pub fn position(&self, offset: usize) -> usize {
        let before = self.edits.partition_point(|(new, _)| *new <= offset);
        let (new, old) = before.checked_sub(1).map_or((0, 0), |at| self.edits[at]);
        let at = (old + (offset - new)).min(self.original.len());
        self.original
            .char_indices()
            .take_while(|(start, _)| *start < at)
            .count()
            + 1
    }

    /// The same for a character of the rewritten text, from 1, as Postgres counts.
    #[must_use]
    pub fn position_of_char(&self, char: usize) -> usize {
        let nth = self.text.char_indices().nth(char.saturating_sub(1));
        self.position(nth.map_or(self.text.len(), |(offset, _)| offset))
    }
}

fn positional<'a>(slots: &[Slot<'_>], values: &'a [Value]) -> Result<Vec<&'a Value>, Mistake> {
    let mut n_used = 0;
    for slot in slots {
        match slot {
            Slot::Number(number) => n_used = n_used.max(*number),
            Slot::Name(name) => {
                return Err(Mistake::new(format!(
                    "`:{name}` needs named parameters (an object)"
                )));
            }
        }
    }
    if n_used == values.len() {
        return Ok(values.iter().collect());
    }
    Err(Mistake::new(format!(
        "the statement has {n_used} positional parameters, but {} values were given",
        values.len()
    )))
}

fn named<'a>(
    slots: &[Slot<'_>],
    values: &'a BTreeMap<String, Value>,
) -> Result<Vec<&'a Value>, Mistake> {
    let mut bound = Vec::with_capacity(slots.len());
    for slot in slots {
        let Slot::Name(name) = slot else {
            return Err(Mistake::new(
                "positional parameters need an array of values",
            ));
        };
        let value = values.get(*name);
        bound.push(value.ok_or_else(|| Mistake::new(format!("no value was given for `:{name}`")))?);
    }
    let spare = values.keys().find(|key| {
        !slots
            .iter()
            .any(|slot| matches!(slot, Slot::Name(name) if name == key))
    });
    match spare {
        Some(spare) => Err(Mistake::new(format!(
            "the statement has no parameter `:{spare}`"
        ))),
        None => Ok(bound),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot<'a> {
    Number(usize),
    Name(&'a str),
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    engine: Engine,
    at: usize,
    /// How far the input has been copied to `out`.
    copied: usize,
    out: String,
    edits: Vec<(usize, usize)>,
    /// Distinct named slots, or every positional one.
    slots: Vec<Slot<'a>>,
    /// How many plain `?` there were, and whether numbered ones were seen.
    n_plain: usize,
    numbered: bool,
    /// Whether anything but white space and comments was seen, and where a `;` ended it.
    begun: bool,
    ended: bool,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, engine: Engine) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            engine,
            at: 0,
            copied: 0,
            out: String::with_capacity(text.len() + 8),
            edits: Vec::new(),
            slots: Vec::new(),
            n_plain: 0,
            numbered: false,
            begun: false,
            ended: false,
        }
    }

    fn run(&mut self) -> Result<(), Mistake> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match (byte, self.bytes.get(self.at + 1)) {
                (b'\0', _) => return Err(self.mistake("a statement cannot hold a NUL character")),
                (b'-', Some(b'-')) => self.line_comment(),
                (b'/', Some(b'*')) => self.comment()?,
                (byte, _) if byte.is_ascii_whitespace() => self.at += 1,
                (b';', _) => {
                    self.ended = self.begun;
                    self.at += 1;
                }
                _ if self.ended => {
                    return Err(self.mistake(
                        "more than one statement; send them one by one, in a transaction",
                    ));
                }
                _ => {
                    self.begun = true;
                    self.token(byte)?;
                }
            }
        }
        if !self.begun {
            return Err(self.mistake("the statement is empty"));
        }
        self.out.push_str(&self.text[self.copied..]);
        if self.slots.len() > N_PARAMS {
            return Err(Mistake::new(format!("more than {N_PARAMS} parameters")));
        }
        Ok(())
    }

    fn token(&mut self, byte: u8) -> Result<(), Mistake> {
        match byte {
            b'\'' => self.quoted(b'\'', self.escapes()),
            b'"' => self.quoted(b'"', false),
            b'`' if self.engine == Engine::Sqlite => self.quoted(b'`', false),
            b'[' if self.engine == Engine::Sqlite => self.quoted(b']', false),
            b'?' => self.question(),
            b'$' => self.dollar(),
            b':' => self.colon(),
            byte if is_word(byte) => {
                self.word();
                Ok(())
            }
            _ => {
                self.at += 1;
                Ok(())
            }
        }
    }

    /// Whether the string that begins here reads backslashes: `E'...'`.
    fn escapes(&self) -> bool {
        let word_before = |at: usize| at.checked_sub(1).is_some_and(|at| is_word(self.bytes[at]));
        self.engine == Engine::Postgres
            && self.at > 0
            && matches!(self.bytes[self.at - 1], b'e' | b'E')
            && !word_before(self.at - 1)
    }

    fn quoted(&mut self, end: u8, escapes: bool) -> Result<(), Mistake> {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            let doubled = end != b']' && self.bytes.get(self.at + 1) == Some(&end);
            if (byte == b'\\' && escapes) || (byte == end && doubled) {
                self.at += 2;
            } else if byte == end {
                self.at += 1;
                return Ok(());
            } else {
                self.at += 1;
            }
        }
        self.at = start;
        Err(self.mistake("a quoted text has no end"))
    }

    fn line_comment(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }

    fn comment(&mut self) -> Result<(), Mistake> {
        let start = self.at;
        let mut depth = 0u32;
        while self.at < self.bytes.len() {
            if self.bytes[self.at..].starts_with(b"/*")
                && (depth == 0 || self.engine == Engine::Postgres)
            {
                depth += 1;
                self.at += 2;
            } else if self.bytes[self.at..].starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += 1;
            }
        }
        self.at = start;
        Err(self.mistake("a comment has no end"))
    }

    fn question(&mut self) -> Result<(), Mistake> {
        let start = self.at;
        if self.bytes.get(start + 1) == Some(&b'?') && self.engine == Engine::Postgres {
            self.at += 2;
            self.replace(start, "?");
            return Ok(());
        }
        self.at += 1;
        match self.number()? {
            Some(number) => self.explicit(start, number),
            None => {
                self.n_plain += 1;
                self.position(start, self.n_plain)
            }
        }
    }

    fn dollar(&mut self) -> Result<(), Mistake> {
        let start = self.at;
        self.at += 1;
        if let Some(number) = self.number()? {
            return self.explicit(start, number);
        }
        let rest = &self.text[self.at..];
        let tag = rest
            .bytes()
            .take_while(|b| is_word(*b) && *b != b'$')
            .count();
        if self.engine == Engine::Postgres && rest.as_bytes().get(tag) == Some(&b'$') {
            let mark = &self.text[start..=self.at + tag];
            let body = self.at + tag + 1;
            let Some(end) = self.text[body..].find(mark) else {
                self.at = start;
                return Err(self.mistake("a dollar quote has no end"));
            };
            self.at = body + end + mark.len();
            return Ok(());
        }
        self.at = start;
        Err(self.mistake("`$` begins no parameter; write `?`, `$1` or `:name`"))
    }

    fn colon(&mut self) -> Result<(), Mistake> {
        let start = self.at;
        if matches!(self.bytes.get(start + 1), Some(b':' | b'=')) {
            self.at += 2;
            return Ok(());
        }
        let rest = &self.bytes[start + 1..];
        let len = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        self.at += 1 + len;
        // A slice such as `a[1:2]` is no parameter.
        if len == 0 || rest[0].is_ascii_digit() {
            return Ok(());
        }
        let slot = Slot::Name(&self.text[start + 1..self.at]);
        let known = self.slots.iter().position(|known| *known == slot);
        let number = known.unwrap_or(self.slots.len()) + 1;
        if known.is_none() {
            self.slots.push(slot);
        }
        self.place(start, number);
        Ok(())
    }

    /// The digits right here, if any.
    fn number(&mut self) -> Result<Option<usize>, Mistake> {
        let len = self.bytes[self.at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if len == 0 {
            return Ok(None);
        }
        let digits = &self.text[self.at..self.at + len];
        match digits.parse() {
            Ok(number @ 1..=N_PARAMS) => {
                self.at += len;
                Ok(Some(number))
            }
            _ => Err(self.mistake("the number of a parameter is out of range")),
        }
    }

    fn explicit(&mut self, start: usize, number: usize) -> Result<(), Mistake> {
        self.numbered = true;
        self.position(start, number)
    }

    fn position(&mut self, start: usize, number: usize) -> Result<(), Mistake> {
        if self.numbered && self.n_plain > 0 {
            self.at = start;
            return Err(self.mistake("`?` stands beside a numbered parameter; use one of the two"));
        }
        self.slots.push(Slot::Number(number));
        self.place(start, number);
        Ok(())
    }

    fn place(&mut self, start: usize, number: usize) {
        let mark = match self.engine {
            Engine::Sqlite => '?',
            Engine::Postgres => '$',
        };
        self.replace(start, &format!("{mark}{number}"));
    }

    fn replace(&mut self, start: usize, with: &str) {
        self.out.push_str(&self.text[self.copied..start]);
        self.out.push_str(with);
        self.copied = self.at;
        self.edits.push((self.out.len(), self.at));
    }

    fn word(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest
            .iter()
            .take_while(|b| is_word(**b) || **b == b'$')
            .count();
    }

    fn mistake(&self, problem: &str) -> Mistake {
        let at = self.at.min(self.text.len());
        let before = self.bytes[..at]
            .iter()
            .filter(|b| (**b as i8) >= -0x40)
            .count();
        Mistake {
            problem: problem.to_owned(),
            position: Some(before + 1),
        }
    }
}

/// A letter, digit, underscore, or part of a longer character.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rewritten text, or the mistake with its position.
    fn check(engine: Engine, text: &str, params: serde_json::Value) -> String {
        let bound = Statement::from_json(text, params);
        match bound
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|statement| statement.bind(engine))
        {
            Ok(bound) => bound.text,
            Err(mistake) => format!("{:?}: {}", mistake.position, mistake.problem),
        }
    }

    #[test]
    fn parameters_are_numbered_for_each_engine() {
        use serde_json::json;
        for (text, params, sqlite, postgres) in [
            (
                "SELECT ?, ?",
                json!([1, 2]),
                "SELECT ?1, ?2",
                "SELECT $1, $2",
            ),
            (
                "SELECT :a, :b, :a",
                json!({"a": 1, "b": 2}),
                "SELECT ?1, ?2, ?1",
                "SELECT $1, $2, $1",
            ),
            (
                "SELECT $2, ?1;",
                json!([1, 2]),
                "SELECT ?2, ?1;",
                "SELECT $2, $1;",
            ),
            (
                "SELECT '?', \":a\" -- ?\n, ?",
                json!([1]),
                "SELECT '?', \":a\" -- ?\n, ?1",
                "SELECT '?', \":a\" -- ?\n, $1",
            ),
            (
                "SELECT 'it''s ?', ?",
                json!([1]),
                "SELECT 'it''s ?', ?1",
                "SELECT 'it''s ?', $1",
            ),
            (
                "SELECT a$1 FROM t",
                json!([]),
                "SELECT a$1 FROM t",
                "SELECT a$1 FROM t",
            ),
            (
                "SELECT é, :é FROM t",
                json!({}),
                "SELECT é, :é FROM t",
                "SELECT é, :é FROM t",
            ),
            (
                "/* ? */ SELECT 1 ; -- done",
                json!(null),
                "/* ? */ SELECT 1 ; -- done",
                "/* ? */ SELECT 1 ; -- done",
            ),
        ] {
            assert_eq!(
                check(Engine::Sqlite, text, params.clone()),
                sqlite,
                "{text}"
            );
            assert_eq!(check(Engine::Postgres, text, params), postgres, "{text}");
        }
    }

    #[test]
    fn what_only_one_engine_knows() {
        use serde_json::json;
        let postgres = |text, params| check(Engine::Postgres, text, params);
        assert_eq!(
            postgres("SELECT ?::int, a ?? 'k', E'\\'?'", json!([1])),
            "SELECT $1::int, a ? 'k', E'\\'?'"
        );
        assert_eq!(
            postgres("SELECT $$?$$, $a$ $$ ? $a$, ?", json!([1])),
            "SELECT $$?$$, $a$ $$ ? $a$, $1"
        );
        assert_eq!(
            postgres("SELECT a[1:2], a[:n:?]", json!({"n": 1})),
            "None: positional parameters need an array of values"
        );
        assert_eq!(
            postgres("SELECT /* /* ? */ ? */ 1", json!([])),
            "SELECT /* /* ? */ ? */ 1"
        );
        assert_eq!(
            check(Engine::Sqlite, "SELECT [a?], `b?`, ?", json!([1])),
            "SELECT [a?], `b?`, ?1"
        );
    }

    #[test]
    fn mistakes_say_where() {
        use serde_json::json;
        for (text, params, want) in [
            ("", json!([]), "Some(1): the statement is empty"),
            (" -- nothing", json!([]), "Some(12): the statement is empty"),
            (
                "SELECT 1; SELECT 2",
                json!([]),
                "Some(11): more than one statement; send them one by one, in a transaction",
            ),
            ("SELECT 'é", json!([]), "Some(8): a quoted text has no end"),
            (
                "SELECT ?1, ?",
                json!([1]),
                "Some(12): `?` stands beside a numbered parameter; use one of the two",
            ),
            (
                "SELECT ?",
                json!([]),
                "None: the statement has 1 positional parameters, but 0 values were given",
            ),
            ("SELECT :a", json!({}), "None: no value was given for `:a`"),
            (
                "SELECT :a",
                json!({"a": 1, "b": 2}),
                "None: the statement has no parameter `:b`",
            ),
            (
                "SELECT :a",
                json!([1]),
                "None: `:a` needs named parameters (an object)",
            ),
            (
                "SELECT $x",
                json!([]),
                "Some(8): `$` begins no parameter; write `?`, `$1` or `:name`",
            ),
            (
                "SELECT $0",
                json!([]),
                "Some(9): the number of a parameter is out of range",
            ),
            (
                "SELECT 1",
                json!("x"),
                "None: parameters are an array or an object",
            ),
        ] {
            assert_eq!(check(Engine::Sqlite, text, params), want, "{text}");
        }
    }

    #[test]
    fn positions_lead_back_to_the_original() {
        let text = "SELECT :long_name, é, :long_name, oops";
        let statement = Statement::named(text, [("long_name", Value::Null)]);
        let bound = statement.bind(Engine::Postgres).expect("binds");
        let offset = bound.text.find("oops").expect("stands there");
        let want = text.chars().count() - 3;
        assert_eq!(bound.position(offset), want);
        assert_eq!(bound.position_of_char(bound.text.chars().count() - 3), want);
    }
}
