//! One configuration file: found, read, and every mistake in it shown with its place.

use std::{
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use kodex::{Diagnostic, Position, contract::suggest};

use super::raw::Raw;
use crate::problem::{Exit, Problem};

/// The project's configuration, seen from a folder inside the project.
pub(super) const PROJECT: &str = ".kodex/config.toml";
/// No configuration needs more.
const MAX_BYTES: u64 = 1 << 20;

/// A file that was read: what it says, and the folder that its relative paths are seen from.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) file: PathBuf,
    pub(super) base: PathBuf,
    pub(super) text: String,
    pub(super) raw: Raw,
}

/// The project's file in the working directory or the nearest folder above it. Files of strangers
/// above the working directory are passed over: in `/tmp` anybody could put one, and a configuration
/// decides what is run.
pub(super) fn find_project(cwd: &Path, warnings: &mut Vec<Diagnostic>) -> Option<PathBuf> {
    let trusted = [
        Some(0),
        Some(rustix::process::geteuid().as_raw()),
        owner(cwd),
    ];
    cwd.ancestors().enumerate().find_map(|(above, folder)| {
        let file = folder.join(PROJECT);
        if !file.is_file() {
            return None;
        }
        if above == 0 || trusted.contains(&owner(&file)) {
            return Some(file);
        }
        let found = Diagnostic::warning(
            "config.owner",
            "a configuration that belongs to another user is passed over",
        )
        .with_file(file.display().to_string())
        .with_hint("to use it, name it with --config");
        warnings.push(found);
        None
    })
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|found| found.uid())
}

/// Reads a file.
pub(super) fn read(file: &Path, cwd: &Path) -> Result<Layer, Problem> {
    let text = text(file)?;
    let raw = toml::from_str(&text).map_err(|error| refused(file, &text, &error))?;
    Ok(Layer {
        file: file.to_owned(),
        base: base(file, cwd),
        text,
        raw,
    })
}

/// A finding about a place in a layer.
pub(super) fn at(
    layer: &Layer,
    code: &str,
    span: std::ops::Range<usize>,
    message: String,
) -> Problem {
    let found = Diagnostic::error(code, message)
        .with_file(layer.file.display().to_string())
        .with_position(Position::of(&layer.text, span));
    Problem::new(Exit::Usage, found).within(&layer.text)
}

/// A project is the folder around `.kodex`; other files stand for the folder that they lie in.
fn base(file: &Path, cwd: &Path) -> PathBuf {
    let folder = cwd
        .join(file)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let project = folder
        .ends_with(".kodex")
        .then(|| folder.parent())
        .flatten()
        .map(Path::to_owned);
    let base = project.unwrap_or(folder);
    // Paths below the working directory stay relative, so that reports are as short as without a file.
    if base == cwd { PathBuf::new() } else { base }
}

fn text(file: &Path) -> Result<String, Problem> {
    let unreadable = |what: String| {
        Problem::usage(
            "config.unreadable",
            format!("the configuration file {} {what}", file.display()),
        )
    };
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            unreadable(format!("cannot be read: {error}")).help("name another one with `--config`")
        })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unreadable(format!("has more than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        unreadable(format!("is no UTF-8 (byte {byte})")).help("save it as UTF-8")
    })
}

fn refused(file: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let message = error.message();
    let code = match message {
        text if text.starts_with("unknown field") => "config.key.unknown",
        text if text.starts_with("missing field") => "config.key.missing",
        text if text.starts_with("invalid type") => "config.type",
        _ if is_syntax(text) => "config.syntax",
        _ => "config.value",
    };
    let mut found = Diagnostic::error(code, spoken(message)).with_file(file.display().to_string());
    if let Some(span) = error.span() {
        found = found.with_position(Position::of(text, span));
    }
    if let Some(hint) = advice(message) {
        found = found.with_hint(hint);
    }
    Problem::new(Exit::Usage, found).within(text)
}

/// Whether the text is no TOML at all, as against TOML with the wrong content.
fn is_syntax(text: &str) -> bool {
    toml::from_str::<toml::Table>(text).is_err()
}

/// For unknown keys the list of everything that would have been right is the hint's.
fn spoken(message: &str) -> String {
    match message.strip_prefix("unknown field") {
        Some(rest) => format!(
            "unknown key{}",
            rest.split(", expected").next().unwrap_or(rest)
        ),
        None => message.replace("missing field", "missing key"),
    }
}

fn advice(message: &str) -> Option<String> {
    let (head, tail) = message
        .strip_prefix("unknown field")?
        .split_once(", expected")?;
    let mut known = tail.split('`').skip(1).step_by(2);
    let wrong = head.split('`').nth(1)?;
    match suggest::closest(wrong, known.clone()) {
        Some(close) => Some(format!("did you mean `{close}`?")),
        None => {
            let first = known.next()?;
            let all = known.fold(format!("`{first}`"), |all, one| format!("{all}, `{one}`"));
            Some(format!("known here: {all}"))
        }
    }
}
