//! What an embedder decides about plugins and the guard: ready values, nothing read from anywhere.

use std::time::Duration;

use kodex_plugin::{Json, Limits};

use crate::dispatch::BreakerSettings;

/// What the user says about one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSettings {
    /// A plugin that is not enabled is found and shown, but never loaded.
    pub enabled: bool,
    /// Overrides the priority of every subscription of the plugin.
    pub priority: Option<i32>,
    /// Given to the plugin when it is activated, over the runtime's default context.
    pub context: Json,
    /// Overrides the timeout of every hook call of the plugin.
    pub timeout: Option<Duration>,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            priority: None,
            context: Json::object(),
            timeout: None,
        }
    }
}

/// Bounds on calls into plugins.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSettings {
    /// When breakers open and close.
    pub breaker: BreakerSettings,
    /// Events and tool calls that may be under way at the same time over all plugins.
    pub concurrency: usize,
    /// Wall time for all chain and decide answers of one event; what comes later is skipped by its
    /// failure mode.
    pub event_budget: Duration,
    /// How long a plugin may take to start.
    pub activation_timeout: Duration,
    /// Bounds on one plugin's messages, output and concurrency.
    pub limits: Limits,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            breaker: BreakerSettings::default(),
            concurrency: 32,
            event_budget: Duration::from_secs(3),
            activation_timeout: Duration::from_secs(15),
            limits: Limits::default(),
        }
    }
}
