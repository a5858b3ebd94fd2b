//! Durable work in tables that many nodes share: [`Queue`] over Postgres.
//!
//! Each operation is one statement where it can be; a claim locks the rows that it takes and skips those
//! that somebody else has locked, so workers do not wait for each other. What must hold over all nodes is a
//! constraint (ids, unique keys, one running job of a lane) or a locked row (caps), never an advisory lock.
//!
//! Its connections are apart from the store's other ones, with settings that keep the server's planner at
//! the indexes: a plan that was made while the table was small is used while it is large.

mod add;
mod cancel;
mod check;
mod claim;
mod end;
mod hint;
mod log;
mod look;
mod recover;
mod renew;
mod row;
mod tables;

use std::sync::Arc;

use kodex_plugin::PluginName;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio_postgres::Row;

use super::{
    Inner, error, open,
    pool::{Arg, Line, Lines},
};
use crate::{
    Queue, StoreError, Work,
    queue::{
        Added, Cancelled, Claim, Claimed, Count, Effect, End, Filter, Job, JobLease, LogLine,
        LoggedLine, NewJob, Recover, Recovered, Renewed,
    },
};
use hint::Bell;

pub(super) use check::check;
pub(super) use tables::SCHEMA;

/// Leaves a row that nobody reads.
const PING: &str = "INSERT INTO kodex.meta (name, value) VALUES ('pinged_at_ms', $1)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
/// How often a statement is tried again that runs into another one.
const N_TRIES: usize = 10;
/// Plans by the indexes, made once per connection.
const PLANS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_bitmapscan=off \
     -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";

/// The jobs of all plugins.
pub(super) struct PgQueue {
    inner: Arc<Inner>,
    /// Connections of the store's own role for short statements.
    lines: Lines,
    bell: Arc<Bell>,
    lanes: claim::Lanes,
    texts: Texts,
}

/// The texts of the statements, made once.
struct Texts {
    add: add::Texts,
    cancel: cancel::Texts,
    claim: claim::Texts,
    end: end::Texts,
    log: log::Texts,
    look: look::Texts,
    recover: recover::Texts,
    renew: String,
}

impl PgQueue {
    pub(super) fn new(inner: Arc<Inner>) -> Result<Self, StoreError> {
        let mut config = inner.config.clone();
        // A pooler in between gives out sessions that are not ours, and other servers have other planners.
        if inner.options.prepare && inner.server.words.starts_with("PostgreSQL") {
            let own = config.get_options().unwrap_or_default();
            let options = format!("{own} {PLANS}");
            config.options(options.trim());
        }
        let n = inner.options.n_connections.max(1);
        let lines = Lines::new(config, n, inner.shared.clone())?;
        Ok(Self {
            bell: Arc::new(Bell::new(&inner)),
            lanes: claim::Lanes::default(),
            lines,
            inner,
            texts: Texts {
                add: add::Texts::new(),
                cancel: cancel::Texts::new(),
                claim: claim::Texts::new(),
                end: end::Texts::new(),
                log: log::Texts::new(),
                look: look::Texts::new(),
                recover: recover::Texts::new(),
                renew: renew::text(),
            },
        })
    }

    pub(super) fn close(&self) {
        self.lines.close();
    }

    /// See [`crate::Store::ping`].
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let now = self.now_ms().await?.to_string();
        self.rows(PING, &[Arg::Text(&now)], "writing a sign of life")
            .await
            .map(drop)
    }

    async fn line(&self) -> Result<Line, StoreError> {
        open::line(&self.lines, self.inner.place()).await
    }

    /// The first parameter of every statement.
    fn now(&self) -> Arg<'static> {
        Arg::MaybeNumber(self.inner.now_ms())
    }

    /// Runs one statement; another transaction's interference is answered by running it again.
    async fn rows(
        &self,
        sql: &str,
        args: &[Arg<'_>],
        during: &'static str,
    ) -> Result<Vec<Row>, StoreError> {
        let mut n_tries = 0;
        loop {
            let mut line = self.line().await?;
            match line.rows(sql, args).await {
                Ok(rows) => return Ok(rows),
                Err(trouble) if n_tries < N_TRIES && is_interference(trouble.code()) => {
                    n_tries += 1;
                }
                Err(trouble) => return Err(error::own(self.inner.place(), trouble, during)),
            }
        }
    }

    /// Something to claim may be there, on this node and on others.
    fn ring(&self) {
        self.bell.ring(&self.inner, &self.lines);
    }
}

/// Serialisation and deadlock.
fn is_interference(code: &str) -> bool {
    matches!(code, "40001" | "40P01")
}

impl Queue for PgQueue {
    fn add<'a>(&'a self, jobs: &'a [NewJob<'a>]) -> Work<'a, Vec<Added>> {
        Box::pin(add::add(self, jobs))
    }

    fn claim<'a>(&'a self, claim: &'a Claim<'a>) -> Work<'a, Vec<Claimed>> {
        Box::pin(claim::claim(self, claim))
    }

    fn renew<'a>(&'a self, leases: &'a [JobLease], lease_ms: u64) -> Work<'a, Vec<Renewed>> {
        Box::pin(renew::renew(self, leases, lease_ms))
    }

    fn keep<'a>(&'a self, lease: &'a JobLease, checkpoint: &'a RawValue) -> Work<'a, bool> {
        Box::pin(end::keep(self, lease, checkpoint))
    }

    fn end<'a>(&'a self, ends: &'a [End<'a>]) -> Work<'a, Vec<bool>> {
        Box::pin(end::end(self, ends))
    }

    fn effect<'a>(
        &'a self,
        lease: &'a JobLease,
        key: &'a str,
        value: &'a RawValue,
    ) -> Work<'a, Effect> {
        Box::pin(log::effect(self, lease, key, value))
    }

    fn log<'a>(&'a self, lease: &'a JobLease, lines: &'a [LogLine]) -> Work<'a, ()> {
        Box::pin(log::log(self, lease, lines))
    }

    fn logs<'a>(&'a self, id: &'a str, after: u64, limit: usize) -> Work<'a, Vec<LoggedLine>> {
        Box::pin(log::logs(self, id, after, limit))
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Work<'a, Cancelled> {
        Box::pin(cancel::cancel(self, id))
    }

    fn revive<'a>(&'a self, id: &'a str) -> Work<'a, Option<bool>> {
        Box::pin(cancel::revive(self, id))
    }

    fn find<'a>(&'a self, id: &'a str) -> Work<'a, Option<Job>> {
        Box::pin(look::find(self, id))
    }

    fn list<'a>(&'a self, filter: &'a Filter<'a>) -> Work<'a, Vec<Job>> {
        Box::pin(look::list(self, filter))
    }

    fn counts(&self) -> Work<'_, Vec<Count>> {
        Box::pin(look::counts(self))
    }

    fn n_living<'a>(&'a self, queue: &'a str, plugin: &'a PluginName, limit: u64) -> Work<'a, u64> {
        Box::pin(look::n_living(self, queue, plugin, limit))
    }

    fn recover<'a>(&'a self, recover: &'a Recover<'a>) -> Work<'a, Vec<Recovered>> {
        Box::pin(recover::recover(self, recover))
    }

    fn prune(&self, ended_before_ms: u64, limit: usize) -> Work<'_, u64> {
        Box::pin(recover::prune(self, ended_before_ms, limit))
    }

    fn next_at<'a>(&'a self, queue: &'a str) -> Work<'a, Option<u64>> {
        Box::pin(look::next_at(self, queue))
    }

    fn now_ms(&self) -> Work<'_, u64> {
        Box::pin(look::now_ms(self))
    }

    fn hints(&self) -> Work<'_, watch::Receiver<u64>> {
        Box::pin(std::future::ready(self.bell.listen(&self.inner)))
    }
}
