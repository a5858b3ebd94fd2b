//! Requests of a plugin to its host, run beside each other up to a bound.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use kodex_plugin::{
    Host, HostError, Json,
    wire::{Id, code},
};
use tokio::task::{AbortHandle, JoinSet};

use super::link::{Incoming, Link};

/// Requests of one worker that run at the same time.
const RUNNING_MAX: usize = 32;
/// Requests that wait for one of these places.
const WAITING_MAX: usize = 256;

type Outcome = (Id, Result<Json, HostError>);

/// The requests of one worker. Dropping it drops them.
pub(super) struct HostCalls {
    host: Arc<dyn Host>,
    running: JoinSet<Outcome>,
    by_id: HashMap<Id, AbortHandle>,
    waiting: VecDeque<(Id, String, Json)>,
}

impl HostCalls {
    pub(super) fn new(host: Arc<dyn Host>) -> Self {
        Self {
            host,
            running: JoinSet::new(),
            by_id: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Takes the messages that came in.
    pub(super) fn take(&mut self, link: &Link) {
        for incoming in link.take_inbox() {
            match incoming {
                Incoming::Cancel(id) => self.cancel(link, &id),
                Incoming::Request { id, method, params } => {
                    if self.is_known(&id) {
                        let text = "a request with this id is running already";
                        link.send_error(&id, code::INVALID_REQUEST, "wire.frame.envelope", text);
                    } else if self.waiting.len() >= WAITING_MAX {
                        link.send_busy(&id);
                    } else {
                        self.waiting.push_back((id, method, params));
                    }
                }
            }
        }
        self.start_waiting();
    }

    /// Waits for the next request to be done and answers it. Never ready while nothing runs.
    pub(super) async fn finish_one(&mut self, link: &Link) {
        match self.running.join_next().await {
            None => std::future::pending().await,
            Some(Ok((id, result))) => {
                self.by_id.remove(&id);
                answer(link, &id, result);
            }
            // Cancelled ones were answered when they were cancelled. A host service that panicked
            // must not leave the plugin waiting for ever.
            Some(Err(error)) if error.is_panic() => {
                let failed = |handle: &AbortHandle| handle.id() == error.id();
                let id = self.by_id.iter().find(|(_, handle)| failed(handle));
                if let Some(id) = id.map(|(id, _)| id.clone()) {
                    self.by_id.remove(&id);
                    link.send_error(&id, code::INTERNAL, "internal", "the host failed");
                }
            }
            Some(Err(_)) => {}
        }
        self.start_waiting();
    }

    fn is_known(&self, id: &Id) -> bool {
        self.by_id.contains_key(id) || self.waiting.iter().any(|(waiting, ..)| waiting == id)
    }

    fn start_waiting(&mut self) {
        while self.running.len() < RUNNING_MAX {
            let Some((id, method, params)) = self.waiting.pop_front() else {
                return;
            };
            let host = Arc::clone(&self.host);
            let key = id.clone();
            let handle = self.running.spawn(async move {
                let result = host.request(&method, params).await;
                (id, result)
            });
            self.by_id.insert(key, handle);
        }
    }

    fn cancel(&mut self, link: &Link, id: &Id) {
        let running = self.by_id.remove(id);
        let waiting = self.waiting.iter().position(|(waiting, ..)| waiting == id);
        if let Some(handle) = &running {
            handle.abort();
        }
        if let Some(at) = waiting {
            self.waiting.remove(at);
        }
        // One that is done already was answered.
        if running.is_some() || waiting.is_some() {
            link.send_error(
                id,
                code::CANCELLED,
                "call.cancelled",
                "cancelled by the plugin",
            );
        }
    }
}

fn answer(link: &Link, id: &Id, result: Result<Json, HostError>) {
    match result {
        Ok(result) => link.send_result(id, &result),
        Err(error) => {
            let family = error.code.split('.').next().unwrap_or_default();
            let number = match (error.code.as_str(), family) {
                ("host.method.unknown", _) => code::METHOD_NOT_FOUND,
                (_, "permission") => code::DENIED,
                (_, "params") => code::INVALID_PARAMS,
                _ => code::RAISED,
            };
            link.send_error(id, number, &error.code, &error.message);
        }
    }
}
