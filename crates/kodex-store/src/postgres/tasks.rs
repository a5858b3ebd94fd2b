//! The only place of this dialect where tasks begin: cancelling what was dropped, rolling back what was
//! left open, closing what is idle. The store owns them all and ends them with itself.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinSet},
};

/// The tasks of one store.
pub(super) struct Tasks {
    set: Mutex<JoinSet<()>>,
    /// Connections are dropped wherever a plugin's future is, also outside of any runtime.
    runtime: Handle,
}

impl Tasks {
    pub(super) fn new(runtime: Handle) -> Self {
        Self {
            set: Mutex::default(),
            runtime,
        }
    }

    /// Starts one. Each is short, or ends with the store.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while set.try_join_next().is_some() {}
        set.spawn_on(work, &self.runtime)
    }

    /// Gives what runs a moment to finish and ends the rest.
    pub(super) async fn finish(&self, within: Duration) {
        let mut set = {
            let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *set)
        };
        let _ =
            tokio::time::timeout(within, async { while set.join_next().await.is_some() {} }).await;
        set.shutdown().await;
    }
}
