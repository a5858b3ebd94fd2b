//! The services `agent/*` and `job/*`: what a plugin may ask of durable work.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use kodex_plugin::{
    HostError, Json, Manifest, PluginName,
    wire::work::{
        Accepted, AgentDispatch, ById, CancelAsked, EffectKnown, JobEffect, JobEnqueue,
        JobPriority, Novelty, Projection, RunStatus, method,
    },
};
use kodex_store::{
    Store, StoreError,
    door::{read, written},
    queue::{Added, Cancelled, Effect, Job, JobState, NewJob, PAYLOAD_BYTES, Priority},
};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    JOBS, RUNS, Works,
    job::JobPayload,
    request::{self, job_id, run_id},
};
use crate::{host::refused, register::lock};

/// How long a count of waiting jobs is believed.
const COUNT_FOR: std::time::Duration = std::time::Duration::from_secs(5);

/// How many jobs plugins may still add before they are counted again.
#[derive(Default)]
pub(crate) struct Rooms(Mutex<HashMap<(PluginName, &'static str), Room>>);

struct Room {
    n_left: u64,
    until: Instant,
}

/// The runs and jobs of one plugin.
pub(crate) struct Desk {
    plugin: PluginName,
    manifest: Option<Arc<Manifest>>,
    store: Arc<dyn Store>,
    works: Arc<Works>,
}

impl Desk {
    pub(crate) fn new(
        plugin: PluginName,
        manifest: Option<Arc<Manifest>>,
        store: Arc<dyn Store>,
        works: Arc<Works>,
    ) -> Self {
        Self {
            plugin,
            manifest,
            store,
            works,
        }
    }

    pub(crate) async fn serve(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        match method {
            method::AGENT_DISPATCH => self.dispatch(read(method, params)?).await,
            method::AGENT_GET => self.project(RUNS, read(method, params)?).await,
            method::AGENT_CANCEL => self.cancel(RUNS, read(method, params)?).await,
            method::JOB_ENQUEUE => self.enqueue(read(method, params)?).await,
            method::JOB_GET => self.project(JOBS, read(method, params)?).await,
            method::JOB_CANCEL => self.cancel(JOBS, read(method, params)?).await,
            method::JOB_EFFECT => self.effect(read(method, params)?).await,
            unknown => Err(HostError::unknown_method(unknown)),
        }
    }

    async fn dispatch(&self, asked: AgentDispatch) -> Result<Json, HostError> {
        let ticket = asked.ticket;
        self.works.tickets.check(&self.plugin, ticket)?;
        let id = run_id(&self.plugin, &asked.idempotency_key);
        let kinds: Vec<_> = self.works.destinations.keys().map(String::as_str).collect();
        let request = request::run_request(&self.plugin, asked, &kinds)?;
        if let Err(full) = self.has_room(RUNS, "agent.queue_full").await {
            let known = self.known(RUNS, &id, full).await?;
            self.works.tickets.count_dispatch(&self.plugin, ticket)?;
            return Ok(known);
        }
        let place = &request.destination;
        let lane = lane(&format!("{}:{}", place.kind, place.address));
        let payload = text(&request)?;
        self.works.tickets.count_dispatch(&self.plugin, ticket)?;
        let settings = &self.works.settings;
        let job = NewJob {
            lane: Some(&lane),
            max_age_ms: Some(kodex_plugin::clock::millis(settings.run_age)),
            max_attempts: settings.attempts,
            ..NewJob::new(&id, RUNS, &self.plugin, "agent", &payload)
        };
        self.add(&job).await
    }

    async fn enqueue(&self, asked: JobEnqueue) -> Result<Json, HostError> {
        let hook = request::job_request(&self.plugin, &asked)?;
        let wishes = self
            .manifest
            .as_ref()
            .map(|manifest| manifest.hooks.as_slice());
        if !wishes
            .unwrap_or_default()
            .iter()
            .any(|wish| wish.on == hook)
        {
            let text = format!(
                "plugin {} has no job {:?}; subscribe to the hook {hook}",
                self.plugin, asked.name
            );
            return Err(HostError::new("job.unknown", text));
        }
        let id = match &asked.key {
            Some(key) => job_id(&self.plugin, &asked.name, key),
            None => format!("job_{}", self.works.unique()),
        };
        if let Err(full) = self.has_room(JOBS, "job.queue_full").await {
            return self.known(JOBS, &id, full).await;
        }
        let payload = text(&JobPayload {
            params: asked.params,
            session: None,
            kept: None,
        })?;
        let lane = asked
            .lane
            .map(|name| lane(&format!("{}:{name}", self.plugin)));
        let settings = &self.works.settings;
        let age = settings.job_age + std::time::Duration::from_millis(asked.delay_ms);
        let job = NewJob {
            lane: lane.as_deref(),
            priority: match asked.priority {
                JobPriority::Urgent => Priority::Urgent,
                JobPriority::Normal => Priority::Normal,
                JobPriority::Low => Priority::Low,
            },
            delay_ms: asked.delay_ms,
            max_age_ms: Some(kodex_plugin::clock::millis(age)),
            max_attempts: asked.max_attempts.unwrap_or(settings.attempts),
            ..NewJob::new(&id, JOBS, &self.plugin, &asked.name, &payload)
        };
        self.add(&job).await
    }

    /// Stores a job. A connection that broke may have stored it, and asking again by the same id says so.
    async fn add(&self, job: &NewJob<'_>) -> Result<Json, HostError> {
        let jobs = [*job];
        let queue = self.store.queue();
        let added = match queue.add(&jobs).await {
            Err(StoreError::Lost { .. }) => queue.add(&jobs).await,
            answer => answer,
        };
        let (id, status) = match added.map_err(refused)?.into_iter().next() {
            Some(Added::Existing { id, .. }) => (id, Novelty::AlreadyExists),
            _ => (job.id.to_owned(), Novelty::Created),
        };
        written(&Accepted { id, status })
    }

    /// What is asked for again is there, however full it is.
    async fn known(&self, queue: &str, id: &str, full: HostError) -> Result<Json, HostError> {
        match self.own(queue, id).await? {
            Some(job) => written(&Accepted {
                id: job.id,
                status: Novelty::AlreadyExists,
            }),
            None => Err(full),
        }
    }

    /// Fails when the plugin has as much waiting as it may.
    async fn has_room(&self, queue: &'static str, code: &str) -> Result<(), HostError> {
        let key = (self.plugin.clone(), queue);
        let now = Instant::now();
        if let Some(room) = lock(&self.works.rooms.0).get_mut(&key)
            && room.until > now
            && room.n_left > 0
        {
            room.n_left -= 1;
            return Ok(());
        }
        let limit = self.works.settings.n_waiting;
        let n = self
            .store
            .queue()
            .n_living(queue, &self.plugin, limit)
            .await
            .map_err(refused)?;
        if n >= limit {
            let text = format!(
                "plugin {} has {n} unfinished in this queue, as many as it may; ask again when some are done",
                self.plugin
            );
            return Err(HostError::new(code, text));
        }
        let room = Room {
            // Other nodes add too, so only half of what is left is given away without looking.
            n_left: (limit - n) / 2,
            until: now + COUNT_FOR,
        };
        lock(&self.works.rooms.0).insert(key, room);
        Ok(())
    }

    async fn own(&self, queue: &str, id: &str) -> Result<Option<Job>, HostError> {
        let found = self.store.queue().find(id).await.map_err(refused)?;
        Ok(found.filter(|job| job.plugin == self.plugin && job.queue == queue))
    }

    async fn project(&self, queue: &str, ById { id }: ById) -> Result<Json, HostError> {
        let found = self.own(queue, &id).await?;
        written(&found.as_ref().map(projection).unwrap_or_default())
    }

    async fn cancel(&self, queue: &str, ById { id }: ById) -> Result<Json, HostError> {
        let done = match self.own(queue, &id).await? {
            None => false,
            Some(_) => {
                let cancelled = self.store.queue().cancel(&id).await.map_err(refused)?;
                !matches!(cancelled, Cancelled::Unknown)
            }
        };
        written(&CancelAsked { done })
    }

    async fn effect(&self, asked: JobEffect) -> Result<Json, HostError> {
        let lease = self.works.tickets.job(&self.plugin, asked.ticket)?;
        let raw = asked.value.raw();
        if asked.key.trim().is_empty()
            || asked.key.chars().count() > 512
            || raw.get().len() > PAYLOAD_BYTES
        {
            let text = format!(
                "plugin {}: an effect has a key of 1 to 512 characters and a value of at most {PAYLOAD_BYTES} bytes; nothing was recorded",
                self.plugin
            );
            return Err(HostError::new("job.invalid", text));
        }
        let known = match self
            .store
            .queue()
            .effect(&lease, &asked.key, raw)
            .await
            .map_err(refused)?
        {
            Effect::First => EffectKnown {
                first: true,
                value: asked.value,
            },
            Effect::Again(value) => EffectKnown {
                first: false,
                value: Json::checked(value),
            },
            Effect::Lost => {
                let text = format!(
                    "plugin {}: somebody else has taken the job; nothing was recorded",
                    self.plugin
                );
                return Err(HostError::new("ticket.ended", text));
            }
        };
        written(&known)
    }
}

/// Where a job is, in the words of the contract.
pub(super) fn status(job: &Job) -> RunStatus {
    match job.state {
        JobState::Pending if job.checkpoint.is_some() => RunStatus::AwaitingResume,
        JobState::Pending => RunStatus::Pending,
        JobState::Running => RunStatus::Running,
        JobState::Blocked => RunStatus::Blocked,
        JobState::Completed => RunStatus::Completed,
        JobState::Failed | JobState::Dead => RunStatus::Failed,
        JobState::Cancelled => RunStatus::Cancelled,
    }
}

/// What a plugin may know of a job of its own: nothing of the request.
fn projection(job: &Job) -> Projection {
    let status = status(job);
    let has_failed = matches!(
        status,
        RunStatus::Failed | RunStatus::Blocked | RunStatus::Cancelled
    );
    Projection {
        id: Some(job.id.clone()),
        status: Some(status),
        result_at_ms: job.ended_at_ms.filter(|_| status == RunStatus::Completed),
        error: job.reason.clone().filter(|_| has_failed),
    }
}

/// A lane of at most the length that the store takes, different for different places.
fn lane(name: &str) -> String {
    if name.chars().count() <= kodex_store::queue::NAME_CHARS {
        return name.to_owned();
    }
    request::digest(name)
}

fn text(value: &impl serde::Serialize) -> Result<Box<RawValue>, HostError> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| HostError::new("host.form", error.to_string()))
}
