//! The Python SDK, carried in this binary and unpacked into the user's cache when it is needed.
//!
//! Plugins written for the first Python runtime import modules that must come from somewhere, and
//! nothing may have to be installed first. The folder's name holds a digest of the content, so
//! that two versions of Kodex live side by side and a running worker never has its files replaced.
//!
//! It unpacks and checks; it does not start Python and removes no other version's folder, which
//! may be in use.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use kodex_plugin::Diagnostic;

// Every file of the SDK, `FILES`, and their `DIGEST`: SHA-256 over names and contents, in hexadecimal.
include!(concat!(env!("OUT_DIR"), "/python_sdk.rs"));

/// The script that is both worker and inspector, below the unpacked folder.
pub const ENTRY: &str = "kodex/_worker.py";

/// Only the user may look into the folder or change it: what lies there is run.
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// Why the SDK could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SdkError {
    /// The file system refused something.
    #[error("cannot unpack the Python SDK: {attempt} {} failed", .path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SdkError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "python.sdk.io",
        }
    }

    /// The error as a finding, with its cause.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        let Self::Io { source, .. } = self;
        Diagnostic::error(self.code(), format!("{self}: {source}")).with_hint(self.hint())
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "the cache folder must be a folder that you own and may write to, on a disk with free space"
    }
}

/// The SDK in this binary.
#[derive(Debug)]
pub struct Sdk {
    files: &'static [(&'static str, &'static str)],
    digest: &'static str,
}

impl Sdk {
    /// The files that this binary was built with.
    #[must_use]
    pub fn embedded() -> Self {
        Self {
            files: FILES,
            digest: DIGEST,
        }
    }

    /// SHA-256 over names and contents, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.digest
    }

    /// The folder that [`Sdk::install`] fills below a cache folder.
    #[must_use]
    pub fn dir(&self, cache_dir: &Path) -> PathBuf {
        cache_dir
            .join("sdk")
            .join(format!("python-{}", &self.digest()[..12]))
    }

    /// Unpacks the SDK below the cache folder, unless it is there already, and returns its folder.
    ///
    /// The folder appears whole or not at all; of two processes that unpack at the same time one
    /// wins and the other uses the winner's. A folder that is there is compared byte by byte (a
    /// dozen small files, less than starting a process) and mended where it differs.
    ///
    /// # Errors
    /// [`SdkError`] says which step the file system refused.
    pub fn install(&self, cache_dir: &Path) -> Result<PathBuf, SdkError> {
        let dir = self.dir(cache_dir);
        if !dir.is_dir() {
            self.unpack(&dir)?;
        }
        self.mend(&dir)?;
        Ok(dir)
    }

    fn unpack(&self, dir: &Path) -> Result<(), SdkError> {
        let parent = dir.parent().unwrap_or(dir);
        make_private(parent)?;
        // Removed on every way out but the rename.
        let new = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(fs::Permissions::from_mode(PRIVATE_DIR))
            .tempdir_in(parent)
            .map_err(failed("creating a folder in", parent))?;
        for (name, text) in self.files {
            write_file(&new.path().join(name), text)?;
        }
        match fs::rename(new.path(), dir) {
            Ok(()) => {
                // The folder has moved; there is nothing left to remove.
                let _ = new.keep();
                Ok(())
            }
            // Someone else was faster.
            Err(_) if dir.is_dir() => Ok(()),
            Err(source) => Err(failed("renaming the new folder to", dir)(source)),
        }
    }

    /// Makes the folder private and its files right.
    fn mend(&self, dir: &Path) -> Result<(), SdkError> {
        let mode = fs::metadata(dir)
            .map_err(failed("looking at", dir))?
            .permissions()
            .mode();
        if mode & 0o777 != PRIVATE_DIR {
            fs::set_permissions(dir, fs::Permissions::from_mode(PRIVATE_DIR))
                .map_err(failed("changing the permissions of", dir))?;
        }
        for (name, text) in self.files {
            let file = dir.join(name);
            if fs::read(&file).is_ok_and(|bytes| bytes == text.as_bytes()) {
                continue;
            }
            // By rename, so that a worker that starts right now reads the old or the new file.
            let parent = file.parent().unwrap_or(dir);
            make_private(parent)?;
            let mut new =
                tempfile::NamedTempFile::new_in(parent).map_err(failed("writing in", parent))?;
            io::Write::write_all(&mut new, text.as_bytes()).map_err(failed("writing", &file))?;
            if file.is_dir() {
                fs::remove_dir_all(&file).map_err(failed("removing the folder", &file))?;
            }
            new.persist(&file)
                .map_err(|error| failed("replacing", &file)(error.error))?;
        }
        Ok(())
    }
}

fn write_file(file: &Path, text: &str) -> Result<(), SdkError> {
    if let Some(parent) = file.parent() {
        make_private(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE);
    let written = options
        .open(file)
        .and_then(|mut open| io::Write::write_all(&mut open, text.as_bytes()));
    written.map_err(failed("writing", file))
}

fn make_private(dir: &Path) -> Result<(), SdkError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIR)
        .create(dir)
        .map_err(failed("creating", dir))
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SdkError {
    let path = path.to_owned();
    move |source| SdkError::Io {
        attempt,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    const TWO: &[(&str, &str)] = &[("kodex/a.py", "a = 1\n"), ("other/b.py", "b = 2\n")];
    const SMALL: Sdk = Sdk {
        files: TWO,
        digest: "0123456789abcdef",
    };

    fn files_below(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            // What running or checking the SDK in place leaves behind.
            if name == "__pycache__" || name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                files_below(root, &path, found);
            } else {
                let name = path.strip_prefix(root).expect("below the root");
                found.push(name.to_str().expect("UTF-8").to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_sdk_is_embedded_as_it_is_and_counts_in_the_digest() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdks/python/src");
        let mut on_disk = Vec::new();
        files_below(&root, &root, &mut on_disk);
        on_disk.sort();
        let embedded: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            embedded, on_disk,
            "`touch build.rs` has the folder read again"
        );
        assert!(embedded.contains(&ENTRY));
        let mut hash = Sha256::new();
        for (name, text) in FILES {
            assert_eq!(fs::read_to_string(root.join(name)).expect("a file"), *text);
            hash.update((name.len() as u64).to_le_bytes());
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(text);
        }
        assert_eq!(DIGEST, crate::python::hex(&hash.finalize()));
    }

    /// Installs, damages what was installed, installs again and compares with the table.
    fn check(damage: impl FnOnce(&Path)) {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let dir = SMALL.install(cache.path()).expect("installed");
        damage(&dir);
        assert_eq!(SMALL.install(cache.path()).expect("installed again"), dir);
        let mut found = Vec::new();
        files_below(&dir, &dir, &mut found);
        found.sort();
        assert_eq!(found, ["kodex/a.py", "other/b.py"]);
        for (name, text) in TWO {
            assert_eq!(fs::read_to_string(dir.join(name)).expect("a file"), *text);
        }
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("kodex")), 0o700);
        assert_eq!(mode(&dir.join("kodex/a.py")), 0o600);
        let siblings = fs::read_dir(cache.path().join("sdk"))
            .expect("a folder")
            .count();
        assert_eq!(siblings, 1, "nothing temporary is left");
    }

    #[test]
    fn an_installed_sdk_is_complete_private_and_mended() {
        check(|_| {});
        check(|dir| fs::write(dir.join("kodex/a.py"), "import evil\n").expect("written"));
        check(|dir| fs::remove_file(dir.join("other/b.py")).expect("removed"));
        check(|dir| fs::remove_dir_all(dir.join("other")).expect("removed"));
        check(|dir| fs::remove_dir_all(dir).expect("removed"));
        check(|dir| {
            fs::remove_file(dir.join("other/b.py")).expect("removed");
            fs::create_dir_all(dir.join("other/b.py/x")).expect("folders");
        });
        check(|dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("changed"));
    }

    #[test]
    fn many_that_install_at_once_agree() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let installed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| SMALL.install(cache.path()).expect("installed")))
                .collect();
            let dirs = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            dirs.collect::<std::collections::HashSet<_>>()
        });
        assert_eq!(installed.len(), 1);
        assert_eq!(
            fs::read_dir(cache.path().join("sdk"))
                .expect("a folder")
                .count(),
            1
        );
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_named() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        fs::write(cache.path().join("sdk"), "a file in the way").expect("a file");
        let error = SMALL
            .install(cache.path())
            .expect_err("no folder can be made");
        assert_eq!(error.code(), "python.sdk.io");
        assert!(
            error
                .to_string()
                .contains(&cache.path().display().to_string()),
            "{error}"
        );
    }
}
