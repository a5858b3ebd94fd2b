//! Copies of a whole store, made while it is in use, and the way back.
//!
//! Each file is copied as it stood at one moment; two files may differ by what happened between their
//! moments. A backup is a folder of the same shape with a list of its files and their checksums. It gets
//! its name when it is complete and checked, so a folder of that name is a whole backup or none.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use sha2::{Digest, Sha256};

use super::{
    error,
    file::File,
    open::{Conn, make_folder, sync_folder},
    store::{PLUGINS, STORE_FILE, SqliteStore},
    thread::Patience,
    watch::Token,
};
use crate::StoreError;

/// The list of a backup's files.
const LIST: &str = "backup.txt";
const FIRST_LINE: &str = "kodex backup 1";
/// Pages between two looks at whether anybody still waits.
const PAGES: i32 = 256;

impl SqliteStore {
    /// Copies the whole store into the new folder `to`. Reading and writing go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when `to` has something or cannot be written, [`StoreError::Damaged`] when
    /// a copy is not sound. `to` is then as it was.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.inner.living()?;
        let to = absolute(to)?;
        empty(&to)?;
        let partial = partial(&to)?;
        let result = self.copy_into(&partial).await;
        let result = result.and_then(|files| finish(&partial, &to, &files));
        if result.is_err() {
            // What is half made has no other use; that it may stay is the smaller trouble.
            let _ = fs::remove_dir_all(&partial);
        }
        result
    }

    async fn copy_into(&self, partial: &Path) -> Result<Vec<String>, StoreError> {
        make_folder(&partial.join(PLUGINS))?;
        let mut files = Vec::new();
        if self.inner.store.site.is_there()? {
            copy(&self.inner.store, partial.join(STORE_FILE)).await?;
            files.push(STORE_FILE.to_owned());
        }
        for plugin in self.inner.with_files()? {
            let file = self.inner.file(&plugin)?;
            let name = file.site.path.file_name().and_then(|name| name.to_str());
            let name = format!("{PLUGINS}/{}", name.unwrap_or_default());
            copy(&file, partial.join(&name)).await?;
            files.push(name);
        }
        Ok(files)
    }
}

async fn copy(file: &Arc<File>, to: PathBuf) -> Result<(), StoreError> {
    let work = file.long.call(Patience::default(), move |seat, token| {
        let conn = seat.reader()?;
        conn.watch.begin(token, None, None);
        // The snapshot is held, so that writers cannot make the copy begin again and again.
        let result = conn
            .order("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")
            .and_then(|()| copy_pages(conn, token, &to));
        conn.watch.end();
        conn.roll_back();
        result.and_then(|()| sound(&to))
    });
    work.await
}

fn copy_pages(conn: &Conn, token: &Token, to: &Path) -> Result<(), StoreError> {
    let fail = |error| error::opening(&conn.site, error);
    let mut target = Connection::open(to).map_err(fail)?;
    let backup = Backup::new(&conn.db, &mut target).map_err(fail)?;
    loop {
        if token.is_cancelled() {
            return Err(StoreError::Closed);
        }
        match backup.step(PAGES).map_err(fail)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => {
                return Err(StoreError::Busy {
                    what: conn.site.what(),
                });
            }
        }
    }
}

/// Checks a copy and leaves it without files beside it.
fn sound(path: &Path) -> Result<(), StoreError> {
    let damaged = |problem: String| StoreError::Damaged {
        what: path.display().to_string(),
        problem,
    };
    let look = || -> rusqlite::Result<String> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
    };
    match look() {
        Ok(said) if said == "ok" => private(path),
        Ok(said) => Err(damaged(said)),
        Err(error) => Err(damaged(error.to_string())),
    }
}

fn private(path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, mode).map_err(|error| error::system(path, &error))?;
    }
    Ok(())
}

/// Writes the list, lets everything reach the disk and gives the folder its name.
fn finish(partial: &Path, to: &Path, files: &[String]) -> Result<(), StoreError> {
    let mut list = format!("{FIRST_LINE}\n");
    for name in files {
        let path = partial.join(name);
        list.push_str(&format!("{}  {name}\n", digest(&path)?));
        sync(&path)?;
    }
    let path = partial.join(LIST);
    fs::write(&path, list).map_err(|error| error::system(&path, &error))?;
    private(&path)?;
    settle(partial, to)
}

fn settle(partial: &Path, to: &Path) -> Result<(), StoreError> {
    let fail = |error| error::system(to, &error);
    if partial.join(LIST).exists() {
        sync(&partial.join(LIST))?;
    }
    sync_folder(&partial.join(PLUGINS)).map_err(fail)?;
    sync_folder(partial).map_err(fail)?;
    fs::rename(partial, to).map_err(fail)?;
    to.parent().map_or(Ok(()), sync_folder).map_err(fail)
}

fn sync(path: &Path) -> Result<(), StoreError> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| error::system(path, &error))
}

fn digest(path: &Path) -> Result<String, StoreError> {
    let fail = |error| error::system(path, &error);
    let mut file = fs::File::open(path).map_err(fail)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| error::system(path, &error))
}

/// Refuses a folder that has something. An empty one is removed, because a name is given to a whole folder.
fn empty(folder: &Path) -> Result<(), StoreError> {
    let refuse = |problem: &str| StoreError::Unreachable {
        place: folder.display().to_string(),
        problem: problem.to_owned(),
    };
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error::system(folder, &error)),
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(refuse("the folder is not empty; name a new one")),
            None => fs::remove_dir(folder).map_err(|error| error::system(folder, &error)),
        },
    }
}

/// A new folder beside `to`, on the same file system.
fn partial(to: &Path) -> Result<PathBuf, StoreError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::Internal(format!("no random number: {error}")))?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let path = to.with_file_name(format!(".{name}.{:016x}", u64::from_ne_bytes(random)));
    make_folder(&path)?;
    Ok(path)
}

/// Makes a store in the new folder `to` from a backup.
///
/// The backup is checked before anything is written: its list, the checksum of each file, and each file
/// by the engine's own check of the copy.
///
/// # Errors
/// [`StoreError::Unreachable`] when there is no backup or `to` has something, [`StoreError::Damaged`]
/// when the backup is not whole. `to` is then as it was.
pub fn restore(backup: &Path, to: &Path) -> Result<(), StoreError> {
    let (backup, to) = (absolute(backup)?, absolute(to)?);
    let files = listed(&backup)?;
    empty(&to)?;
    let partial = partial(&to)?;
    let copied = copy_back(&backup, &partial, &files).and_then(|()| settle(&partial, &to));
    if copied.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    copied
}

/// The files of a backup with their checksums.
fn listed(backup: &Path) -> Result<Vec<(String, String)>, StoreError> {
    let path = backup.join(LIST);
    let text = fs::read_to_string(&path).map_err(|error| StoreError::Unreachable {
        place: backup.display().to_string(),
        problem: format!("it is no backup: {LIST}: {error}"),
    })?;
    let damaged = || StoreError::Damaged {
        what: path.display().to_string(),
        problem: "the list of files is not in order".to_owned(),
    };
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(damaged());
    }
    let line = |line: &str| {
        let (digest, name) = line.split_once("  ").ok_or_else(damaged)?;
        let plain =
            |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && name.ends_with(".db");
        let inside = name == STORE_FILE
            || name
                .strip_prefix(PLUGINS)
                .and_then(|name| name.strip_prefix('/'))
                .is_some_and(plain);
        if inside {
            Ok((name.to_owned(), digest.to_owned()))
        } else {
            Err(damaged())
        }
    };
    lines.map(line).collect()
}

fn copy_back(backup: &Path, partial: &Path, files: &[(String, String)]) -> Result<(), StoreError> {
    make_folder(&partial.join(PLUGINS))?;
    for (name, wanted) in files {
        let (from, to) = (backup.join(name), partial.join(name));
        fs::copy(&from, &to).map_err(|error| error::system(&from, &error))?;
        if digest(&to)? != *wanted {
            return Err(StoreError::Damaged {
                what: from.display().to_string(),
                problem: "it is not the file that the backup was made with".to_owned(),
            });
        }
        sound(&to)?;
        sync(&to)?;
    }
    Ok(())
}
