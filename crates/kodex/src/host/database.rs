//! The service `db/*`: a plugin's own tables, behind the store's door, once its journal is up to date.

use std::sync::Arc;

use kodex_plugin::{Clock, HostError, Json, PluginName};
use kodex_store::{Access, Door, Namespace, Store};
use tokio::sync::OnceCell;

use crate::journal::Journal;

/// The database of one plugin.
pub(crate) struct Database {
    plugin: PluginName,
    store: Arc<dyn Store>,
    /// None while an upgrade runs a data step, which has its tables whatever comes after it.
    journal: Option<Arc<Journal>>,
    namespace: OnceCell<Arc<dyn Namespace>>,
    /// The same for calls that only look; the engine refuses their writes.
    for_reading: OnceCell<Arc<dyn Namespace>>,
    door: Door,
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
            door: Door::new(plugin.clone(), clock, frame_bytes),
            plugin,
            store,
            journal,
            namespace: OnceCell::new(),
            for_reading: OnceCell::new(),
        }
    }

    /// The namespace, once the journal is found to be up to date. A journal that is behind is looked at
    /// again at the next call, so that an upgrade beside the running host helps at once.
    pub(super) async fn namespace(&self) -> Result<Arc<dyn Namespace>, HostError> {
        let open = || self.open(Access::Write);
        self.namespace.get_or_try_init(open).await.cloned()
    }

    async fn namespace_for_reading(&self) -> Result<Arc<dyn Namespace>, HostError> {
        let open = || self.open(Access::Read);
        self.for_reading.get_or_try_init(open).await.cloned()
    }

    async fn open(&self, access: Access) -> Result<Arc<dyn Namespace>, HostError> {
        if let Some(journal) = &self.journal {
            journal.check(&*self.store, &self.plugin).await?;
        }
        let opened = self.store.namespace(&self.plugin, access).await;
        opened.map_err(HostError::from)
    }

    pub(super) async fn serve(
        &self,
        method: &str,
        params: &Json,
        looks_only: bool,
    ) -> Result<Json, HostError> {
        if looks_only {
            let namespace = self.namespace_for_reading();
            return self.door.serve(method, params, namespace).await;
        }
        self.door.serve(method, params, self.namespace()).await
    }

    /// Closes what was opened under a call, or one thing by its own number.
    pub(super) fn ended(&self, number: u64) {
        self.door.ended(number);
    }
}
