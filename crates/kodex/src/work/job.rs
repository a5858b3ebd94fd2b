//! Executes plugins' jobs: a hook `job.<name>` of one plugin, under the guard like every call.

use std::{sync::Arc, time::Duration};

use kodex_plugin::{
    Failure, Json, PluginError, RequestKind,
    wire::work::{JobCall, SessionProjection},
};
use kodex_store::queue::{Claimed, Job, check_payload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{end::Over, engine::Node, session::SessionRef};
use crate::{
    dispatch::guard,
    register::{Route, Subscriber},
};

/// How long a job is put off whose plugin cannot be asked right now.
const BUSY_AFTER: Duration = Duration::from_secs(1);

/// What is stored of a job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobPayload {
    #[serde(default)]
    pub(crate) params: Json,
    /// The session whose end triggered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionRef>,
    /// What was said in it, where nobody keeps it for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<SessionProjection>,
}

pub(super) async fn execute(node: &Node, claimed: &Claimed) -> Over {
    let job = &claimed.job;
    let shared = node.shared();
    let works = &shared.works;
    let again = |code: &str, text: String| Over::Retry {
        code: code.to_owned(),
        text,
        after: works.settings.pause(job.attempt),
    };
    let payload: JobPayload = match serde_json::from_str(job.payload.get()) {
        Ok(payload) => payload,
        Err(error) => {
            return Over::Buried {
                code: "malformed",
                text: format!("the stored job cannot be read: {error}"),
            };
        }
    };
    let session = match (payload.kept, &payload.session) {
        (Some(kept), _) => Some(kept),
        (None, None) => None,
        (None, Some(session)) => match super::session::load(works, session).await {
            Ok(session) => Some(session),
            Err(error) => return again("job.session", error),
        },
    };
    let current = node.runtime.current();
    let hook = format!("job.{}", job.name);
    let route = current.catalog.route(&hook, &shared.guard).ok();
    let own =
        |subscriber: &&Subscriber| subscriber.slot.name == job.plugin && !subscriber.catch_all;
    let Some(subscriber) = route
        .as_ref()
        .and_then(|route| route.subscribers.iter().find(own))
    else {
        let text = format!("plugin {} has no hook {hook} here", job.plugin);
        return again("job.unregistered", text);
    };
    let ticket = works.tickets.issue(&job.plugin, Some(&claimed.lease));
    let call = JobCall {
        id: job.id.clone(),
        params: payload.params,
        attempt: job.attempt,
        ticket: ticket.number,
        session,
    };
    let result = ask(node, subscriber, &hook, &call).await;
    drop(ticket);
    match result {
        Ok(reply) => {
            let result = reply.map(|json| json.raw().to_owned());
            Over::Completed {
                result: result.filter(|json| is_kept(job, json)),
            }
        }
        // The plugin was not asked: this was no attempt of it.
        Err(error)
            if matches!(
                error.failure,
                Failure::RejectedBreaker | Failure::RejectedLimit
            ) =>
        {
            Over::Release { after: BUSY_AFTER }
        }
        Err(error) => again(&error.code, error.message),
    }
}

/// Whether the store keeps a result. A job that has done its work is not done again for what it said.
fn is_kept(job: &Job, result: &RawValue) -> bool {
    let judged = check_payload(&job.plugin, "result", result);
    if let Err(error) = &judged {
        tracing::warn!(job = %job.id, "a job is completed without its result: {error}");
    }
    judged.is_ok()
}

async fn ask(
    node: &Node,
    subscriber: &Subscriber,
    hook: &str,
    call: &JobCall,
) -> Result<Option<Json>, PluginError> {
    let shared = node.shared();
    let payload = Json::of(call).map_err(|error| {
        PluginError::new(Failure::InvalidReply, "job.params", error.to_string())
    })?;
    let usual = kodex_plugin::hook::UNKNOWN.timeout;
    // What the plugin or the operator did not set is the settings' to say.
    let timeout = match subscriber.timeout {
        timeout if timeout == usual => shared.works.settings.job_timeout,
        timeout => timeout,
    };
    let ask = guard::Ask {
        caller: None,
        slot: &subscriber.slot,
        cell: &subscriber.cell,
        kind: RequestKind::Hook,
        name: hook,
        payload: &payload,
        timeout,
        slow_after: timeout,
        no_later_than: None,
        check: None,
    };
    guard::call(shared, ask, shared.clock.now())
        .await
        .result
        .map(|reply| reply.0)
}

/// The subscribers of a job's hook by name, catch-all plugins apart.
pub(super) fn named(route: &Arc<Route>) -> impl Iterator<Item = &Subscriber> {
    route
        .subscribers
        .iter()
        .filter(|subscriber| !subscriber.catch_all)
}
