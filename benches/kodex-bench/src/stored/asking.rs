//! A native plugin that does nothing but keep its host, through which the bench asks.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use kodex::{
    Call, Context, Json, Manifest, Plugin, PluginName, Reply, Request, Tool,
    contract::{
        Host,
        manifest::{Database, Run, Version},
    },
};

/// The plugin's name.
pub(super) const NAME: &str = "bench-native";
/// Calling it activates the plugin.
pub(super) const TOOL: &str = "bench-native/begin";

/// See the module.
pub(super) struct Asking {
    manifest: Manifest,
    host: Mutex<Option<Arc<dyn Host>>>,
}

impl Asking {
    pub(super) fn new() -> Result<Self> {
        let name = PluginName::new(NAME)?;
        let mut manifest = Manifest::new(name, Version::new("1.0.0"), "Asks.", Run::Native);
        manifest.tools.push(Tool::new("begin", "Begins.")?);
        manifest.database = Some(Database {
            migrations: "migrations".into(),
            renamed_from: None,
        });
        Ok(Self {
            manifest,
            host: Mutex::default(),
        })
    }

    /// The host, once the plugin is active.
    pub(super) fn host(&self) -> Result<Arc<dyn Host>> {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        host.clone().context("the plugin is not active")
    }
}

impl Plugin for Asking {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn migrations(&self) -> &'static [(&'static str, &'static str)] {
        super::JOURNAL
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        *self.host.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.host);
        Call::Ready(Ok(()))
    }

    fn call<'a>(&'a self, _: Request<'a>) -> Call<'a, Reply> {
        Call::Ready(Ok(Reply::from(Json::null())))
    }
}
