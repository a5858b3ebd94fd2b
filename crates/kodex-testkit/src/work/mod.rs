//! Agent runs and jobs of one plugin in memory: the services `agent/*` and `job/*` with a host's rules and
//! limits, on the clock of the fake host.
//!
//! No agent is run: the test says how a run ends. Heartbeats and jobs happen when the test says so.

mod kept;
mod rule;

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use kodex_plugin::{
    Failure, Json, Plugin, PluginError, Reply,
    hook::Beat,
    wire::work::{AgentDispatch, JobCall, JobEnqueue, RunStatus, SessionProjection},
};

pub(crate) use self::kept::Work;
use crate::{FakeHost, call_hook};

/// An agent run that the plugin asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeRun {
    /// The run.
    pub id: String,
    /// What was asked for.
    pub asked: AgentDispatch,
    /// Where it is; [`FakeHost::end_run`] changes it.
    pub status: RunStatus,
    /// When the result was there, in milliseconds since 1970-01-01 UTC.
    pub result_at_ms: Option<u64>,
    /// Why it failed, is blocked or was cancelled.
    pub error: Option<String>,
}

/// A job of the plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeJob {
    /// The job.
    pub id: String,
    /// What was asked for.
    pub asked: JobEnqueue,
    /// Where it is.
    pub status: RunStatus,
    /// How often it was begun.
    pub attempt: u32,
    /// When it is due, in milliseconds since 1970-01-01 UTC.
    pub due_at_ms: u64,
    /// What the plugin replied.
    pub result: Option<Json>,
    /// When the result was there, in milliseconds since 1970-01-01 UTC.
    pub result_at_ms: Option<u64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// What was recorded as effects, by key.
    pub effects: BTreeMap<String, Json>,
    is_wanted: bool,
}

/// Ends a ticket with its call, however that ends.
struct Ticket<'a>(&'a FakeHost, u64);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.work().end_ticket(self.1);
    }
}

impl FakeHost {
    /// Learns a plugin's name and jobs, from which ids and `job.unknown` follow. Until then every name is that
    /// of a job. [`FakeHost::beat`] and the methods that run jobs do it by themselves.
    ///
    /// ```
    /// use kodex_plugin::{Define, Reply, job::{Job, Jobs}};
    /// use kodex_testkit::{CALL_LIMIT, FakeHost, block_on};
    /// use std::sync::Arc;
    ///
    /// let plugin = Define::new("index", "0.1.0", "Keeps an index.")
    ///     .hook("job.reindex", |_| Ok(Reply::nothing()))
    ///     .build()?;
    /// let host = FakeHost::new();
    /// host.know(&*plugin);
    /// let jobs = Jobs::new(Arc::new(host.clone()));
    /// let refused = block_on(jobs.enqueue(Job::new("reindeer")), CALL_LIMIT).expect("an answer");
    /// assert_eq!(refused.expect_err("no such job").code, "job.unknown");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn know(&self, plugin: &dyn Plugin) {
        let manifest = plugin.manifest();
        let hooks = manifest.hooks.iter().map(|wish| wish.on.to_string());
        self.work().know(manifest.name.to_string(), hooks.collect());
    }

    /// Calls the hook `heartbeat` with a ticket, which ends with the call.
    ///
    /// # Errors
    /// What the plugin answered.
    ///
    /// ```
    /// use kodex_plugin::{Define, PluginError, Reply, agent::{Agent, Run}, hook::Beat, wire::work::Destination};
    /// use kodex_testkit::{CALL_LIMIT, FakeHost, block_on};
    /// use std::sync::Arc;
    ///
    /// let host = FakeHost::new();
    /// let agent = Agent::new(Arc::new(host.clone()));
    /// let plugin = Define::new("nightly", "0.1.0", "Asks for a report.")
    ///     .hook("heartbeat", move |request| {
    ///         let beat: Beat = request.payload.to().expect("a heartbeat");
    ///         let to = Destination { kind: "file".into(), address: "report.md".into() };
    ///         let run = Run::new("today", to, "Write the report.");
    ///         let asked = block_on(agent.dispatch(beat.ticket, run), CALL_LIMIT).expect("an answer");
    ///         asked.map_err(|error| PluginError::raised(error.to_string()))?;
    ///         Ok(Reply::nothing())
    ///     })
    ///     .build()?;
    ///
    /// host.beat(&*plugin)?;
    /// host.beat(&*plugin)?;
    /// assert_eq!(host.runs().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn beat(&self, plugin: &dyn Plugin) -> Result<Reply, PluginError> {
        self.know(plugin);
        let ticket = self.work().issue(None);
        let ticket = Ticket(self, ticket);
        let beat = Beat {
            now_unix_ms: self.unix_ms(),
            ticket: ticket.1,
        };
        call_hook(plugin, "heartbeat", written(&beat)?)
    }

    /// Adds a job and makes its first attempt.
    ///
    /// # Errors
    /// What the plugin answered.
    ///
    /// ```
    /// use kodex_plugin::{Define, Reply, wire::work::JobCall};
    /// use kodex_testkit::FakeHost;
    /// use serde_json::json;
    ///
    /// let plugin = Define::new("index", "0.1.0", "Keeps an index.")
    ///     .hook("job.reindex", |request| {
    ///         let job: JobCall = request.payload.to().expect("a job");
    ///         Ok(Reply::from(json!({"attempt": job.attempt, "file": job.params})))
    ///     })
    ///     .build()?;
    /// let reply = FakeHost::new().call_job(&*plugin, "reindex", json!("a.md"))?;
    /// assert_eq!(reply, Reply::from(json!({"attempt": 1, "file": "a.md"})));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_job(
        &self,
        plugin: &dyn Plugin,
        name: &str,
        params: impl Into<Json>,
    ) -> Result<Reply, PluginError> {
        self.know(plugin);
        let id = self.work().push(name, params.into(), self.unix_ms());
        self.attempt(plugin, &id, None)
    }

    /// Calls the job that the end of a session triggers.
    ///
    /// # Errors
    /// What the plugin answered.
    pub fn end_session(
        &self,
        plugin: &dyn Plugin,
        session: SessionProjection,
    ) -> Result<Reply, PluginError> {
        self.know(plugin);
        let name = "session.completed";
        let id = self.work().push(name, Json::null(), self.unix_ms());
        self.attempt(plugin, &id, Some(session))
    }

    /// Runs the jobs that are due, those that they add too; gives their ids in order. One that fails is due
    /// again after a pause on [`FakeHost::clock`], until its attempts are used up.
    pub fn run_jobs(&self, plugin: &dyn Plugin) -> Vec<String> {
        self.know(plugin);
        let mut done = Vec::new();
        loop {
            let due = self.work().due(self.unix_ms());
            let Some(id) = due else { return done };
            // How it ended stands in the job, as with a host.
            let _ = self.attempt(plugin, &id, None);
            done.push(id);
        }
    }

    /// The agent runs that were asked for, the oldest first.
    #[must_use]
    pub fn runs(&self) -> Vec<FakeRun> {
        self.work().runs.clone()
    }

    /// The plugin's jobs, the oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<FakeJob> {
        self.work().jobs.clone()
    }

    /// Says how a run went; says whether there is one.
    pub fn end_run(&self, id: &str, status: RunStatus, error: Option<&str>) -> bool {
        self.work().end_run(id, status, error, self.unix_ms())
    }

    fn attempt(
        &self,
        plugin: &dyn Plugin,
        id: &str,
        session: Option<SessionProjection>,
    ) -> Result<Reply, PluginError> {
        let begun = self.work().begin(id);
        let Some((name, call)) = begun else {
            let text = format!("there is no job {id}");
            return Err(PluginError::new(
                Failure::Unavailable,
                "testkit.job.unknown",
                text,
            ));
        };
        let ticket = Ticket(self, call.ticket);
        let call = JobCall { session, ..call };
        let answer = call_hook(plugin, &format!("job.{name}"), written(&call)?);
        drop(ticket);
        self.work().ended(id, &answer, self.unix_ms());
        answer
    }

    fn unix_ms(&self) -> u64 {
        kodex_plugin::Clock::unix_ms(self.clock())
    }

    pub(crate) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn written(value: &impl serde::Serialize) -> Result<Json, PluginError> {
    Json::of(value)
        .map_err(|error| PluginError::new(Failure::InvalidReply, "host.form", error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use kodex_plugin::{
        Define,
        job::{Job, Jobs},
    };
    use serde_json::json;

    use super::*;
    use crate::{CALL_LIMIT, block_on};

    /// A plugin whose job records an effect and fails in its first attempts.
    fn worker(host: &FakeHost, n_failing: u32) -> Arc<dyn Plugin> {
        let jobs = Jobs::new(Arc::new(host.clone()));
        let work = move |request: kodex_plugin::Request<'_>| {
            let job: JobCall = request.payload.to().expect("a job");
            let known = jobs.effect::<u32>(job.ticket, "first", &job.attempt);
            let known = block_on(known, CALL_LIMIT).expect("an answer");
            let known = known.map_err(|error| PluginError::raised(error.message))?;
            if job.attempt <= n_failing {
                return Err(PluginError::raised("no luck"));
            }
            Ok(Reply::from(json!({"known": known, "params": job.params})))
        };
        let plugin = Define::new("works", "0.1.0", "Works.").hook("job.work", work);
        plugin.build().expect("a plugin")
    }

    fn add(host: &FakeHost, job: Job) -> String {
        let jobs = Jobs::new(Arc::new(host.clone()));
        let accepted = block_on(jobs.enqueue(job), CALL_LIMIT).expect("an answer");
        accepted.expect("accepted").id
    }

    #[test]
    fn a_job_is_tried_again_after_pauses_and_its_effect_stays() {
        let host = FakeHost::new();
        let plugin = worker(&host, 2);
        let id = add(&host, Job::new("work").params(&7).expect("JSON"));
        for (wait_ms, ran, status) in [
            (0, true, RunStatus::Pending),
            (999, false, RunStatus::Pending),
            (1, true, RunStatus::Pending),
            (4_999, false, RunStatus::Pending),
            (1, true, RunStatus::Completed),
            (600_000, false, RunStatus::Completed),
        ] {
            host.clock().advance(Duration::from_millis(wait_ms));
            assert_eq!(!host.run_jobs(&*plugin).is_empty(), ran, "after {wait_ms}");
            assert_eq!(host.jobs()[0].status, status, "after {wait_ms}");
        }
        let job = &host.jobs()[0];
        assert_eq!((&job.id, job.attempt), (&id, 3));
        assert_eq!(job.result, Some(json!({"known": 1, "params": 7}).into()));
        assert_eq!(job.effects["first"], json!(1).into());
    }

    #[test]
    fn attempts_are_used_up() {
        let host = FakeHost::new();
        let plugin = worker(&host, 9);
        add(&host, Job::new("work").max_attempts(2));
        host.run_jobs(&*plugin);
        host.clock().advance(Duration::from_secs(1));
        host.run_jobs(&*plugin);
        let job = &host.jobs()[0];
        let shown = (job.status, job.error.as_deref());
        assert_eq!(shown, (RunStatus::Failed, Some("no luck")));
        assert_eq!(host.run_jobs(&*plugin), Vec::<String>::new());
    }

    #[test]
    fn the_end_of_a_session_is_a_job() {
        let plugin = Define::new("listens", "0.1.0", "Listens.")
            .hook("job.session.completed", |request| {
                let job: JobCall = request.payload.to().expect("a job");
                let session = job.session.expect("a session");
                Ok(Reply::from(json!(session.session_id)))
            })
            .build()
            .expect("a plugin");
        let host = FakeHost::new();
        let session = SessionProjection {
            session_id: "s-1".into(),
            ..SessionProjection::default()
        };
        let reply = host.end_session(&*plugin, session).expect("a reply");
        assert_eq!(reply, Reply::from(json!("s-1")));
    }
}
