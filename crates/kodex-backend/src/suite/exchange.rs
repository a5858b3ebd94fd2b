//! One plugin, a host that notes what it is told, and calls with deadlines.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kodex_plugin::{
    Call, Clock, Context, Deadline, Host, HostCall, HostError, Json, Plugin, PluginError, Reply,
    Request, RequestKind, host::LogLevel,
};
use serde_json::{Value, json};
use tokio::time::timeout;

/// No case takes this long on any machine that works.
pub(super) const LONG: Duration = Duration::from_secs(30);
/// What the host says to `clock/now`.
pub(super) const UNIX_MS: u64 = 1_795_000_000_000;

pub(super) type Logged = (LogLevel, String, Value);

#[derive(Default)]
struct Notes(Mutex<Vec<Logged>>);

impl Host for Notes {
    fn request<'a>(&'a self, method: &'a str, _: Json) -> HostCall<'a> {
        let answer = match method {
            "clock/now" => Ok(Json::from(json!({"unix_ms": UNIX_MS}))),
            _ => Err(HostError::unknown_method(method)),
        };
        Box::pin(std::future::ready(answer))
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        let line = (level, message.to_owned(), fields.value().clone());
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }
}

pub(super) struct Exchange {
    pub(super) plugin: Arc<dyn Plugin>,
    clock: Arc<dyn Clock>,
    host: Arc<Notes>,
}

impl Exchange {
    pub(super) fn new(plugin: Arc<dyn Plugin>, clock: Arc<dyn Clock>) -> Self {
        let host = Arc::default();
        Self {
            plugin,
            clock,
            host,
        }
    }

    pub(super) async fn begin(&self) -> Result<(), PluginError> {
        settle(self.plugin.activate(Context {
            plugin: self.plugin.manifest().name.clone(),
            config: Json::object(),
            grants: Vec::new(),
            host: Arc::clone(&self.host) as Arc<dyn Host>,
        }))
        .await
    }

    pub(super) async fn end(&self) -> Result<(), String> {
        match timeout(LONG, settle(self.plugin.deactivate())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the plugin does not stop: {error}")),
            Err(_) => Err("the plugin does not stop in time".to_owned()),
        }
    }

    pub(super) async fn hook(&self, name: &str, payload: Value) -> Result<Reply, PluginError> {
        self.call(RequestKind::Hook, name, &Json::from(payload), LONG)
            .await
    }

    pub(super) async fn tool(&self, name: &str, input: Value) -> Result<Reply, PluginError> {
        self.call(RequestKind::Tool, name, &Json::from(input), LONG)
            .await
    }

    pub(super) async fn call(
        &self,
        kind: RequestKind,
        name: &str,
        payload: &Json,
        span: Duration,
    ) -> Result<Reply, PluginError> {
        settle(self.plugin.call(Request {
            kind,
            name,
            payload,
            deadline: Deadline {
                at: self.clock.now() + span,
                timeout: span,
            },
            caller: None,
        }))
        .await
    }

    pub(super) fn logged(&self) -> Vec<Logged> {
        let lines = self.host.0.lock();
        lines.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn settle<T>(call: Call<'_, T>) -> Result<T, PluginError> {
    match call {
        Call::Ready(result) => result,
        Call::Pending(future) => future.await,
    }
}
