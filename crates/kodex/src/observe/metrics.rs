//! Counters, latencies and breaker states, as the guard kept them.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use kodex_plugin::{Health, clock::millis};
use serde::{Deserialize, Serialize};

use crate::{
    dispatch::BreakerState,
    register::{Cell, HISTOGRAM_BUCKETS, Slot},
    runtime::{Current, Shared},
};

/// What the guard knows of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PluginMetrics {
    /// The plugin.
    pub plugin: String,
    /// Calls running now.
    pub in_flight: u32,
    /// Callers waiting now.
    pub waiting: u32,
    /// Observe calls dropped because the plugin was too slow.
    pub dropped: u64,
    /// How the code behind the plugin is doing.
    pub health: Health,
    /// By hook name, or `tool:<name>`.
    pub keys: Vec<KeyMetrics>,
}

/// What the guard knows of one hook or tool of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyMetrics {
    /// Hook name, or `tool:<name>`.
    pub key: String,
    /// Calls by outcome: `ok`, `error`, `timeout`, `crash`, `rejected_breaker`, ...
    pub calls: BTreeMap<String, u64>,
    /// Latency histogram: upper bound in microseconds and count, the last bound is `null`.
    pub latency_us: Vec<(Option<u64>, u64)>,
    /// Sum of all latencies in microseconds.
    pub latency_sum_us: u64,
    /// The breaker.
    pub breaker: BreakerState,
    /// Time until the next probe, in milliseconds, when it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Code and text of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<(String, String)>,
}

pub(crate) fn metrics(shared: &Shared, current: &Current) -> Vec<PluginMetrics> {
    current
        .catalog
        .slots
        .iter()
        .map(|slot| plugin(shared, slot))
        .collect()
}

pub(crate) fn plugin(shared: &Shared, slot: &Slot) -> PluginMetrics {
    PluginMetrics {
        plugin: slot.name.to_string(),
        in_flight: slot.in_flight.load(Ordering::Relaxed),
        waiting: slot.waiting.load(Ordering::Relaxed),
        dropped: slot.n_dropped.load(Ordering::Relaxed),
        health: slot.plugin.health(),
        keys: slot.cells().iter().map(|cell| key(shared, cell)).collect(),
    }
}

pub(crate) fn key(shared: &Shared, cell: &Cell) -> KeyMetrics {
    let now = shared.clock.now();
    let state = cell.read();
    let mut calls: BTreeMap<String, u64> = BTreeMap::from([("ok".to_owned(), state.counts.ok)]);
    for (failure, n) in &state.counts.failed {
        calls.insert(failure.as_str().to_owned(), *n);
    }
    let bounds = HISTOGRAM_BUCKETS.iter().copied().map(Some).chain([None]);
    KeyMetrics {
        key: cell.key.clone(),
        calls,
        latency_us: bounds.zip(state.counts.histogram).collect(),
        latency_sum_us: u64::try_from(state.counts.total.as_micros()).unwrap_or(u64::MAX),
        breaker: state.breaker.state(),
        retry_after_ms: state
            .breaker
            .open_until()
            .map(|at| millis(at.saturating_duration_since(now))),
        last_error: state.counts.last_error.clone(),
    }
}
