//! The guard: every call into a plugin passes here.
//!
//! In order: breaker, concurrency limit, activation, panic catch, deadline, output limit; then the
//! breaker and the counters learn how it ended. A plugin that answers at once costs no timer, no
//! task and no allocation: it is called first, and only what is not there yet becomes a future.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use kodex_plugin::{
    Call, Deadline, Failure, Json, PluginError, Reply, Request, RequestKind, tool::Caller,
};

use tracing::Instrument as _;

use super::{
    breaker::{BreakerState, Ended, Permit, Transition},
    contain::caught,
};
use crate::{
    register::{Cell, Slot},
    runtime::Shared,
};

/// Says what is wrong with the form of a reply.
pub(crate) type Check = fn(&Reply) -> Result<(), String>;

/// What one guarded call is about.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) slot: &'a Arc<Slot>,
    pub(crate) cell: &'a Arc<Cell>,
    pub(crate) kind: RequestKind,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a Json,
    pub(crate) timeout: Duration,
    /// A success that took longer is slow for the breaker.
    pub(crate) slow_after: Duration,
    /// No answer is wanted after this, whatever the plugin's own timeout says.
    pub(crate) no_later_than: Option<Instant>,
    /// Says whether a reply has the form that the hook demands, where it demands one.
    pub(crate) check: Option<Check>,
    /// For tools: who calls and from where.
    pub(crate) caller: Option<&'a Caller>,
}

/// The end of one guarded call.
pub(crate) struct Answer {
    pub(crate) result: Result<Reply, PluginError>,
    /// When it ended; the next call starts with this reading.
    pub(crate) at: Instant,
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reply, PluginError>> + Send + 'a>>;

/// A call that was made: where its result went and when it ended, or the way to wait for it.
pub(crate) enum Asked<'a, K> {
    Over(K, Instant),
    Later(Pin<Box<dyn Future<Output = Answer> + Send + 'a>>),
}

/// Makes one call. `now` is the reading with which it starts. A result that is there at once is
/// handed to `keep` where it lies, because a reply is too large to be passed from hand to hand.
///
/// The usual way stands here as a whole: the breaker is closed, a place is free, the plugin is
/// active and answers at once. It has no guard values to drop, because nothing in it waits and a
/// panic is caught.
#[inline]
pub(crate) fn ask<'a, K>(
    shared: &'a Shared,
    ask: &Ask<'a>,
    now: Instant,
    keep: &mut impl FnMut(Result<Reply, PluginError>) -> K,
) -> Asked<'a, K> {
    let slot = ask.slot;
    let is_usual = slot.is_active() && slot.n_open.load(Ordering::Relaxed) < 2;
    let Some(permit) = ask.cell.free_pass().filter(|_| is_usual) else {
        return unusual(shared, ask, now);
    };
    if !slot.has_place(shared.guard.limits.concurrency) {
        return unusual(shared, ask, now);
    }
    let deadline = deadline(ask, now);
    let called = catch_unwind(AssertUnwindSafe(|| {
        let call = ask.slot.plugin.call(request(ask, deadline));
        // The clock is read before the answer is touched: what was written a moment ago is slow to be
        // moved, and the reading gives it that moment.
        let over_at = shared.clock.now();
        let step = match call {
            Call::Ready(Ok(reply)) => match refusal(shared, ask, &reply) {
                None => Step::Kept(keep(Ok(reply))),
                Some(error) => Step::Failed(error),
            },
            Call::Ready(Err(error)) => Step::Failed(error),
            Call::Pending(future) => Step::Later(future),
        };
        (step, over_at)
    }));
    match called {
        Ok((Step::Kept(kept), over_at)) => {
            slot.leave();
            settle(shared, ask, permit, None, over_at, now);
            Asked::Over(kept, over_at)
        }
        Ok((Step::Failed(error), over_at)) => {
            slot.leave();
            settle(shared, ask, permit, Some(&error), over_at, now);
            Asked::Over(keep(Err(error)), over_at)
        }
        Ok((Step::Later(future), _)) => later(shared, ask, permit, future, deadline, now),
        Err(panic) => {
            slot.leave();
            let (error, over_at) = (panicked(&*panic), shared.clock.now());
            settle(shared, ask, permit, Some(&error), over_at, now);
            Asked::Over(keep(Err(error)), over_at)
        }
    }
}

/// How far a call has come when the plugin returns.
enum Step<'a, K> {
    Kept(K),
    Failed(PluginError),
    Later(Answering<'a>),
}

#[cold]
fn unusual<'a, K>(shared: &'a Shared, ask: &Ask<'a>, now: Instant) -> Asked<'a, K> {
    Asked::Later(Box::pin(
        wait_then_call(shared, *ask, now).instrument(span(ask)),
    ))
}

#[cold]
fn later<'a, K>(
    shared: &'a Shared,
    ask: &Ask<'a>,
    permit: Permit,
    future: Answering<'a>,
    deadline: Deadline,
    now: Instant,
) -> Asked<'a, K> {
    let watch = Watch {
        shared,
        ask: *ask,
        permit: Some(permit),
    };
    let answer = finish(watch, Place(ask.slot), future, deadline, now);
    Asked::Later(Box::pin(answer.instrument(span(ask))))
}

/// The span of a call that takes its time. A call that is answered at once stands in the span of its
/// event alone.
fn span(ask: &Ask<'_>) -> tracing::Span {
    tracing::debug_span!(
        "call",
        plugin = ask.slot.name.as_str(),
        kind = ask.kind.as_str(),
        name = ask.name
    )
}

/// Makes one call and waits for its answer.
pub(crate) async fn call(shared: &Shared, asked: Ask<'_>, now: Instant) -> Answer {
    match ask(shared, &asked, now, &mut |result| result) {
        Asked::Over(result, at) => Answer { result, at },
        Asked::Later(answer) => answer.await,
    }
}

/// When the answer is due: after the plugin's own time, or earlier when nobody wants it any more.
#[inline]
fn deadline(ask: &Ask<'_>, now: Instant) -> Deadline {
    let own = Deadline {
        at: now + ask.timeout,
        timeout: ask.timeout,
    };
    match ask.no_later_than {
        Some(at) if at < own.at => Deadline {
            at,
            timeout: at.saturating_duration_since(now),
        },
        _ => own,
    }
}

#[inline]
fn request<'a>(ask: &Ask<'a>, deadline: Deadline) -> Request<'a> {
    Request {
        kind: ask.kind,
        name: ask.name,
        payload: ask.payload,
        deadline,
        caller: ask.caller,
    }
}

/// Waits for an answer that was not there at once.
async fn finish(
    watch: Watch<'_>,
    _place: Place<'_>,
    future: Answering<'_>,
    deadline: Deadline,
    started: Instant,
) -> Answer {
    let shared = watch.shared;
    let left = deadline.at.saturating_duration_since(shared.clock.now());
    let result = match tokio::time::timeout(left, caught(future)).await {
        Ok(result) => accept(shared, &watch.ask, result),
        Err(_) => Err(PluginError::new(
            Failure::Timeout,
            "call.timeout",
            format!("no answer within {} ms", deadline.timeout.as_millis()),
        )),
    };
    watch.end(result, shared.clock.now(), started)
}

/// The unusual way: ask the breaker, wait for a place, start the plugin, then call it.
async fn wait_then_call(shared: &Shared, ask: Ask<'_>, now: Instant) -> Answer {
    let permit = match admit(shared, ask, now) {
        Ok(permit) => permit,
        Err(refused) => {
            return Answer {
                result: Err(refused),
                at: now,
            };
        }
    };
    let watch = Watch {
        shared,
        ask,
        permit: Some(permit),
    };
    if !ask.slot.has_place(shared.guard.limits.concurrency)
        && let Err(error) = wait_for_place(shared, ask, now).await
    {
        return watch.end(Err(error), shared.clock.now(), now);
    }
    let place = Place(ask.slot);
    if !ask.slot.is_active()
        && let Err(error) = super::activate::ensure(shared, ask.slot, ask.no_later_than).await
    {
        return watch.end(Err(error), shared.clock.now(), now);
    }
    // Waiting does not count against the plugin's own time.
    let started = shared.clock.now();
    let deadline = deadline(&ask, started);
    let called = catch_unwind(AssertUnwindSafe(|| {
        ask.slot.plugin.call(request(&ask, deadline))
    }));
    match called.unwrap_or_else(|panic| Call::Ready(Err(panicked(&*panic)))) {
        Call::Ready(result) => {
            drop(place);
            let result = accept(shared, &ask, result);
            watch.end(result, shared.clock.now(), started)
        }
        Call::Pending(future) => finish(watch, place, future, deadline, started).await,
    }
}

/// The text of a caught panic.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> PluginError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    PluginError::new(
        Failure::Crash,
        "native.panicked",
        format!("the plugin panicked: {text}"),
    )
}

fn accept(
    shared: &Shared,
    ask: &Ask<'_>,
    result: Result<Reply, PluginError>,
) -> Result<Reply, PluginError> {
    let reply = result?;
    match refusal(shared, ask, &reply) {
        None => Ok(reply),
        Some(error) => Err(error),
    }
}

/// Why a reply is not taken: it is too large, or has not the form that the hook demands.
#[inline]
fn refusal(shared: &Shared, ask: &Ask<'_>, reply: &Reply) -> Option<PluginError> {
    if let Some(json) = &reply.0 {
        let (size, limit) = (json.size_hint(), shared.guard.limits.frame_bytes);
        if size > limit {
            return Some(PluginError::new(
                Failure::TooLarge,
                "reply.too_large",
                format!("the reply has {size} bytes or more; at most {limit} are allowed"),
            ));
        }
    }
    let text = ask.check?(reply).err()?;
    Some(PluginError::new(
        Failure::InvalidReply,
        "reply.invalid",
        text,
    ))
}

fn admit(shared: &Shared, ask: Ask<'_>, now: Instant) -> Result<Permit, PluginError> {
    // A plugin most of whose keys are open is left alone altogether, except for the probes of those
    // keys.
    let is_rolled_up = ask.slot.is_rolled_up();
    let admitted = ask.cell.change(|state| match state.breaker.state() {
        BreakerState::Closed if is_rolled_up => Err(Duration::from_secs(1)),
        _ => state
            .breaker
            .admit(now)
            .map_err(|refused| refused.retry_after),
    });
    match admitted {
        Ok((permit, transition)) => {
            if let Some(transition) = transition {
                tell(shared, ask.slot, ask.cell, transition);
            }
            Ok(permit)
        }
        Err(retry_after) => {
            ask.cell.refused(Failure::RejectedBreaker);
            let wait = retry_after.as_millis();
            let text = format!("not called: it failed too often; the next try is in {wait} ms");
            Err(PluginError::new(
                Failure::RejectedBreaker,
                "breaker.open",
                text,
            ))
        }
    }
}

/// Holds the breaker's permit. Dropped without an end, when the caller went away, it gives the
/// permit back as void.
struct Watch<'a> {
    shared: &'a Shared,
    ask: Ask<'a>,
    permit: Option<Permit>,
}

impl Watch<'_> {
    fn end(mut self, result: Result<Reply, PluginError>, now: Instant, started: Instant) -> Answer {
        if let Some(permit) = self.permit.take() {
            let error = result.as_ref().err();
            settle(self.shared, &self.ask, permit, error, now, started);
        }
        Answer { result, at: now }
    }
}

/// Tells breaker and counters how a call ended: well, or with an error.
#[inline]
fn settle(
    shared: &Shared,
    ask: &Ask<'_>,
    permit: Permit,
    error: Option<&PluginError>,
    now: Instant,
    started: Instant,
) {
    let took = now.saturating_duration_since(started);
    let ended = match error {
        None if took > ask.slow_after => Ended::Slow,
        None => Ended::Ok,
        // The plugin lives and answered, and the queue tries this job again after its own pauses: a job that
        // cannot succeed must not hold up the others of its name.
        Some(error) if error.failure == Failure::Raised && is_job(ask) => Ended::Ok,
        Some(error) => ended(error.failure),
    };
    let transition = ask.cell.settle(permit, ended, error, took, now);
    if let Some(transition) = transition {
        tell(shared, ask.slot, ask.cell, transition);
    }
    if let Some(error) = error {
        let plugin = ask.slot.name.as_str();
        tracing::debug!(plugin, key = %ask.cell.key, code = %error.code, "call failed");
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let now = self.shared.clock.now();
        self.ask.cell.refused(Failure::Cancelled);
        // A void outcome never changes the state.
        let _ = self
            .ask
            .cell
            .change(|state| state.breaker.record(permit, Ended::Void, now));
    }
}

fn is_job(ask: &Ask<'_>) -> bool {
    ask.kind == RequestKind::Hook && ask.name.starts_with("job.")
}

#[inline]
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

#[cold]
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
    #[inline]
    fn has_place(&self, limit: u32) -> bool {
        let take = |n: u32| (n < limit).then_some(n + 1);
        self.in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    #[inline]
    fn leave(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1
            && self.retired.load(Ordering::Relaxed)
        {
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
        let text = format!(
            "{} calls are running and {} waiting",
            limits.concurrency, limits.queue
        );
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
