//! Observe hooks: everyone is told, nobody waits.
//!
//! A plugin that answers at once is told on the spot. One that does not gets a bounded queue and a
//! few tasks of its own, so a plugin that hangs costs the host a dropped line and no time. When the
//! queue is full the oldest line goes.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
    time::Duration,
};

use kodex_plugin::{HookName, Json, RequestKind};

use super::guard;
use crate::{
    register::{Cell, Slot, Subscriber, lock},
    runtime::Shared,
};

/// One line for one plugin.
pub(crate) struct Told {
    cell: Arc<Cell>,
    hook: HookName,
    timeout: Duration,
    payload: Arc<Json>,
}

/// Tells one subscriber, or leaves the line in its queue.
pub(super) fn tell(shared: &Arc<Shared>, to: &Subscriber, hook: &HookName, payload: &Arc<Json>) {
    let told = Told {
        cell: to.cell.clone(),
        hook: hook.clone(),
        timeout: to.timeout,
        payload: payload.clone(),
    };
    let limits = &shared.guard.limits;
    {
        let mut observed = lock(&to.slot.observed);
        if observed.n_running >= limits.concurrency {
            if observed.queue.len() >= limits.queue as usize {
                observed.queue.pop_front();
                to.slot.n_dropped.fetch_add(1, Ordering::Relaxed);
            }
            observed.queue.push_back(told);
            return;
        }
        observed.n_running += 1;
    }
    let mut work = Box::pin(drain(shared.clone(), to.slot.clone(), told));
    let mut once = Context::from_waker(Waker::noop());
    if work.as_mut().poll(&mut once).is_pending() {
        shared.tasks.spawn(work);
    }
}

async fn drain(shared: Arc<Shared>, slot: Arc<Slot>, mut told: Told) {
    // When the runtime ends in the middle, nobody looks at the count again.
    loop {
        let ask = guard::Ask {
            caller: None,
            slot: &slot,
            cell: &told.cell,
            kind: RequestKind::Hook,
            name: told.hook.as_str(),
            payload: &told.payload,
            timeout: told.timeout,
            slow_after: told.timeout.mul_f64(shared.guard.breaker.slow_after),
            no_later_than: None,
            check: None,
        };
        guard::call(&shared, ask, shared.clock.now()).await;
        let mut observed = lock(&slot.observed);
        match observed.queue.pop_front() {
            Some(next) => told = next,
            None => {
                observed.n_running -= 1;
                return;
            }
        }
    }
}
