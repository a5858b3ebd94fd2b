//! A store that is opened at its first use, so that a program which may need one pays nothing until a
//! plugin asks for something.

use std::sync::Arc;

use kodex_plugin::PluginName;
use tokio::sync::OnceCell;

use crate::{
    Access, Applied, Engine, Finding, Ledger, Namespace, Queue, State, Step, Store, StoreError,
    Table, Work,
    journal::Progress,
    queue::{
        Added, Cancelled, Claim, Claimed, Count, Effect, End, Filter, Job, JobLease, LogLine,
        LoggedLine, NewJob, Recover, Recovered, Renewed,
    },
    state::{Adopted, Entry, Key, Lease, Numbers, Write, Written},
};

type Open = Box<dyn Fn() -> Work<'static, Arc<dyn Store>> + Send + Sync>;

/// See the module. A failed opening is tried again at the next use.
pub struct LazyStore {
    engine: Engine,
    place: String,
    open: Open,
    opened: OnceCell<Arc<dyn Store>>,
}

impl std::fmt::Debug for LazyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazyStore")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl LazyStore {
    /// A store of this engine at this place (without a password), and how it is opened.
    pub fn new(
        engine: Engine,
        place: impl Into<String>,
        open: impl Fn() -> Work<'static, Arc<dyn Store>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            engine,
            place: place.into(),
            open: Box::new(open),
            opened: OnceCell::new(),
        }
    }

    async fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        self.opened.get_or_try_init(|| (self.open)()).await
    }
}

impl Store for LazyStore {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn namespace<'a>(
        &'a self,
        plugin: &'a PluginName,
        access: Access,
    ) -> Work<'a, Arc<dyn Namespace>> {
        Box::pin(async move { self.store().await?.namespace(plugin, access).await })
    }

    fn state(&self) -> &dyn State {
        self
    }

    fn ledger(&self) -> &dyn Ledger {
        self
    }

    fn queue(&self) -> &dyn Queue {
        self
    }

    fn leases<'a>(
        &'a self,
        plugin: &'a PluginName,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Lease>> {
        Box::pin(async move { self.store().await?.leases(plugin, after, limit).await })
    }

    fn numbers<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Numbers> {
        Box::pin(async move { self.store().await?.numbers(plugin).await })
    }

    fn adopt<'a>(&'a self, plugin: &'a PluginName, adopted: &'a Adopted<'a>) -> Work<'a, ()> {
        Box::pin(async move { self.store().await?.adopt(plugin, adopted).await })
    }

    fn plugins(&self) -> Work<'_, Vec<PluginName>> {
        Box::pin(async move { self.store().await?.plugins().await })
    }

    fn tables<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Table>> {
        Box::pin(async move { self.store().await?.tables(plugin).await })
    }

    fn check(&self) -> Work<'_, Vec<Finding>> {
        Box::pin(async move { self.store().await?.check().await })
    }

    fn ping(&self) -> Work<'_, ()> {
        Box::pin(async move { self.store().await?.ping().await })
    }

    fn close(&self) -> Work<'_, ()> {
        Box::pin(async move {
            match self.opened.get() {
                Some(store) => store.close().await,
                None => Ok(()),
            }
        })
    }
}

impl State for LazyStore {
    fn read<'a>(&'a self, plugin: &'a PluginName, key: &'a str) -> Work<'a, Option<Entry>> {
        Box::pin(async move { self.store().await?.state().read(plugin, key).await })
    }

    fn write<'a>(&'a self, plugin: &'a PluginName, write: &'a Write<'a>) -> Work<'a, Written> {
        Box::pin(async move { self.store().await?.state().write(plugin, write).await })
    }

    fn list<'a>(
        &'a self,
        plugin: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Key>> {
        Box::pin(async move {
            self.store()
                .await?
                .state()
                .list(plugin, prefix, after, limit)
                .await
        })
    }

    fn lock<'a>(&'a self, plugin: &'a PluginName, key: &'a str, ttl_ms: u64) -> Work<'a, Lease> {
        Box::pin(async move { self.store().await?.state().lock(plugin, key, ttl_ms).await })
    }

    fn renew<'a>(
        &'a self,
        plugin: &'a PluginName,
        lease: &'a Lease,
        ttl_ms: u64,
    ) -> Work<'a, Lease> {
        Box::pin(async move {
            self.store()
                .await?
                .state()
                .renew(plugin, lease, ttl_ms)
                .await
        })
    }

    fn unlock<'a>(&'a self, plugin: &'a PluginName, lease: &'a Lease) -> Work<'a, bool> {
        Box::pin(async move { self.store().await?.state().unlock(plugin, lease).await })
    }

    fn sweep(&self, limit: usize) -> Work<'_, u64> {
        Box::pin(async move { self.store().await?.state().sweep(limit).await })
    }
}

impl Ledger for LazyStore {
    fn applied<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Applied>> {
        Box::pin(async move { self.store().await?.ledger().applied(plugin).await })
    }

    fn apply<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        Box::pin(async move {
            self.store()
                .await?
                .ledger()
                .apply(plugin, step, after)
                .await
        })
    }

    fn record<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        Box::pin(async move {
            self.store()
                .await?
                .ledger()
                .record(plugin, step, after)
                .await
        })
    }

    fn progress<'a>(&'a self, plugin: &'a PluginName, id: &'a str) -> Work<'a, Option<Progress>> {
        Box::pin(async move { self.store().await?.ledger().progress(plugin, id).await })
    }

    fn save_progress<'a>(&'a self, plugin: &'a PluginName, progress: &'a Progress) -> Work<'a, ()> {
        Box::pin(async move {
            self.store()
                .await?
                .ledger()
                .save_progress(plugin, progress)
                .await
        })
    }

    fn rename<'a>(&'a self, from: &'a PluginName, to: &'a PluginName) -> Work<'a, ()> {
        Box::pin(async move { self.store().await?.ledger().rename(from, to).await })
    }
}

impl Queue for LazyStore {
    fn add<'a>(&'a self, jobs: &'a [NewJob<'a>]) -> Work<'a, Vec<Added>> {
        Box::pin(async move { self.store().await?.queue().add(jobs).await })
    }

    fn claim<'a>(&'a self, claim: &'a Claim<'a>) -> Work<'a, Vec<Claimed>> {
        Box::pin(async move { self.store().await?.queue().claim(claim).await })
    }

    fn renew<'a>(&'a self, leases: &'a [JobLease], lease_ms: u64) -> Work<'a, Vec<Renewed>> {
        Box::pin(async move { self.store().await?.queue().renew(leases, lease_ms).await })
    }

    fn keep<'a>(
        &'a self,
        lease: &'a JobLease,
        checkpoint: &'a serde_json::value::RawValue,
    ) -> Work<'a, bool> {
        Box::pin(async move { self.store().await?.queue().keep(lease, checkpoint).await })
    }

    fn end<'a>(&'a self, ends: &'a [End<'a>]) -> Work<'a, Vec<bool>> {
        Box::pin(async move { self.store().await?.queue().end(ends).await })
    }

    fn effect<'a>(
        &'a self,
        lease: &'a JobLease,
        key: &'a str,
        value: &'a serde_json::value::RawValue,
    ) -> Work<'a, Effect> {
        Box::pin(async move { self.store().await?.queue().effect(lease, key, value).await })
    }

    fn log<'a>(&'a self, lease: &'a JobLease, lines: &'a [LogLine]) -> Work<'a, ()> {
        Box::pin(async move { self.store().await?.queue().log(lease, lines).await })
    }

    fn logs<'a>(&'a self, id: &'a str, after: u64, limit: usize) -> Work<'a, Vec<LoggedLine>> {
        Box::pin(async move { self.store().await?.queue().logs(id, after, limit).await })
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Work<'a, Cancelled> {
        Box::pin(async move { self.store().await?.queue().cancel(id).await })
    }

    fn revive<'a>(&'a self, id: &'a str) -> Work<'a, Option<bool>> {
        Box::pin(async move { self.store().await?.queue().revive(id).await })
    }

    fn find<'a>(&'a self, id: &'a str) -> Work<'a, Option<Job>> {
        Box::pin(async move { self.store().await?.queue().find(id).await })
    }

    fn list<'a>(&'a self, filter: &'a Filter<'a>) -> Work<'a, Vec<Job>> {
        Box::pin(async move { self.store().await?.queue().list(filter).await })
    }

    fn counts(&self) -> Work<'_, Vec<Count>> {
        Box::pin(async move { self.store().await?.queue().counts().await })
    }

    fn n_living<'a>(&'a self, queue: &'a str, plugin: &'a PluginName, limit: u64) -> Work<'a, u64> {
        Box::pin(async move {
            self.store()
                .await?
                .queue()
                .n_living(queue, plugin, limit)
                .await
        })
    }

    fn recover<'a>(&'a self, recover: &'a Recover<'a>) -> Work<'a, Vec<Recovered>> {
        Box::pin(async move { self.store().await?.queue().recover(recover).await })
    }

    fn prune(&self, ended_before_ms: u64, limit: usize) -> Work<'_, u64> {
        Box::pin(async move {
            self.store()
                .await?
                .queue()
                .prune(ended_before_ms, limit)
                .await
        })
    }

    fn next_at<'a>(&'a self, queue: &'a str) -> Work<'a, Option<u64>> {
        Box::pin(async move { self.store().await?.queue().next_at(queue).await })
    }

    fn now_ms(&self) -> Work<'_, u64> {
        Box::pin(async move { self.store().await?.queue().now_ms().await })
    }

    fn hints(&self) -> Work<'_, tokio::sync::watch::Receiver<u64>> {
        Box::pin(async move { self.store().await?.queue().hints().await })
    }
}
