//! What plugins may ask of the runtime: a table of services, one row each.
//!
//! Every service checks its permission here. The clock and the log need none: every plugin has them.

mod database;
pub(crate) mod reading;
mod state;

use std::sync::Arc;

use kodex_plugin::{
    Clock, Host, HostCall, HostError, Json, PluginName,
    host::LogLevel,
    wire::{Now, method, store::method as store_method},
};
use kodex_store::{
    Store, StoreError,
    door::{read, written},
};

use crate::{register::Slot, runtime::Shared, work::desk::Desk};

pub(crate) use database::Database;
use reading::Reading;
use state::Values;

/// The way back from one plugin. There is one builder of it for every path: calls, tools, upgrade.
pub(crate) struct PluginHost {
    plugin: PluginName,
    clock: Arc<dyn Clock>,
    database: Result<Database, HostError>,
    state: Result<Values, HostError>,
    /// None where there is no durable work: inside a step of an upgrade.
    desk: Option<Result<Desk, HostError>>,
    reading: Reading,
}

impl PluginHost {
    /// The host of a plugin that serves calls.
    pub(crate) fn of(shared: &Shared, slot: &Arc<Slot>) -> Self {
        let plugin = slot.name.clone();
        let database = match (&slot.journal, &shared.store) {
            (None, _) => Err(undeclared(&plugin)),
            (Some(_), None) => Err(no_store(&plugin)),
            (Some(journal), Some(store)) => Ok(Database::new(
                plugin.clone(),
                store.clone(),
                shared.clock.clone(),
                Some(journal.clone()),
                shared.guard.limits.frame_bytes,
            )),
        };
        let desk = shared.store.clone().map(|store| {
            let manifest = Some(slot.manifest.clone());
            Desk::new(plugin.clone(), manifest, store, shared.works.clone())
        });
        Self {
            desk: Some(desk.ok_or_else(|| no_store(&plugin))),
            reading: Reading::of(Arc::downgrade(slot)),
            ..Self::new(plugin, shared.clock.clone(), shared.store.clone(), database)
        }
    }

    pub(crate) fn new(
        plugin: PluginName,
        clock: Arc<dyn Clock>,
        store: Option<Arc<dyn Store>>,
        database: Result<Database, HostError>,
    ) -> Self {
        let state = store.map(|store| Values::new(plugin.clone(), store));
        Self {
            state: state.ok_or_else(|| no_store(&plugin)),
            plugin,
            clock,
            database,
            desk: None,
            reading: Reading::default(),
        }
    }

    /// Fails when the plugin declares a database whose journal is behind, so that it is refused before
    /// its first call and not in the middle of one.
    pub(crate) async fn is_ready(&self) -> Result<(), HostError> {
        match &self.database {
            Ok(database) => database.namespace().await.map(drop),
            Err(error) if error.code == "db.undeclared" => Ok(()),
            Err(error) => Err(error.clone()),
        }
    }

    fn now(&self) -> Result<Json, HostError> {
        written(&Now {
            unix_ms: self.clock.unix_ms(),
        })
    }

    async fn serve(&self, method: &str, params: Json, looks_only: bool) -> Result<Json, HostError> {
        if looks_only && !reading::looks(method) {
            return Err(reading::refused(&self.plugin, method));
        }
        match method {
            method::CLOCK_NOW => self.now(),
            _ if method.starts_with("db/") => match &self.database {
                Ok(database) => database.serve(method, &params, looks_only).await,
                Err(error) => Err(error.clone()),
            },
            _ if method.starts_with("state/") => match &self.state {
                Ok(state) => state.serve(method, &params).await,
                Err(error) => Err(error.clone()),
            },
            _ if method.starts_with("agent/") || method.starts_with("job/") => match &self.desk {
                Some(Ok(desk)) => desk.serve(method, &params).await,
                Some(Err(error)) => Err(error.clone()),
                None => Err(HostError::unknown_method(method)),
            },
            store_method::STEP_PROGRESS => {
                let text = "step/progress is there inside a data step of an upgrade alone";
                Err(HostError::new("step.not_running", text))
            }
            unknown => Err(HostError::unknown_method(unknown)),
        }
    }
}

impl Host for PluginHost {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        // Decided here and not when the answer is awaited: this is where the plugin asks.
        let looks_only = self.reading.covers(&params);
        Box::pin(self.serve(method, params, looks_only))
    }

    fn began(&self, number: u64) {
        self.reading.began(number);
    }

    fn ended(&self, number: u64) {
        self.reading.ended(number);
        if let Ok(database) = &self.database {
            database.ended(number);
        }
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

/// The error for a plugin in a runtime that was given no store.
pub(crate) fn no_store(plugin: &PluginName) -> HostError {
    let text = format!(
        "plugin {plugin} wants to store something, but this runtime was given no store; set KODEX_DATABASE_URL or `url` under [store] in .kodex/config.toml, or call `Builder::store`"
    );
    HostError::new("store.not_configured", text)
}

fn undeclared(plugin: &PluginName) -> HostError {
    let text = format!(
        "plugin {plugin} declares no database; add a [database] table with `migrations` to its manifest"
    );
    HostError::new("db.undeclared", text)
}

pub(crate) fn refused(error: StoreError) -> HostError {
    error.into()
}
