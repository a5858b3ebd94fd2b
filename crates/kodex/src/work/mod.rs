//! Durable work: agent runs that plugins ask for, their jobs, and the heartbeat.
//!
//! Everything is a job of the store: a run is one of the queue `run`, a plugin's job one of the queue
//! `job`. Asking for something and waking whoever does it are one row, so nothing can be asked for and
//! forgotten. This module knows what the rows mean; the store knows who holds them.

#[cfg(feature = "worker")]
mod command;
pub(crate) mod desk;
mod end;
mod engine;
mod error;
mod file;
mod heartbeat;
mod held;
mod job;
mod list;
#[cfg(feature = "worker")]
mod process;
mod reach;
mod request;
mod run;
mod runner;
mod session;
mod settings;
pub(crate) mod ticket;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kodex_plugin::wire::work::SessionProjection;
use kodex_store::{
    Store,
    queue::{Added, NewJob},
};

#[cfg(feature = "worker")]
pub use self::command::{CommandDelivery, CommandLine, CommandRunner};
pub use self::{
    engine::{WorkHealth, Working},
    error::WorkError,
    file::FileDelivery,
    heartbeat::{HeartbeatSettings, Pulse, PulseOutcome, PulsePlugin},
    list::{WorkFilter, WorkItem, WorkKind, WorkLine, Works as WorkList},
    runner::{AgentRunner, Deliver, DeliverError, Pending, Run, RunEnd, RunLog},
    session::{Followers, SessionRef, Sessions},
    settings::WorkSettings,
};
use crate::Runtime;

/// The queue of agent runs.
pub(crate) const RUNS: &str = "run";
/// The queue of plugins' jobs.
pub(crate) const JOBS: &str = "job";

/// What durable work needs besides the store.
pub(crate) struct Works {
    pub(crate) settings: WorkSettings,
    pub(crate) runner: Option<Arc<dyn AgentRunner>>,
    pub(crate) destinations: BTreeMap<String, Arc<dyn Deliver>>,
    pub(crate) sessions: Option<Arc<dyn Sessions>>,
    pub(crate) tickets: ticket::Tickets,
    pub(crate) rooms: desk::Rooms,
    /// Who holds the claims of this process, for people.
    pub(crate) holder: String,
    n_made: AtomicU64,
}

impl Default for Works {
    fn default() -> Self {
        let mut destinations: BTreeMap<String, Arc<dyn Deliver>> = BTreeMap::new();
        destinations.insert("session".to_owned(), Arc::new(Keep));
        Self {
            settings: WorkSettings::default(),
            runner: None,
            destinations,
            sessions: None,
            tickets: ticket::Tickets::default(),
            rooms: desk::Rooms::default(),
            holder: format!("{}-{}", std::process::id(), random()),
            n_made: AtomicU64::new(0),
        }
    }
}

impl Works {
    /// A name that nothing else has.
    pub(crate) fn unique(&self) -> String {
        let n = self.n_made.fetch_add(1, Ordering::Relaxed);
        request::digest(&format!("{}\0{n}\0{}", self.holder, random()))
    }
}

/// 64 random bits as text: the standard library seeds hashers from the system's random source.
fn random() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// The destination `session`: the answer stays with the run, where whoever holds the session reads it.
struct Keep;

impl Deliver for Keep {
    fn deliver<'a>(&'a self, _: &'a Run, _: &'a str) -> Pending<'a, Result<(), DeliverError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Runtime {
    /// Starts to do work: agent runs and jobs are claimed and executed until [`Working::drain`]. Any number of
    /// processes may work on one store.
    ///
    /// # Errors
    /// [`WorkError`] without a store, and when it cannot be reached.
    pub async fn work(&self) -> Result<Working, WorkError> {
        let store = self.work_store()?;
        Ok(Working::start(self.clone(), store).await?)
    }

    /// Says that a session has ended well and its answer was delivered: every plugin with the hook
    /// `job.session.completed` gets a job. Saying it twice makes no second job. Gives how many were added.
    ///
    /// # Errors
    /// [`WorkError`] without a store, or when it fails; what was delivered stays delivered.
    pub async fn session_completed(&self, session: &SessionRef) -> Result<usize, WorkError> {
        Ok(self.add_followers(session, None).await?.n_added)
    }

    /// The same for a host that keeps no sessions: what jobs may know of the session is stored with each of
    /// them, cleaned, and is gone when they are.
    ///
    /// # Errors
    /// [`WorkError`] without a store, for a session that has not ended, or when the store fails.
    pub async fn session_ended(&self, session: SessionProjection) -> Result<Followers, WorkError> {
        let reference = SessionRef {
            conversation_id: session.conversation_id.clone(),
            session_id: session.session_id.clone(),
        };
        self.add_followers(&reference, Some(session)).await
    }

    async fn add_followers(
        &self,
        session: &SessionRef,
        brought: Option<SessionProjection>,
    ) -> Result<Followers, WorkError> {
        let store = self.work_store()?;
        for (field, text) in [
            ("conversation_id", &session.conversation_id),
            ("session_id", &session.session_id),
        ] {
            if text.trim().is_empty() {
                return Err(WorkError::Session { field });
            }
        }
        let shared = self.shared();
        let hook = format!("job.{}", session::COMPLETED);
        let route = self.current().catalog.route(&hook, &shared.guard)?;
        let key = format!("{}\0{}", session.conversation_id, session.session_id);
        let plugins: Vec<_> = job::named(&route)
            .map(|one| one.slot.name.clone())
            .collect();
        let ids: Vec<_> = plugins
            .iter()
            .map(|plugin| request::job_id(plugin, session::COMPLETED, &key))
            .collect();
        // Whoever says so too early is told, instead of every job.
        let kept = match brought {
            Some(brought) => {
                let sound = session::sound(brought, session).map_err(WorkError::Unfinished)?;
                Some(session::fitting(sound))
            }
            None if plugins.is_empty() => None,
            None => {
                let loaded = session::load(&shared.works, session).await;
                loaded.map_err(WorkError::Unfinished)?;
                None
            }
        };
        let payload = engine::raw(&job::JobPayload {
            params: kodex_plugin::Json::of(session)
                .map_err(|_| WorkError::Session { field: "id" })?,
            session: Some(session.clone()),
            kept,
        });
        let payload = payload.ok_or(WorkError::Session { field: "id" })?;
        let settings = &shared.works.settings;
        let jobs: Vec<_> = plugins
            .iter()
            .zip(&ids)
            .map(|(plugin, id)| NewJob {
                max_age_ms: Some(kodex_plugin::clock::millis(settings.job_age)),
                max_attempts: settings.attempts,
                ..NewJob::new(id, JOBS, plugin, session::COMPLETED, &payload)
            })
            .collect();
        let mut n_added = 0;
        for some in jobs.chunks(kodex_store::queue::N_TOGETHER) {
            let added = store.queue().add(some).await?;
            n_added += added
                .iter()
                .filter(|added| **added == Added::Created)
                .count();
        }
        Ok(Followers { ids, n_added })
    }

    pub(crate) fn work_store(&self) -> Result<Arc<dyn Store>, WorkError> {
        self.shared().store.clone().ok_or(WorkError::NoStore)
    }
}
