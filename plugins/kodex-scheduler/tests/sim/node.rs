//! A node: the real scheduler with its host, the calls that are under way in it, and the claims that it
//! works on, driven one step at a time.

use std::{future::Future, future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use kodex_plugin::{
    Call, Clock as _, Context, Deadline, Json, Plugin, PluginError, Reply, Request, RequestKind,
};
use kodex_scheduler::SchedulerPlugin;
use kodex_store::queue::JobLease;
use kodex_testkit::{CALL_LIMIT, activate};
use serde_json::{Value, json};

use crate::{
    Plant,
    gate::{Verdict, Wanted},
    host::{Shared, SimHost},
    stand::Stand,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Up,
    /// Stopped as a whole, and not knowing it.
    Paused,
    Down,
}

/// A claim that the node knows of.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) lease: JobLease,
    /// Until when an honest node says anything about it: elapsed time.
    pub(crate) trusted_until: std::time::Duration,
    pub(crate) cancel: bool,
}

type Answer = Pin<Box<dyn Future<Output = Result<Reply, PluginError>>>>;

/// A call that has begun.
pub(crate) struct InFlight {
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) payload: Value,
    /// Its answer, once it has ended.
    pub(crate) answered: Option<Result<Value, String>>,
    future: Answer,
}

pub(crate) struct Node {
    pub(crate) life: Life,
    pub(crate) host: Arc<SimHost>,
    plugin: Arc<SchedulerPlugin>,
    pub(crate) calls: Vec<InFlight>,
    pub(crate) held: Vec<Held>,
    /// Whether it speaks about claims whose time is over, as one does that was stopped between looking at
    /// the clock and speaking.
    pub(crate) is_careless: bool,
}

impl Node {
    pub(crate) fn new(stand: &Stand, nth: usize, truth: Shared, plant: Option<Plant>) -> Self {
        let host = Arc::new(SimHost::new(stand, nth, truth, plant));
        let plugin = Arc::new(SchedulerPlugin::new().expect("a plugin"));
        let context = Context {
            plugin: stand.plugin.clone(),
            config: Json::from(json!({"runs_per_heartbeat": 12})),
            grants: Vec::new(),
            host: host.clone(),
        };
        activate(&*plugin, context).expect("it starts");
        Self {
            life: Life::Up,
            host,
            plugin,
            calls: Vec::new(),
            held: Vec::new(),
            is_careless: false,
        }
    }

    /// Begins a call; nothing of it happens yet.
    pub(crate) fn begin(&mut self, id: usize, name: &str, payload: Value, stand: &Stand) {
        let (plugin, hook, given) = (self.plugin.clone(), name.to_owned(), payload.clone());
        let deadline = Deadline {
            at: stand.clock.now() + CALL_LIMIT,
            timeout: CALL_LIMIT,
        };
        let future = async move {
            let payload = Json::from(given);
            let request = Request {
                kind: RequestKind::Hook,
                name: &hook,
                payload: &payload,
                deadline,
                caller: None,
            };
            match plugin.call(request) {
                Call::Ready(answer) => answer,
                Call::Pending(answer) => answer.await,
            }
        };
        self.calls.push(InFlight {
            id,
            name: name.to_owned(),
            payload,
            answered: None,
            future: Box::pin(future),
        });
    }

    /// What the call at a place would ask next; it is driven that far. Its answer when it has ended.
    pub(crate) async fn look(&mut self, at: usize) -> Result<Wanted, Result<Value, String>> {
        let host = self.host.clone();
        let call = &mut self.calls[at];
        if let Some(answer) = call.answered.take() {
            return Err(answer);
        }
        if let Some(wanted) = host.gate.waiting(call.id) {
            return Ok(wanted);
        }
        poll_fn(|context| {
            host.gate.drive(call.id);
            if let Poll::Ready(answer) = call.future.as_mut().poll(context) {
                return Poll::Ready(Err(value(answer)));
            }
            match host.gate.waiting(call.id) {
                Some(wanted) => Poll::Ready(Ok(wanted)),
                None => Poll::Pending,
            }
        })
        .await
    }

    pub(crate) fn grant(&self, at: usize, verdict: Verdict) {
        self.host.gate.grant(self.calls[at].id, verdict);
    }

    pub(crate) fn remove(&mut self, at: usize) -> InFlight {
        let call = self.calls.remove(at);
        self.host.gate.forget(call.id);
        call
    }

    /// Everything in memory is gone.
    pub(crate) fn crash(&mut self) {
        self.life = Life::Down;
        self.calls.clear();
        self.held.clear();
    }
}

fn value(answer: Result<Reply, PluginError>) -> Result<Value, String> {
    match answer {
        Ok(reply) => Ok(reply.0.map_or(Value::Null, Json::into_value)),
        Err(error) => Err(error.code.to_string()),
    }
}
