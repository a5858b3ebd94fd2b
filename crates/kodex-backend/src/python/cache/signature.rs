//! What the file system says of a file, and when that is proof of an unchanged content.

use std::{
    fs::{self, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signature(u64, i64, i64, u64);

impl Signature {
    fn of(file: &Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000 * MS).saturating_add(rest);
        Self(
            file.size(),
            ns(file.mtime(), file.mtime_nsec()),
            ns(file.ctime(), file.ctime_nsec()),
            file.ino(),
        )
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
