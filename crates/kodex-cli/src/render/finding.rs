//! Findings for people: `error[code]: text`, the place in the file, and what to do.

use std::{fs::File, io::Read, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use kodex::{Diagnostic, Finding, Position, Severity};

use super::{style, text};
use crate::invocation::Screen;

/// Files longer than this are shown without an excerpt.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Lines longer than this are shown without an excerpt; nobody finds a place in them anyway.
const MAX_LINE_BYTES: usize = 400;

/// Prints a finding on standard error.
pub(crate) fn print(found: &Diagnostic, source: Option<&str>, stderr: Screen) {
    // Nobody is left to tell when this cannot be printed.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr().lock(),
        shown(found, source, stderr).as_bytes(),
    );
}

/// The findings of a report. What is the same for many candidates is said once, with every place.
pub(crate) fn report(findings: &[Finding], screen: Screen) -> String {
    let mut out = String::new();
    let mut rest: Vec<Diagnostic> = findings.iter().map(placed).collect();
    while !rest.is_empty() {
        let found = rest.remove(0);
        let (same, others) = rest.into_iter().partition(|other| is_same(&found, other));
        rest = others;
        let places: String = same
            .iter()
            .map(|other: &Diagnostic| place(other, screen))
            .collect();
        out += &title(&found, screen);
        out += &at(&found, None, screen);
        out += &places;
        out += &help(&found, screen);
        out.push('\n');
    }
    out
}

/// Whether two findings differ in nothing but the file.
fn is_same(one: &Diagnostic, other: &Diagnostic) -> bool {
    let parts = |found: &Diagnostic| {
        (
            found.code.clone(),
            found.message.clone(),
            found.hint.clone(),
        )
    };
    one.position.is_none() && other.position.is_none() && parts(one) == parts(other)
}

/// A finding of a report, with the candidate as its place where it has no other.
pub(crate) fn placed(finding: &Finding) -> Diagnostic {
    let mut found = finding.diagnostic.clone();
    let source = Some(finding.source.clone()).filter(|source| !source.is_empty());
    found.file = found.file.or(source);
    found
}

/// A finding as text. `source` is the text that the position lies in; without it the file is read.
pub(crate) fn shown(found: &Diagnostic, source: Option<&str>, screen: Screen) -> String {
    title(found, screen) + &at(found, source, screen) + &help(found, screen)
}

/// The place: with its line where that can be shown.
fn at(found: &Diagnostic, source: Option<&str>, screen: Screen) -> String {
    let excerpt = found.position.and_then(|at| match source {
        Some(source) => excerpt(found, source, at, screen),
        None => excerpt(found, &read(found.file.as_deref()?)?, at, screen),
    });
    match excerpt {
        Some(excerpt) => excerpt.trim_end_matches('\n').to_owned() + "\n",
        None => place(found, screen),
    }
}

fn place(found: &Diagnostic, screen: Screen) -> String {
    let Some(file) = &found.file else {
        return String::new();
    };
    let place = match found.position {
        Some(at) => format!("{file}:{}:{}", at.line, at.column),
        None => file.clone(),
    };
    let arrow = style::paint("-->", style::FAINT, screen);
    format!(" {arrow} {}\n", text::line(&place))
}

fn help(found: &Diagnostic, screen: Screen) -> String {
    let help = style::paint("help", style::GOOD, screen);
    found
        .hint
        .as_ref()
        .map(|hint| format!("{help}: {}\n", indented(hint)))
        .unwrap_or_default()
}

fn title(found: &Diagnostic, screen: Screen) -> String {
    let word = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let head = style::paint(
        &format!("{word}[{}]", text::line(&found.code)),
        style::severity(found.severity),
        screen,
    );
    format!("{head}: {}\n", indented(&found.message))
}

/// Texts of several lines keep them, set in, so that no line of a plugin looks like one of ours.
fn indented(message: &str) -> String {
    text::block(message.trim_end()).replace('\n', "\n    ")
}

fn read(file: &str) -> Option<String> {
    let mut source = String::new();
    let mut bounded = File::open(file).ok()?.take(MAX_FILE_BYTES + 1);
    bounded.read_to_string(&mut source).ok()?;
    (source.len() as u64 <= MAX_FILE_BYTES).then_some(source)
}

/// The line of the place with the span marked. Nothing when the file is no longer what it was.
fn excerpt(found: &Diagnostic, source: &str, at: Position, screen: Screen) -> Option<String> {
    let window = window(source, at.start..at.end)?;
    let path = text::line(found.file.as_deref().unwrap_or("<input>")).into_owned();
    let mark = AnnotationKind::Primary.span(window.span);
    let snippet = Snippet::source(window.text)
        .line_start(at.line)
        .path(path)
        .annotation(mark);
    let renderer = if screen.is_styled {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    Some(renderer.render(&[Group::with_level(Level::ERROR).element(snippet)]))
}

struct Window {
    text: String,
    span: Range<usize>,
}

/// The lines that a span touches, at most the first two, with everything spelled out that a terminal
/// would obey. The span moves along with the text.
fn window(source: &str, span: Range<usize>) -> Option<Window> {
    let before = source.get(..span.start)?;
    let marked = source.get(span.clone())?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let first_line = marked.find('\n').map_or(marked, |at| &marked[..at]);
    let end = span.start + first_line.len();
    let after = &source[end..];
    let after = &after[..after.find('\n').unwrap_or(after.len())];
    let before = &source[line_start..span.start];
    if before.len() + first_line.len() + after.len() > MAX_LINE_BYTES {
        return None;
    }
    let spelled = |part: &str| text::block(part).replace('\t', "    ");
    let (before, first_line) = (spelled(before), spelled(first_line));
    let start = before.len();
    let span = start..start + first_line.len();
    Some(Window {
        text: before + &first_line + &spelled(after.trim_end_matches('\r')),
        span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen {
        is_terminal: false,
        is_styled: false,
    };

    fn check(found: &Diagnostic, source: Option<&str>, want: &str) {
        assert_eq!(shown(found, source, PLAIN), want);
    }

    #[test]
    fn a_place_is_shown_with_its_line() {
        let source = "a = 1\n\tb = tru\nc = 3\n";
        let found = Diagnostic::error("x.bad", "this is no value")
            .with_file("some.toml")
            .with_position(Position::of(source, 11..14))
            .with_hint("write `true`");
        check(
            &found,
            Some(source),
            "error[x.bad]: this is no value\n --> some.toml:2:9\n  |\n2 |     b = tru\n  |         ^^^\nhelp: write `true`\n",
        );
    }

    #[test]
    fn without_the_text_the_place_is_named() {
        let found = Diagnostic::warning("x.odd", "two\nlines").with_file("no/such/file.toml");
        check(
            &found,
            None,
            "warning[x.odd]: two\n    lines\n --> no/such/file.toml\n",
        );
        let found = found.with_position(Position {
            line: 3,
            column: 7,
            start: 900,
            end: 901,
        });
        check(
            &found,
            Some("short"),
            "warning[x.odd]: two\n    lines\n --> no/such/file.toml:3:7\n",
        );
    }

    #[test]
    fn nothing_in_a_finding_reaches_the_terminal_as_a_command() {
        let source = "x = \"\x1b[2J\u{202e}\" # \u{9b}1m";
        let found = Diagnostic::error("x.bad", "no \x1b]0;gotcha\x07")
            .with_file("a\x1b[1mb")
            .with_position(Position::of(source, 4..12))
            .with_hint("\x1b[31m");
        let text = shown(&found, Some(source), PLAIN);
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert!(text.contains("\\u{1b}[2J\\u{202e}"), "{text}");
    }
}
