//! What a plugin has open between two requests: transactions, cursors and running statements, each
//! under a number.
//!
//! It ends with the call it was opened for, with its lease, or when it is closed. The list is bounded,
//! so a plugin that forgets to close runs into its own limit and nobody else's.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{Clock, HostError, PluginName};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::{Cursor, StoreError, Transaction};

/// How long a transaction may last. On SQLite it holds the plugin's only writer, and on both engines
/// locks that other calls wait for.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// How long a cursor stays open without being read.
const CURSOR_IDLE: Duration = Duration::from_secs(60);
/// Transactions, cursors and running statements of one plugin at a time.
const N_OPENED: usize = 64;
/// Numbers of transactions and cursors begin here, above every number of a call, and stay whole in
/// every language that reads JSON.
const FIRST_NUMBER: u64 = 1 << 52;

/// Something that is open.
#[derive(Clone)]
pub(super) enum Thing {
    Tx(Arc<AsyncMutex<Box<dyn Transaction>>>),
    Cursor(Arc<AsyncMutex<Box<dyn Cursor>>>),
    Statement,
}

struct Entry {
    call: Option<u64>,
    /// When it is closed although nobody said so.
    until: Option<Instant>,
    closed: Arc<Notify>,
    thing: Thing,
}

/// All that one plugin has open.
pub(super) struct Opened {
    plugin: PluginName,
    clock: Arc<dyn Clock>,
    entries: Mutex<HashMap<u64, Entry>>,
    next: AtomicU64,
}

impl Opened {
    pub(super) fn new(plugin: PluginName, clock: Arc<dyn Clock>) -> Self {
        Self {
            plugin,
            clock,
            entries: Mutex::default(),
            next: AtomicU64::new(FIRST_NUMBER),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Keeps something for a call; gives its number and what tells of its end.
    pub(super) fn keep(
        &self,
        call: Option<u64>,
        thing: Thing,
    ) -> Result<(u64, Arc<Notify>), HostError> {
        let now = self.now();
        let until = match &thing {
            Thing::Tx(_) => Some(now + LEASE),
            Thing::Cursor(_) => Some(now + CURSOR_IDLE),
            Thing::Statement => None,
        };
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.until.is_none_or(|until| until > now));
        if entries.len() >= N_OPENED {
            let text = format!(
                "plugin {} has {N_OPENED} transactions, cursors and statements open, the most there may be",
                self.plugin
            );
            return Err(HostError::new("db.too_many_open", text));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let closed = Arc::new(Notify::new());
        let entry = Entry {
            call,
            until,
            closed: closed.clone(),
            thing,
        };
        entries.insert(number, entry);
        Ok((number, closed))
    }

    /// What is open under a number. A cursor's time begins anew.
    pub(super) fn find(&self, number: u64) -> Result<(Thing, Arc<Notify>), HostError> {
        let now = self.now();
        let mut entries = self.entries();
        let living = entries
            .get_mut(&number)
            .filter(|entry| entry.until.is_none_or(|until| until > now));
        if let Some(entry) = living {
            if matches!(entry.thing, Thing::Cursor(_)) {
                entry.until = Some(now + CURSOR_IDLE);
            }
            return Ok((entry.thing.clone(), entry.closed.clone()));
        }
        let over = entries.remove(&number);
        // It is dropped without the lock, because that rolls back and closes.
        drop(entries);
        drop(over);
        Err(self.unknown(number))
    }

    /// Takes something off the list; none when its time was over already.
    pub(super) fn take(&self, number: u64) -> Option<Thing> {
        let entry = self.entries().remove(&number)?;
        let lives = entry.until.is_none_or(|until| until > self.now());
        lives.then_some(entry.thing)
    }

    /// Closes what was opened under a call, or one thing by its own number.
    pub(super) fn ended(&self, number: u64) {
        let mut closed = Vec::new();
        self.entries().retain(|own, entry| {
            let over = *own == number || entry.call == Some(number);
            if over {
                entry.closed.notify_one();
                closed.push(entry.thing.clone());
            }
            !over
        });
        // Dropped without the lock: it rolls back and closes.
        drop(closed);
    }

    pub(super) fn unknown(&self, number: u64) -> HostError {
        let text = format!(
            "plugin {}: there is no transaction or cursor {number}; it ended with its call, its lease or at its end",
            self.plugin
        );
        HostError::new("db.transaction", text)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a running statement off the list, however it ends.
pub(super) struct Closing<'a> {
    pub(super) opened: &'a Opened,
    pub(super) number: u64,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        drop(self.opened.take(self.number));
    }
}

/// Runs until the call that asked for it is over; then the statement is cancelled by being dropped.
pub(super) async fn until_closed<T>(
    closed: &Notify,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, HostError> {
    tokio::select! {
        biased;
        result = work => result.map_err(HostError::from),
        () = closed.notified() => {
            let text = "the call that asked for it is over";
            Err(HostError::new("call.ended", text))
        }
    }
}
