//! Opening a database file: who it belongs to, how the engine is hardened, which format it has.
//!
//! Opening for reading never creates anything. Opening for writing makes folder (0700) and file (0600)
//! and brings the store's own tables to the newest format in one transaction.

use std::{
    cell::Cell,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kodex_plugin::PluginName;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, TransactionBehavior, config::DbConfig,
    hooks::AuthContext, limits::Limit,
};

use super::{
    SqliteOptions, error,
    guard::Guard,
    presence::{IsGone, Presence},
    queue,
    watch::{LOCK_WAIT, Watch},
};
use crate::StoreError;

/// The newest format that this code knows of the store's own file: 2 has the tables of jobs.
const STORE_FORMAT: u32 = 2;
/// The newest format that this code knows of a plugin's file.
const PLUGIN_FORMAT: u32 = 1;
/// The oldest engine without the bug that could damage a file in WAL mode.
const OLDEST_ENGINE: i32 = 3_051_003;
/// Longest value or row inside the engine.
pub(super) const VALUE_BYTES: usize = 32 << 20;
/// Engine operations between two looks at the watch.
const WATCH_OPS: i32 = 500;
/// Prepared statements kept per connection.
const N_STATEMENTS: usize = 64;

const LIMITS: &[(Limit, i32)] = &[
    (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES as i32),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 4 << 20),
    (Limit::SQLITE_LIMIT_COLUMN, 1_000),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 500),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
    (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 32_000),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 50),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];

const SWITCHES: &[(DbConfig, bool)] = &[
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
    (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
    // A misspelt column in double quotes is an error here as it is on Postgres, not a text.
    (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
];

const STORE_TABLES: &str = "
CREATE TABLE kodex_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE state (
    plugin TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, value TEXT NOT NULL,
    PRIMARY KEY (plugin, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX state_expiry ON state (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
CREATE TABLE leases (
    plugin TEXT NOT NULL, key TEXT NOT NULL, token INTEGER NOT NULL, until_ms INTEGER NOT NULL,
    PRIMARY KEY (plugin, key)
) WITHOUT ROWID, STRICT;
CREATE TABLE counters (
    plugin TEXT PRIMARY KEY, n_keys INTEGER NOT NULL, last_version INTEGER NOT NULL, last_token INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE renames (source TEXT PRIMARY KEY, target TEXT NOT NULL UNIQUE) WITHOUT ROWID, STRICT;
";

const PLUGIN_TABLES: &str = "
CREATE TABLE kodex_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE kodex_journal (id TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE kodex_progress (id TEXT PRIMARY KEY, progress TEXT NOT NULL) WITHOUT ROWID, STRICT;
";

/// One database file and whose it is; none for the store's own.
pub(super) struct Site {
    pub(super) path: PathBuf,
    pub(super) plugin: Option<PluginName>,
    pub(super) options: Arc<SqliteOptions>,
    presence: Presence,
}

impl Site {
    pub(super) fn new(
        path: PathBuf,
        plugin: Option<PluginName>,
        options: Arc<SqliteOptions>,
    ) -> Self {
        Self {
            path,
            plugin,
            options,
            presence: Presence::default(),
        }
    }

    /// The file for people.
    pub(super) fn what(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("the database of plugin {plugin}"),
            None => format!("the store at {}", self.path.display()),
        }
    }

    /// The newest format of such a file.
    fn newest(&self) -> u32 {
        if self.plugin.is_some() {
            PLUGIN_FORMAT
        } else {
            STORE_FORMAT
        }
    }

    /// Whether the file is there. An empty one is not: nobody has finished making it.
    pub(super) fn exists(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() > 0)
    }

    /// Whether the file is there, as [`Site::exists`] says; an error where it was there and is gone.
    pub(super) fn is_there(&self) -> Result<bool, StoreError> {
        self.current().map(|_| self.exists())
    }

    /// The number that connections of today have, see [`Conn::number`].
    pub(super) fn current(&self) -> Result<u64, StoreError> {
        let current = self
            .presence
            .current(&self.path, self.options.clock.unix_ms());
        current.map_err(|IsGone| StoreError::Unreachable {
            place: self.path.display().to_string(),
            problem: "the file was there and is gone, and nothing is begun anew in its place; put it back, or start \
                      again without it"
                .to_owned(),
        })
    }

    /// Fails when nothing may be written.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        if self.options.read_only {
            return Err(StoreError::ReadOnly {
                what: self.what(),
                problem: "the store was opened for reading".to_owned(),
            });
        }
        Ok(())
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Reads, whatever the statement says.
    Reader,
    /// Writes rows.
    Writer,
    /// Writes schema and ledger; every commit reaches the disk.
    Owner,
}

/// An open connection with its judge and its watch.
pub(super) struct Conn {
    pub(super) db: Connection,
    pub(super) guard: Arc<Guard>,
    pub(super) watch: Arc<Watch>,
    pub(super) site: Arc<Site>,
    /// Which of the files that were at the path one after the other this is about, see [`Site::current`].
    pub(super) number: u64,
    /// Whether the tables of Kodex are there.
    pub(super) made: bool,
    /// Whether the tables of jobs were seen; an older file has none.
    pub(super) has_jobs: Cell<bool>,
}

impl Conn {
    /// Does something of the store's own.
    pub(super) fn own<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let _own = self.guard.switch(super::guard::Mode::Own);
        work(&self.db).map_err(|error| error::engine(self, error))
    }

    /// Runs a statement of the store's own that gives nothing.
    pub(super) fn order(&self, sql: &str) -> Result<(), StoreError> {
        self.own(|db| db.execute_batch(sql))
    }

    /// Undoes the open transaction, if there is one.
    pub(super) fn roll_back(&self) {
        if !self.db.is_autocommit() && self.order("ROLLBACK").is_err() {
            tracing::error!(
                what = self.site.what(),
                "a transaction could not be rolled back"
            );
        }
    }
}

/// Refuses an engine that is known to damage files.
pub(super) fn check_engine(place: &Path, number: i32) -> Result<(), StoreError> {
    if number >= OLDEST_ENGINE {
        return Ok(());
    }
    Err(StoreError::Unsupported {
        place: place.display().to_string(),
        problem: format!(
            "SQLite {}.{}.{} may damage files in WAL mode; 3.51.3 is the oldest that is safe",
            number / 1_000_000,
            number / 1_000 % 1_000,
            number % 1_000
        ),
    })
}

/// Opens the file of `site`.
pub(super) fn open(site: &Arc<Site>, role: Role) -> Result<Conn, StoreError> {
    site.current()?;
    let fail = |error| error::opening(site, error);
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = if role == Role::Reader {
        reader(site, flags).map_err(fail)?
    } else {
        site.writable()?;
        make_file(&site.path)?;
        Connection::open_with_flags(&site.path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map_err(fail)?
    };
    harden(&db).map_err(fail)?;
    if site.plugin.is_none() {
        // Its own statements are made once for all values: without this the engine makes one anew whenever a value
        // is bound that stands beside a partial index, which costs forty times what the statement does.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(fail)?;
    }
    if role == Role::Reader {
        db.pragma_update(None, "query_only", true).map_err(fail)?;
    } else {
        settle(&db, site, role).map_err(fail)?;
    }
    let made = check_format(&mut db, site, role)?;
    let number = site
        .presence
        .opened(&site.path, site.options.clock.unix_ms());
    watched(db, site, made, number).map_err(fail)
}

/// A connection on nothing: what a reader sees of a file that does not exist yet.
pub(super) fn open_absent(site: &Arc<Site>) -> Result<Conn, StoreError> {
    let fail = |error| error::opening(site, error);
    let db = Connection::open_in_memory().map_err(fail)?;
    harden(&db).map_err(fail)?;
    db.pragma_update(None, "query_only", true).map_err(fail)?;
    watched(db, site, false, 0).map_err(fail)
}

fn reader(site: &Site, flags: OpenFlags) -> rusqlite::Result<Connection> {
    if !site.options.read_only {
        return Connection::open_with_flags(&site.path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE);
    }
    let db = Connection::open_with_flags(&site.path, flags | OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        // WAL needs a file beside the database. Where none can be made nobody writes, so the file stands still.
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen)
                && !beside(&site.path, "-wal").exists() =>
        {
            let uri = immutable(&site.path);
            Connection::open_with_flags(
                uri,
                flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
            )
        }
        Err(error) => Err(error),
        Ok(()) => Ok(db),
    }
}

fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// The path of a file that the engine keeps beside a database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn harden(db: &Connection) -> rusqlite::Result<()> {
    for (switch, on) in SWITCHES {
        db.set_db_config(*switch, *on)?;
    }
    for (limit, most) in LIMITS {
        db.set_limit(*limit, *most)?;
    }
    db.set_prepared_statement_cache_capacity(N_STATEMENTS);
    db.busy_timeout(LOCK_WAIT)
}

fn settle(db: &Connection, site: &Site, role: Role) -> rusqlite::Result<()> {
    let mode = retry_busy(|| {
        db.query_row("PRAGMA journal_mode = WAL", [], |row| {
            row.get::<_, String>(0)
        })
    })?;
    if mode != "wal" {
        tracing::warn!(what = site.what(), mode, "the file cannot be in WAL mode");
    }
    let synchronous = if role == Role::Owner || site.options.full_sync {
        "FULL"
    } else {
        "NORMAL"
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    if site.plugin.is_some() {
        let page: u32 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages =
            (site.options.quota_bytes / u64::from(page.max(1))).clamp(16, u64::from(u32::MAX - 1));
        db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    Ok(())
}

/// Two processes that turn a new file into WAL mode at once get a refusal without a wait.
fn retry_busy<T>(work: impl Fn() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    const N_TRIES: u32 = 200;
    for _ in 0..N_TRIES {
        match work() {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            result => return result,
        }
    }
    work()
}

/// Checks the format, and makes the tables where a writer finds none; false where a reader finds none.
fn check_format(db: &mut Connection, site: &Site, role: Role) -> Result<bool, StoreError> {
    let fail = |error| error::opening(site, error);
    let found = match format(db).map_err(fail)? {
        Some(found) => found,
        None if role == Role::Reader => return Ok(false),
        None => {
            let tx = db
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(fail)?;
            // Another process may have been faster.
            let found = match format(&tx).map_err(fail)? {
                Some(found) => found,
                None => {
                    make_tables(&tx, site).map_err(fail)?;
                    site.newest().to_string()
                }
            };
            tx.commit().map_err(fail)?;
            found
        }
    };
    let found = number(site, &found)?;
    if found < site.newest() && role != Role::Reader {
        upgrade(db, site)?;
    }
    check_owner(db, site).map(|()| true)
}

/// The number of a format that can be read.
fn number(site: &Site, found: &str) -> Result<u32, StoreError> {
    match found.parse::<u32>() {
        Ok(found) if found > site.newest() => Err(StoreError::Newer {
            place: site.path.display().to_string(),
            found,
            known: site.newest(),
        }),
        Ok(found) if found > 0 => Ok(found),
        _ => Err(StoreError::Damaged {
            what: site.what(),
            problem: "its format number is none".to_owned(),
        }),
    }
}

/// Brings an older file to the newest format. Readers leave it as it is.
fn upgrade(db: &mut Connection, site: &Site) -> Result<(), StoreError> {
    let fail = |error| error::opening(site, error);
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    // Another process may have been faster.
    let found = format(&tx).map_err(fail)?.unwrap_or_default();
    if site.plugin.is_none() && number(site, &found)? == 1 {
        tx.execute_batch(queue::TABLES).map_err(fail)?;
        tx.execute(
            "UPDATE kodex_meta SET value = ?1 WHERE key = 'format'",
            [STORE_FORMAT.to_string()],
        )
        .map_err(fail)?;
    }
    tx.commit().map_err(fail)
}

fn format(db: &Connection) -> rusqlite::Result<Option<String>> {
    let there = db
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'kodex_meta'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    match there {
        None => Ok(None),
        Some(()) => meta(db, "format").map(|value| Some(value.unwrap_or_default())),
    }
}

/// A row of `kodex_meta`.
pub(super) fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.query_row(
        "SELECT value FROM kodex_meta WHERE key = ?1",
        [key],
        |row| row.get(0),
    )
    .optional()
}

fn make_tables(db: &Connection, site: &Site) -> rusqlite::Result<()> {
    let insert = |key: &str, value: &str| {
        db.execute(
            "INSERT INTO kodex_meta (key, value) VALUES (?1, ?2)",
            [key, value],
        )
    };
    if site.plugin.is_some() {
        db.execute_batch(PLUGIN_TABLES)?;
    } else {
        db.execute_batch(STORE_TABLES)?;
        db.execute_batch(queue::TABLES)?;
    }
    insert("format", &site.newest().to_string())?;
    if let Some(plugin) = &site.plugin {
        insert("plugin", plugin.as_str())?;
    }
    Ok(())
}

/// A plugin's file says whose it is, so that one that was moved by hand is not taken for another's.
fn check_owner(db: &Connection, site: &Site) -> Result<(), StoreError> {
    let Some(plugin) = &site.plugin else {
        return Ok(());
    };
    let found = meta(db, "plugin").map_err(|error| error::opening(site, error))?;
    if found.as_deref() == Some(plugin.as_str()) {
        return Ok(());
    }
    Err(StoreError::Damaged {
        what: site.what(),
        problem: format!(
            "its file says that it belongs to {}; if a rename was broken off, run it again",
            found.as_deref().unwrap_or("nobody")
        ),
    })
}

fn watched(
    mut db: Connection,
    site: &Arc<Site>,
    made: bool,
    number: u64,
) -> rusqlite::Result<Conn> {
    let guard = Arc::new(Guard::new());
    let watch = Arc::new(Watch::new(Arc::clone(&site.options.clock)));
    if site.plugin.is_some() {
        let judge = Arc::clone(&guard);
        db.authorizer(Some(move |context: AuthContext<'_>| judge.judge(&context)))?;
        let seen = Arc::clone(&watch);
        db.progress_handler(WATCH_OPS, Some(move || seen.is_over()))?;
        let seen = Arc::clone(&watch);
        db.busy_handler(Some(move |n_waits| seen.wait_for_lock(n_waits)))?;
    }
    Ok(Conn {
        db,
        guard,
        watch,
        site: Arc::clone(site),
        number,
        made,
        has_jobs: Cell::new(false),
    })
}

fn make_file(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    make_folder(folder)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|_| sync_folder(folder))
        .map_err(|error| error::system(path, &error))
}

/// Makes a folder and those above it that are missing, for this user alone.
pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|error| error::system(folder, &error))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_damage_files_are_refused() {
        for (number, safe) in [(3_051_002, false), (3_050_009, false), (3_051_003, true)] {
            let checked = check_engine(Path::new("/store"), number);
            assert_eq!(checked.is_ok(), safe, "{number}");
            if let Err(error) = checked {
                assert_eq!(error.code(), "store.unsupported");
                assert!(error.to_string().contains("3.51.3"), "{error}");
            }
        }
        assert!(check_engine(Path::new("/store"), rusqlite::version_number()).is_ok());
    }
}
