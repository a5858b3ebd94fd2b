//! Where the socket lies: in a folder closed to others, one living process at a time. What a dead one left is
//! replaced; a living one is never displaced.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd as _,
        unix::fs::{
            DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
            PermissionsExt as _,
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{FlockOperation, OFlags, flock};
use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::error::ServeError;

/// The system's bound on paths of sockets is 108 bytes with the zero at the end.
const PATH_BYTES: usize = 107;
/// How long a listener may take to accept.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A socket that is listened on. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: Arc<UnixListener>,
    path: PathBuf,
    /// Device and number of the socket's file, by which it is known again.
    file: (u64, u64),
    /// Held as long as the process lives, by the kernel: whoever holds it may replace the socket.
    _lock: File,
}

impl Bound {
    /// Listens at a path.
    pub(crate) async fn new(path: &Path) -> Result<Self, ServeError> {
        let failed = |source| ServeError::SocketBind {
            path: path.to_owned(),
            source,
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        make(folder).map_err(failed)?;
        check(folder, &fs::metadata(folder).map_err(failed)?)?;
        let lock = lock(path)?;
        clear(path).await?;
        let listener = named(path, |name| UnixListener::bind(name)).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let file = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self {
            listener: Arc::new(listener),
            path: path.to_owned(),
            file: (file.dev(), file.ino()),
            _lock: lock,
        })
    }

    pub(crate) fn listener(&self) -> Arc<UnixListener> {
        self.listener.clone()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if is_own {
            // What is left is replaced by the next one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connects to whoever listens at a path.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    // The path may be a short-lived name for a long one, so the connection is made while that lives.
    let short = Short::of(path)?;
    timeout(CONNECT_TIME, UnixStream::connect(short.path()))
        .await
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

fn make(folder: &Path) -> io::Result<()> {
    match folder.is_dir() {
        true => Ok(()),
        false => DirBuilder::new().recursive(true).mode(0o700).create(folder),
    }
}

fn check(folder: &Path, found: &Metadata) -> Result<(), ServeError> {
    let mode = found.mode() & 0o777;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    if is_own && mode & 0o077 == 0 {
        return Ok(());
    }
    Err(ServeError::SocketFolder {
        folder: folder.to_owned(),
        mode,
    })
}

/// Takes the lock beside the socket.
fn lock(path: &Path) -> Result<File, ServeError> {
    let failed = |source| ServeError::SocketBind {
        path: path.to_owned(),
        source,
    };
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(PathBuf::from(name))
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServeError::Running {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Removes what a dead process left. A listener without the lock is somebody else's and stays.
async fn clear(path: &Path) -> Result<(), ServeError> {
    let path_of = || path.to_owned();
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(ServeError::SocketBind {
                path: path_of(),
                source,
            });
        }
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        return Err(ServeError::SocketTaken { path: path_of() });
    }
    match connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(socket = %path.display(), "what a dead process left is replaced");
            fs::remove_file(path).map_err(|source| ServeError::SocketBind {
                path: path_of(),
                source,
            })
        }
        Ok(_) | Err(_) => Err(ServeError::Running { path: path_of() }),
    }
}

fn named<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let short = Short::of(path)?;
    act(short.path())
}

/// A name of a path that is short enough for a socket: through an open handle on its folder.
struct Short {
    path: PathBuf,
    _folder: Option<File>,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= PATH_BYTES {
            return Ok(Self {
                path: path.to_owned(),
                _folder: None,
            });
        }
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
