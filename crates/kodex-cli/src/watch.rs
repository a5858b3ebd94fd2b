//! Tells when something in the plugin folders may have changed. What exactly changed is found by
//! looking again; events get lost, come twice, and mean different things on every system.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{sync::Notify, time::timeout};

use crate::problem::Problem;

/// An editor that saves writes several times; this long without an event counts as done.
const QUIET: Duration = Duration::from_millis(60);
/// A folder that never comes to rest is looked at after this multiple of that time.
const AT_MOST: u32 = 10;
/// How far the quiet time grows while events change nothing, such as those of a plugin that writes
/// into its own folder whenever it is loaded.
const QUIET_CAP: Duration = Duration::from_secs(4);

/// Watches folders until it is dropped.
pub(crate) struct Watch {
    changed: Arc<Notify>,
    /// Its thread ends with it.
    watcher: RecommendedWatcher,
    /// Folders that are not there yet.
    missing: Vec<PathBuf>,
    quiet: Duration,
}

impl Watch {
    /// Watches the folders and everything below them. A folder that is missing is waited for.
    pub(crate) fn start(folders: &[PathBuf]) -> Result<Self, Problem> {
        let changed = Arc::new(Notify::new());
        let told = changed.clone();
        // One permit is all that is ever stored, so a flood of events takes no memory.
        let on_event = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| is_change(&event.kind)) {
                told.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .map_err(|error| failed(Path::new("."), &error))?;
        let mut watch = Self {
            changed,
            watcher,
            missing: folders.to_vec(),
            quiet: QUIET,
        };
        watch.look_for_missing()?;
        Ok(watch)
    }

    /// Waits for the next change, and then for quiet.
    pub(crate) async fn changed(&mut self) {
        self.changed.notified().await;
        let quiet = async { while timeout(self.quiet, self.changed.notified()).await.is_ok() {} };
        // Time that is over only means that more is to come.
        let _ = timeout(self.quiet * AT_MOST, quiet).await;
        // A folder that cannot be watched now may be later; the changes that were seen count.
        let _ = self.look_for_missing();
    }

    /// Whether the last change was one. Events that change nothing are waited out longer and longer.
    pub(crate) fn set_busy(&mut self, is_busy: bool) {
        self.quiet = if is_busy {
            QUIET
        } else {
            (self.quiet * 2).min(QUIET_CAP)
        };
    }

    fn look_for_missing(&mut self) -> Result<(), Problem> {
        for folder in std::mem::take(&mut self.missing) {
            if folder.is_dir() {
                self.watcher
                    .watch(&folder, RecursiveMode::Recursive)
                    .map_err(|error| failed(&folder, &error))?;
            } else {
                let above = folder
                    .ancestors()
                    .skip(1)
                    .find(|above| above.is_dir() || above.as_os_str().is_empty());
                let above = above
                    .filter(|above| !above.as_os_str().is_empty())
                    .unwrap_or(Path::new("."));
                self.watcher
                    .watch(above, RecursiveMode::NonRecursive)
                    .map_err(|error| failed(above, &error))?;
                self.missing.push(folder);
            }
        }
        Ok(())
    }
}

/// Reading is no change; this program reads the files itself.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn failed(folder: &Path, error: &notify::Error) -> Problem {
    let problem = Problem::failed(
        "watch.failed",
        format!("{} cannot be watched: {error}", folder.display()),
    );
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            problem.help("raise the limit fs.inotify.max_user_watches")
        }
        _ => problem,
    }
}
