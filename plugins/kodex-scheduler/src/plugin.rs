//! The plugin itself: what it declares, and which part of it answers what.

use std::sync::{Arc, PoisonError, RwLock};

use kodex_plugin::{
    Call, Context, Failure, HookName, HostError, Json, Manifest, NameError, Plugin, PluginError,
    PluginName, Reply, Request, RequestKind,
    agent::Agent,
    capability,
    db::Db,
    hook::{self, BeatReply, ReportRequest},
    manifest::{Database, Run, Subscription, Version},
    wire::{Now, method, store::StepPayload},
};
use serde::Serialize;

use crate::{
    beat::Beat, moment::Ms, people, report, settings::Settings, steps, store::Tables, tools,
};

/// The migrations, compiled in.
pub const MIGRATIONS: &[(&str, &str)] = &[
    (
        "0001_tasks_and_runs.sql",
        include_str!("../migrations/0001_tasks_and_runs.sql"),
    ),
    (
        "0002_tasks_from_state.sql",
        include_str!("../migrations/0002_tasks_from_state.sql"),
    ),
    (
        "0003_passed_over.sql",
        include_str!("../migrations/0003_passed_over.sql"),
    ),
];

/// The plugin's name.
pub const NAME: &str = "kodex-scheduler";

/// The scheduler. See the [crate](crate) for what it answers.
pub struct SchedulerPlugin {
    manifest: Manifest,
    /// What it was activated with last: an upgrade activates it too, with another host.
    alive: RwLock<Option<Arc<Alive>>>,
}

struct Alive {
    context: Context,
    settings: Settings,
}

impl std::fmt::Debug for SchedulerPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerPlugin").finish_non_exhaustive()
    }
}

impl SchedulerPlugin {
    /// The scheduler, not yet activated.
    ///
    /// # Errors
    /// Never, as long as its names are names.
    pub fn new() -> Result<Self, NameError> {
        let version = Version::new(env!("CARGO_PKG_VERSION"));
        let about =
            "Starts agent runs by the clock: once, by the calendar, by cron or at intervals.";
        let mut manifest = Manifest::new(PluginName::new(NAME)?, version, about, Run::Native);
        manifest.capabilities = capability::normalise(["schedule.tasks"]);
        manifest.database = Some(Database {
            migrations: "migrations".to_owned(),
            renamed_from: None,
        });
        manifest.tools = tools::tools()?;
        for name in ["heartbeat", "report"].into_iter().chain(people::HOOKS) {
            manifest.hooks.push(Subscription::new(HookName::new(name)?));
        }
        Ok(Self {
            manifest,
            alive: RwLock::new(None),
        })
    }

    fn alive(&self) -> Option<Arc<Alive>> {
        // Nothing can be half done under this lock, so a panic of a reader leaves no harm.
        self.alive
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_alive(&self, alive: Option<Alive>) {
        *self.alive.write().unwrap_or_else(PoisonError::into_inner) = alive.map(Arc::new);
    }

    async fn answer(&self, request: Request<'_>) -> Result<Reply, PluginError> {
        let Some(alive) = self.alive() else {
            return Err(PluginError::new(
                Failure::Unavailable,
                "not_initialized",
                "the scheduler was asked before it was activated",
            ));
        };
        match (request.kind, request.name) {
            (RequestKind::Hook, "heartbeat") => alive.beat(request.payload).await,
            (RequestKind::Hook, "report") => alive.report(request.payload).await,
            (RequestKind::Hook, name) if people::HOOKS.contains(&name) => {
                let now_ms = alive.now().await.map_err(failed)?;
                let answer = people::call(&alive.context, &alive.settings, request, now_ms).await;
                Ok(answer.map(Reply::from)?)
            }
            (RequestKind::Tool, _) => {
                let now_ms = alive.now().await.map_err(failed)?;
                let answer = tools::call(&alive.context, &alive.settings, request, now_ms).await;
                Ok(answer.map(Reply::from)?)
            }
            (RequestKind::Step, steps::FROM_STATE) => {
                let payload: StepPayload = form(request.payload)?;
                let counts = steps::tasks_from_state(&alive.context, &payload).await;
                written(&counts.map_err(failed)?)
            }
            _ => Ok(Reply::nothing()),
        }
    }
}

impl Plugin for SchedulerPlugin {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn migrations(&self) -> &'static [(&'static str, &'static str)] {
        MIGRATIONS
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        Call::Ready(Settings::read(&context.config).map(|settings| {
            self.set_alive(Some(Alive { context, settings }));
        }))
    }

    fn deactivate(&self) -> Call<'_, ()> {
        self.set_alive(None);
        Call::Ready(Ok(()))
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        Call::pending(self.answer(request))
    }
}

impl Alive {
    async fn beat(&self, payload: &Json) -> Result<Reply, PluginError> {
        let beat: hook::Beat = form(payload)?;
        let (db, agent) = (Db::of(&self.context), Agent::of(&self.context));
        let beat = Beat {
            db: &db,
            agent: &agent,
            host: &*self.context.host,
            settings: &self.settings,
            ticket: beat.ticket,
            now_ms: Ms::try_from(beat.now_unix_ms).unwrap_or(Ms::MAX),
        };
        let done = beat.run().await.map_err(failed)?;
        written(&BeatReply {
            n_started: Some(u64::try_from(done.n_started).unwrap_or(u64::MAX)),
        })
    }

    async fn report(&self, payload: &Json) -> Result<Reply, PluginError> {
        let request: ReportRequest = form(payload)?;
        let now_ms = Ms::try_from(request.now_unix_ms).unwrap_or(Ms::MAX);
        let db = Db::of(&self.context);
        written(&report::report(&Tables(&db), now_ms).await.map_err(failed)?)
    }

    async fn now(&self) -> Result<Ms, HostError> {
        let answer = self
            .context
            .host
            .request(method::CLOCK_NOW, Json::object())
            .await?;
        let now: Now = answer
            .to()
            .map_err(|error| HostError::new("host.form", error.to_string()))?;
        Ok(Ms::try_from(now.unix_ms).unwrap_or(Ms::MAX))
    }
}

fn form<T: serde::de::DeserializeOwned>(payload: &Json) -> Result<T, PluginError> {
    payload
        .to()
        .map_err(|error| PluginError::new(Failure::Domain, "params.invalid", error.to_string()))
}

fn written(reply: &impl Serialize) -> Result<Reply, PluginError> {
    let json = Json::of(reply)
        .map_err(|error| PluginError::new(Failure::InvalidReply, "host.form", error.to_string()))?;
    Ok(Reply::from(json))
}

fn failed(error: HostError) -> PluginError {
    PluginError::new(Failure::Raised, error.code, error.message)
}
