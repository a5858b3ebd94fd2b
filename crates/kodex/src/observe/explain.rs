//! Why a plugin does or does not answer a hook, question by question: discovered? enabled? loaded?
//! subscribed? breaker? how did its last call end?

use kodex_plugin::{Combine, hook};
use serde::{Deserialize, Serialize};

use super::{KeyMetrics, metrics};
use crate::{
    dispatch::{BreakerState, DispatchError},
    runtime::{Current, Shared},
};

/// The answer for one hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// The hook.
    pub hook: String,
    /// Whether Kodex knows it; unknown hooks collect.
    pub known: bool,
    /// A known hook with a similar name, when this one is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similar: Option<String>,
    /// How replies combine.
    pub combine: Combine,
    /// One line for each candidate: first those that are asked, in order, then the others.
    pub plugins: Vec<Why>,
}

/// Why one plugin is asked or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Why {
    /// The plugin, or `-` where its name is not known.
    pub plugin: String,
    /// Where it came from.
    pub source: String,
    /// The first question that was answered with no, or `asked`.
    pub reason: Reason,
    /// The same for people, with what to do.
    pub text: String,
    /// Its place in the order, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// Its priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Its timeout in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What the guard counted on this hook since the runtime started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<KeyMetrics>,
}

/// The first question that was answered with no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is asked.
    Asked,
    /// It is in the order, but its breaker is open.
    BreakerOpen,
    /// Its process died too often.
    Quarantined,
    /// It is loaded, but does not subscribe to this hook.
    NotSubscribed,
    /// It was found, but the configuration does not enable it.
    NotEnabled,
    /// It was found, but could not be loaded.
    NotLoaded,
}

pub(crate) fn explain(
    shared: &Shared,
    current: &Current,
    name: &str,
) -> Result<Explanation, DispatchError> {
    let route = current.catalog.route(name, &shared.guard)?;
    let mut plugins = Vec::new();
    for (index, to) in route.subscribers.iter().enumerate() {
        let calls = metrics::key(shared, &to.cell);
        let health = to.slot.plugin.health();
        let (reason, text) = match calls.breaker {
            _ if health.state == kodex_plugin::Life::Quarantined => (
                Reason::Quarantined,
                "its process died too often; see `kodex doctor` for its last words".to_owned(),
            ),
            BreakerState::Open => (Reason::BreakerOpen, open_text(&calls)),
            BreakerState::Closed | BreakerState::HalfOpen => {
                (Reason::Asked, asked_text(to.catch_all))
            }
        };
        plugins.push(Why {
            plugin: to.slot.name.to_string(),
            source: to.slot.source.clone(),
            reason,
            text,
            place: Some(index + 1),
            priority: Some(to.priority),
            timeout_ms: Some(kodex_plugin::clock::millis(to.timeout)),
            calls: Some(calls),
        });
    }
    for slot in &current.catalog.slots {
        if !route.subscribers.iter().any(|to| to.slot.name == slot.name) {
            plugins.push(left_out(
                slot.name.as_str(),
                &slot.source,
                Reason::NotSubscribed,
                not_subscribed(slot, name),
            ));
        }
    }
    for absent in &current.absent {
        let name = absent.name.as_deref().unwrap_or("-");
        plugins.push(left_out(
            name,
            &absent.source,
            absent.reason,
            absent.text.clone(),
        ));
    }
    let known = !hook::spec(name).name.is_empty();
    Ok(Explanation {
        hook: name.to_owned(),
        known,
        similar: if known {
            None
        } else {
            hook::suggest(name).map(str::to_owned)
        },
        combine: route.spec.combine,
        plugins,
    })
}

fn left_out(plugin: &str, source: &str, reason: Reason, text: String) -> Why {
    Why {
        plugin: plugin.to_owned(),
        source: source.to_owned(),
        reason,
        text,
        place: None,
        priority: None,
        timeout_ms: None,
        calls: None,
    }
}

fn asked_text(catch_all: bool) -> String {
    match catch_all {
        true => "asked on every hook".to_owned(),
        false => "subscribed".to_owned(),
    }
}

fn open_text(calls: &KeyMetrics) -> String {
    let wait = calls.retry_after_ms.unwrap_or(0);
    match &calls.last_error {
        Some((code, text)) => {
            format!(
                "its breaker is open for another {wait} ms; the last failure was {code}: {text}"
            )
        }
        None => format!("its breaker is open for another {wait} ms"),
    }
}

fn not_subscribed(slot: &crate::register::Slot, hook: &str) -> String {
    let names: Vec<_> = slot
        .manifest
        .hooks
        .iter()
        .map(|wish| wish.on.as_str())
        .collect();
    if names.is_empty() {
        return format!("it answers no hook; add [[hook]] on = \"{hook}\" to its manifest");
    }
    format!(
        "it answers {}; add [[hook]] on = \"{hook}\" to its manifest",
        names.join(", ")
    )
}
