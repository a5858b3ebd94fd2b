//! A store that is opened at its first use, so that a program which may need one pays nothing until a
//! plugin asks for something.

use std::sync::Arc;

use kodex_plugin::PluginName;
use tokio::sync::OnceCell;

use crate::{
    Access, Applied, Engine, Finding, Ledger, Namespace, State, Step, Store, StoreError, Table,
    Work,
    journal::Progress,
    state::{Entry, Key, Lease, Write, Written},
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

    fn plugins(&self) -> Work<'_, Vec<PluginName>> {
        Box::pin(async move { self.store().await?.plugins().await })
    }

    fn tables<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Table>> {
        Box::pin(async move { self.store().await?.tables(plugin).await })
    }

    fn check(&self) -> Work<'_, Vec<Finding>> {
        Box::pin(async move { self.store().await?.check().await })
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
