//! Durable work in the store's own file.

use tokio::sync::watch;

use crate::{Queue, Work};

/// The jobs of all plugins.
pub(super) struct Jobs {
    pub(super) hints: watch::Sender<u64>,
}

impl Queue for Jobs {
    fn hints(&self) -> Work<'_, watch::Receiver<u64>> {
        Box::pin(std::future::ready(Ok(self.hints.subscribe())))
    }
}
