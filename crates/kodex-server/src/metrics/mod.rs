//! The page for Prometheus: what the guard counted, how work and heartbeats are, how full the queues are.
//!
//! Labels are plugins, hooks and words of a fixed set, so the number of series is bounded by what is
//! installed; no label ever holds an id, a path or a message.

mod text;

use std::{sync::Arc, time::Duration};

use kodex::{BreakerState, KeyMetrics, PluginMetrics};

use self::text::{Kind, Page};
use crate::resident::Resident;

/// The text format that every Prometheus reads.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How old the page may be, however many scrapers come.
const PAGE_AGE: Duration = Duration::from_secs(1);

/// The page.
pub(crate) async fn page(resident: &Resident) -> Arc<str> {
    resident.page.fresh(PAGE_AGE, write(resident)).await
}

async fn write(resident: &Resident) -> Arc<str> {
    let mut page = Page::default();
    process(&mut page, resident);
    plugins(&mut page, &resident.runtime.metrics());
    work(&mut page, resident).await;
    page.finish().into()
}

fn process(page: &mut Page, resident: &Resident) {
    let doctor = resident.runtime.doctor();
    page.family("kodex_build_info", Kind::Gauge, "The version that runs.")
        .row(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.family(
        "kodex_start_time_seconds",
        Kind::Gauge,
        "When the process began, in seconds since 1970-01-01 UTC.",
    )
    .row(&[], seconds(resident.started_at_ms()));
    page.family("kodex_plugins", Kind::Gauge, "Plugins in the catalog.")
        .row(&[], count(doctor.plugins.len()));
    page.family(
        "kodex_plugins_refused",
        Kind::Gauge,
        "Candidates that could not be loaded.",
    )
    .row(&[], count(resident.n_refused()));
    page.family(
        "kodex_catalog_generation",
        Kind::Gauge,
        "How often the catalog was built.",
    )
    .row(&[], whole(doctor.generation));
    page.family(
        "kodex_breaker_transitions_total",
        Kind::Counter,
        "Changes of breaker states.",
    )
    .row(&[], whole(doctor.breaker_transitions));
    page.family(
        "kodex_gate_unavailable_total",
        Kind::Counter,
        "Denials because a gate could not be asked.",
    )
    .row(&[], whole(doctor.gates_unavailable));
}

fn plugins(page: &mut Page, plugins: &[PluginMetrics]) {
    type Value = fn(&PluginMetrics) -> f64;
    let each: [(&str, Kind, &str, Value); 5] = [
        (
            "kodex_plugin_in_flight",
            Kind::Gauge,
            "Calls that run now.",
            |plugin| f64::from(plugin.in_flight),
        ),
        (
            "kodex_plugin_queue_depth",
            Kind::Gauge,
            "Calls that wait for a free place.",
            |plugin| f64::from(plugin.waiting),
        ),
        (
            "kodex_plugin_dropped_total",
            Kind::Counter,
            "Observe calls dropped because the plugin was too slow.",
            |plugin| whole(plugin.dropped),
        ),
        (
            "kodex_plugin_restarts_total",
            Kind::Counter,
            "Processes started again after they died.",
            |plugin| whole(plugin.health.restarts),
        ),
        (
            "kodex_plugin_discarded_total",
            Kind::Counter,
            "Answers that came too late, twice, or to no request.",
            |plugin| whole(plugin.health.discarded),
        ),
    ];
    for (name, kind, help, value) in each {
        let mut family = page.family(name, kind, help);
        for plugin in plugins {
            family.row(&[("plugin", &plugin.plugin)], value(plugin));
        }
    }
    calls(page, plugins);
    latencies(page, plugins);
    breakers(page, plugins);
}

/// Plugin, hook and kind of a key.
fn labels<'a>(plugin: &'a PluginMetrics, key: &'a KeyMetrics) -> [(&'static str, &'a str); 3] {
    let (kind, hook) = match key.key.strip_prefix("tool:") {
        Some(tool) => ("tool", tool),
        None => ("hook", key.key.as_str()),
    };
    [("plugin", &plugin.plugin), ("hook", hook), ("kind", kind)]
}

fn keys(plugins: &[PluginMetrics]) -> impl Iterator<Item = (&PluginMetrics, &KeyMetrics)> {
    plugins
        .iter()
        .flat_map(|plugin| plugin.keys.iter().map(move |key| (plugin, key)))
}

fn calls(page: &mut Page, plugins: &[PluginMetrics]) {
    let mut family = page.family(
        "kodex_plugin_calls_total",
        Kind::Counter,
        "Calls into plugins by how they ended.",
    );
    for (plugin, key) in keys(plugins) {
        let [name, hook, kind] = labels(plugin, key);
        for (outcome, n) in &key.calls {
            family.row(&[name, hook, kind, ("outcome", outcome)], whole(*n));
        }
    }
}

fn latencies(page: &mut Page, plugins: &[PluginMetrics]) {
    let mut family = page.family(
        "kodex_plugin_call_duration_seconds",
        Kind::Histogram,
        "How long calls into plugins took.",
    );
    for (plugin, key) in keys(plugins) {
        let buckets = key.latency_us.iter();
        let buckets = buckets.map(|(bound, n)| (bound.map(|us| whole(us) / 1e6), *n));
        family.histogram(
            &labels(plugin, key),
            buckets,
            whole(key.latency_sum_us) / 1e6,
        );
    }
}

fn breakers(page: &mut Page, plugins: &[PluginMetrics]) {
    let states = [
        ("closed", BreakerState::Closed),
        ("open", BreakerState::Open),
        ("half_open", BreakerState::HalfOpen),
    ];
    let mut family = page.family(
        "kodex_breaker_state",
        Kind::Gauge,
        "1 for the state that a breaker is in.",
    );
    for (plugin, key) in keys(plugins) {
        let [name, hook, kind] = labels(plugin, key);
        for (word, state) in states {
            let is_now = f64::from(u8::from(key.breaker == state));
            family.row(&[name, hook, kind, ("state", word)], is_now);
        }
    }
}

async fn work(page: &mut Page, resident: &Resident) {
    let unready = resident.unready().await;
    page.family("kodex_ready", Kind::Gauge, "Whether work is taken.")
        .row(&[], f64::from(u8::from(unready.is_none())));
    if let Some(health) = resident.health() {
        page.family(
            "kodex_store_up",
            Kind::Gauge,
            "Whether the last claim reached the store.",
        )
        .row(&[], f64::from(u8::from(health.store)));
        page.family(
            "kodex_work_held",
            Kind::Gauge,
            "Runs and jobs that this process holds.",
        )
        .row(&[], count(health.n_held));
        page.family(
            "kodex_work_claims_total",
            Kind::Counter,
            "Runs and jobs that this process took.",
        )
        .row(&[], whole(health.n_claimed));
        page.family(
            "kodex_work_ended_total",
            Kind::Counter,
            "Claims that this process ended, in whatever way.",
        )
        .row(&[], whole(health.n_ended));
    }
    // Left out where the store cannot say: a zero would be a lie.
    if let Some(queues) = resident.queues().await {
        let mut family = page.family(
            "kodex_work_jobs",
            Kind::Gauge,
            "Runs and jobs in the store by queue and state, over all nodes.",
        );
        for row in &queues {
            family.row(
                &[("queue", &row.queue), ("state", &row.state)],
                whole(row.n),
            );
        }
    }
    pulses(page, resident);
}

fn pulses(page: &mut Page, resident: &Resident) {
    let pulses = resident.pulses();
    page.family(
        "kodex_heartbeat_pulses_total",
        Kind::Counter,
        "Heartbeats by how they went.",
    )
    .row(&[("outcome", "done")], whole(pulses.status.n_done))
    .row(&[("outcome", "failed")], whole(pulses.status.n_failed));
    let mut family = page.family(
        "kodex_heartbeat_calls_total",
        Kind::Counter,
        "Turns of plugins in heartbeats by how they went.",
    );
    for (outcome, n) in &pulses.plugins {
        family.row(&[("outcome", outcome)], whole(*n));
    }
    if let (Some(at), Some(took)) = (pulses.status.last_at_ms, pulses.status.last_took_ms) {
        page.family(
            "kodex_heartbeat_last_end_seconds",
            Kind::Gauge,
            "When the last heartbeat ended, in seconds since 1970-01-01 UTC.",
        )
        .row(&[], seconds(at));
        page.family(
            "kodex_heartbeat_last_duration_seconds",
            Kind::Gauge,
            "How long it took.",
        )
        .row(&[], seconds(took));
    }
}

/// Counts beyond 2^53 lose their last digits; nothing here comes near.
fn whole(n: u64) -> f64 {
    n as f64
}

fn count(n: usize) -> f64 {
    whole(n as u64)
}

fn seconds(ms: u64) -> f64 {
    whole(ms) / 1e3
}
