//! What a plugin holds between two calls: a transaction or a cursor with its connection.
//!
//! A guard takes it away when the call that began it is over or the store closes, so a plugin that
//! hangs holds neither locks nor connections.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{task::AbortHandle, time::Instant};

use super::pool::Shared;

/// Something that is taken out for each use. Dropping this lets go of it.
pub(super) struct Hold<T: Send + 'static> {
    slot: Arc<Slot<T>>,
    guard: AbortHandle,
}

struct Slot<T> {
    held: Mutex<Option<T>>,
    is_over: AtomicBool,
}

impl<T> Slot<T> {
    fn take(&self) -> Option<T> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl<T: Send + 'static> Hold<T> {
    pub(super) fn new(held: T, shared: &Shared, until: Option<Instant>) -> Self {
        let slot = Arc::new(Slot {
            held: Mutex::new(Some(held)),
            is_over: AtomicBool::new(false),
        });
        let guarded = Arc::clone(&slot);
        let closing = shared.closing();
        let guard = shared.tasks.spawn(async move {
            match until {
                Some(until) => {
                    let _ = tokio::time::timeout_at(until, closing).await;
                }
                None => closing.await,
            }
            guarded.is_over.store(true, Ordering::Release);
            drop(guarded.take());
        });
        Self { slot, guard }
    }

    /// Takes it out; none when its time is over or its last use was given up.
    pub(super) fn take(&self) -> Option<T> {
        self.slot.take()
    }

    /// Gives it back, unless its time came meanwhile.
    pub(super) fn put(&self, held: T) {
        let mut slot = self
            .slot
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.is_over() {
            *slot = Some(held);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.slot.is_over.load(Ordering::Acquire)
    }
}

impl<T: Send + 'static> Drop for Hold<T> {
    fn drop(&mut self) {
        self.guard.abort();
    }
}
