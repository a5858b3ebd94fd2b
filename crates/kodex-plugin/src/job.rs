//! Background work, for plugins in Rust: a thin door over the host services `job/*`.
//!
//! A job is a hook `job.<name>` that the host calls with a [`JobCall`](crate::wire::work::JobCall), again and
//! again until it succeeds or its attempts are used up.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Context, Host, HostError, Json,
    db::ask,
    wire::work::{
        Accepted, ById, CancelAsked, EffectKnown, JobEffect, JobEnqueue, JobPriority, Projection,
        method,
    },
};

/// The plugin's jobs. Cloning it is cheap.
///
/// ```
/// use kodex_plugin::{Context, HostError, job::{Job, Jobs}};
///
/// async fn changed(context: &Context, file: &str) -> Result<(), HostError> {
///     let job = Job::new("reindex").params(&file)?.key(format!("reindex {file}"));
///     Jobs::of(context).enqueue(job).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Jobs {
    host: Arc<dyn Host>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

/// A job to add.
#[derive(Debug, Clone, PartialEq)]
pub struct Job(JobEnqueue);

impl Job {
    /// A job that is due at once, by its name: what follows `job.` in the plugin's hook.
    pub fn new(name: impl Into<String>) -> Self {
        Self(JobEnqueue {
            name: name.into(),
            params: Json::null(),
            key: None,
            delay_ms: 0,
            priority: JobPriority::Normal,
            lane: None,
            max_attempts: None,
        })
    }

    /// What it is called with.
    ///
    /// # Errors
    /// `host.form` when it cannot be written as JSON.
    pub fn params(mut self, params: &(impl Serialize + ?Sized)) -> Result<Self, HostError> {
        self.0.params =
            Json::of(params).map_err(|error| HostError::new("host.form", error.to_string()))?;
        Ok(self)
    }

    /// The same plugin, name and key always mean the same job.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// How long to wait before it is due.
    #[must_use]
    pub fn delay_ms(mut self, delay_ms: u64) -> Self {
        self.0.delay_ms = delay_ms;
        self
    }

    /// How much it hurries.
    #[must_use]
    pub fn priority(mut self, priority: JobPriority) -> Self {
        self.0.priority = priority;
        self
    }

    /// Jobs of one plugin and lane never run at the same time.
    #[must_use]
    pub fn lane(mut self, lane: impl Into<String>) -> Self {
        self.0.lane = Some(lane.into());
        self
    }

    /// How often it is tried.
    #[must_use]
    pub fn max_attempts(mut self, n: u32) -> Self {
        self.0.max_attempts = Some(n);
        self
    }
}

impl Jobs {
    /// The jobs of the plugin that was activated with this context.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        Self::new(context.host.clone())
    }

    /// The jobs behind a host.
    #[must_use]
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// Adds a job. Once this has answered, the job is durable.
    ///
    /// # Errors
    /// `job.invalid` names the field and the rule, with nothing stored; `job.unknown` when the plugin has
    /// no such job; `job.queue_full`.
    pub async fn enqueue(&self, job: Job) -> Result<Accepted, HostError> {
        ask(&*self.host, method::JOB_ENQUEUE, &job.0).await
    }

    /// Where a job of this plugin is; none when it has no such job.
    ///
    /// # Errors
    /// A code of the family `store.`.
    pub async fn find(&self, id: &str) -> Result<Option<Projection>, HostError> {
        let by = ById { id: id.to_owned() };
        let found: Projection = ask(&*self.host, method::JOB_GET, &by).await?;
        Ok(found.id.is_some().then_some(found))
    }

    /// Asks for the end of a job of this plugin; says whether it has ended or will be told to.
    ///
    /// # Errors
    /// As [`Jobs::find`].
    pub async fn cancel(&self, id: &str) -> Result<bool, HostError> {
        let by = ById { id: id.to_owned() };
        let asked: CancelAsked = ask(&*self.host, method::JOB_CANCEL, &by).await?;
        Ok(asked.done)
    }

    /// Remembers that an effect of the running job has happened, with what came out; none when nobody said so
    /// before, in no attempt, otherwise what the first one gave.
    ///
    /// # Errors
    /// `ticket.ended` when the call is over or somebody else has taken the job; then nothing was recorded.
    pub async fn effect<T: DeserializeOwned>(
        &self,
        ticket: u64,
        key: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Option<T>, HostError> {
        let form = |error: serde_json::Error| HostError::new("host.form", error.to_string());
        let params = JobEffect {
            ticket,
            key: key.to_owned(),
            value: Json::of(value).map_err(form)?,
        };
        let known: EffectKnown = ask(&*self.host, method::JOB_EFFECT, &params).await?;
        match known.first {
            true => Ok(None),
            false => known.value.to().map(Some).map_err(form),
        }
    }
}
