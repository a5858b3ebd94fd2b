//! Where every request of a plugin to its host waits until the simulation lets it through, or lets it fail
//! before or after it took effect. So the simulation decides what happens next, and one seed is one history.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

/// What may become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// It fails, and nothing happened.
    FailBefore,
    /// It fails, but it took effect.
    FailAfter,
    /// Somebody else holds what it needs; nothing happened.
    Busy,
}

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) method: String,
    /// Whether it needs what one transaction at a time may have.
    pub(crate) writes: bool,
}

#[derive(Default)]
struct State {
    current: usize,
    waiting: BTreeMap<usize, Wanted>,
    granted: BTreeMap<usize, Verdict>,
}

/// The gate of one node.
#[derive(Default)]
pub(crate) struct Gate(Mutex<State>);

impl Gate {
    /// Says which call is driven now: its requests are told apart by that.
    pub(crate) fn drive(&self, call: usize) {
        self.state().current = call;
    }

    pub(crate) fn waiting(&self, call: usize) -> Option<Wanted> {
        self.state().waiting.get(&call).cloned()
    }

    pub(crate) fn grant(&self, call: usize, verdict: Verdict) {
        let mut state = self.state();
        state.waiting.remove(&call);
        state.granted.insert(call, verdict);
    }

    pub(crate) fn forget(&self, call: usize) {
        let mut state = self.state();
        state.waiting.remove(&call);
        state.granted.remove(&call);
    }

    /// Waits for the verdict. Whoever drives the call looks at the gate, so nobody needs to be woken.
    pub(crate) async fn pass(&self, wanted: Wanted) -> Verdict {
        let call = self.state().current;
        poll_fn(|_| {
            let mut state = self.state();
            match state.granted.remove(&call) {
                Some(verdict) => Poll::Ready(verdict),
                None => {
                    state.waiting.insert(call, wanted.clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
