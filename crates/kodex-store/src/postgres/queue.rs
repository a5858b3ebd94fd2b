//! Durable work in tables that many nodes share.

use tokio::sync::watch;

use crate::{Queue, Work};

/// The jobs of all plugins.
pub(super) struct PgQueue {
    pub(super) hints: watch::Sender<u64>,
}

impl Queue for PgQueue {
    fn hints(&self) -> Work<'_, watch::Receiver<u64>> {
        Box::pin(std::future::ready(Ok(self.hints.subscribe())))
    }
}
