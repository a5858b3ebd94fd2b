//! Activation at the first request: once, by a task of the runtime's own, so that a caller who goes
//! away does not leave a plugin half started, and with a deadline of its own, so that a slow import
//! does not count against the hook's timeout.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kodex_plugin::{Call, Context, Failure, HostError, PluginError};
use tokio::sync::watch;

use super::contain::contained;
use crate::{
    host::PluginHost,
    register::{Activation, Slot, lock},
    runtime::Shared,
};

impl Slot {
    /// Whether the plugin has been activated.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// Where the end of an activation is told.
type Told = watch::Receiver<Option<Result<(), PluginError>>>;

/// Starts the activation of a plugin without waiting for it. Gives where its end is told, unless the plugin
/// is active.
pub(crate) fn start(shared: &Shared, slot: &Arc<Slot>) -> Option<Told> {
    let mut state = lock(&slot.activation);
    match &*state {
        Activation::Done => return None,
        Activation::Running(told) => return Some(told.clone()),
        Activation::Idle => {}
    }
    let (tell, told) = watch::channel(None);
    *state = Activation::Running(told.clone());
    drop(state);
    let (slot, timeout) = (slot.clone(), shared.guard.activation_timeout);
    let host = Arc::new(PluginHost::of(shared, &slot));
    let context = Context {
        plugin: slot.name.clone(),
        config: slot.context.clone(),
        grants: Vec::new(),
        host: host.clone(),
    };
    shared.tasks.spawn(async move {
        let result = activate(&slot, &host, context, timeout).await;
        let next = if result.is_ok() {
            Activation::Done
        } else {
            Activation::Idle
        };
        *lock(&slot.activation) = next;
        slot.active
            .store(result.is_ok(), std::sync::atomic::Ordering::Release);
        // Nobody may be waiting any more.
        let _ = tell.send(Some(result));
    });
    Some(told)
}

async fn activate(
    slot: &Slot,
    host: &PluginHost,
    context: Context,
    timeout: Duration,
) -> Result<(), PluginError> {
    let late = ("activate.timeout", "the plugin did not start");
    // A database whose journal is behind is not handed out, so the plugin is not started either.
    let ready = Call::pending(async {
        let refused =
            |error: HostError| PluginError::new(Failure::Unavailable, error.code, error.message);
        host.is_ready().await.map_err(refused)
    });
    contained(|| ready, timeout, late).await?;
    contained(|| slot.plugin.activate(context), timeout, late).await
}

/// Waits until the plugin is active, starting it if nobody did.
pub(crate) async fn ensure(
    shared: &Shared,
    slot: &Arc<Slot>,
    no_later_than: Option<Instant>,
) -> Result<(), PluginError> {
    let Some(mut told) = start(shared, slot) else {
        return Ok(());
    };
    let wait = async {
        match told.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err(PluginError::new(
                Failure::Unavailable,
                "runtime.stopped",
                "the runtime was shut down while the plugin started",
            )),
        }
    };
    let Some(latest) = no_later_than else {
        return wait.await;
    };
    let left = latest.saturating_duration_since(shared.clock.now());
    tokio::time::timeout(left, wait).await.unwrap_or_else(|_| {
        Err(PluginError::new(
            Failure::BudgetSpent,
            "event.budget_spent",
            "the event's time was over before the plugin had started",
        ))
    })
}
