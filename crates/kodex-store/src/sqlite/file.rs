//! One database file with its lanes: readers, the only writer, and those that keep a thread for long.

use std::{sync::Arc, time::Duration};

use kodex_plugin::PluginName;

use super::{here::Here, open::Site, thread::Lane};
use crate::{Bounds, StoreError};

/// Most cursors, reading transactions and checks of one file at once.
const N_LONG: usize = 8;

/// A database file.
pub(super) struct File {
    pub(super) site: Arc<Site>,
    pub(super) readers: Lane,
    pub(super) writer: Lane,
    pub(super) long: Lane,
    /// What runs without a thread of a lane; the store's own file alone uses it.
    pub(super) here: Arc<Here>,
}

impl File {
    pub(super) fn new(site: Arc<Site>) -> Self {
        let here = Arc::new(Here::new(Arc::clone(&site)));
        let lane = |n_threads| Lane::new(Arc::clone(&site), n_threads, Arc::clone(&here));
        Self {
            readers: lane(site.options.n_readers),
            writer: lane(1),
            long: lane(N_LONG),
            here,
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
        self.here.close();
        let readers = self.readers.close().await;
        let writer = self.writer.close().await;
        let long = self.long.close().await;
        readers.and(writer).and(long)
    }
}
