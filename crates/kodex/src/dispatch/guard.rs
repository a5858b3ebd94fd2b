//! The guard: every call into a plugin passes here.
//!
//! In order: breaker, concurrency limit, activation, panic catch, deadline, output limit; then the
//! breaker and the counters learn how it ended. A plugin that answers at once costs no timer, no
//! task and no allocation: it is polled first, and the deadline is armed only when it is pending.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use kodex_plugin::{
    Call, Deadline, Failure, Json, PluginError, Reply, Request, RequestKind,
};

use super::breaker::{BreakerState, Ended, Permit, Transition};
use crate::{
    register::{Cell, Slot},
    runtime::Shared,
};

/// What one guarded call is about.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) slot: &'a Arc<Slot>,
    pub(crate) cell: &'a Arc<Cell>,
    pub(crate) kind: RequestKind,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a Json,
    pub(crate) timeout: Duration,
    /// No answer is wanted after this, whatever the plugin's own timeout says.
    pub(crate) no_later_than: Option<Instant>,
    /// Says whether a reply has the form that the hook demands.
    pub(crate) check: fn(&Reply) -> Result<(), String>,
}

/// The end of one guarded call.
pub(crate) struct Answer {
    pub(crate) result: Result<Reply, PluginError>,
    /// When it ended; the next call starts with this reading.
    pub(crate) at: Instant,
}

/// Accepts every reply.
pub(crate) fn any_reply(_: &Reply) -> Result<(), String> {
    Ok(())
}

/// Makes one call. `now` is the reading with which it starts.
pub(crate) async fn call(shared: &Shared, ask: Ask<'_>, now: Instant) -> Answer {
    let mut watch = match begin(shared, ask, now) {
        Ok(watch) => watch,
        Err(refused) => return Answer { result: Err(refused), at: now },
    };
    let mut started = now;
    if !ask.slot.has_place(shared.guard.limits.concurrency) {
        if let Err(error) = wait_for_place(shared, ask, now).await {
            return watch.end(shared, Err(error), shared.clock.now(), now);
        }
        started = shared.clock.now();
    }
    let _place = Place(ask.slot);
    if !ask.slot.is_active() {
        let latest = ask.no_later_than;
        if let Err(error) = super::activate::ensure(shared, ask.slot, latest).await {
            return watch.end(shared, Err(error), shared.clock.now(), started);
        }
        started = shared.clock.now();
    }
    let result = run(shared, ask, started).await.and_then(|reply| accept(shared, ask, reply));
    watch.end(shared, result, shared.clock.now(), started)
}

async fn run(shared: &Shared, ask: Ask<'_>, started: Instant) -> Result<Reply, PluginError> {
    let own = started + ask.timeout;
    let at = ask.no_later_than.map_or(own, |latest| latest.min(own));
    let deadline = Deadline { at, timeout: at.saturating_duration_since(started) };
    let request = Request { kind: ask.kind, name: ask.name, payload: ask.payload, deadline };
    let called = catch_unwind(AssertUnwindSafe(|| ask.slot.plugin.call(request)));
    let mut future = match called {
        Ok(Call::Ready(result)) => return result,
        Ok(Call::Pending(future)) => future,
        Err(panic) => return Err(panicked(&*panic)),
    };
    let polled = poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(context))) {
            Ok(poll) => poll,
            Err(panic) => std::task::Poll::Ready(Err(panicked(&*panic))),
        }
    });
    let left = at.saturating_duration_since(shared.clock.now());
    match tokio::time::timeout(left, polled).await {
        Ok(result) => result,
        Err(_) => Err(PluginError::new(
            Failure::Timeout,
            "call.timeout",
            format!("no answer within {} ms", deadline.timeout.as_millis()),
        )),
    }
}

/// The text of a caught panic.
fn panicked(panic: &(dyn std::any::Any + Send)) -> PluginError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    PluginError::new(Failure::Crash, "native.panicked", format!("the plugin panicked: {text}"))
}

fn accept(shared: &Shared, ask: Ask<'_>, reply: Reply) -> Result<Reply, PluginError> {
    if let Some(json) = &reply.0 {
        let (size, limit) = (json.size_hint(), shared.guard.limits.frame_bytes);
        if size > limit {
            return Err(PluginError::new(
                Failure::TooLarge,
                "reply.too_large",
                format!("the reply has {size} bytes or more; at most {limit} are allowed"),
            ));
        }
    }
    (ask.check)(&reply)
        .map_err(|text| PluginError::new(Failure::InvalidReply, "reply.invalid", text))?;
    Ok(reply)
}

fn begin<'a>(shared: &'a Shared, ask: Ask<'a>, now: Instant) -> Result<Watch<'a>, PluginError> {
    let admitted = {
        let mut state = ask.cell.lock();
        match state.breaker.state() {
            // A plugin most of whose keys are open is left alone altogether, except for the probes
            // of those keys.
            BreakerState::Closed if ask.slot.n_open.load(Ordering::Relaxed) >= 2 && ask.slot.is_rolled_up() => {
                Err(Duration::from_secs(1))
            }
            _ => state.breaker.admit(now).map_err(|refused| refused.retry_after),
        }
        .inspect_err(|_| *state.counts.failed.entry(Failure::RejectedBreaker).or_default() += 1)
    };
    match admitted {
        Ok((permit, transition)) => {
            if let Some(transition) = transition {
                tell(shared, ask.slot, ask.cell, transition);
            }
            Ok(Watch { shared, slot: ask.slot, cell: ask.cell, timeout: ask.timeout, permit: Some(permit) })
        }
        Err(retry_after) => Err(PluginError::new(
            Failure::RejectedBreaker,
            "breaker.open",
            format!("not called: it failed too often; the next try is in {} ms", retry_after.as_millis()),
        )),
    }
}

/// Holds the breaker's permit. Dropped without an end, when the caller went away, it gives the
/// permit back as void.
struct Watch<'a> {
    shared: &'a Shared,
    slot: &'a Arc<Slot>,
    cell: &'a Arc<Cell>,
    timeout: Duration,
    permit: Option<Permit>,
}

impl Watch<'_> {
    fn end(
        &mut self,
        shared: &Shared,
        result: Result<Reply, PluginError>,
        now: Instant,
        started: Instant,
    ) -> Answer {
        let took = now.saturating_duration_since(started);
        let ended = match &result {
            Ok(_) if took > self.timeout.mul_f64(shared.guard.breaker.slow_after) => Ended::Slow,
            Ok(_) => Ended::Ok,
            Err(error) => ended(error.failure),
        };
        let permit = self.permit.take();
        let transition = {
            let mut state = self.cell.lock();
            state.counts.took(took);
            state.counts.last_at = Some(now);
            match &result {
                Ok(_) => state.counts.ok += 1,
                Err(error) => {
                    *state.counts.failed.entry(error.failure).or_default() += 1;
                    state.counts.last_error = Some((error.code.to_string(), error.message.clone()));
                }
            }
            permit.and_then(|permit| state.breaker.record(permit, ended, now))
        };
        if let Some(transition) = transition {
            tell(shared, self.slot, self.cell, transition);
        }
        if let Err(error) = &result {
            tracing::debug!(plugin = %self.slot.name, key = %self.cell.key, code = %error.code, "call failed: {error}");
        }
        Answer { result, at: now }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let now = self.shared.clock.now();
        let mut state = self.cell.lock();
        *state.counts.failed.entry(Failure::Cancelled).or_default() += 1;
        // A void outcome never changes the state.
        let _ = state.breaker.record(permit, Ended::Void, now);
    }
}

fn ended(failure: Failure) -> Ended {
    match failure {
        Failure::Timeout => Ended::TimedOut,
        Failure::Crash => Ended::Crashed,
        other if other.counts() => Ended::Failed,
        // The plugin answered as it should, or was not asked at all.
        Failure::Domain => Ended::Ok,
        _ => Ended::Void,
    }
}

fn tell(shared: &Shared, slot: &Slot, cell: &Cell, transition: Transition) {
    let was_open = transition.from != BreakerState::Closed;
    let is_open = transition.to != BreakerState::Closed;
    match (was_open, is_open) {
        (false, true) => drop(slot.n_open.fetch_add(1, Ordering::Relaxed)),
        (true, false) => drop(slot.n_open.fetch_sub(1, Ordering::Relaxed)),
        _ => {}
    }
    tracing::warn!(plugin = %slot.name, key = %cell.key, from = ?transition.from, to = ?transition.to, "breaker");
    shared.n_transitions.fetch_add(1, Ordering::Relaxed);
}

impl Slot {
    /// Takes a place among the running calls, if one is free.
    fn has_place(&self, limit: u32) -> bool {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) < limit {
            return true;
        }
        self.leave();
        false
    }

    fn leave(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 && self.retired.load(Ordering::Relaxed) {
            self.idle.notify_one();
        }
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.freed.notify_one();
        }
    }
}

/// A taken place; given back when dropped.
struct Place<'a>(&'a Slot);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Counts one waiting caller for as long as it waits.
struct Waiting<'a>(&'a Slot);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        // The wake-up that this caller may have swallowed belongs to the next one.
        self.0.freed.notify_one();
    }
}

async fn wait_for_place(shared: &Shared, ask: Ask<'_>, now: Instant) -> Result<(), PluginError> {
    let limits = &shared.guard.limits;
    let busy = |code: &'static str| {
        let text = format!("{} calls are running and {} waiting", limits.concurrency, limits.queue);
        PluginError::new(Failure::RejectedLimit, code, format!("not called: {text}"))
    };
    if ask.slot.waiting.fetch_add(1, Ordering::AcqRel) >= limits.queue {
        ask.slot.waiting.fetch_sub(1, Ordering::AcqRel);
        return Err(busy("limit.queue_full"));
    }
    let waiting = Waiting(ask.slot);
    let own = now + ask.timeout;
    let until = ask.no_later_than.map_or(own, |latest| latest.min(own));
    let left = until.saturating_duration_since(shared.clock.now());
    let place = async {
        while !ask.slot.has_place(limits.concurrency) {
            ask.slot.freed.notified().await;
        }
    };
    let outcome = tokio::time::timeout(left, place).await;
    drop(waiting);
    outcome.map_err(|_| busy("limit.wait_timeout"))
}
