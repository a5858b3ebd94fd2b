//! The only place that spawns. Every task belongs to the runtime's set, which ends with it.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinSet};

/// The tasks of one runtime.
#[derive(Debug)]
pub(crate) struct Tasks {
    handle: Handle,
    set: Mutex<JoinSet<()>>,
}

impl Tasks {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
            set: Mutex::new(JoinSet::new()),
        }
    }

    /// The async runtime that the tasks run on.
    #[cfg(feature = "worker")]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a future beside the caller, until it ends or the runtime shuts down.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        // Finished tasks are forgotten here, so the set does not grow with the runtime's age.
        while set.try_join_next().is_some() {}
        set.spawn_on(future, &self.handle);
    }

    /// Waits for the tasks, at most for `grace`, and ends what is left.
    pub(crate) async fn finish(&self, grace: Duration) {
        let mut set = std::mem::take(&mut *self.set.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while set.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            set.shutdown().await;
        }
    }
}
