//! Patterns over a sequence of names: the segments of a path, the arguments of a program.
//!
//! `*` is exactly one name, `**` any number of names (also none), `{a,b}` one of several. Whether
//! one pattern contains another is decided exactly, by walking both at once; a walk that would take
//! too long ends with "not contained". Nothing here knows what the names mean.

use std::collections::BTreeSet;

use super::{
    error::{Fault, Rule},
    text::{Word, nfc, write_literal, write_quoted},
};

/// Most segments in one permission. Together with an expanded variable they fit a word of bits.
pub(super) const MAX_SEGMENTS: usize = 63;
/// Most alternatives between two braces.
const MAX_ALTERNATIVES: usize = 64;
/// Longest file name on the systems that Kodex runs on.
const MAX_NAME: usize = 255;
/// Steps after which containment counts as not proven. Real patterns need a few hundred.
const MAX_STEPS: usize = 20_000;
/// Most patterns that one pattern is split into.
const MAX_SPLIT: usize = 64;

/// One element of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// One of these names; usually there is just one.
    OneOf(BTreeSet<String>),
    /// Exactly one name, whatever it is: `*`.
    Any,
    /// Any number of names, also none: `**`.
    AnyDepth,
}

impl Segment {
    pub(super) fn literal(name: impl Into<String>) -> Self {
        Self::OneOf(BTreeSet::from([name.into()]))
    }
}

/// A pattern over a sequence of names, in normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Vec<Segment>);

/// Positions inside a pattern, one bit each. Bit n is "the first n segments are used up".
type Positions = u128;

impl Pattern {
    /// Brings runs of wildcards into one order: every `*` first, then at most one `**`.
    pub(super) fn new(segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut normal = Vec::new();
        let mut has_depth = false;
        for segment in segments {
            match segment {
                Segment::AnyDepth => has_depth = true,
                Segment::Any => normal.push(Segment::Any),
                Segment::OneOf(names) => {
                    if has_depth {
                        normal.push(Segment::AnyDepth);
                        has_depth = false;
                    }
                    normal.push(Segment::OneOf(names));
                }
            }
        }
        if has_depth {
            normal.push(Segment::AnyDepth);
        }
        Self(normal)
    }

    /// The segments, in normal form.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether there is no wildcard and no choice, so that exactly one sequence matches.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.0.iter().all(|segment| match segment {
            Segment::OneOf(names) => names.len() == 1,
            Segment::Any | Segment::AnyDepth => false,
        })
    }

    /// The names that every match starts with.
    #[must_use]
    pub fn literal_prefix(&self) -> Vec<&str> {
        let names = self.0.iter().map_while(|segment| match segment {
            Segment::OneOf(names) if names.len() == 1 => names.first(),
            Segment::OneOf(_) | Segment::Any | Segment::AnyDepth => None,
        });
        names.map(String::as_str).collect()
    }

    /// Whether the whole sequence matches. Names are compared in Unicode normal form C.
    #[must_use]
    pub fn matches<S: AsRef<str>>(&self, names: &[S]) -> bool {
        let mut at = self.start();
        for name in names {
            at = self.step(at, Some(&nfc(name.as_ref())));
            if at == 0 {
                return false;
            }
        }
        self.accepts(at)
    }

    /// Whether everything that `narrower` matches is matched here too. False when that takes too
    /// long to prove.
    #[must_use]
    pub fn contains(&self, narrower: &Self) -> bool {
        if self == narrower {
            return true;
        }
        let names = self.names().chain(narrower.names());
        // Every name that neither pattern spells out behaves alike; `None` stands for all of them.
        let symbols: BTreeSet<Option<&str>> = names.map(Some).chain([None]).collect();
        let start = (narrower.start(), self.start());
        let mut seen = BTreeSet::from([start]);
        let mut open = vec![start];
        let mut steps = 0;
        while let Some((inner, outer)) = open.pop() {
            if narrower.accepts(inner) && !self.accepts(outer) {
                return false;
            }
            for symbol in &symbols {
                steps += 1;
                if steps > MAX_STEPS {
                    return false;
                }
                let next = (narrower.step(inner, *symbol), self.step(outer, *symbol));
                if next.0 != 0 && seen.insert(next) {
                    open.push(next);
                }
            }
        }
        true
    }

    /// Patterns without choices that together match the same, when they are few.
    pub(super) fn split(&self) -> Vec<Self> {
        let product = self
            .0
            .iter()
            .try_fold(1_usize, |product, segment| match segment {
                Segment::OneOf(names) => product.checked_mul(names.len()),
                Segment::Any | Segment::AnyDepth => Some(product),
            });
        if product.is_none_or(|product| product > MAX_SPLIT) {
            return vec![self.clone()];
        }
        let mut split = vec![Vec::new()];
        for segment in &self.0 {
            let choices: Vec<Segment> = match segment {
                Segment::OneOf(names) => names.iter().map(Segment::literal).collect(),
                Segment::Any | Segment::AnyDepth => vec![segment.clone()],
            };
            let extended = split.iter().flat_map(|front: &Vec<Segment>| {
                let choices = choices.iter().cloned();
                choices.map(|choice| front.iter().cloned().chain([choice]).collect())
            });
            split = extended.collect();
        }
        split.into_iter().map(Self).collect()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|segment| match segment {
            Segment::OneOf(names) => names.iter().map(String::as_str).collect::<Vec<_>>(),
            Segment::Any | Segment::AnyDepth => Vec::new(),
        })
    }

    fn start(&self) -> Positions {
        self.skip_depth(1)
    }

    fn accepts(&self, at: Positions) -> bool {
        at >> self.0.len() & 1 == 1
    }

    /// All positions after one more name; `None` is a name that no pattern spells out.
    fn step(&self, at: Positions, name: Option<&str>) -> Positions {
        let mut next = 0;
        for (index, segment) in self.0.iter().enumerate() {
            if at >> index & 1 == 0 {
                continue;
            }
            match segment {
                Segment::OneOf(names) if name.is_some_and(|name| names.contains(name)) => {
                    next |= 1 << (index + 1);
                }
                Segment::OneOf(_) => {}
                Segment::Any => next |= 1 << (index + 1),
                Segment::AnyDepth => next |= 1 << index,
            }
        }
        self.skip_depth(next)
    }

    /// Adds the positions that are reached by letting a `**` match nothing.
    fn skip_depth(&self, mut at: Positions) -> Positions {
        for (index, segment) in self.0.iter().enumerate() {
            if *segment == Segment::AnyDepth && at >> index & 1 == 1 {
                at |= 1 << (index + 1);
            }
        }
        at
    }
}

/// Where a pattern stands, which decides what a name may be and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Segments of a path, separated by `/`.
    Path,
    /// Arguments in a list.
    Arguments,
}

/// Reads one segment.
pub(super) fn segment(word: Word<'_>, place: Place) -> Result<Segment, Fault> {
    let inner = word.text.strip_prefix('{');
    let Some(inner) = inner.and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(match name(word, place)? {
            Name::Any => Segment::Any,
            Name::AnyDepth => Segment::AnyDepth,
            Name::Literal(name) => Segment::literal(name),
        });
    };
    let mut names = BTreeSet::new();
    for item in word.part(1..1 + inner.len()).split(',')? {
        let item = item.trimmed();
        if item.text.is_empty() {
            return Err(word.fault(Rule::PatternBraces, "an alternative in the braces is empty"));
        }
        match name(item, place)? {
            Name::Literal(name) => names.insert(name),
            Name::Any | Name::AnyDepth => {
                let message = "wildcards cannot stand inside braces";
                return Err(item.fault(Rule::PatternBraces, message));
            }
        };
    }
    if names.len() > MAX_ALTERNATIVES {
        let message = format!("at most {MAX_ALTERNATIVES} alternatives are allowed");
        return Err(word.fault(Rule::PatternTooLong, message));
    }
    Ok(Segment::OneOf(names))
}

/// Refuses a pattern with too many segments.
pub(super) fn check_length(word: Word<'_>, segments: &[Segment]) -> Result<(), Fault> {
    if segments.len() <= MAX_SEGMENTS {
        return Ok(());
    }
    let message = format!(
        "{} parts; at most {MAX_SEGMENTS} are allowed",
        segments.len()
    );
    Err(word.fault(Rule::PatternTooLong, message))
}

enum Name {
    Literal(String),
    Any,
    AnyDepth,
}

fn name(word: Word<'_>, place: Place) -> Result<Name, Fault> {
    let more = match place {
        Place::Path => "*",
        Place::Arguments => "*/",
    };
    if !word.text.starts_with('"') {
        refuse_misplaced(word)?;
    }
    let name = word.unquoted(more)?;
    match (name.n_wild, name.text.as_str()) {
        (0, text) => {
            check_name(word, text, place)?;
            Ok(Name::Literal(name.text))
        }
        (1, "*") => Ok(Name::Any),
        (2, "**") => Ok(Name::AnyDepth),
        _ => Err(word
            .fault(
                Rule::PatternWildcard,
                "a wildcard must be the whole segment",
            )
            .with_hint("`*` is one whole name, `**` any number; `\"\\*\"` is a star itself")),
    }
}

/// Characters that mean something elsewhere deserve a better answer than "quote it".
fn refuse_misplaced(word: Word<'_>) -> Result<(), Fault> {
    let Some(at) = word.text.find(['$', '{', '}']) else {
        return Ok(());
    };
    let found = word.part(at..at + 1);
    Err(match found.text {
        "$" => found
            .fault(
                Rule::VariablePlace,
                "a variable can stand only at the start of a path",
            )
            .with_hint("quote the segment if its name has a `$`"),
        _ => found
            .fault(
                Rule::PatternBraces,
                "braces must be a whole segment and cannot be nested",
            )
            .with_hint("write every whole name, such as `{a.rs,b.rs}`"),
    })
}

fn check_name(word: Word<'_>, name: &str, place: Place) -> Result<(), Fault> {
    if place == Place::Arguments {
        return Ok(());
    }
    match name {
        "" => Err(word.fault(Rule::PathEmptySegment, "a segment of the path is empty")),
        ".." => Err(word
            .fault(Rule::PathParent, "`..` is not allowed")
            .with_hint("write the path that is meant")),
        "." => Err(word
            .fault(Rule::PathDot, "`.` is not allowed")
            .with_hint("leave the segment out")),
        name if name.contains('/') => Err(word.fault(
            Rule::PatternCharacter,
            "a name cannot hold `/`, not even quoted",
        )),
        name if name.len() > MAX_NAME => {
            let message = format!("a name of more than {MAX_NAME} bytes");
            Err(word.fault(Rule::PatternTooLong, message))
        }
        _ => Ok(()),
    }
}

/// Writes a segment so that it reads back as itself.
pub(super) fn write_segment(out: &mut String, segment: &Segment, place: Place) {
    let write = |out: &mut String, name: &str| match place {
        Place::Path => write_literal(out, name),
        Place::Arguments => write_quoted(out, name),
    };
    match (segment, place) {
        (Segment::Any, Place::Path) => out.push('*'),
        (Segment::AnyDepth, Place::Path) => out.push_str("**"),
        (Segment::Any, Place::Arguments) => out.push_str("\"*\""),
        (Segment::AnyDepth, Place::Arguments) => out.push_str("\"**\""),
        (Segment::OneOf(names), _) => {
            let is_choice = names.len() > 1;
            out.push_str(if is_choice { "{" } else { "" });
            for (index, name) in names.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(out, name);
            }
            out.push_str(if is_choice { "}" } else { "" });
        }
    }
}
