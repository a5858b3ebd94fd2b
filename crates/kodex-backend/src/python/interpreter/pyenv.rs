//! Looking through pyenv's shims: which version it would start, without its 300 ms of shell.
//!
//! The rules are pyenv's own: `PYENV_VERSION`, else the nearest `.python-version` from the current
//! folder upward, else the file `version` in its root, else the system's Python. Plugins of pyenv
//! that change these rules are not asked.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Variables;

/// A shim is a dozen lines; more is not read to recognise one.
const SHIM_BYTES: u64 = 4 << 10;

/// More than this is no version file.
const VERSION_FILE_BYTES: u64 = 4 << 10;

/// The versions that pyenv would try, in order, and who said so.
pub(super) struct Choice {
    pub(super) versions: Vec<String>,
    pub(super) origin: String,
}

/// The root of pyenv if this script is one of its shims.
pub(super) fn root_of(program: &Path, variables: &Variables) -> Option<PathBuf> {
    let shims = program.parent()?;
    if shims.file_name()? != "shims" || !read_at_most(program, SHIM_BYTES).ok()?.contains("pyenv") {
        return None;
    }
    let roots = [variables.pyenv_root.as_deref(), shims.parent()];
    let root = roots
        .into_iter()
        .flatten()
        .find(|root| root.join("versions").is_dir());
    root.map(Path::to_owned)
}

/// What pyenv would choose.
pub(super) fn choose(root: &Path, variables: &Variables, cwd: &Path) -> Choice {
    if let Some(named) = &variables.pyenv_version {
        let versions = named.split(':').filter(|name| !name.is_empty());
        return Choice {
            versions: versions.map(str::to_owned).collect(),
            origin: "PYENV_VERSION".into(),
        };
    }
    let local = cwd.ancestors().map(|dir| dir.join(".python-version"));
    for file in local.chain([root.join("version")]) {
        let versions = versions_in(&file);
        if !versions.is_empty() {
            return Choice {
                versions,
                origin: file.display().to_string(),
            };
        }
    }
    Choice {
        versions: vec!["system".into()],
        origin: "pyenv's default".into(),
    }
}

fn versions_in(file: &Path) -> Vec<String> {
    let text = read_at_most(file, VERSION_FILE_BYTES).unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The program of one version; `None` for the system's. The error says why there is none.
pub(super) fn program(root: &Path, version: &str, name: &str) -> Result<Option<PathBuf>, String> {
    if version == "system" {
        return Ok(None);
    }
    let versions = root.join("versions");
    // A project's `.python-version` chooses among what the user installed and nothing else: a
    // name like `../../project/evil` must not lead out of the folder.
    if version.contains('/') || version.starts_with('.') {
        return Err("that is no version name".into());
    }
    let exact = [version, version.strip_prefix("python-").unwrap_or(version)];
    let installed = exact
        .into_iter()
        .map(|name| versions.join(name))
        .find(|dir| dir.is_dir());
    let dir = installed.or_else(|| newest_with_prefix(&versions, exact[1]));
    let Some(dir) = dir else {
        return Err(format!(
            "that version is not installed in {}",
            versions.display()
        ));
    };
    let program = dir.join("bin").join(name);
    if program.exists() {
        return Ok(Some(program));
    }
    Err(format!("it has no program `{name}`"))
}

/// `3.11` means the newest installed `3.11.x`.
fn newest_with_prefix(versions: &Path, wanted: &str) -> Option<PathBuf> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        name.split('.').map(|part| part.parse().ok()).collect()
    };
    let wanted = numbers(wanted)?;
    let names = fs::read_dir(versions).ok()?.flatten();
    let parsed = names.filter_map(|entry| {
        let numbers = numbers(entry.file_name().to_str()?)?;
        numbers
            .starts_with(&wanted)
            .then(|| (numbers, entry.path()))
    });
    parsed.max().map(|(_, path)| path)
}

fn read_at_most(file: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(fs::File::open(file)?, limit),
        &mut bytes,
    )?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pyenv root with versions that have a `python3`, and a project below it.
    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for version in ["3.9.2", "3.11.7", "3.11.10", "mine", "2.7.18"] {
            let bin = dir.path().join("versions").join(version).join("bin");
            fs::create_dir_all(&bin).expect("folders");
            fs::write(bin.join("python3"), "").expect("a program");
        }
        fs::create_dir_all(dir.path().join("project/sub")).expect("folders");
        dir
    }

    fn check(variable: &str, local: &str, global: &str) -> String {
        let dir = root();
        let at = |name: &str| dir.path().join(name);
        if !local.is_empty() {
            fs::write(at("project/.python-version"), local).expect("a file");
        }
        if !global.is_empty() {
            fs::write(at("version"), global).expect("a file");
        }
        let variables = Variables {
            pyenv_version: (!variable.is_empty()).then(|| variable.to_owned()),
            ..Variables::default()
        };
        let choice = choose(dir.path(), &variables, &at("project/sub"));
        let programs =
            choice
                .versions
                .iter()
                .map(|version| match program(dir.path(), version, "python3") {
                    Ok(None) => "system".to_owned(),
                    Ok(Some(program)) => {
                        let dir = program.ancestors().nth(2).and_then(Path::file_name);
                        dir.and_then(|name| name.to_str()).unwrap_or("?").to_owned()
                    }
                    Err(reason) => reason.split(" in ").next().unwrap_or_default().to_owned(),
                });
        programs.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn versions_are_chosen_as_pyenv_does() {
        for (variable, local, global, want) in [
            ("", "", "", "system"),
            ("", "", "3.9.2\n", "3.9.2"),
            ("", "3.11.7\n", "3.9.2\n", "3.11.7"),
            ("mine", "3.11.7", "3.9.2", "mine"),
            ("3.11", "", "", "3.11.10"),
            ("python-3.11.7", "", "", "3.11.7"),
            ("system:3.9.2", "", "", "system, 3.9.2"),
            ("", "# ours\n3.9.2 # old\nmine\n", "", "3.9.2, mine"),
            ("4.0", "", "", "that version is not installed"),
            ("", "../versions/mine", "", "that is no version name"),
            ("", "..", "", "that is no version name"),
        ] {
            assert_eq!(
                check(variable, local, global),
                want,
                "{variable:?} {local:?} {global:?}"
            );
        }
    }
}
