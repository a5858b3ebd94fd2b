//! A plugin directory: `*.py` files, folders with a `kodex.toml`, and single `*.toml` manifests.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kodex_plugin::Diagnostic;

use super::{Candidate, Discovered, Place};
use crate::observe::{Record, Status};

/// The manifest's name inside a plugin's folder.
const MANIFEST: &str = "kodex.toml";

/// Adds the candidates of one directory, sorted by file name in byte order.
///
/// Names that start with `_` are passed over silently, folders and manifests that start with `.`
/// too. (Python files that start with `.` are not: the first Python runtime loads them.)
pub fn scan(directory: &Path, found: &mut Discovered) {
    let source = directory.display().to_string();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            found.records.push(unreadable(&source, &error));
            return;
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => names.push(entry.file_name()),
            Err(error) => found.records.push(unreadable(&source, &error)),
        }
    }
    names.sort_unstable();
    found.candidates.reserve(names.len());
    let prefix = prefix_of(directory);
    for name in names {
        let Some(text) = name.to_str() else {
            found.records.push(not_utf8(&directory.join(&name)));
            continue;
        };
        if text.starts_with('_') || (text.starts_with('.') && !text.ends_with(".py")) {
            continue;
        }
        let path = match &prefix {
            Some(prefix) => PathBuf::from([prefix, text].concat()),
            None => directory.join(text),
        };
        let source = path
            .to_str()
            .map_or_else(|| path.display().to_string(), str::to_owned);
        if let Some(place) = judge(path, text) {
            found.candidates.push(Candidate { source, place });
        }
    }
}

/// What stands before the names in a directory, where that is text. Sources are named as the first
/// Python runtime named them: `x.py`, not `./x.py`.
fn prefix_of(directory: &Path) -> Option<String> {
    if directory == Path::new(".") {
        return Some(String::new());
    }
    // Joining nothing adds the border between a folder and a name, unless there is one.
    directory.join("").into_os_string().into_string().ok()
}

/// Adds the one candidate at a path: a folder with a manifest, a manifest, or a Python file.
pub fn one(path: &Path, found: &mut Discovered) {
    let source = path.display().to_string();
    let place = path
        .file_name()
        .or(Some(path.as_os_str()))
        .and_then(|name| judge(path.to_owned(), name.to_str()?));
    match place {
        Some(place) => found.candidates.push(Candidate { source, place }),
        None => found.records.push(Record::refused(
            &source,
            Status::Error,
            Diagnostic::error(
                "discover.plugin.unrecognised",
                "there is no plugin at this path",
            )
            .with_file(&source)
            .with_hint(format!(
                "name a folder with a {MANIFEST}, a manifest, or a Python file"
            )),
        )),
    }
}

fn judge(path: PathBuf, name: &str) -> Option<Place> {
    if name.ends_with(".py") {
        return Some(Place::PythonFile(path));
    }
    if name.ends_with(".toml") {
        let root = parent(&path);
        return Some(Place::Manifest { file: path, root });
    }
    // Files with other endings are not worth a look; a folder's name rarely has a dot.
    let manifest = path.join(MANIFEST);
    manifest.is_file().then(|| Place::Manifest {
        file: manifest,
        root: path,
    })
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn unreadable(source: &str, error: &io::Error) -> Record {
    match error.kind() {
        io::ErrorKind::NotFound => Record::refused(
            source,
            Status::Skipped,
            Diagnostic::warning("discover.directory.missing", "plugin directory missing")
                .with_file(source)
                .with_hint(
                    "create it with `kodex scaffold NAME`, or name another one with --plugin-dir",
                ),
        ),
        io::ErrorKind::NotADirectory => Record::refused(
            source,
            Status::Error,
            Diagnostic::error("discover.directory.is_a_file", "plugin directory is a file")
                .with_file(source)
                .with_hint("name the folder that holds the plugin"),
        ),
        _ => Record::refused(
            source,
            Status::Error,
            Diagnostic::error(
                "discover.directory.unreadable",
                format!("plugin directory cannot be read: {error}"),
            )
            .with_file(source)
            .with_hint("check the permissions of the folder"),
        ),
    }
}

fn not_utf8(path: &Path) -> Record {
    let shown = path.display().to_string();
    Record::refused(
        &shown,
        Status::Error,
        Diagnostic::error("discover.name.not_utf8", "the file name is no UTF-8")
            .with_file(&shown)
            .with_hint("rename the file"),
    )
}
