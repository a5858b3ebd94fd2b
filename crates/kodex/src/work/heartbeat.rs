//! The heartbeat: a periodic call to every plugin that subscribes, within a budget each and in total.
//!
//! It may be late, skipped, doubled or concurrent, on one node or many: each plugin is called under a lock
//! of its own, and where a pulse had to stop the next one goes on. The ticket of a call ends with its time, so
//! a handler that goes on afterwards can start nothing.

use std::{sync::Arc, time::Duration};

use kodex_plugin::{
    Failure, Json, PluginError, PluginName, RequestKind,
    clock::millis,
    hook::{Beat, BeatReply},
};
use kodex_store::{
    Store, StoreError,
    queue::Recovered,
    state::{Lease, OnlyIf, Write},
};
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};

use super::{WorkError, engine};
use crate::{
    Runtime,
    dispatch::guard,
    register::{Cell, Slot},
    runtime::Shared,
};

/// Where the name of the last plugin of the last pulse is kept.
const LAST: &str = "heartbeat.last";

/// Bounds on one pulse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// How long one plugin may take.
    pub each: Duration,
    /// How long the whole pulse may take; plugins whose turn did not come are first in the next one.
    pub total: Duration,
    /// How many plugins are called in one pulse.
    pub n_plugins: usize,
    /// How many at the same time.
    pub n_parallel: usize,
    /// How many lost runs and jobs are taken back first.
    pub n_recovered: usize,
}

impl Default for HeartbeatSettings {
    fn default() -> Self {
        Self {
            each: Duration::from_secs(25),
            total: Duration::from_secs(55),
            n_plugins: 25,
            n_parallel: 4,
            n_recovered: 25,
        }
    }
}

/// What one pulse did. For the operator: which plugins there are is nobody else's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pulse {
    /// Runs and jobs that were taken back or given up.
    pub n_recovered: usize,
    /// The plugins in the order of their turns.
    pub plugins: Vec<PulsePlugin>,
    /// Plugins whose turn comes in the next pulse.
    pub n_left: usize,
}

/// One plugin in a pulse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PulsePlugin {
    /// Its name.
    pub plugin: String,
    /// How it went.
    pub outcome: PulseOutcome,
    /// How many agent runs it says it started.
    pub n_started: u64,
    /// The stable code of its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a plugin's part of a pulse went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PulseOutcome {
    /// It answered.
    Done,
    /// Another pulse is at it.
    Busy,
    /// It failed.
    Failed,
    /// Its time was over.
    TimedOut,
}

impl Runtime {
    /// One pulse: takes back what was lost, then calls the plugins that have the hook `heartbeat`, by name.
    ///
    /// # Errors
    /// [`WorkError`] without a store, or when it fails; failures of plugins stand in the pulse.
    pub async fn heartbeat(&self, settings: &HeartbeatSettings) -> Result<Pulse, WorkError> {
        let store = self.work_store()?;
        let shared = self.shared().clone();
        let until = Instant::now() + settings.total;
        let recovered: Vec<Recovered> =
            engine::recover(&shared, &*store, settings.n_recovered).await?;
        let current = self.current();
        let route = current.catalog.route("heartbeat", &shared.guard)?;
        let mut turns: Vec<_> = route
            .subscribers
            .iter()
            .filter(|subscriber| !subscriber.catch_all)
            .map(|subscriber| Turn {
                slot: subscriber.slot.clone(),
                cell: subscriber.cell.clone(),
                timeout: subscriber.timeout.min(settings.each),
            })
            .collect();
        turns.sort_by(|a, b| a.slot.name.cmp(&b.slot.name));
        let owner = crate::load::own_name();
        if turns.len() > settings.n_plugins
            || !turns.is_empty()
                && turns.iter().map(|turn| turn.timeout).sum::<Duration>() > settings.total
        {
            rotate(&*store, &owner, &mut turns).await?;
        }
        let n_all = turns.len();
        turns.truncate(settings.n_plugins);
        let names: Vec<_> = turns.iter().map(|turn| turn.slot.name.clone()).collect();
        let plugins = call_all(&shared, &store, turns, settings, until).await;
        // The next pulse begins after the last one that had its turn.
        if plugins.len() < n_all
            && let Some(last) = names.get(plugins.len().wrapping_sub(1))
        {
            remember(&*store, &owner, last).await?;
        }
        Ok(Pulse {
            n_recovered: recovered.len(),
            n_left: n_all - plugins.len(),
            plugins,
        })
    }
}

/// One plugin's turn.
struct Turn {
    slot: Arc<Slot>,
    cell: Arc<Cell>,
    timeout: Duration,
}

/// Begins after the plugin that had the last turn of the last pulse.
async fn rotate(
    store: &dyn Store,
    owner: &PluginName,
    turns: &mut [Turn],
) -> Result<(), StoreError> {
    let last = store.state().read(owner, LAST).await?;
    let last = last.and_then(|entry| serde_json::from_str::<String>(entry.value.get()).ok());
    if let Some(last) = last {
        let n_before = turns.partition_point(|turn| turn.slot.name.as_str() <= last.as_str());
        turns.rotate_left(n_before);
    }
    Ok(())
}

async fn remember(
    store: &dyn Store,
    owner: &PluginName,
    last: &PluginName,
) -> Result<(), StoreError> {
    let value = engine::raw(&last.as_str());
    let write = Write {
        key: LAST,
        value: value.as_deref(),
        ttl_ms: None,
        only_if: OnlyIf::Always,
        under: None,
    };
    store.state().write(owner, &write).await.map(drop)
}

/// Calls plugins in order, a few at a time, until the pulse's time is over. Gives those that had their
/// turn, in order.
async fn call_all(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    turns: Vec<Turn>,
    settings: &HeartbeatSettings,
    until: Instant,
) -> Vec<PulsePlugin> {
    let mut done: Vec<(usize, PulsePlugin)> = Vec::new();
    let mut running = JoinSet::new();
    let mut waiting = turns.into_iter().enumerate();
    loop {
        while running.len() < settings.n_parallel.max(1)
            && Instant::now() < until
            && let Some((at, turn)) = waiting.next()
        {
            let (shared, store) = (shared.clone(), store.clone());
            running.spawn(async move { (at, beat(&shared, &*store, turn, until).await) });
        }
        match running.join_next().await {
            Some(Ok(one)) => done.push(one),
            // The guard catches panics; this is a bug of ours, and others go on.
            Some(Err(error)) => tracing::error!("a heartbeat ended oddly: {error}"),
            None => break,
        }
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, plugin)| plugin).collect()
}

/// Calls one plugin under its lock.
async fn beat(shared: &Shared, store: &dyn Store, turn: Turn, until: Instant) -> PulsePlugin {
    let plugin = turn.slot.name.clone();
    let left = until.saturating_duration_since(Instant::now());
    let timeout = turn.timeout.min(left);
    let owner = crate::load::own_name();
    let key = format!("heartbeat/{plugin}");
    // Longer than the call, so that nobody else begins while it may still run.
    let ttl_ms = millis(timeout) + 5_000;
    let lease = match store.state().lock(&owner, &key, ttl_ms).await {
        Ok(lease) => lease,
        Err(StoreError::Locked { .. }) => return told(&plugin, PulseOutcome::Busy, None),
        Err(error) => {
            let error = PluginError::new(Failure::Unavailable, error.code(), error.to_string());
            return told(&plugin, PulseOutcome::Failed, Some(error));
        }
    };
    let answer = ask(shared, &turn, timeout).await;
    unlock(store, &owner, &lease).await;
    match answer {
        Ok(n_started) => PulsePlugin {
            n_started,
            ..told(&plugin, PulseOutcome::Done, None)
        },
        Err(error) => {
            tracing::warn!(plugin = %plugin, code = %error.code, "heartbeat: {error}");
            let outcome = match error.failure {
                Failure::Timeout => PulseOutcome::TimedOut,
                _ => PulseOutcome::Failed,
            };
            told(&plugin, outcome, Some(error))
        }
    }
}

async fn unlock(store: &dyn Store, owner: &PluginName, lease: &Lease) {
    if let Err(error) = store.state().unlock(owner, lease).await {
        tracing::debug!(
            code = error.code(),
            "a heartbeat's lock ends by itself: {error}"
        );
    }
}

async fn ask(shared: &Shared, turn: &Turn, timeout: Duration) -> Result<u64, PluginError> {
    let ticket = shared.works.tickets.issue(&turn.slot.name, None);
    let beat = Beat {
        now_unix_ms: shared.clock.unix_ms(),
        ticket: ticket.number,
    };
    let payload = Json::of(&beat)
        .map_err(|error| PluginError::new(Failure::InvalidReply, "host.form", error.to_string()))?;
    let ask = guard::Ask {
        caller: None,
        slot: &turn.slot,
        cell: &turn.cell,
        kind: RequestKind::Hook,
        name: "heartbeat",
        payload: &payload,
        timeout,
        slow_after: timeout,
        no_later_than: None,
        check: None,
    };
    let reply = guard::call(shared, ask, shared.clock.now()).await.result?;
    drop(ticket);
    let Some(json) = reply.0 else { return Ok(0) };
    let read = json.to::<BeatReply>();
    let reply = read.map_err(|error| {
        PluginError::new(Failure::InvalidReply, "reply.invalid", error.to_string())
    })?;
    Ok(reply.n_started.unwrap_or(0))
}

fn told(plugin: &PluginName, outcome: PulseOutcome, error: Option<PluginError>) -> PulsePlugin {
    PulsePlugin {
        plugin: plugin.to_string(),
        outcome,
        n_started: 0,
        code: error.as_ref().map(|error| error.code.to_string()),
        error: error.map(|error| error.message),
    }
}
