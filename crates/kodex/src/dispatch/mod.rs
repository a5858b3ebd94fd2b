//! Stage four: call the subscribers of a hook, each under the [guard], and combine.

mod activate;
mod breaker;
pub(crate) mod by_name;
mod combine;
pub(crate) mod contain;
mod error;
pub(crate) mod guard;
pub(crate) mod observed;
mod outcome;
pub(crate) mod tool;
mod typed;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use kodex_plugin::{Combine, Failure, Json, PluginError, Reply, RequestKind};

pub use breaker::{Breaker, BreakerSettings, BreakerState, Override};
pub(crate) use breaker::{Ended, Permit, Transition};
pub use error::{DispatchError, ToolError};
pub(crate) use guard::panicked;
pub use outcome::{Entry, Folded, Outcome, Ruling};
pub use typed::Typed;

use crate::{
    register::{Route, Subscriber},
    runtime::Shared,
};

/// How one event is dispatched. The default is what the hook's spec says, to everyone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DispatchOptions {
    /// The first failure of a plugin ends the dispatch with an error.
    pub fail_fast: bool,
    /// Only plugins that offer this capability are asked.
    pub capability: Option<String>,
    /// Combine in another way than the hook's spec says. `Collect` shows what everyone answers.
    pub combine: Option<Combine>,
    /// Wall time for the whole event, instead of the guard's event budget.
    pub budget: Option<Duration>,
}

/// One event on its way through the subscribers.
struct Event<'a> {
    shared: &'a Arc<Shared>,
    route: &'a Route,
    options: &'a DispatchOptions,
    combine: Combine,
    no_later_than: Option<Instant>,
}

/// Dispatches one event.
pub(crate) async fn dispatch(
    shared: &Arc<Shared>,
    route: &Route,
    payload: Json,
    options: &DispatchOptions,
) -> Result<Outcome, DispatchError> {
    let busy = |error| DispatchError::Busy {
        hook: route.hook.clone(),
        error,
    };
    let _place = shared.enter().await.map_err(busy)?;
    let combine = options.combine.unwrap_or(route.spec.combine);
    let now = shared.clock.now();
    let budget = options.budget.or_else(|| match combine {
        Combine::Chain | Combine::Decide => Some(shared.guard.event_budget),
        Combine::Observe | Combine::Collect | Combine::First => None,
    });
    let no_later_than = budget.map(|budget| now + budget);
    let event = Event {
        shared,
        route,
        options,
        combine,
        no_later_than,
    };
    match combine {
        Combine::Observe => Ok(event.observe(payload)),
        Combine::Collect => event.collect(&payload, now).await,
        Combine::Chain => event.chain(payload, now).await,
        Combine::Decide => event.decide(&payload, now).await,
        Combine::First => event.first(&payload, now).await,
    }
}

impl<'a> Event<'a> {
    /// The subscribers that are meant, with the slow part of starting them under way for all.
    fn subscribers(&self) -> impl Iterator<Item = &'a Subscriber> + use<'a> {
        let wanted = self.options.capability.as_deref();
        for subscriber in self.route.subscribers.iter().filter(|s| offers(s, wanted)) {
            if !subscriber.slot.is_active() {
                // Whoever asks it waits for it.
                let _ = activate::start(self.shared, &subscriber.slot);
            }
        }
        self.route
            .subscribers
            .iter()
            .filter(move |subscriber| offers(subscriber, wanted))
    }

    /// Asks one subscriber. An answer that is there at once is added to the entries; one that comes
    /// later is awaited and added by [`Event::add`].
    #[inline]
    fn ask<'b>(
        &'b self,
        entries: &mut Vec<Entry>,
        to: &'b Subscriber,
        payload: &'b Json,
        now: Instant,
    ) -> guard::Asked<'b, ()> {
        let mut keep = |result| {
            entries.push(Entry {
                plugin: to.slot.name.clone(),
                result,
            });
        };
        if self.no_later_than.is_some_and(|latest| latest <= now) {
            let text = "the event's time was over before this plugin's turn";
            let error = PluginError::new(Failure::BudgetSpent, "event.budget_spent", text);
            to.cell.refused(Failure::BudgetSpent);
            keep(Err(error));
            return guard::Asked::Over((), now);
        }
        let ask = guard::Ask {
            caller: None,
            slot: &to.slot,
            cell: &to.cell,
            kind: RequestKind::Hook,
            name: self.route.hook.as_str(),
            payload,
            timeout: to.timeout,
            slow_after: to.slow_after,
            no_later_than: self.no_later_than,
            // Asked to collect a gate's answers, any form will do.
            check: match self.combine {
                Combine::Decide if !to.catch_all => Some(combine::check_decision),
                _ => None,
            },
        };
        guard::ask(self.shared, &ask, now, &mut keep)
    }

    /// Adds an answer that was waited for, and says when it came.
    fn add(entries: &mut Vec<Entry>, to: &Subscriber, answer: guard::Answer) -> Instant {
        entries.push(Entry {
            plugin: to.slot.name.clone(),
            result: answer.result,
        });
        answer.at
    }

    /// With fail-fast, a failure of the plugin that was asked last ends the event.
    #[inline]
    fn go_on(&self, entries: &mut Vec<Entry>) -> Result<(), DispatchError> {
        if self.options.fail_fast {
            return self.stop_at_failure(entries);
        }
        Ok(())
    }

    fn stop_at_failure(&self, entries: &mut Vec<Entry>) -> Result<(), DispatchError> {
        match entries.pop_if(|last| last.result.is_err()) {
            Some(Entry {
                plugin,
                result: Err(error),
            }) => Err(DispatchError::PluginFailed {
                plugin,
                hook: self.route.hook.clone(),
                error,
            }),
            _ => Ok(()),
        }
    }

    fn start(&self) -> Vec<Entry> {
        Vec::with_capacity(self.route.subscribers.len())
    }

    fn finish(&self, entries: Vec<Entry>, folded: Folded) -> Outcome {
        Outcome {
            hook: self.route.hook.clone(),
            combine: self.combine,
            entries,
            folded,
        }
    }

    fn observe(&self, payload: Json) -> Outcome {
        let payload = Arc::new(payload);
        for to in self.subscribers() {
            observed::tell(self.shared, to, &self.route.hook, &payload);
        }
        self.finish(Vec::new(), Folded::Nothing)
    }

    async fn collect(&self, payload: &Json, mut now: Instant) -> Result<Outcome, DispatchError> {
        let mut entries = self.start();
        for to in self.subscribers() {
            now = match self.ask(&mut entries, to, payload, now) {
                guard::Asked::Over((), at) => at,
                guard::Asked::Later(answer) => Self::add(&mut entries, to, answer.await),
            };
            self.go_on(&mut entries)?;
        }
        Ok(self.finish(entries, Folded::Nothing))
    }

    async fn chain(&self, mut payload: Json, mut now: Instant) -> Result<Outcome, DispatchError> {
        let mut entries = self.start();
        for to in self.subscribers() {
            now = match self.ask(&mut entries, to, &payload, now) {
                guard::Asked::Over((), at) => at,
                guard::Asked::Later(answer) => Self::add(&mut entries, to, answer.await),
            };
            match last(&entries) {
                // A plugin that is asked on every hook does not know this one's payload.
                Some(Ok(_)) if to.catch_all => {}
                Some(Ok(reply)) => {
                    payload = combine::next_payload(reply.clone()).unwrap_or(payload);
                }
                Some(Err(error)) if to.required => {
                    let ruling = combine::unavailable(&to.slot.name, error);
                    self.shared
                        .n_gates_unavailable
                        .fetch_add(1, Ordering::Relaxed);
                    self.go_on(&mut entries)?;
                    return Ok(self.finish(entries, Folded::Stopped(ruling)));
                }
                Some(Err(_)) | None => {}
            }
            self.go_on(&mut entries)?;
        }
        Ok(self.finish(entries, Folded::Payload(payload)))
    }

    async fn decide(&self, payload: &Json, mut now: Instant) -> Result<Outcome, DispatchError> {
        let mut entries = self.start();
        let mut ruling = Ruling::allow();
        for to in self.subscribers() {
            now = match self.ask(&mut entries, to, payload, now) {
                guard::Asked::Over((), at) => at,
                guard::Asked::Later(answer) => Self::add(&mut entries, to, answer.await),
            };
            if let Some(result) = last(&entries) {
                if result.is_err() && !to.catch_all {
                    self.shared
                        .n_gates_unavailable
                        .fetch_add(1, Ordering::Relaxed);
                }
                ruling = combine::decide(ruling, &to.slot.name, result, !to.catch_all);
            }
            self.go_on(&mut entries)?;
            // Nothing beats a denial, so the rest need not be asked.
            if combine::is_final(&ruling) {
                break;
            }
        }
        Ok(self.finish(entries, Folded::Decided(ruling)))
    }

    async fn first(&self, payload: &Json, mut now: Instant) -> Result<Outcome, DispatchError> {
        let mut entries = self.start();
        for to in self.subscribers() {
            now = match self.ask(&mut entries, to, payload, now) {
                guard::Asked::Over((), at) => at,
                guard::Asked::Later(answer) => Self::add(&mut entries, to, answer.await),
            };
            let won = last(&entries)
                .and_then(|result| result.as_ref().ok())
                .and_then(|reply| combine::next_payload(reply.clone()));
            self.go_on(&mut entries)?;
            if let Some(json) = won {
                return Ok(self.finish(entries, Folded::Won(to.slot.name.clone(), json)));
            }
        }
        Ok(self.finish(entries, Folded::NobodyAnswered))
    }
}

/// What the plugin that was asked last has answered.
fn last(entries: &[Entry]) -> Option<&Result<Reply, PluginError>> {
    entries.last().map(|entry| &entry.result)
}

fn offers(subscriber: &Subscriber, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| {
        subscriber
            .slot
            .manifest
            .capabilities
            .iter()
            .any(|name| name.as_str() == wanted)
    })
}
