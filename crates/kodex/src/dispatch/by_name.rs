//! Asking everyone who names a hook, by plugin name: for what is put together from all answers and must
//! come out the same whatever priorities say and whoever answers first.
//!
//! All are asked at the same time, each under the guard and with a time of its own, so one that hangs costs
//! its own time and nobody else's. Plugins that listen to everything are not asked: they do not know the
//! forms.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use kodex_plugin::{Json, PluginError, Reply, RequestKind};

use super::guard;
use crate::{
    register::{Route, Slot, Subscriber},
    runtime::Shared,
};

/// One plugin's answer.
pub(crate) struct Answered {
    pub(crate) slot: Arc<Slot>,
    pub(crate) result: Result<Reply, PluginError>,
    pub(crate) took: Duration,
}

/// Those who name the hook, in byte order of their names.
pub(crate) fn named(route: &Route) -> Vec<&Subscriber> {
    let mut named: Vec<_> = route
        .subscribers
        .iter()
        .filter(|subscriber| !subscriber.catch_all)
        .collect();
    named.sort_by(|a, b| a.slot.name.cmp(&b.slot.name));
    named
}

/// Asks these plugins and gives their answers in the same order.
pub(crate) async fn ask(
    shared: &Shared,
    hook: &str,
    subscribers: &[&Subscriber],
    payload: &Json,
) -> Vec<Answered> {
    if subscribers.is_empty() {
        return Vec::new();
    }
    let started = shared.clock.now();
    let answered = |to: &Subscriber, result, at: std::time::Instant| Answered {
        slot: to.slot.clone(),
        result,
        took: at.saturating_duration_since(started),
    };
    let place = match shared.enter().await {
        Ok(place) => place,
        Err(busy) => {
            let now = shared.clock.now();
            let refused = |to: &&Subscriber| answered(to, Err(busy.clone()), now);
            return subscribers.iter().map(refused).collect();
        }
    };
    let mut turns: Vec<Turn<'_>> = Vec::with_capacity(subscribers.len());
    for to in subscribers {
        let ask = guard::Ask {
            slot: &to.slot,
            cell: &to.cell,
            kind: RequestKind::Hook,
            name: hook,
            payload,
            timeout: to.timeout,
            slow_after: to.slow_after,
            no_later_than: None,
            check: None,
            caller: None,
        };
        let asked = guard::ask(shared, &ask, shared.clock.now(), &mut |result| result);
        turns.push(match asked {
            guard::Asked::Over(result, at) => Turn::Over(guard::Answer { result, at }),
            guard::Asked::Later(answer) => Turn::Running(answer),
        });
    }
    let answers = all(turns).await;
    drop(place);
    subscribers
        .iter()
        .zip(answers)
        .map(|(to, answer)| answered(to, answer.result, answer.at))
        .collect()
}

enum Turn<'a> {
    Over(guard::Answer),
    Running(Pin<Box<dyn Future<Output = guard::Answer> + Send + 'a>>),
}

/// Waits for all, in this task: whoever gives up gives up all of them, and what marks the task marks them.
async fn all(mut turns: Vec<Turn<'_>>) -> Vec<guard::Answer> {
    poll_fn(|context| {
        let mut n_running = 0;
        for turn in &mut turns {
            if let Turn::Running(answer) = turn {
                match answer.as_mut().poll(context) {
                    Poll::Ready(answer) => *turn = Turn::Over(answer),
                    Poll::Pending => n_running += 1,
                }
            }
        }
        match n_running {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    let over = |turn| match turn {
        Turn::Over(answer) => Some(answer),
        Turn::Running(_) => None,
    };
    turns.into_iter().filter_map(over).collect()
}
