//! One database file with its lanes: readers, the only writer, and those that keep a thread for long.

use std::{sync::Arc, time::Duration};

use kodex_plugin::PluginName;

use super::{open::Site, thread::Lane};
use crate::{Bounds, StoreError};

/// Most cursors, reading transactions and checks of one file at once.
const N_LONG: usize = 8;

/// A database file.
pub(super) struct File {
    pub(super) site: Arc<Site>,
    pub(super) readers: Lane,
    pub(super) writer: Lane,
    pub(super) long: Lane,
}

impl File {
    pub(super) fn new(site: Arc<Site>) -> Self {
        Self {
            readers: Lane::new(Arc::clone(&site), site.options.n_readers),
            writer: Lane::new(Arc::clone(&site), 1),
            long: Lane::new(Arc::clone(&site), N_LONG),
            site,
        }
    }

    /// Whose it is.
    pub(super) fn plugin(&self) -> Result<&PluginName, StoreError> {
        self.site
            .plugin
            .as_ref()
            .ok_or_else(|| StoreError::Internal("the store's own file has no plugin".to_owned()))
    }

    /// How long a call with these bounds waits for its turn.
    pub(super) fn turn(&self, bounds: &Bounds) -> Duration {
        let left = bounds
            .until
            .map(|until| until.saturating_duration_since(self.site.options.clock.now()));
        left.map_or(bounds.timeout, |left| left.min(bounds.timeout))
    }

    /// Closes every lane.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let readers = self.readers.close().await;
        let writer = self.writer.close().await;
        let long = self.long.close().await;
        readers.and(writer).and(long)
    }
}
