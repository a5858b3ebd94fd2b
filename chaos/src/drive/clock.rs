//! A node's wall clock that can be moved, by a library of Debian's that is loaded before the others. What a
//! node measures deadlines with stays as it is, and so do the clocks of the workers that it starts.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::process::Pid;

/// Where Debian has it: in a folder of this name beside the libraries of an architecture.
const LIBRARIES: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The library, where it is installed.
pub(super) fn library() -> Option<PathBuf> {
    let folders = fs::read_dir(LIBRARIES).ok()?.flatten();
    folders
        .map(|folder| folder.path().join(LIBRARY))
        .find(|path| path.exists())
}

/// The clock of one node.
pub(super) struct WallClock {
    file: PathBuf,
    library: PathBuf,
    offset_ms: i64,
}

impl WallClock {
    pub(super) fn new(folder: &Path, name: &str, library: &Path) -> Result<Self> {
        let mut clock = Self {
            file: folder.join(format!("{name}.clock")),
            library: library.to_owned(),
            offset_ms: 0,
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// Moves it to this far from the machine's.
    pub(super) fn set(&mut self, offset_ms: i64) -> Result<()> {
        self.offset_ms = offset_ms;
        let (sign, ms) = (
            if offset_ms < 0 { '-' } else { '+' },
            offset_ms.unsigned_abs(),
        );
        // Read while it is written, so it is never half a number.
        let part = self.file.with_extension("part");
        fs::write(&part, format!("{sign}{}.{:03}\n", ms / 1_000, ms % 1_000))?;
        fs::rename(&part, &self.file).context("moving a clock")
    }

    pub(super) fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// What a process needs in its environment to go by it.
    pub(super) fn env(&self) -> Vec<(String, OsString)> {
        let on = || OsString::from("1");
        vec![
            ("LD_PRELOAD".to_owned(), self.library.clone().into()),
            (
                "FAKETIME_TIMESTAMP_FILE".to_owned(),
                self.file.clone().into(),
            ),
            ("FAKETIME_NO_CACHE".to_owned(), on()),
            ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), on()),
            ("NO_FAKE_STAT".to_owned(), on()),
        ]
    }
}

/// Removes what the library leaves in shared memory when a process is killed.
pub(super) fn sweep(pid: Pid) {
    let pid = pid.as_raw_nonzero();
    for name in [
        format!("sem.faketime_sem_{pid}"),
        format!("faketime_shm_{pid}"),
    ] {
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
