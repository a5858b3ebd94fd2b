//! Whether the file that was opened is still the one at its path.
//!
//! Folders are moved away, disks are unmounted, backups are put in place under a running program. A connection
//! does not notice: it goes on with a file that nobody will find again, and what it confirms is lost. Worse, a
//! file that is gone looks like one that was never made, and would be begun anew, empty. So a file that was
//! seen once must be there, and the connections to another one are of no use.
//!
//! It looks at most every [`LOOK_EVERY`]; nothing here repairs anything.

use std::{fs, path::Path, sync::Mutex, time::Duration};

use kodex_plugin::clock::millis;

use super::watch::locked;

/// How old the last look may be.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Device and number of a file.
type Mark = (u64, u64);

/// What is known of one file.
#[derive(Default)]
pub(super) struct Presence(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// None before it was opened for the first time.
    mark: Option<Mark>,
    is_gone: bool,
    looked_at_ms: u64,
    /// How often another one was found in its place, or it came back.
    n_changes: u64,
}

/// The file was there, and is not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IsGone;

impl Presence {
    /// Says that the file was opened; gives the number by which connections know whether they are of today.
    pub(super) fn opened(&self, path: &Path, now_ms: u64) -> u64 {
        let mut known = locked(&self.0);
        known.look(path, now_ms);
        known.n_changes
    }

    /// The number of today's connections.
    pub(super) fn current(&self, path: &Path, now_ms: u64) -> Result<u64, IsGone> {
        let mut known = locked(&self.0);
        if known.mark.is_some() && now_ms.abs_diff(known.looked_at_ms) >= millis(LOOK_EVERY) {
            known.look(path, now_ms);
        }
        match known.is_gone {
            true => Err(IsGone),
            false => Ok(known.n_changes),
        }
    }
}

impl Known {
    fn look(&mut self, path: &Path, now_ms: u64) {
        self.looked_at_ms = now_ms;
        let found = mark(path);
        let is_news = match (self.mark, found) {
            (None, _) => false,
            (Some(_), None) => !self.is_gone,
            (Some(known), Some(found)) => self.is_gone || known != found,
        };
        if is_news {
            self.n_changes += 1;
        }
        self.is_gone = self.mark.is_some() && found.is_none();
        self.mark = found.or(self.mark);
    }
}

#[cfg(unix)]
fn mark(path: &Path) -> Option<Mark> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(path).ok()?;
    found.is_file().then(|| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn mark(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok()?.is_file().then_some((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_must_be_there() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let (path, away) = (folder.path().join("a"), folder.path().join("b"));
        let presence = Presence::default();
        let mut now_ms = 1_000;
        let mut after = |ms: u64| {
            now_ms += ms;
            presence.current(&path, now_ms)
        };
        // Nobody has made it.
        assert_eq!(after(1_000), Ok(0));
        fs::write(&path, "one").expect("writes");
        assert_eq!(presence.opened(&path, 2_000), 0);
        assert_eq!(after(0), Ok(0));
        fs::rename(&path, &away).expect("moves");
        assert_eq!(after(199), Ok(0), "it looks now and then");
        assert_eq!(after(1), Err(IsGone));
        assert_eq!(after(1), Err(IsGone));
        fs::rename(&away, &path).expect("moves back");
        assert_eq!(after(200), Ok(2), "connections of before are not used");
        assert_eq!(after(200), Ok(2));
        fs::write(&away, "two").expect("writes");
        fs::rename(&away, &path).expect("replaces");
        assert_eq!(after(200), Ok(3));
        // A folder in its place is no file, and neither is one in place of its folder.
        fs::remove_file(&path).expect("removes");
        fs::create_dir(&path).expect("makes a folder");
        assert_eq!(after(200), Err(IsGone));
    }
}
