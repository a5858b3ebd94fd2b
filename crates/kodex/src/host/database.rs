//! The service `db/*`: a plugin's own tables.
//!
//! What a call opens (transactions, cursors, running statements) is kept under its number and closed
//! when the call ends, answered or not; a transaction has a lease besides.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{
    Clock, HostError, Json, PluginName,
    wire::store::{DbBegin, DbFetch, DbQuery, DbTransaction, method},
};
use kodex_store::{
    Access, Bounds, Column, Cursor, Namespace, Rows, Statement, Store, Transaction, Value,
};
use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, Notify, OnceCell};

use super::{read, refused, written};
use crate::{journal::Journal, register::lock};

/// How long a transaction may last. On SQLite it holds the plugin's only writer, and on both engines
/// locks that other calls wait for.
const LEASE: Duration = Duration::from_secs(5);
/// How long a cursor stays open without being read.
const CURSOR_IDLE: Duration = Duration::from_secs(60);
/// Transactions, cursors and running statements of one plugin at a time.
const N_OPENED: usize = 64;
/// Numbers of transactions and cursors begin here, above every number of a call, and stay whole in
/// every language that reads JSON.
const FIRST_NUMBER: u64 = 1 << 52;
/// Room for the envelope around a result in a frame.
const ENVELOPE_BYTES: usize = 1 << 10;

/// The database of one plugin.
pub(crate) struct Database {
    plugin: PluginName,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// None while an upgrade runs a data step, which has its tables whatever comes after it.
    journal: Option<Arc<Journal>>,
    namespace: OnceCell<Arc<dyn Namespace>>,
    /// Most bytes of a result as JSON.
    bytes: usize,
    opened: Mutex<HashMap<u64, Opened>>,
    next: AtomicU64,
}

struct Opened {
    call: Option<u64>,
    /// When it is closed although nobody said so.
    until: Option<Instant>,
    closed: Arc<Notify>,
    thing: Thing,
}

#[derive(Clone)]
enum Thing {
    Tx(Arc<AsyncMutex<Box<dyn Transaction>>>),
    Cursor(Arc<AsyncMutex<Box<dyn Cursor>>>),
    Statement,
}

impl Database {
    pub(crate) fn new(
        plugin: PluginName,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        journal: Option<Arc<Journal>>,
        frame_bytes: usize,
    ) -> Self {
        Self {
            plugin,
            store,
            clock,
            journal,
            namespace: OnceCell::new(),
            bytes: frame_bytes.saturating_sub(ENVELOPE_BYTES),
            opened: Mutex::default(),
            next: AtomicU64::new(FIRST_NUMBER),
        }
    }

    /// The namespace, once the journal is found to be up to date. A journal that is behind is looked at
    /// again at the next call, so that an upgrade beside the running host helps at once.
    pub(super) async fn namespace(&self) -> Result<&Arc<dyn Namespace>, HostError> {
        let open = || async {
            if let Some(journal) = &self.journal {
                journal.check(&*self.store, &self.plugin).await?;
            }
            let opened = self.store.namespace(&self.plugin, Access::Write).await;
            opened.map_err(refused)
        };
        self.namespace.get_or_try_init(open).await
    }

    pub(super) async fn serve(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        match method {
            method::DB_QUERY => self.query(read(method, params)?).await,
            method::DB_FETCH => self.fetch(read(method, params)?).await,
            method::DB_CLOSE => {
                let DbFetch { cursor, .. } = read(method, params)?;
                self.ended(cursor);
                Ok(Json::null())
            }
            method::DB_BEGIN => self.begin(read(method, params)?).await,
            method::DB_COMMIT | method::DB_ROLLBACK => {
                let DbTransaction { tx } = read(method, params)?;
                self.end(tx, method == method::DB_COMMIT).await
            }
            method::DB_SAVE | method::DB_RELEASE | method::DB_UNDO => {
                let DbTransaction { tx } = read(method, params)?;
                self.level(tx, method).await
            }
            unknown => Err(HostError::unknown_method(unknown)),
        }
    }

    /// Closes what was opened under a call, or one thing by its own number.
    pub(super) fn ended(&self, number: u64) {
        let mut opened = lock(&self.opened);
        let mut closed = Vec::new();
        opened.retain(|own, opened| {
            let over = *own == number || opened.call == Some(number);
            if over {
                opened.closed.notify_one();
                closed.push(opened.thing.clone());
            }
            !over
        });
        drop(opened);
        // Dropped without the lock: it rolls back and closes.
        drop(closed);
    }

    async fn query(&self, query: DbQuery) -> Result<Json, HostError> {
        let params = query
            .params
            .map_or(serde_json::Value::Null, Json::into_value);
        let statement = Statement::from_json(query.sql, params)
            .map_err(|mistake| refused(mistake.of(&self.plugin)))?;
        let bounds = self.bounds(query.max_rows);
        match (query.tx, query.page) {
            (Some(_), Some(_)) => Err(HostError::new(
                "db.transaction",
                "a result is not read in pages inside a transaction",
            )),
            (Some(tx), None) => {
                let (thing, closed) = self.find(tx)?;
                let Thing::Tx(tx) = thing else {
                    return Err(self.unknown(tx));
                };
                let run = async { tx.lock().await.run(&statement, &bounds).await };
                let rows = until_closed(&closed, run).await?;
                self.answer(&rows, None)
            }
            (None, None) => {
                let (number, closed) = self.open(query.call, Thing::Statement)?;
                let _open = Closing {
                    database: self,
                    number,
                };
                let namespace = self.namespace().await?;
                let rows = until_closed(&closed, namespace.run(&statement, &bounds)).await?;
                self.answer(&rows, None)
            }
            (None, Some(n_rows)) => {
                let namespace = self.namespace().await?;
                let cursor = namespace.open(&statement, &bounds).await.map_err(refused)?;
                let cursor = Thing::Cursor(Arc::new(AsyncMutex::new(cursor)));
                let (number, _) = self.open(query.call, cursor)?;
                self.fetch(DbFetch {
                    cursor: number,
                    page: Some(n_rows),
                })
                .await
            }
        }
    }

    async fn fetch(&self, fetch: DbFetch) -> Result<Json, HostError> {
        let number = fetch.cursor;
        let (thing, closed) = self.find(number)?;
        let Thing::Cursor(cursor) = thing else {
            return Err(self.unknown(number));
        };
        let usual = self.bounds(None);
        // A page ends by its bytes instead of failing, so it leaves room for what values grow to as JSON.
        let bounds = Bounds {
            bytes: usual.bytes / 2,
            ..usual
        };
        let n_rows = fetch.page.unwrap_or(bounds.n_rows).clamp(1, bounds.n_rows);
        let next = async { cursor.lock().await.next(n_rows, &bounds).await };
        let rows = until_closed(&closed, next).await;
        let is_last = matches!(&rows, Ok(rows) if rows.rows.is_empty());
        let page = rows.and_then(|rows| self.answer(&rows, (!is_last).then_some(number)));
        // After a page that was lost the next one would leave a gap nobody sees.
        if is_last || page.is_err() {
            self.ended(number);
        }
        page
    }

    async fn begin(&self, begin: DbBegin) -> Result<Json, HostError> {
        let namespace = self.namespace().await?;
        let bounds = Bounds {
            until: Some(self.clock.now() + LEASE),
            ..self.bounds(None)
        };
        // The place is taken before the wait for the writer, so that the end of the call ends the wait.
        let (waiting, closed) = self.open(begin.call, Thing::Statement)?;
        let _waiting = Closing {
            database: self,
            number: waiting,
        };
        let tx = until_closed(&closed, namespace.begin(&bounds)).await?;
        let (tx, _) = self.open(begin.call, Thing::Tx(Arc::new(AsyncMutex::new(tx))))?;
        written(&DbTransaction { tx })
    }

    async fn end(&self, number: u64, commit: bool) -> Result<Json, HostError> {
        let opened = lock(&self.opened).remove(&number);
        let Some(Opened {
            thing: Thing::Tx(tx),
            ..
        }) = opened
        else {
            return Err(self.unknown(number));
        };
        // A statement of this transaction that still runs holds the other handle.
        let Some(tx) = Arc::into_inner(tx) else {
            let text =
                "a statement of the transaction was still running; the transaction is rolled back";
            return Err(HostError::new("db.transaction", text));
        };
        let tx = tx.into_inner();
        let ended = if commit { tx.commit() } else { tx.rollback() };
        ended.await.map_err(refused)?;
        Ok(Json::null())
    }

    async fn level(&self, number: u64, method: &str) -> Result<Json, HostError> {
        let (thing, closed) = self.find(number)?;
        let Thing::Tx(tx) = thing else {
            return Err(self.unknown(number));
        };
        let change = async {
            let mut tx = tx.lock().await;
            match method {
                method::DB_SAVE => tx.save().await,
                method::DB_RELEASE => tx.release().await,
                _ => tx.undo().await,
            }
        };
        until_closed(&closed, change).await?;
        Ok(Json::null())
    }

    fn bounds(&self, max_rows: Option<usize>) -> Bounds {
        let usual = Bounds::default();
        Bounds {
            n_rows: max_rows.map_or(usual.n_rows, |wanted| wanted.min(usual.n_rows)),
            bytes: self.bytes.min(usual.bytes),
            ..usual
        }
    }

    fn open(&self, call: Option<u64>, thing: Thing) -> Result<(u64, Arc<Notify>), HostError> {
        let now = self.clock.now();
        let until = match &thing {
            Thing::Tx(_) => Some(now + LEASE),
            Thing::Cursor(_) => Some(now + CURSOR_IDLE),
            Thing::Statement => None,
        };
        let mut opened = lock(&self.opened);
        opened.retain(|_, opened| opened.until.is_none_or(|until| until > now));
        if opened.len() >= N_OPENED {
            let text = format!(
                "plugin {} has {N_OPENED} transactions, cursors and statements open, the most there may be",
                self.plugin
            );
            return Err(HostError::new("db.too_many_open", text));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let closed = Arc::new(Notify::new());
        let entry = Opened {
            call,
            until,
            closed: closed.clone(),
            thing,
        };
        opened.insert(number, entry);
        Ok((number, closed))
    }

    fn find(&self, number: u64) -> Result<(Thing, Arc<Notify>), HostError> {
        let mut opened = lock(&self.opened);
        let found = opened.get_mut(&number).map(|opened| {
            if matches!(opened.thing, Thing::Cursor(_)) {
                opened.until = Some(self.clock.now() + CURSOR_IDLE);
            }
            (opened.thing.clone(), opened.closed.clone())
        });
        found.ok_or_else(|| self.unknown(number))
    }

    fn unknown(&self, number: u64) -> HostError {
        let text = format!(
            "plugin {}: there is no transaction or cursor {number}; it ended with its call, its lease or at its end",
            self.plugin
        );
        HostError::new("db.transaction", text)
    }

    fn answer(&self, rows: &Rows, cursor: Option<u64>) -> Result<Json, HostError> {
        #[derive(Serialize)]
        struct Answer<'a> {
            columns: &'a [Column],
            rows: &'a [Vec<Value>],
            changed: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<u64>,
        }
        let answer = written(&Answer {
            columns: &rows.columns,
            rows: &rows.rows,
            changed: rows.n_changed,
            cursor,
        })?;
        if answer.text().len() <= self.bytes {
            return Ok(answer);
        }
        Err(refused(kodex_store::StoreError::TooManyBytes {
            plugin: self.plugin.clone(),
            limit: self.bytes,
        }))
    }
}

/// Takes a running statement off the list, however it ends.
struct Closing<'a> {
    database: &'a Database,
    number: u64,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        lock(&self.database.opened).remove(&self.number);
    }
}

/// Runs until the call that asked for it is over; then the statement is cancelled by being dropped.
async fn until_closed<T>(
    closed: &Notify,
    work: impl Future<Output = Result<T, kodex_store::StoreError>>,
) -> Result<T, HostError> {
    tokio::select! {
        biased;
        result = work => result.map_err(refused),
        () = closed.notified() => {
            let text = "the call that asked for it is over";
            Err(HostError::new("call.ended", text))
        }
    }
}
