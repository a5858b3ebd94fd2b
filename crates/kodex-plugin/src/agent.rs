//! Durable agent runs, for plugins in Rust: a thin door over the host services `agent/*`.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Context, Host, HostError,
    db::ask,
    wire::work::{
        Accepted, AgentDispatch, ById, CancelAsked, Destination, Projection, Subject, Visibility,
        method,
    },
};

/// The plugin's agent runs. Cloning it is cheap.
///
/// Runs are asked for in a heartbeat or a job, whose payload carries the ticket for it; a hook or a tool
/// that wants one adds a [job](crate::job::Jobs).
///
/// ```
/// use kodex_plugin::{Context, HostError, agent::{Agent, Run}, hook::Beat, wire::work::Destination};
///
/// async fn beat(context: &Context, beat: &Beat) -> Result<(), HostError> {
///     let to = Destination { kind: "file".into(), address: "report.md".into() };
///     let run = Run::new("report-2026-01-01", to, "Write the daily report.");
///     let accepted = Agent::of(context).dispatch(beat.ticket, run).await?;
///     let now = Agent::of(context).find(&accepted.id).await?;
///     assert!(now.is_some());
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Agent {
    host: Arc<dyn Host>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

/// A request for a run. The fields have the bounds of [`wire::work::bounds`](crate::wire::work::bounds).
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The same plugin and key always mean the same run.
    pub idempotency_key: String,
    /// Where the answer goes.
    pub destination: Destination,
    /// What the agent is asked to do.
    pub input: String,
    /// Short facts for whoever runs it.
    pub metadata: BTreeMap<String, String>,
    /// Where the wish came from; the destination when absent.
    pub source: Option<Destination>,
    /// Who may see what is said at the destination.
    pub visibility: Visibility,
    /// Whose stored credentials the run may use; the system's own when absent.
    pub subject: Option<Subject>,
    /// What asked for the answer, in a few words.
    pub attribution: Option<String>,
}

impl Run {
    /// A private run with the system's own credentials.
    pub fn new(
        idempotency_key: impl Into<String>,
        destination: Destination,
        input: impl Into<String>,
    ) -> Self {
        Self {
            idempotency_key: idempotency_key.into(),
            destination,
            input: input.into(),
            metadata: BTreeMap::new(),
            source: None,
            visibility: Visibility::default(),
            subject: None,
            attribution: None,
        }
    }
}

impl Agent {
    /// The runs of the plugin that was activated with this context.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        Self::new(context.host.clone())
    }

    /// The runs behind a host.
    #[must_use]
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// Asks for a run. Once this has answered, the run is durable; asking again with the same key gives the
    /// same run.
    ///
    /// # Errors
    /// `agent.invalid` names the field and the rule, with nothing stored; `agent.too_many` for the 26th run
    /// of one heartbeat or job; `ticket.ended` when that call is over; `agent.queue_full`.
    pub async fn dispatch(&self, ticket: u64, run: Run) -> Result<Accepted, HostError> {
        let Run {
            idempotency_key,
            destination,
            input,
            metadata,
            source,
            visibility,
            subject,
            attribution,
        } = run;
        let params = AgentDispatch {
            ticket,
            idempotency_key,
            destination,
            input,
            metadata,
            source,
            visibility,
            subject,
            attribution,
        };
        ask(&*self.host, method::AGENT_DISPATCH, &params).await
    }

    /// Where a run of this plugin is; none when it has no such run.
    ///
    /// # Errors
    /// A code of the family `store.`.
    pub async fn find(&self, id: &str) -> Result<Option<Projection>, HostError> {
        let by = ById { id: id.to_owned() };
        let found: Projection = ask(&*self.host, method::AGENT_GET, &by).await?;
        Ok(found.id.is_some().then_some(found))
    }

    /// Asks for the end of a run of this plugin; says whether it has ended or will be told to.
    ///
    /// # Errors
    /// As [`Agent::find`].
    pub async fn cancel(&self, id: &str) -> Result<bool, HostError> {
        let by = ById { id: id.to_owned() };
        let asked: CancelAsked = ask(&*self.host, method::AGENT_CANCEL, &by).await?;
        Ok(asked.done)
    }
}
