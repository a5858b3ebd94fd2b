//! The texts of new plugins, and writing them: whole or not at all, and never over anything.

use std::{fs::Permissions, io::Write, os::unix::fs::PermissionsExt, path::Path};

use crate::problem::Problem;

/// Files by their path in the new folder.
pub(crate) type Template = &'static [(&'static str, &'static str)];

pub(crate) const PYTHON: &str = include_str!("templates/python/plugin.py");
pub(crate) const PYTHON_TEST: &str = include_str!("templates/python/test.py");

pub(crate) const NODE: Template = &[
    ("README.md", include_str!("templates/node/README.md")),
    // The same file that the example has; there is only one.
    (
        "kodex.d.ts",
        include_str!("../../../examples/todo-node/kodex.d.ts"),
    ),
    (
        "kodex.mjs",
        include_str!("../../../examples/todo-node/kodex.mjs"),
    ),
    ("kodex.toml", include_str!("templates/node/kodex.toml")),
    ("plugin.mjs", include_str!("templates/node/plugin.mjs")),
    (
        "plugin.test.mjs",
        include_str!("templates/node/plugin.test.mjs"),
    ),
    ("words.mjs", include_str!("templates/node/words.mjs")),
];

pub(crate) const SHELL: Template = &[
    ("README.md", include_str!("templates/shell/README.md")),
    ("kodex.toml", include_str!("templates/shell/kodex.toml")),
    ("plugin.jq", include_str!("templates/shell/plugin.jq")),
    ("plugin.sh", include_str!("templates/shell/plugin.sh")),
    ("test.sh", include_str!("templates/shell/test.sh")),
];

pub(crate) const RUST: Template = &[
    (
        "Cargo.toml",
        include_str!("templates/rust/Cargo.toml.template"),
    ),
    ("README.md", include_str!("templates/rust/README.md")),
    ("src/lib.rs", include_str!("templates/rust/lib.rs.template")),
    (
        "tests/plugin.rs",
        include_str!("templates/rust/plugin_test.rs.template"),
    ),
];

/// Puts facts in place of `{{name}}`.
pub(crate) fn filled(text: &str, facts: &[(&str, &str)]) -> String {
    facts.iter().fold(text.to_owned(), |text, (fact, value)| {
        text.replace(&format!("{{{{{fact}}}}}"), value)
    })
}

/// Makes a folder that may be there already.
pub(crate) fn make_folder(path: &Path) -> Result<(), Problem> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(|error| failed(path, &error))
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), Problem> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let written = tempfile::Builder::new()
        .prefix(".kodex-new-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file))
        .map_err(|error| failed(path, &error))?;
    written
        .persist_noclobber(path)
        .map(drop)
        .map_err(|refused| match refused.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(path),
            _ => failed(path, &refused.error),
        })
}

/// Writes a folder that is not there yet.
pub(crate) fn write_folder(
    path: &Path,
    template: Template,
    facts: &[(&str, &str)],
) -> Result<(), Problem> {
    if path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    let parent = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let fail = |error: std::io::Error| failed(path, &error);
    let scratch = tempfile::Builder::new()
        .prefix(".kodex-new-")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(fail)?;
    for (file, text) in template {
        let file = scratch.path().join(file);
        file.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .map_err(fail)?;
        std::fs::write(&file, filled(text, facts)).map_err(fail)?;
    }
    // Fails when somebody else made a folder with files there meanwhile; an empty one is no loss.
    std::fs::rename(scratch.path(), path).map_err(fail)?;
    // Nothing is left at the old place that would have to be deleted.
    let _ = scratch.keep();
    Ok(())
}

/// The first runtime's words.
pub(crate) fn exists(path: &Path) -> Problem {
    Problem::failed(
        "scaffold.exists",
        format!("Refusing to overwrite existing plugin: {}", path.display()),
    )
    .help("choose another name, or delete it first")
}

fn failed(path: &Path, error: &std::io::Error) -> Problem {
    Problem::failed(
        "scaffold.write",
        format!("{} cannot be written: {error}", path.display()),
    )
    .help("name another folder with --plugin-dir")
}
