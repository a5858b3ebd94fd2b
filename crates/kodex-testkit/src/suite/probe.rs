//! One step of the suite on a thread of its own, so that neither a panic nor a hang reaches the
//! caller.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use kodex_plugin::{Call, Json, Plugin, PluginError, Reply, RequestKind};

use crate::{block_on, call::request, capture};

/// What became of a step.
#[derive(Debug, PartialEq)]
pub(super) enum Probe<T> {
    Done(T),
    Panicked(String),
    Stuck,
}

/// Beyond the limit of the step itself, so that a pending future is given up by its own wait and
/// only a blocked thread runs into this one.
const GRACE: Duration = Duration::from_millis(250);

/// Runs a step; `None` from it means that it gave up waiting.
pub(super) fn step<T: Send + 'static>(
    plugin: &Arc<dyn Plugin>,
    limit: Duration,
    code: impl FnOnce(&dyn Plugin) -> Option<T> + Send + 'static,
) -> Probe<T> {
    let plugin = Arc::clone(plugin);
    let (sender, receiver) = mpsc::sync_channel(1);
    let started = thread::Builder::new()
        .name("plugin-suite".to_owned())
        .spawn(move || {
            let outcome = capture(|| code(&*plugin));
            // Released first: what the plugin's drop does belongs to the step.
            drop(plugin);
            // Nobody listens any more after the limit; the outcome is then of no use.
            let _ = sender.send(outcome);
        });
    match started.map(|_| receiver.recv_timeout(limit + GRACE)) {
        Ok(Ok(Ok(Some(done)))) => Probe::Done(done),
        Ok(Ok(Ok(None)) | Err(RecvTimeoutError::Timeout)) => Probe::Stuck,
        Ok(Ok(Err(panicked))) => Probe::Panicked(panicked.message),
        Ok(Err(RecvTimeoutError::Disconnected)) => Probe::Panicked("while it was dropped".into()),
        Err(error) => Probe::Panicked(format!("no thread could be started: {error}")),
    }
}

/// Runs a step that is one call.
pub(super) fn call(
    plugin: &Arc<dyn Plugin>,
    limit: Duration,
    kind: RequestKind,
    name: &str,
    payload: &Json,
) -> Probe<Result<Reply, PluginError>> {
    let (name, payload) = (name.to_owned(), payload.clone());
    step(plugin, limit, move |plugin| {
        within(plugin.call(request(kind, &name, &payload)), limit)
    })
}

/// Waits for an answer at most so long.
pub(super) fn within<T>(call: Call<'_, T>, limit: Duration) -> Option<Result<T, PluginError>> {
    match call {
        Call::Ready(answer) => Some(answer),
        Call::Pending(future) => block_on(future, limit),
    }
}
