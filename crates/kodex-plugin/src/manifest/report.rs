//! Collecting findings while a manifest is read, and pointing each at its place at the end.

use std::{fmt, ops::Range};

use super::tree::{Node, Spot};
use crate::{Diagnostic, Position, Severity};

/// How many findings are kept. A file with more has one cause, or an author who wants to cost us
/// time.
const MAX_FINDINGS: usize = 64;

/// One step down the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Index(usize),
}

/// A place in the document as its keys, for example `hook[1].timeout`.
pub(super) struct Path<'a>(pub(super) &'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

struct Found {
    path: Vec<Step>,
    /// Known where the tree was at hand; looked up by the path otherwise.
    span: Option<Range<usize>>,
    /// A text, and the bytes in it that are meant.
    part: Option<(String, Range<usize>)>,
    diagnostic: Diagnostic,
}

impl Found {
    fn span(&self, text: &str, tree: Option<&Spot<'_>>) -> Option<Range<usize>> {
        let whole = match &self.span {
            Some(span) => span.clone(),
            None => locate(tree?, &self.path),
        };
        Some(match &self.part {
            Some((value, part)) => inside(text, &whole, value, part).unwrap_or(whole),
            None => whole,
        })
    }
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Report {
    found: Vec<Found>,
    /// Places that already have a finding about their shape. What rules say of them is noise.
    broken: Vec<Vec<Step>>,
    n_more: usize,
    has_error: bool,
}

impl Report {
    /// An error at a path, with advice.
    pub(super) fn error(
        &mut self,
        path: &[Step],
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = Diagnostic::error(code, message).with_hint(hint);
        self.add(path, None, finding);
    }

    /// A warning at a path, with advice.
    pub(super) fn warning(
        &mut self,
        path: &[Step],
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = Diagnostic::warning(code, message).with_hint(hint);
        self.add(path, None, finding);
    }

    /// A finding about the shape of the value at a path; rules are silent about it from now on.
    pub(super) fn broken(&mut self, path: &[Step], span: Range<usize>, finding: Diagnostic) {
        let full = self.found.len() >= MAX_FINDINGS;
        self.add(path, Some(span), finding);
        if !full {
            self.broken.push(path.to_vec());
        }
    }

    /// Any finding, at a span or, without one, at the path.
    pub(super) fn add(&mut self, path: &[Step], span: Option<Range<usize>>, finding: Diagnostic) {
        self.has_error |= finding.severity == Severity::Error;
        if self.found.len() >= MAX_FINDINGS {
            self.n_more += 1;
            return;
        }
        // The first finding about a place stands for what follows from it.
        if self.broken.iter().any(|broken| path.starts_with(broken)) {
            return;
        }
        self.found.push(Found {
            path: path.to_vec(),
            span,
            part: None,
            diagnostic: finding,
        });
    }

    /// A finding about some bytes of the text at a path.
    pub(super) fn add_part(
        &mut self,
        path: &[Step],
        value: &str,
        part: Range<usize>,
        finding: Diagnostic,
    ) {
        let n_before = self.found.len();
        self.add(path, None, finding);
        if let Some(found) = self.found.get_mut(n_before) {
            found.part = Some((value.to_owned(), part));
        }
    }

    /// Whether the limit of findings is reached, so that the work for a hint is wasted.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_FINDINGS
    }

    pub(super) fn has_error(&self) -> bool {
        self.has_error
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The findings in the order of the file, each with its place.
    pub(super) fn finish(
        self,
        text: &str,
        file: &str,
        plugin: Option<&str>,
        tree: Option<&Spot<'_>>,
    ) -> Vec<Diagnostic> {
        let mut found: Vec<_> = self
            .found
            .into_iter()
            .map(|one| (one.span(text, tree), one.diagnostic))
            .collect();
        found.sort_by_key(|(span, _)| span.as_ref().map_or(0, |span| span.start));
        let mut diagnostics: Vec<_> = found
            .into_iter()
            .map(|(span, diagnostic)| match span {
                Some(span) => diagnostic.with_position(Position::of(text, span)),
                None => diagnostic,
            })
            .collect();
        if self.n_more > 0 {
            let message = format!("{} more findings are not shown", self.n_more);
            diagnostics.push(
                Diagnostic::note(super::code::MORE, message)
                    .with_hint("mend what is shown and look again"),
            );
        }
        for diagnostic in &mut diagnostics {
            diagnostic.file = Some(file.to_owned());
            diagnostic.plugin = plugin.map(str::to_owned);
        }
        diagnostics
    }
}

/// The bytes of a part of a value that stands between one quotation mark on each side. Where it was
/// written with escapes, or across lines, there is no telling.
fn inside(
    text: &str,
    whole: &Range<usize>,
    value: &str,
    part: &Range<usize>,
) -> Option<Range<usize>> {
    let start = whole.start + 1;
    let written = text.get(start..whole.end.checked_sub(1)?)?;
    let fits = written == value && part.start <= part.end && part.end <= value.len();
    fits.then(|| start + part.start..start + part.end)
}

/// The bytes of the value at a path, or of the nearest table around it.
fn locate(tree: &Spot<'_>, path: &[Step]) -> Range<usize> {
    let mut at = tree;
    for step in path {
        let next = match (step, &at.node) {
            (Step::Key(key), Node::Table(entries)) => entries
                .iter()
                .find(|entry| entry.key == *key)
                .map(|entry| &entry.value),
            (Step::Index(index), Node::List(items)) => items.get(*index),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at.span.clone()
}
