//! Calls that only look: during a report, the plugin's host takes no writes.
//!
//! What a call asks for is known by the task that runs it: all that a plugin in Rust asks for while its answer
//! is awaited, and every call to a worker, whose number the worker gives with what it asks for. A plugin in
//! Rust that hands its host to a task of its own is not seen here. It is a rail against mistakes, not a wall:
//! the same plugin may write in its other calls anyway.

use std::{
    future::Future,
    sync::{
        Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use kodex_plugin::{HostError, Json, PluginName, wire};
use serde::Deserialize;

use crate::register::{Slot, lock};

tokio::task_local! {
    static LOOKS_ONLY: ();
}

/// Does work whose calls into plugins only look.
pub(crate) async fn only<F: Future>(work: F) -> F::Output {
    LOOKS_ONLY.scope((), work).await
}

/// Whether the code that runs now only looks.
fn is_here() -> bool {
    LOOKS_ONLY.try_with(|()| ()).is_ok()
}

/// The calls of one plugin that only look and are under way, by the numbers that the worker knows.
#[derive(Default)]
pub(crate) struct Reading {
    n_open: AtomicUsize,
    open: Mutex<Vec<u64>>,
    /// To see whether other calls are under way.
    slot: Weak<Slot>,
}

/// The part of a request that says which call it belongs to.
#[derive(Default, Deserialize)]
struct Within {
    call: Option<u64>,
    tx: Option<u64>,
    cursor: Option<u64>,
}

impl Reading {
    pub(super) fn of(slot: Weak<Slot>) -> Self {
        Self {
            slot,
            ..Self::default()
        }
    }

    /// A call begins under a number.
    pub(super) fn began(&self, number: u64) {
        if is_here() {
            lock(&self.open).push(number);
            self.n_open.fetch_add(1, Ordering::Release);
        }
    }

    /// A call ended.
    pub(super) fn ended(&self, number: u64) {
        if self.n_open.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut open = lock(&self.open);
        if let Some(at) = open.iter().position(|own| *own == number) {
            open.swap_remove(at);
            self.n_open.fetch_sub(1, Ordering::Release);
        }
    }

    /// Whether a request is part of a call that only looks.
    pub(super) fn covers(&self, params: &Json) -> bool {
        if is_here() {
            return true;
        }
        if self.n_open.load(Ordering::Acquire) == 0 {
            return false;
        }
        let within: Within = params.to().unwrap_or_default();
        let open = lock(&self.open);
        match within {
            Within {
                call: Some(call), ..
            } => open.contains(&call),
            // Opened before, by a call that said which it is.
            Within { tx: Some(_), .. }
            | Within {
                cursor: Some(_), ..
            } => false,
            // A worker that does not say so: it is the report's when nothing else is under way.
            Within { .. } => self
                .slot
                .upgrade()
                .is_some_and(|slot| slot.in_flight.load(Ordering::Acquire) as usize <= open.len()),
        }
    }
}

/// Whether a service of the host changes nothing. The database decides for itself: it is opened for reading.
pub(super) fn looks(method: &str) -> bool {
    use wire::{method as plain, store::method as store, work::method as work};
    method.starts_with("db/")
        || matches!(
            method,
            plain::CLOCK_NOW
                | store::STATE_GET
                | store::STATE_LIST
                | work::AGENT_GET
                | work::JOB_GET
        )
}

/// What a plugin is told when it tries more.
pub(super) fn refused(plugin: &PluginName, method: &str) -> HostError {
    let text = format!(
        "plugin {plugin}: {method} changes something, and a report only looks; do it in another hook, a tool or a job"
    );
    HostError::new("report.read_only", text)
}
