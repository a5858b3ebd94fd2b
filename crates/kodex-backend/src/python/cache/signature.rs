//! What the file system says of a file, and when that is proof of an unchanged content.

use std::{
    borrow::Cow,
    fmt,
    fs::{self, Metadata},
    io::{self, Read},
    ops::Deref,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use sha2::{Digest, Sha256};

/// A file larger than this is no plugin's source; it is inspected anew each time.
const HASHED_BYTES: u64 = 16 << 20;

/// Time stamps come in steps: a file that is written twice within one step has the same stamp after
/// both. Kernels step every 1 to 10 ms; this leaves room for servers that are a little off.
const FINE_STEP_MS: u64 = 100;

/// File systems with whole seconds step by one or (FAT) two.
const COARSE_STEP_MS: u64 = 2_000;

const MS: i64 = 1_000_000;

/// Size, times and inode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature(u64, i64, i64, u64);

impl Signature {
    fn of(file: &Metadata) -> Self {
        Self(
            file.size(),
            in_ns(file.mtime(), file.mtime_nsec()),
            in_ns(file.ctime(), file.ctime_nsec()),
            file.ino(),
        )
    }

    fn of_stat(file: &Stat) -> Option<Self> {
        let is_file = FileType::from_raw_mode(file.st_mode) == FileType::RegularFile;
        let time = |seconds, rest| Some(in_ns(seconds, i64::try_from(rest).ok()?));
        let size = u64::try_from(file.st_size).ok()?;
        let mtime = time(file.st_mtime, file.st_mtime_nsec)?;
        let ctime = time(file.st_ctime, file.st_ctime_nsec)?;
        is_file.then_some(Self(size, mtime, ctime, file.st_ino))
    }

    /// Reads `size,mtime,ctime,inode`.
    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.splitn(4, ',');
        Some(Self(
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
        ))
    }

    /// Whether the file's last change lies so far before the moment at which it was read that a
    /// later change must have another time stamp.
    ///
    /// Both times count: a program may set the modification time to whatever it likes (archives
    /// do), but not the change time.
    pub(super) fn is_settled(&self, read_at_ms: u64) -> bool {
        let Self(_, mtime, ctime, _) = *self;
        let step = match ctime % (1_000 * MS) {
            0 => COARSE_STEP_MS,
            _ => FINE_STEP_MS,
        };
        let changed_at_ms = u64::try_from(mtime.max(ctime) / MS).unwrap_or(0);
        changed_at_ms.saturating_add(step) < read_at_ms
    }
}

fn in_ns(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000 * MS).saturating_add(rest)
}

/// Signatures, as a cache file has them or as they were just taken.
#[derive(Debug, Clone)]
pub(super) enum Signatures<'a> {
    Text(&'a str),
    Taken(Cow<'a, [Signature]>),
}

impl PartialEq<[Signature]> for Signatures<'_> {
    fn eq(&self, files: &[Signature]) -> bool {
        match self {
            Self::Taken(own) => **own == *files,
            Self::Text(text) => {
                let mut texts = text.split(';');
                files
                    .iter()
                    .all(|file| texts.next().and_then(Signature::read) == Some(*file))
                    && texts.next().is_none()
            }
        }
    }
}

impl fmt::Display for Signatures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Taken(files) => {
                for (n, Signature(size, mtime, ctime, inode)) in files.iter().enumerate() {
                    let border = if n == 0 { "" } else { ";" };
                    write!(f, "{border}{size},{mtime},{ctime},{inode}")?;
                }
                Ok(())
            }
        }
    }
}

/// Takes signatures of files in one folder, which is opened once: a path is then not followed from
/// the root for every file.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    open: Option<OwnedFd>,
}

/// The signatures of some files; nearly always it is one.
pub(super) enum Found {
    One([Signature; 1]),
    Many(Vec<Signature>),
}

impl Deref for Found {
    type Target = [Signature];

    fn deref(&self) -> &[Signature] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

impl Folder {
    pub(super) fn open(path: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self {
            path: path.to_owned(),
            open: rustix::fs::open(path, flags, Mode::empty()).ok(),
        }
    }

    /// What [`signatures`] gives.
    pub(super) fn signatures(&self, files: &[PathBuf]) -> Option<Found> {
        if let ([file], Some(folder)) = (files, &self.open)
            && let Some(name) = self.name_of(file)
        {
            let found = rustix::fs::statat(folder, name, AtFlags::empty()).ok()?;
            return Some(Found::One([Signature::of_stat(&found)?]));
        }
        signatures(files).map(Found::Many)
    }

    /// The name of a file that lies in the folder. Judged by bytes, not part by part: nothing but the
    /// speed depends on it.
    fn name_of<'a>(&self, file: &'a Path) -> Option<&'a [u8]> {
        let folder = self.path.as_os_str().as_bytes();
        let name = file.as_os_str().as_bytes().strip_prefix(folder)?;
        let name = name.strip_prefix(b"/")?;
        (!name.is_empty() && !name.contains(&b'/')).then_some(name)
    }
}

/// The signatures of files, without opening them. `None` when one is not there or is no file.
pub(super) fn signatures(files: &[PathBuf]) -> Option<Vec<Signature>> {
    let look = |file: &PathBuf| {
        let found = fs::metadata(file).ok()?;
        found.is_file().then(|| Signature::of(&found))
    };
    files.iter().map(look).collect()
}

/// Signatures of files and a digest of their contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) files: Vec<Signature>,
    pub(super) sha256: String,
}

impl Stamp {
    /// Reads the files. `None` when one cannot be read or is too large.
    pub(super) fn read(files: &[PathBuf]) -> Option<Self> {
        // Looking first keeps from opening what is no file: a named pipe would block.
        signatures(files)?;
        let mut hash = Sha256::new();
        let mut found = Vec::with_capacity(files.len());
        for file in files {
            found.push(read_into(&mut hash, file).ok()??);
        }
        Some(Self {
            files: found,
            sha256: crate::python::hex(&hash.finalize()),
        })
    }
}

fn read_into(hash: &mut Sha256, path: &Path) -> io::Result<Option<Signature>> {
    let file = fs::File::open(path)?;
    let signature = Signature::of(&file.metadata()?);
    if signature.0 > HASHED_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(signature.0).unwrap_or(0) + 1);
    file.take(HASHED_BYTES + 1).read_to_end(&mut bytes)?;
    // With the length in front the border between two files cannot move unnoticed.
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(&bytes);
    Ok((bytes.len() as u64 <= HASHED_BYTES).then_some(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_well_before_the_reading_is_settled() {
        // Times in milliseconds; a fraction of a second marks a file system with fine steps.
        for (mtime, ctime, read_at, want) in [
            (1_001, 1_001, 1_000, false),
            (1_001, 1_001, 1_001, false),
            (1_001, 1_001, 1_101, false),
            (1_001, 1_001, 1_102, true),
            (1_000, 1_000, 1_102, false),
            (1_000, 1_000, 3_000, false),
            (1_000, 1_000, 3_001, true),
            // Unpacked from an archive just now, with an old modification time.
            (1_000, 9_001, 9_050, false),
            (1_000, 9_001, 9_102, true),
            // A modification time in the future, set by hand or by a wrong clock.
            (99_000, 1_001, 50_000, false),
            (-5_000, -4_999, 1_000, true),
        ] {
            let signature = Signature(1, mtime * MS, ctime * MS, 1);
            assert_eq!(
                signature.is_settled(read_at),
                want,
                "{mtime} {ctime} {read_at}"
            );
        }
    }

    #[test]
    fn a_stamp_depends_on_contents_and_their_borders() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let stamp = |texts: &[&str]| {
            let files: Vec<_> = (0..texts.len())
                .map(|n| dir.path().join(n.to_string()))
                .collect();
            for (file, text) in files.iter().zip(texts) {
                fs::write(file, text).expect("a file");
            }
            Stamp::read(&files).expect("a stamp").sha256
        };
        assert_eq!(stamp(&["ab", "c"]), stamp(&["ab", "c"]));
        assert_ne!(stamp(&["ab", "c"]), stamp(&["a", "bc"]));
        assert_ne!(stamp(&["ab", "c"]), stamp(&["ab"]));
        assert_eq!(
            Stamp::read(&[dir.path().to_owned()]),
            None,
            "a folder is no file"
        );
        assert_eq!(Stamp::read(&[dir.path().join("missing")]), None);
    }
}
