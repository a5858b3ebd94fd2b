//! Applies one step after the other. Data steps run in the plugin's own code, with a host that offers
//! what there is during an upgrade and nothing else.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
};

use kodex_plugin::{
    Context, Host, HostCall, HostError, Json, Limits, Plugin, PluginError, RequestKind,
    host::LogLevel,
    wire::{
        method::CLOCK_NOW,
        store::{StepCounts, StepPayload, StepProgress, method::STEP_PROGRESS},
    },
};
use kodex_store::{
    Step,
    journal::{Progress, StepKind},
};

use super::{AppliedStep, Database, behind};
use crate::{FakeHost, call::request, finish};

/// Longest progress of a data step.
const PROGRESS_BYTES: usize = 64 << 10;

/// One upgrade. Dropping it stops the plugin, if a data step started it.
pub(super) struct Stepping<'a> {
    database: &'a Database,
    plugin: &'a dyn Plugin,
    host: Arc<StepHost>,
    is_active: bool,
}

impl<'a> Stepping<'a> {
    pub(super) fn new(host: &FakeHost, database: &'a Database, plugin: &'a dyn Plugin) -> Self {
        Self {
            database,
            plugin,
            host: Arc::new(StepHost {
                host: host.clone(),
                running: Mutex::default(),
            }),
            is_active: false,
        }
    }

    pub(super) fn apply(
        &mut self,
        step: &Step,
        after: Option<&str>,
    ) -> Result<AppliedStep, HostError> {
        let (database, name) = (self.database, &self.database.plugin);
        let ledger = database.store.ledger();
        let (done, counts) = match step.kind {
            StepKind::Sql | StepKind::Bare => {
                let one = StepCounts {
                    scanned: 1,
                    migrated: 1,
                    ..StepCounts::default()
                };
                (database.wait(ledger.apply(name, step, after))?, one)
            }
            StepKind::Code => {
                let counts = self.run(step)?;
                (database.wait(ledger.record(name, step, after))?, counts)
            }
        };
        done.map_err(|error| self.failed(step, error.code(), &error))?;
        Ok(AppliedStep {
            file: step.file.clone(),
            counts,
        })
    }

    fn run(&mut self, step: &Step) -> Result<StepCounts, HostError> {
        self.activate()
            .map_err(|error| self.failed(step, &error.code, &error.message))?;
        let (database, name) = (self.database, &self.database.plugin);
        let id = step.id(name);
        let saved = database.wait(database.store.ledger().progress(name, &id))??;
        let progress = saved.map_or(Ok(Json::null()), |saved| {
            Json::parse(&saved.progress, &Limits::default())
        });
        let progress = progress.map_err(|error| self.failed(step, "step.progress", &error))?;
        let form = |error: serde_json::Error| self.failed(step, "step.reply", &error);
        let payload = Json::of(&StepPayload { progress }).map_err(form)?;
        self.host.begin(Some(id));
        let answer = finish(
            self.plugin
                .call(request(RequestKind::Step, step.name(), &payload)),
        );
        self.host.begin(None);
        let reply = answer.map_err(|error| self.failed(step, &error.code, &error.message))?;
        match reply.0 {
            Some(reply) if !reply.is_null() => reply.to().map_err(form),
            _ => Ok(StepCounts::default()),
        }
    }

    fn activate(&mut self) -> Result<(), PluginError> {
        if !self.is_active {
            let context = Context {
                plugin: self.database.plugin.clone(),
                config: Json::object(),
                grants: Vec::new(),
                host: self.host.clone(),
            };
            finish(self.plugin.activate(context))?;
            self.is_active = true;
        }
        Ok(())
    }

    fn failed(&self, step: &Step, code: &str, problem: &dyn Display) -> HostError {
        let id = step.id(&self.database.plugin);
        HostError::new(code, format!("{id} failed: {problem}"))
    }
}

impl Drop for Stepping<'_> {
    fn drop(&mut self) {
        if self.is_active {
            let _ = finish(self.plugin.deactivate());
        }
    }
}

/// The host of a data step.
struct StepHost {
    host: FakeHost,
    running: Mutex<Option<String>>,
}

impl StepHost {
    fn begin(&self, id: Option<String>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    async fn progress(&self, params: &Json) -> Result<Json, HostError> {
        let StepProgress { progress, .. } = params
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
        let running = self.running.lock();
        let running = running.unwrap_or_else(PoisonError::into_inner).clone();
        let id =
            running.ok_or_else(|| HostError::new("step.not_running", "no data step is running"))?;
        let database = self.host.database.get().ok_or_else(behind)?;
        let saving = Progress { id, progress: text };
        let ledger = database.store.ledger();
        let work = ledger.save_progress(&database.plugin, &saving);
        database.inside(work).await?;
        Ok(Json::null())
    }
}

impl Host for StepHost {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        match method {
            STEP_PROGRESS => Box::pin(async move {
                self.host.record(method, &params);
                self.progress(&params).await
            }),
            _ if method == CLOCK_NOW
                || method.starts_with("db/")
                || method.starts_with("state/") =>
            {
                self.host.request(method, params)
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
        self.host.ended(number);
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        self.host.log(level, message, fields);
    }
}
