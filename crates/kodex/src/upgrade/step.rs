//! Runs data steps in the plugin's own code, with a host that offers the plugin's tables, its state, a
//! log, the clock and progress, and nothing else: no model, no agent, no network.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kodex_plugin::{
    Context, Deadline, Host, HostCall, HostError, Json, PluginError, PluginName, Reply, Request,
    RequestKind,
    host::LogLevel,
    wire::store::{StepCounts, StepPayload, StepProgress, method},
};
use kodex_store::{Step, Store, journal::Progress};
use tokio::sync::mpsc;

use super::{UpgradeEvent, plan::OnePlugin};
use crate::{
    dispatch::contain::contained,
    host::{Database, PluginHost},
    register::lock,
    runtime::Shared,
};

/// Longest progress of a data step.
const PROGRESS_BYTES: usize = 64 << 10;

/// The code of one plugin during an upgrade: activated at its first data step.
pub(super) struct Stepping<'a> {
    shared: &'a Arc<Shared>,
    store: &'a Arc<dyn Store>,
    one: &'a OnePlugin,
    host: Option<Arc<StepHost>>,
}

impl<'a> Stepping<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        store: &'a Arc<dyn Store>,
        one: &'a OnePlugin,
    ) -> Self {
        Self {
            shared,
            store,
            one,
            host: None,
        }
    }

    /// Runs one data step to its end.
    pub(super) async fn run(
        &mut self,
        step: &Step,
        timeout: Duration,
        watch: &(dyn Fn(UpgradeEvent) + Send + Sync),
    ) -> Result<StepCounts, HostError> {
        let host = self.activated().await?;
        let id = step.id(&self.one.name);
        let saved = self.store.ledger().progress(&self.one.name, &id).await;
        let saved = saved.map_err(|error| HostError::new(error.code(), error.to_string()))?;
        let progress = saved.map_or(Ok(Json::null()), |saved| {
            Json::parse(&saved.progress, &self.shared.guard.limits)
        });
        let progress =
            progress.map_err(|error| HostError::new("step.progress", error.to_string()))?;
        let payload = Json::of(&StepPayload { progress }).map_err(|error| form(&id, &error))?;
        let (tell, mut told) = mpsc::unbounded_channel();
        host.begin(id.clone(), tell);
        let call = self.call(step, &payload, timeout);
        tokio::pin!(call);
        let reply = loop {
            tokio::select! {
                biased;
                Some(counts) = told.recv() => watch(UpgradeEvent::StepProgress { id: id.clone(), counts }),
                reply = &mut call => break reply,
            }
        };
        host.finish();
        // What was told right before the end.
        while let Ok(counts) = told.try_recv() {
            watch(UpgradeEvent::StepProgress {
                id: id.clone(),
                counts,
            });
        }
        match reply.map_err(of_plugin)?.0 {
            None => Ok(StepCounts::default()),
            Some(reply) if reply.is_null() => Ok(StepCounts::default()),
            Some(reply) => reply.to().map_err(|error| form(&id, &error)),
        }
    }

    async fn call(
        &self,
        step: &Step,
        payload: &Json,
        timeout: Duration,
    ) -> Result<Reply, PluginError> {
        let at = self.shared.clock.now() + timeout;
        let request = Request {
            kind: RequestKind::Step,
            name: step.name(),
            payload,
            deadline: Deadline { at, timeout },
            caller: None,
        };
        let plugin = &self.one.slot.plugin;
        let late = ("call.timeout", "the data step did not end");
        contained(|| plugin.call(request), timeout, late).await
    }

    async fn activated(&mut self) -> Result<Arc<StepHost>, HostError> {
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        let slot = &self.one.slot;
        // One that serves calls is stopped first: it was given the host of calls. It starts again by itself.
        crate::runtime::stop(slot).await;
        let host = Arc::new(StepHost::new(self.shared, self.store, &self.one.name));
        let context = Context {
            plugin: self.one.name.clone(),
            config: slot.context.clone(),
            grants: Vec::new(),
            host: host.clone(),
        };
        let timeout = self.shared.guard.activation_timeout;
        let late = ("activate.timeout", "the plugin did not start");
        let started = contained(|| slot.plugin.activate(context), timeout, late).await;
        started.map_err(of_plugin)?;
        self.host = Some(host.clone());
        Ok(host)
    }

    /// Stops the plugin, if it was started.
    pub(super) async fn end(self) {
        if self.host.is_some() {
            crate::runtime::deactivate(&self.one.slot).await;
        }
    }
}

fn of_plugin(error: PluginError) -> HostError {
    HostError::new(error.code.into_owned(), error.message)
}

fn form(id: &str, error: &serde_json::Error) -> HostError {
    HostError::new(
        "step.reply",
        format!("{id}: the counters do not have their form: {error}"),
    )
}

/// The host of a data step.
struct StepHost {
    plugin: PluginName,
    store: Arc<dyn Store>,
    services: PluginHost,
    running: Mutex<Option<Running>>,
}

struct Running {
    id: String,
    tell: mpsc::UnboundedSender<StepCounts>,
}

impl StepHost {
    fn new(shared: &Shared, store: &Arc<dyn Store>, plugin: &PluginName) -> Self {
        let frame_bytes = shared.guard.limits.frame_bytes;
        let database = Database::new(
            plugin.clone(),
            store.clone(),
            shared.clock.clone(),
            None,
            frame_bytes,
        );
        let services = PluginHost::new(
            plugin.clone(),
            shared.clock.clone(),
            Some(store.clone()),
            Ok(database),
        );
        Self {
            plugin: plugin.clone(),
            store: store.clone(),
            services,
            running: Mutex::default(),
        }
    }

    fn begin(&self, id: String, tell: mpsc::UnboundedSender<StepCounts>) {
        *lock(&self.running) = Some(Running { id, tell });
    }

    fn finish(&self) {
        *lock(&self.running) = None;
    }

    async fn progress(&self, params: Json) -> Result<Json, HostError> {
        let StepProgress { progress, counts } = params
            .to()
            .map_err(|error| HostError::new("params.invalid", error.to_string()))?;
        let text = progress.text().to_owned();
        if text.len() > PROGRESS_BYTES {
            let text = format!(
                "the progress has {} bytes; at most {PROGRESS_BYTES} are allowed",
                text.len()
            );
            return Err(HostError::new("step.progress", text));
        }
        let id = match &*lock(&self.running) {
            Some(running) => {
                // Nobody may be watching any more.
                let _ = running.tell.send(counts);
                running.id.clone()
            }
            None => {
                return Err(HostError::new(
                    "step.not_running",
                    "no data step is running",
                ));
            }
        };
        let saved = self
            .store
            .ledger()
            .save_progress(&self.plugin, &Progress { id, progress: text })
            .await;
        saved.map_err(|error| HostError::new(error.code(), error.to_string()))?;
        Ok(Json::null())
    }
}

impl Host for StepHost {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        match method {
            method::STEP_PROGRESS => Box::pin(self.progress(params)),
            kodex_plugin::wire::method::CLOCK_NOW => self.services.request(method, params),
            _ if method.starts_with("db/") || method.starts_with("state/") => {
                self.services.request(method, params)
            }
            other => Box::pin(std::future::ready(Err(HostError::new(
                "step.service",
                format!(
                    "{other} is not there inside a data step; there are db, state, log, clock and step/progress"
                ),
            )))),
        }
    }

    fn ended(&self, number: u64) {
        self.services.ended(number);
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        self.services.log(level, message, fields);
    }
}
