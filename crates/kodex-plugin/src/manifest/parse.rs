//! From text to [`Manifest`], with a diagnostic for every thing that is wrong.
//!
//! A JSON manifest that is in order is read once, straight into the raw form. Everything else, and
//! all TOML, becomes a tree that knows its places in the text.

use serde::Deserialize;
use serde_json::Value;
use toml::de::DeTable;

use super::{
    Manifest, RawManifest, code,
    report::Report,
    rules, shape,
    tree::{self, Spot},
};
use crate::{Diagnostic, JsonError, Limits, Position, json};

/// The longest manifest that is read, in bytes. One with fifty large tools stays well below.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// The result of reading a manifest: it, if it can be used, and what was found on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The manifest; nothing when an error makes it unusable.
    pub manifest: Option<Manifest>,
    /// All findings, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    fn failed(diagnostics: Vec<Diagnostic>, file: &str) -> Self {
        let name = |one: Diagnostic| one.with_file(file);
        Self {
            manifest: None,
            diagnostics: diagnostics.into_iter().map(name).collect(),
        }
    }
}

/// Reads `kodex.toml`. `file` is only for the diagnostics.
///
/// ```
/// let text = "manifest = 1\n[plugin]\nname = \"a\"\nversion = \"0.1.0\"\ndescripton = \"A.\"\n";
/// let parsed = kodex_plugin::manifest::parse_toml(text, "kodex.toml");
/// assert!(parsed.manifest.is_none());
/// let unknown = &parsed.diagnostics[1];
/// assert_eq!(unknown.code, "manifest.key.unknown");
/// assert_eq!(unknown.position.map(|at| (at.line, at.column)), Some((5, 1)));
/// assert_eq!(unknown.hint.as_deref(), Some("did you mean `description`?"));
/// ```
#[must_use]
pub fn parse_toml(text: &str, file: &str) -> Parsed {
    if text.len() > MANIFEST_BYTES_MAX {
        return Parsed::failed(vec![too_large(text.len())], file);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let (twice, syntax): (Vec<_>, Vec<_>) = errors
        .into_iter()
        .partition(|error| error.message().starts_with("duplicate key"));
    if !syntax.is_empty() {
        // What follows from half a file would only hide its cause.
        let found = syntax.iter().chain(&twice).take(SYNTAX_ERRORS_MAX);
        let mut found: Vec<_> = found.map(|error| toml_error(text, error)).collect();
        found.sort_by_key(|one| one.position.map_or(0, |at| at.start));
        return Parsed::failed(found, file);
    }
    let mut report = Report::default();
    for error in &twice {
        report.add(&[], error.span(), toml_error(text, error));
    }
    let tree = tree::of_toml(document);
    read(&tree, text, file, false, report)
}

/// Reads the JSON form. With `in_code` the lenient rules for plugins that declare themselves in code
/// hold: any printable name, any version.
#[must_use]
pub fn parse_json(text: &str, file: &str, in_code: bool) -> Parsed {
    if text.len() > MANIFEST_BYTES_MAX {
        return Parsed::failed(vec![too_large(text.len())], file);
    }
    if let Some(manifest) = parse_fine_json(text, in_code) {
        return Parsed {
            manifest: Some(manifest),
            diagnostics: Vec::new(),
        };
    }
    let limits = Limits {
        frame_bytes: MANIFEST_BYTES_MAX,
        ..Limits::default()
    };
    if let Err(error) = json::check(text.as_bytes(), &limits) {
        return Parsed::failed(vec![json_error(text, &error)], file);
    }
    match tree::of_json(text) {
        Ok(tree) => read(&tree, text, file, in_code, Report::default()),
        Err(error) => {
            // The tree is read level by level; a reading in one go says better what is wrong.
            let error = serde_json::from_str::<Value>(text).err().unwrap_or(error);
            Parsed::failed(vec![serde_error(text, &error)], file)
        }
    }
}

/// The short way: a manifest in which nothing at all is to be said.
fn parse_fine_json(text: &str, in_code: bool) -> Option<Manifest> {
    let raw: RawManifest = serde_json::from_str(text).ok()?;
    let has_schema = |tool: &super::RawTool| {
        // A schema is a free tree, in which serde would let the last of two equal keys win.
        tool.input_schema.is_some() || tool.output_schema.is_some()
    };
    if raw.tools.iter().any(has_schema) {
        return None;
    }
    let mut report = Report::default();
    rules::ready(raw, in_code, &mut report).filter(|_| report.is_empty())
}

fn read(tree: &Spot<'_>, text: &str, file: &str, in_code: bool, mut report: Report) -> Parsed {
    let value = shape::check(tree, &mut report);
    let plugin = value["plugin"]["name"].as_str().map(str::to_owned);
    let manifest = match raw_of(value) {
        Ok(raw) => rules::ready(raw, in_code, &mut report),
        Err(error) => {
            // Only reached when shape and raw form disagree; still a finding, never a panic.
            let found =
                Diagnostic::error(code::TYPE, format!("the manifest cannot be read: {error}"));
            report.add(
                &[],
                None,
                found.with_hint("compare it with the reference of the format"),
            );
            None
        }
    };
    let plugin = plugin.filter(|name| crate::PluginName::lenient(name.as_str()).is_ok());
    Parsed {
        manifest,
        diagnostics: report.finish(text, file, plugin.as_deref(), Some(tree)),
    }
}

fn raw_of(value: Value) -> Result<RawManifest, serde_json::Error> {
    RawManifest::deserialize(value)
}

/// How many syntax errors of one file are shown.
const SYNTAX_ERRORS_MAX: usize = 20;

fn too_large(got: usize) -> Diagnostic {
    Diagnostic::error(
        code::TOO_LARGE,
        format!("the manifest has {got} bytes; at most {MANIFEST_BYTES_MAX} are read"),
    )
    .with_hint("move long texts and schemas out of the manifest")
}

fn toml_error(text: &str, error: &toml::de::Error) -> Diagnostic {
    let message = error.message();
    let twice = message.starts_with("duplicate key");
    let found = match (twice, error.span()) {
        (true, span) => {
            let key = span.and_then(|span| text.get(span)).unwrap_or_default();
            let message = format!("the key `{key}` stands twice");
            Diagnostic::error(code::KEY_DUPLICATE, message).with_hint("remove one of the two")
        }
        (false, _) if message.contains("recursion") => {
            Diagnostic::error(code::TOO_DEEP, "the manifest is nested too deep")
                .with_hint("no manifest needs this depth; look for a bracket that is never closed")
        }
        (false, _) => Diagnostic::error(code::SYNTAX, format!("this is no TOML: {message}"))
            .with_hint(
                "texts stand in quotation marks, lists in [ ], and tables start with [name]",
            ),
    };
    match error.span() {
        Some(span) => found.with_position(Position::of(text, span)),
        None => found,
    }
}

fn json_error(text: &str, error: &JsonError) -> Diagnostic {
    match error {
        JsonError::TooLong { got, .. } => too_large(*got),
        JsonError::TooDeep { at, .. } => {
            Diagnostic::error(code::TOO_DEEP, "the manifest is nested too deep")
                .with_hint("no manifest needs this depth")
                .with_position(Position::of(text, *at..at + 1))
        }
        JsonError::Syntax {
            message,
            line,
            column,
        } => syntax_at(text, message, *line, *column),
    }
}

fn serde_error(text: &str, error: &serde_json::Error) -> Diagnostic {
    let shown = error.to_string();
    let message = shown
        .rsplit_once(" at line ")
        .map_or(shown.as_str(), |(head, _)| head);
    syntax_at(text, message, error.line(), error.column())
}

fn syntax_at(text: &str, message: &str, line: usize, column: usize) -> Diagnostic {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let at = line_start + column.saturating_sub(1);
    Diagnostic::error(code::SYNTAX, format!("this is no JSON: {message}"))
        .with_hint(
            "keys and texts stand in quotation marks; there is no comma after the last entry",
        )
        .with_position(Position::of(text, at..at + 1))
}
