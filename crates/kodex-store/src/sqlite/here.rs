//! The store's own short statements, run on the thread that asks.
//!
//! Two threads that wake each other cost ten times as much as reading one row. So a read by key and a
//! write of one run right here where that cannot keep the caller for long, and are left to the lanes
//! where it could: nothing here opens a connection, waits for a lock, flushes to the disk, or goes on
//! beyond [`N_OPS`] operations of the engine. No statement of a plugin runs here.
//!
//! A commit in WAL mode flushes at three points only. `synchronous = FULL` flushes each, so with it all
//! writes are left to the writer's thread. Checkpoints are the thread's: connections here make none, and
//! when the log has grown to [`N_PAGES`] the next writes go to the thread until one has moved the log's
//! pages to the file and one has begun the log anew, which flushes its head.

use std::sync::{
    Arc, Mutex, MutexGuard, TryLockError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use kodex_plugin::PluginName;
use rusqlite::{Connection, ErrorCode};

use super::{
    error,
    group::Outcome,
    open::{Conn, Role, Site, open},
    watch::{LOCK_WAIT, locked},
};
use crate::StoreError;

/// Operations of the engine after which a write is undone and left to the thread: about a millisecond.
const N_OPS: i32 = 10_000;
/// Pages in the log that are worth a checkpoint: as many as the first table of its index holds, so that a look into
/// the log costs as much as in a short one. The engine's own number is a quarter of it and flushes four times as often.
const N_PAGES: i64 = 4_000;
/// Commits between two looks at the length of the log. One value has at most 65 pages.
const N_COMMITS: u32 = 32;
/// How often a writer looks whether another one is done: about as long as one write takes.
const N_LOOKS: u32 = 1_000;

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const LENGTH: &str = "PRAGMA wal_checkpoint(NOOP)";
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// A few connections to the store's file that belong to no thread.
pub(super) struct Here {
    site: Arc<Site>,
    readers: Vec<Mutex<Option<Conn>>>,
    pen: Mutex<Option<Pen>>,
    used: AtomicBool,
    closed: AtomicBool,
}

/// The connection that writes, here and for [`super::group`].
struct Pen {
    conn: Conn,
    leash: Arc<Leash>,
    /// Whether a commit flushes nothing.
    is_light: bool,
    n_commits: u32,
    next: Next,
}

/// What the next write has to do beside itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    Checkpoint,
    /// It begins the log anew.
    Restart,
}

/// Stops the engine after some operations, while it is on.
#[derive(Default)]
struct Leash {
    on: AtomicBool,
    n_asked: AtomicU32,
}

impl Leash {
    fn put_on(&self) {
        self.n_asked.store(0, Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
    }

    fn take_off(&self) {
        self.on.store(false, Ordering::Relaxed);
    }

    /// Asked every [`N_OPS`] operations of one statement, counted over all its runs; so the first time says nothing.
    fn is_over(&self) -> bool {
        self.on.load(Ordering::Relaxed) && self.n_asked.fetch_add(1, Ordering::Relaxed) > 0
    }
}

impl Here {
    pub(super) fn new(site: Arc<Site>) -> Self {
        let n_readers = site.options.n_readers.max(1);
        Self {
            site,
            readers: std::iter::repeat_with(Mutex::default)
                .take(n_readers)
                .collect(),
            pen: Mutex::default(),
            used: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Reads at once; none where a thread has to do it.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Conn) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let mut slot = self.readers.iter().find_map(|reader| {
            let slot = tried(reader)?;
            slot.is_some().then_some(slot)
        })?;
        // What is wrong with the file is told on the thread.
        if Some(slot.as_ref()?.number) != self.site.current().ok() {
            *slot = None;
            return None;
        }
        self.touch();
        match work(slot.as_ref()?) {
            Err(StoreError::Busy { .. }) => None,
            done => Some(done),
        }
    }

    /// Opens one more connection for reading, on a thread that may take its time.
    pub(super) fn add_reader(&self) {
        let Some(mut slot) = self.readers.iter().find_map(|reader| {
            let slot = tried(reader)?;
            slot.is_none().then_some(slot)
        }) else {
            return;
        };
        if self.is_closed() {
            return;
        }
        // Whoever reads on the thread is told what is wrong with the file.
        if let Ok(conn) = open(&self.site, Role::Reader)
            && conn.made
            && conn.db.busy_timeout(std::time::Duration::ZERO).is_ok()
        {
            *slot = Some(conn);
            self.touch();
        }
    }

    /// Writes and commits at once; none where a thread has to do it, and then nothing happened.
    pub(super) fn write<T>(
        &self,
        plugin: &PluginName,
        work: &mut impl FnMut(&Connection, i64) -> Outcome<T>,
    ) -> Option<Result<T, StoreError>> {
        let mut slot = self.turn()?;
        if Some(slot.as_ref()?.conn.number) != self.site.current().ok() {
            *slot = None;
            return None;
        }
        let pen = slot.as_mut()?;
        if !pen.is_light || pen.next != Next::Nothing {
            return None;
        }
        self.touch();
        pen.write(plugin, work)
    }

    /// Lends the writing connection to the writer's thread, which opens it, waits for other processes and
    /// makes the checkpoints.
    pub(super) fn on_thread(&self, commit: impl FnOnce(&Conn)) -> Result<(), StoreError> {
        let mut slot = locked(&self.pen);
        if self.is_closed() {
            return Err(StoreError::Closed);
        }
        let current = self.site.current();
        if slot
            .as_ref()
            .is_some_and(|pen| Ok(pen.conn.number) != current)
        {
            *slot = None;
        }
        current?;
        let pen = match &mut *slot {
            Some(pen) => pen,
            None => slot.insert(Pen::open(&self.site)?),
        };
        self.touch();
        let wait = |span| {
            pen.conn
                .db
                .busy_timeout(span)
                .map_err(|error| error::engine(&pen.conn, error))
        };
        wait(LOCK_WAIT)?;
        commit(&pen.conn);
        wait(std::time::Duration::ZERO)?;
        pen.tidy();
        Ok(())
    }

    /// Whether anything was done here since the last time that somebody asked.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Closes the connections; they are opened again when there is work.
    pub(super) fn rest(&self) {
        for reader in &self.readers {
            let conn = locked(reader).take();
            drop(conn);
        }
        let pen = locked(&self.pen).take();
        drop(pen);
    }

    /// Closes the connections for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.rest();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// The writing connection, if it is free soon.
    fn turn(&self) -> Option<MutexGuard<'_, Option<Pen>>> {
        for _ in 0..N_LOOKS {
            if let Some(slot) = tried(&self.pen) {
                return Some(slot);
            }
            std::hint::spin_loop();
        }
        None
    }
}

/// The lock, if nobody has it. What a panic left behind is looked at before it is used.
fn tried<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Pen {
    fn open(site: &Arc<Site>) -> Result<Self, StoreError> {
        let mut conn = open(site, Role::Writer)?;
        let leash = Arc::new(Leash::default());
        let seen = Arc::clone(&leash);
        let fail = |error| error::opening(site, error);
        conn.db
            .progress_handler(N_OPS, Some(move || seen.is_over()))
            .map_err(fail)?;
        let is_log = conn.own(|db| {
            db.pragma_update(None, "wal_autocheckpoint", 0)?;
            db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))
        })? == "wal";
        Ok(Self {
            is_light: is_log && !site.options.full_sync,
            conn,
            leash,
            n_commits: 0,
            // Somebody may have left a long log, or one that is to be begun anew.
            next: Next::Checkpoint,
        })
    }

    fn write<T>(
        &mut self,
        plugin: &PluginName,
        work: &mut impl FnMut(&Connection, i64) -> Outcome<T>,
    ) -> Option<Result<T, StoreError>> {
        let conn = &self.conn;
        // A panic in the middle of an earlier write left it open.
        conn.roll_back();
        self.leash.put_on();
        let done = conn
            .db
            .prepare_cached(BEGIN)
            .and_then(|mut begin| begin.execute([]))
            .and_then(|_| work(&conn.db, now_ms(conn)));
        self.leash.take_off();
        let outcome = match done {
            Ok(outcome) => outcome,
            Err(error) => {
                conn.roll_back();
                return match error.sqlite_error_code() {
                    Some(
                        ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::OperationInterrupted,
                    ) => None,
                    _ => Some(Err(error::of_plugin(conn, &error, plugin))),
                };
            }
        };
        let committed = conn
            .db
            .prepare_cached(COMMIT)
            .and_then(|mut commit| commit.execute([]));
        if let Err(error) = committed {
            let error = error::of_plugin(conn, &error, plugin);
            conn.roll_back();
            return Some(Err(error));
        }
        self.count();
        Some(outcome)
    }

    /// Looks now and then how long the log is.
    fn count(&mut self) {
        self.n_commits += 1;
        if !self.n_commits.is_multiple_of(N_COMMITS) {
            return;
        }
        let looked = self.conn.db.prepare_cached(LENGTH).and_then(|mut look| {
            look.query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
        });
        // Without an answer the thread has a look.
        if looked.is_ok_and(|n_pages| n_pages < N_PAGES) {
            return;
        }
        self.next = Next::Checkpoint;
    }

    /// On the thread, after a commit.
    fn tidy(&mut self) {
        match self.next {
            Next::Restart => self.next = Next::Nothing,
            Next::Nothing => self.count(),
            Next::Checkpoint => {}
        }
        if self.next != Next::Checkpoint {
            return;
        }
        if let Err(error) = self.conn.own(|db| db.query_row(CHECKPOINT, [], |_| Ok(()))) {
            // The log goes on growing until the next one.
            tracing::warn!(
                code = error.code(),
                "a checkpoint of the store failed: {error}"
            );
        }
        self.next = Next::Restart;
    }
}

/// The reading of the store's clock as the engine's tables have it.
pub(super) fn now_ms(conn: &Conn) -> i64 {
    i64::try_from(conn.site.options.clock.unix_ms()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::sqlite::SqliteOptions;

    #[derive(Debug)]
    struct Still;

    impl kodex_plugin::Clock for Still {
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing here depends on this clock"
        )]
        fn now(&self) -> std::time::Instant {
            std::time::Instant::now()
        }

        fn unix_ms(&self) -> u64 {
            1
        }
    }

    fn here(folder: &tempfile::TempDir, full_sync: bool) -> Here {
        let options = SqliteOptions {
            full_sync,
            ..SqliteOptions::new(folder.path(), Arc::new(Still))
        };
        let path = folder.path().join("kodex.db");
        let here = Here::new(Arc::new(Site::new(path, None, Arc::new(options))));
        // The first two commits of a connection are the thread's: a checkpoint and the new log.
        for _ in 0..2 {
            here.on_thread(|_| ()).expect("opens");
        }
        here
    }

    fn plugin() -> PluginName {
        PluginName::new("notes").expect("is a name")
    }

    fn count(db: &Connection) -> rusqlite::Result<i64> {
        db.query_row("SELECT count(*) FROM renames", [], |row| row.get(0))
    }

    fn add(db: &Connection, name: &str) -> rusqlite::Result<usize> {
        db.execute("INSERT INTO renames VALUES (?1, ?1)", [name])
    }

    #[test]
    fn what_is_long_is_undone_and_left_to_the_thread() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let here = here(&folder, false);
        let check = |n_rounds: i64, is_here: bool| {
            let mut n_runs = 0;
            let done = here.write(&plugin(), &mut |db, _| {
                n_runs += 1;
                add(db, &format!("a{n_rounds}"))?;
                let n: i64 = db.query_row(
                    "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < ?1) SELECT count(*) FROM t",
                    [n_rounds],
                    |row| row.get(0),
                )?;
                Ok(Ok(n))
            });
            assert_eq!(done, is_here.then_some(Ok(n_rounds)), "{n_rounds}");
            assert_eq!(n_runs, 1);
        };
        check(10, true);
        check(1_000_000, false);
        check(11, true);
        here.on_thread(|conn| assert_eq!(count(&conn.db), Ok(2)))
            .expect("is open");
    }

    #[test]
    fn who_holds_the_file_is_waited_for_elsewhere() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let here = here(&folder, false);
        let foreign = Connection::open(folder.path().join("kodex.db")).expect("opens");
        let write = |name: &str| here.write(&plugin(), &mut |db, _| Ok(Ok(add(db, name)?)));
        foreign.execute_batch("BEGIN IMMEDIATE").expect("locks");
        assert_eq!(write("a"), None);
        foreign.execute_batch("COMMIT").expect("unlocks");
        assert_eq!(write("a"), Some(Ok(1)));
        let refused = write("a");
        assert!(matches!(refused, Some(Err(_))), "{refused:?}");
        assert_eq!(write("b"), Some(Ok(1)));
        // Somebody else in this process has the connection.
        let held = locked(&here.pen);
        assert_eq!(write("c"), None);
        drop(held);
        here.close();
        assert_eq!(write("c"), None);
        assert_eq!(here.on_thread(|_| ()), Err(StoreError::Closed));
    }

    #[test]
    fn a_panic_leaves_no_transaction_open() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let here = here(&folder, false);
        let broken = catch_unwind(AssertUnwindSafe(|| {
            here.write(&plugin(), &mut |db, _| -> Outcome<()> {
                add(db, "a")?;
                panic!("on purpose");
            })
        }));
        assert!(broken.is_err());
        let done = here.write(&plugin(), &mut |db, _| {
            add(db, "b")?;
            Ok(Ok(count(db)?))
        });
        assert_eq!(done, Some(Ok(1)));
    }

    #[test]
    fn commits_that_flush_are_the_threads() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let write = |here: &Here| here.write(&plugin(), &mut |_, _| Ok(Ok(())));
        assert_eq!(write(&here(&folder, true)), None);
        let here = here(&folder, false);
        let mut n_left = 0;
        for number in 0..6_000 {
            let name = format!("{number}{}", "x".repeat(4_000));
            let done = here.write(&plugin(), &mut |db, _| Ok(Ok(add(db, &name)?)));
            if done.is_none() {
                n_left += 1;
                here.on_thread(|conn| {
                    add(&conn.db, &name).expect("writes");
                })
                .expect("is open");
            }
        }
        assert!(
            n_left >= 4,
            "two for each time that the log is long: {n_left}"
        );
        assert!(n_left < 100, "{n_left}");
        let log = folder.path().join("kodex.db-wal");
        let n_bytes = std::fs::metadata(log).expect("is there").len();
        // Half as much again as is worth a checkpoint.
        assert!(n_bytes < N_PAGES as u64 * 4_096 * 3 / 2, "{n_bytes}");
    }
}
