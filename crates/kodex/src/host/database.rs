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
        }
    }

    /// The namespace, once the journal is found to be up to date. A journal that is behind is looked at
    /// again at the next call, so that an upgrade beside the running host helps at once.
    pub(super) async fn namespace(&self) -> Result<Arc<dyn Namespace>, HostError> {
        let open = || async {
            if let Some(journal) = &self.journal {
                journal.check(&*self.store, &self.plugin).await?;
            }
            let opened = self.store.namespace(&self.plugin, Access::Write).await;
            opened.map_err(HostError::from)
        };
        self.namespace.get_or_try_init(open).await.cloned()
    }

    pub(super) async fn serve(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        self.door.serve(method, params, self.namespace()).await
    }

    /// Closes what was opened under a call, or one thing by its own number.
    pub(super) fn ended(&self, number: u64) {
        self.door.ended(number);
    }
}
