//! What plugins may ask of the runtime: a table of services, one row each.
//!
//! Every service checks its permission here. The clock and the log need none: every plugin has them.

use std::sync::Arc;

use kodex_plugin::{
    Clock, Host, HostCall, HostError, Json, PluginName,
    host::LogLevel,
    wire::{Now, method},
};

/// The way back from one plugin.
pub(crate) struct PluginHost {
    plugin: PluginName,
    clock: Arc<dyn Clock>,
}

impl PluginHost {
    pub(crate) fn new(plugin: PluginName, clock: Arc<dyn Clock>) -> Self {
        Self { plugin, clock }
    }

    fn now(&self) -> Result<Json, HostError> {
        Json::of(&Now {
            unix_ms: self.clock.unix_ms(),
        })
        .map_err(|error| HostError::new("internal", error.to_string()))
    }
}

impl Host for PluginHost {
    fn request<'a>(&'a self, method: &'a str, _: Json) -> HostCall<'a> {
        let answer = match method {
            method::CLOCK_NOW => self.now(),
            unknown => Err(HostError::unknown_method(unknown)),
        };
        Box::pin(std::future::ready(answer))
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        let plugin = self.plugin.as_str();
        match level {
            LogLevel::Debug => tracing::debug!(target: "kodex::plugin", plugin, %message, ?fields),
            LogLevel::Info => tracing::info!(target: "kodex::plugin", plugin, %message, ?fields),
            LogLevel::Warning => tracing::warn!(target: "kodex::plugin", plugin, %message, ?fields),
            LogLevel::Error => tracing::error!(target: "kodex::plugin", plugin, %message, ?fields),
        }
    }
}
