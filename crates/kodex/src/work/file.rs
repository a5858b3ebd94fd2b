//! Files as destinations of answers.

use std::{
    fs, io,
    io::Write as _,
    path::{Component, Path, PathBuf},
};

use super::runner::{Deliver, DeliverError, Pending, Run};

/// A destination of kind `file`: the address is a path below one folder. The file is replaced whole, so a
/// reader sees the old answer or the new one, and bringing one twice changes nothing.
#[derive(Debug, Clone)]
pub struct FileDelivery {
    root: PathBuf,
}

impl FileDelivery {
    /// Files below this folder, which is made when it is needed.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn bring(&self, address: &str, answer: &str) -> Result<(), DeliverError> {
        let path = Path::new(address);
        let is_plain = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if address.is_empty() || !is_plain {
            return Err(DeliverError {
                transient: false,
                message: format!("{address:?} is no path below {}", self.root.display()),
            });
        }
        self.write(path, answer).map_err(|error| DeliverError {
            transient: !matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::InvalidInput
            ),
            message: format!(
                "{} cannot be written: {error}",
                self.root.join(path).display()
            ),
        })
    }

    fn write(&self, path: &Path, answer: &str) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(&self.root)?;
        let root = self.root.canonicalize()?;
        // One folder at a time, so that a link cannot lead out of the root before that is noticed.
        let mut at = root.clone();
        for part in folder.components() {
            at.push(part);
            match fs::create_dir(&at) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            at = at.canonicalize()?;
            if !at.starts_with(&root) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a link leads out of the folder for answers",
                ));
            }
        }
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut file = tempfile::NamedTempFile::new_in(&at)?;
        file.write_all(answer.as_bytes())?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(at.join(name)).map_err(|error| error.error)?;
        Ok(())
    }
}

impl Deliver for FileDelivery {
    fn deliver<'a>(
        &'a self,
        run: &'a Run,
        answer: &'a str,
    ) -> Pending<'a, Result<(), DeliverError>> {
        Box::pin(async move { self.bring(&run.destination.address, answer) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stay_below_their_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("answers");
        let files = FileDelivery::new(&root);
        files.bring("a/b/report.md", "one").expect("written");
        files.bring("a/b/report.md", "two").expect("written again");
        let text = fs::read_to_string(root.join("a/b/report.md")).expect("there");
        assert_eq!(text, "two\n");
        std::os::unix::fs::symlink(outside.path(), root.join("out")).expect("a link");
        fs::create_dir(root.join("folder")).expect("made");
        for address in ["../x", "/etc/x", "", "a/../../x", ".", "out/x", "folder"] {
            let error = files.bring(address, "no").expect_err(address);
            assert!(!error.transient, "{address}: {error}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("there").count(), 0);
        let left: Vec<_> = fs::read_dir(root.join("a/b")).expect("there").collect();
        assert_eq!(left.len(), 1, "nothing half written stays");
    }
}
