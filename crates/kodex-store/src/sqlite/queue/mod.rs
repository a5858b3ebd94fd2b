//! Durable work in the store's own file.
//!
//! One table holds all jobs, the finished ones too; every index that a worker needs covers only rows that
//! are pending or running, so a long history costs a worker nothing. A claim looks at the first due rows of
//! each priority. Writes of several callers are committed together ([`super::group`]); whatever they read
//! first they read in the same transaction, so several processes on one file are right as well.

mod add;
mod change;
mod check;
mod claim;
mod end;
mod log;
mod look;
mod recover;
mod row;
mod tables;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kodex_plugin::PluginName;
use rusqlite::Connection;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    file::File,
    group::{Group, Outcome},
    open::Conn,
    thread::Patience,
};
use crate::{
    Queue, StoreError, Work,
    queue::{
        Added, Cancelled, Claim, Claimed, Count, Effect, End, Filter, Job, JobLease, LogLine,
        LoggedLine, N_TOGETHER, NewJob, Recover, Recovered, Renewed, check_many, lease_of,
    },
};

pub(super) use check::check;
pub(super) use tables::TABLES;

/// Leaves a row that nobody reads.
const PING: &str = "INSERT INTO kodex_meta (key, value) VALUES ('pinged_at_ms', ?1)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// In whose name the file is written where a call has jobs of several plugins.
const OWNER: &str = "kodex";

/// Most jobs that a write has whose caller's own thread does it: about a fifth of a millisecond.
const N_SHORT: usize = 8;

/// The jobs of all plugins.
pub(super) struct Jobs {
    file: Arc<File>,
    group: Group,
    hints: watch::Sender<u64>,
    owner: PluginName,
    /// How many jobs the last claim found: the next one will find about as many.
    n_claimed: AtomicUsize,
}

/// For how long a read waits is bounded by the engine alone; its answer is worth a look.
const READING: Patience = Patience {
    turn: None,
    short: true,
};

/// What a write gives, and whether there may be something to claim after it.
struct Told<T> {
    answer: T,
    hint: bool,
}

impl Jobs {
    pub(super) fn new(file: Arc<File>, group: Group) -> Self {
        Self {
            file,
            group,
            hints: watch::Sender::new(0),
            owner: owner(),
            n_claimed: AtomicUsize::new(0),
        }
    }

    /// Changes so many jobs.
    async fn change<T, F>(&self, n_jobs: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection, i64) -> Outcome<Told<T>> + Send + 'static,
    {
        self.file.site.writable()?;
        let is_long = n_jobs > N_SHORT;
        let told = self
            .group
            .call(&self.file, &self.owner, is_long, work)
            .await?;
        if told.hint {
            self.hints.send_modify(|n| *n = n.wrapping_add(1));
        }
        Ok(told.answer)
    }

    /// The same where a store that is not there yet has nothing to change.
    async fn change_if_there<T, F>(
        &self,
        absent: T,
        n_jobs: usize,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection, i64) -> Outcome<Told<T>> + Send + 'static,
    {
        if self.file.site.is_there()? {
            self.change(n_jobs, work).await
        } else {
            self.file.site.writable().map(|()| absent)
        }
    }

    /// See [`crate::Store::ping`].
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.change_if_there((), 1, |db, now_ms| {
            db.prepare_cached(PING)?.execute([now_ms.to_string()])?;
            quiet(())
        })
        .await
    }

    async fn look<T, F>(&self, absent: T, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Conn) -> Result<T, StoreError> + Send + 'static,
    {
        let work = self.file.readers.call(READING, move |seat, _| {
            if !seat.has_file()? {
                return Ok(absent);
            }
            let conn = seat.reader()?;
            if tables::are_there(conn)? {
                work(conn)
            } else {
                Ok(absent)
            }
        });
        work.await
    }
}

impl Queue for Jobs {
    fn add<'a>(&'a self, jobs: &'a [NewJob<'a>]) -> Work<'a, Vec<Added>> {
        Box::pin(async move {
            check_many(jobs)?;
            let jobs: Vec<_> = jobs.iter().map(add::Given::new).collect();
            self.change(jobs.len(), move |db, now_ms| add::all(db, &jobs, now_ms))
                .await
        })
    }

    fn claim<'a>(&'a self, claim: &'a Claim<'a>) -> Work<'a, Vec<Claimed>> {
        Box::pin(async move {
            let wish = claim::Wish::new(claim);
            let n_jobs = claim.n.min(self.n_claimed.load(Ordering::Relaxed));
            let claimed = self
                .change_if_there(Vec::new(), n_jobs, move |db, now_ms| {
                    claim::take(db, &wish, now_ms)
                })
                .await?;
            self.n_claimed.store(claimed.len(), Ordering::Relaxed);
            Ok(claimed)
        })
    }

    fn renew<'a>(&'a self, leases: &'a [JobLease], lease_ms: u64) -> Work<'a, Vec<Renewed>> {
        Box::pin(async move {
            let absent = vec![Renewed::Lost; leases.len()];
            let (leases, lease_ms) = (leases.to_vec(), lease_of(lease_ms));
            self.change_if_there(absent, leases.len(), move |db, now_ms| {
                end::renew(db, &leases, lease_ms, now_ms)
            })
            .await
        })
    }

    fn keep<'a>(&'a self, lease: &'a JobLease, checkpoint: &'a RawValue) -> Work<'a, bool> {
        Box::pin(async move {
            let (lease, checkpoint) = (lease.clone(), checkpoint.to_owned());
            self.change_if_there(false, 1, move |db, now_ms| {
                end::keep(db, &lease, &checkpoint, now_ms)
            })
            .await
        })
    }

    fn end<'a>(&'a self, ends: &'a [End<'a>]) -> Work<'a, Vec<bool>> {
        Box::pin(async move {
            let absent = vec![false; ends.len()];
            let ends: Vec<_> = ends.iter().map(end::Given::new).collect();
            self.change_if_there(absent, ends.len(), move |db, now_ms| {
                end::all(db, &ends, now_ms)
            })
            .await
        })
    }

    fn effect<'a>(
        &'a self,
        lease: &'a JobLease,
        key: &'a str,
        value: &'a RawValue,
    ) -> Work<'a, Effect> {
        Box::pin(async move {
            let (lease, key, value) = (lease.clone(), key.to_owned(), value.to_owned());
            self.change_if_there(Effect::Lost, 1, move |db, now_ms| {
                log::effect(db, &lease, &key, &value, now_ms)
            })
            .await
        })
    }

    fn log<'a>(&'a self, lease: &'a JobLease, lines: &'a [LogLine]) -> Work<'a, ()> {
        Box::pin(async move {
            let (lease, lines) = (lease.clone(), lines.to_vec());
            self.change_if_there((), lines.len(), move |db, now_ms| {
                log::add(db, &lease, &lines, now_ms)
            })
            .await
        })
    }

    fn logs<'a>(&'a self, id: &'a str, after: u64, limit: usize) -> Work<'a, Vec<LoggedLine>> {
        let id = id.to_owned();
        Box::pin(self.look(Vec::new(), move |conn| log::lines(conn, &id, after, limit)))
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Work<'a, Cancelled> {
        let id = id.to_owned();
        Box::pin(
            self.change_if_there(Cancelled::Unknown, 1, move |db, now_ms| {
                change::cancel(db, &id, now_ms)
            }),
        )
    }

    fn revive<'a>(&'a self, id: &'a str) -> Work<'a, Option<bool>> {
        let id = id.to_owned();
        Box::pin(self.change_if_there(None, 1, move |db, now_ms| change::revive(db, &id, now_ms)))
    }

    fn find<'a>(&'a self, id: &'a str) -> Work<'a, Option<Job>> {
        let id = id.to_owned();
        Box::pin(self.look(None, move |conn| look::find(conn, &id)))
    }

    fn list<'a>(&'a self, filter: &'a Filter<'a>) -> Work<'a, Vec<Job>> {
        let wanted = look::Wanted::new(filter);
        Box::pin(self.look(Vec::new(), move |conn| look::list(conn, &wanted)))
    }

    fn counts(&self) -> Work<'_, Vec<Count>> {
        Box::pin(self.look(Vec::new(), look::counts))
    }

    fn n_living<'a>(&'a self, queue: &'a str, plugin: &'a PluginName, limit: u64) -> Work<'a, u64> {
        let (queue, plugin) = (queue.to_owned(), plugin.clone());
        Box::pin(self.look(0, move |conn| look::n_living(conn, &queue, &plugin, limit)))
    }

    fn recover<'a>(&'a self, recover: &'a Recover<'a>) -> Work<'a, Vec<Recovered>> {
        let rules = recover::Rules::new(recover);
        Box::pin(self.change_if_there(Vec::new(), 1, move |db, now_ms| {
            recover::all(db, &rules, now_ms)
        }))
    }

    fn prune(&self, ended_before_ms: u64, limit: usize) -> Work<'_, u64> {
        Box::pin(self.change_if_there(0, limit, move |db, _| {
            recover::prune(db, ended_before_ms, limit)
        }))
    }

    fn next_at<'a>(&'a self, queue: &'a str) -> Work<'a, Option<u64>> {
        let queue = queue.to_owned();
        Box::pin(self.look(None, move |conn| look::next_at(conn, &queue)))
    }

    fn now_ms(&self) -> Work<'_, u64> {
        Box::pin(std::future::ready(Ok(self
            .file
            .site
            .options
            .clock
            .unix_ms())))
    }

    fn hints(&self) -> Work<'_, watch::Receiver<u64>> {
        Box::pin(std::future::ready(Ok(self.hints.subscribe())))
    }
}

fn owner() -> PluginName {
    PluginName::lenient(OWNER).unwrap_or_else(|_| unreachable!("it is a name"))
}

/// An answer of a write after which nobody has to look.
fn quiet<T>(answer: T) -> Outcome<Told<T>> {
    told(answer, false)
}

fn told<T>(answer: T, hint: bool) -> Outcome<Told<T>> {
    Ok(Ok(Told { answer, hint }))
}

/// A number of rows that fits into one call.
fn bounded(limit: usize) -> i64 {
    i64::try_from(limit.min(N_TOGETHER)).unwrap_or(i64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
