//! What the fake host keeps of runs and jobs, and how it answers for them.

use std::collections::HashMap;

use kodex_plugin::{
    HostError, Json, PluginError, Reply,
    wire::work::{
        Accepted, AgentDispatch, ById, CancelAsked, EffectKnown, JobCall, JobEffect, JobEnqueue,
        JobPriority, Novelty, Projection, RunStatus, bounds, method,
    },
};
use sha2::{Digest as _, Sha256};

use super::{FakeJob, FakeRun, rule};
use crate::values::answer;

const N_WAITING: usize = 10_000;
const PAYLOAD_BYTES: usize = 256 << 10;
const ATTEMPTS: u32 = 5;
/// The pauses after the first, second, ... failed attempt; the last one holds for all further.
const PAUSES_MS: [u64; 5] = [1_000, 5_000, 30_000, 120_000, 600_000];
const ASKED: &str = "somebody asked for its end";

/// The runs, jobs and tickets of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Work {
    plugin: Option<String>,
    hooks: Option<Vec<String>>,
    pub(super) runs: Vec<FakeRun>,
    pub(super) jobs: Vec<FakeJob>,
    tickets: HashMap<u64, Open>,
    last_ticket: u64,
    n_made: u64,
}

#[derive(Debug)]
struct Open {
    job: Option<String>,
    n_dispatches: u32,
}

impl Work {
    /// Answers one method of the two families; none when it is another.
    pub(crate) fn serve(
        &mut self,
        method: &str,
        params: &Json,
        now_ms: u64,
    ) -> Option<Result<Json, HostError>> {
        Some(match method {
            method::AGENT_DISPATCH => answer(method, params, |asked| self.dispatch(asked)),
            method::AGENT_GET => answer(method, params, |by| Ok(self.run(&by))),
            method::AGENT_CANCEL => answer(method, params, |by| Ok(self.cancel_run(&by))),
            method::JOB_ENQUEUE => answer(method, params, |asked| self.enqueue(asked, now_ms)),
            method::JOB_GET => answer(method, params, |by| Ok(self.job(&by))),
            method::JOB_CANCEL => answer(method, params, |by| Ok(self.cancel_job(&by))),
            method::JOB_EFFECT => answer(method, params, |asked| self.effect(asked)),
            _ => return None,
        })
    }

    /// Whose runs and jobs these are.
    pub(crate) fn own(&mut self, plugin: String) {
        self.plugin = Some(plugin);
    }

    pub(super) fn know(&mut self, plugin: String, hooks: Vec<String>) {
        self.plugin = Some(plugin);
        self.hooks = Some(hooks);
    }

    pub(super) fn issue(&mut self, job: Option<String>) -> u64 {
        self.last_ticket += 1;
        let open = Open {
            job,
            n_dispatches: 0,
        };
        self.tickets.insert(self.last_ticket, open);
        self.last_ticket
    }

    pub(super) fn end_ticket(&mut self, ticket: u64) {
        self.tickets.remove(&ticket);
    }

    /// Adds a job that nobody asked for over the wire.
    pub(super) fn push(&mut self, name: &str, params: Json, now_ms: u64) -> String {
        let asked = JobEnqueue {
            name: name.to_owned(),
            params,
            key: None,
            delay_ms: 0,
            priority: JobPriority::Normal,
            lane: None,
            max_attempts: None,
        };
        let id = self.new_id();
        self.jobs.push(new_job(id.clone(), asked, now_ms));
        id
    }

    /// The job whose turn it is.
    pub(super) fn due(&self, now_ms: u64) -> Option<String> {
        let due = |job: &&FakeJob| job.status == RunStatus::Pending && job.due_at_ms <= now_ms;
        let hurry = |job: &&FakeJob| {
            let rank = match job.asked.priority {
                JobPriority::Urgent => 0,
                JobPriority::Normal => 1,
                JobPriority::Low => 2,
            };
            (rank, job.due_at_ms)
        };
        let next = self.jobs.iter().filter(due).min_by_key(hurry);
        next.map(|job| job.id.clone())
    }

    /// Begins an attempt; gives the job's name and its payload.
    pub(super) fn begin(&mut self, id: &str) -> Option<(String, JobCall)> {
        let ticket = self.issue(Some(id.to_owned()));
        let job = self.jobs.iter_mut().find(|job| job.id == id)?;
        job.status = RunStatus::Running;
        job.attempt += 1;
        let call = JobCall {
            id: id.to_owned(),
            params: job.asked.params.clone(),
            attempt: job.attempt,
            ticket,
            session: None,
        };
        Some((job.asked.name.clone(), call))
    }

    /// An attempt is over.
    pub(super) fn ended(&mut self, id: &str, answer: &Result<Reply, PluginError>, now_ms: u64) {
        let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) else {
            return;
        };
        match answer {
            Ok(reply) => {
                job.status = RunStatus::Completed;
                job.result = reply.0.clone();
                job.result_at_ms = Some(now_ms);
                job.error = None;
            }
            Err(_) if !job.is_wanted => {
                job.status = RunStatus::Cancelled;
                job.error = Some(ASKED.to_owned());
            }
            Err(error) => {
                job.error = Some(error.message.clone());
                let n_left = job.asked.max_attempts.unwrap_or(ATTEMPTS);
                job.status = match job.attempt >= n_left {
                    true => RunStatus::Failed,
                    false => RunStatus::Pending,
                };
                job.due_at_ms = now_ms + pause(job.attempt);
            }
        }
    }

    pub(super) fn end_run(
        &mut self,
        id: &str,
        status: RunStatus,
        error: Option<&str>,
        now_ms: u64,
    ) -> bool {
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else {
            return false;
        };
        run.status = status;
        run.error = error.map(str::to_owned);
        run.result_at_ms = (status == RunStatus::Completed).then_some(now_ms);
        true
    }

    fn dispatch(&mut self, asked: AgentDispatch) -> Result<Accepted, HostError> {
        self.ticket(asked.ticket)?;
        rule::run(&asked).map_err(|broken| self.refuse("agent.invalid", "agent run", &broken))?;
        let n = self.runs.iter().filter(|run| !run.status.is_over()).count();
        self.check_room(n, "agent.queue_full")?;
        let ticket = self.ticket(asked.ticket)?;
        if ticket.n_dispatches >= bounds::N_DISPATCHES {
            let problem = format!(
                "asked for {} agent runs in one call, the most there may be",
                bounds::N_DISPATCHES
            );
            return Err(self.error("agent.too_many", &problem));
        }
        ticket.n_dispatches += 1;
        let id = format!("run_{}", self.digest(&[&asked.idempotency_key]));
        if self.runs.iter().any(|run| run.id == id) {
            return Ok(accepted(id, Novelty::AlreadyExists));
        }
        self.runs.push(FakeRun {
            id: id.clone(),
            asked,
            status: RunStatus::Pending,
            result_at_ms: None,
            error: None,
        });
        Ok(accepted(id, Novelty::Created))
    }

    fn enqueue(&mut self, asked: JobEnqueue, now_ms: u64) -> Result<Accepted, HostError> {
        rule::job(&asked).map_err(|broken| self.refuse("job.invalid", "job", &broken))?;
        let hook = format!("job.{}", asked.name);
        if self.hooks.as_ref().is_some_and(|all| !all.contains(&hook)) {
            let problem = format!("has no job {:?}; subscribe to the hook {hook}", asked.name);
            return Err(self.error("job.unknown", &problem));
        }
        let n = self.jobs.iter().filter(|job| !job.status.is_over()).count();
        self.check_room(n, "job.queue_full")?;
        // What a host stores has the parameters in an object.
        let bytes = asked.params.text().len() + r#"{"params":}"#.len();
        if bytes > PAYLOAD_BYTES {
            let problem = format!("the job has {bytes} bytes; at most {PAYLOAD_BYTES} are kept");
            return Err(self.error("job.invalid", &problem));
        }
        let id = match &asked.key {
            Some(key) => format!("job_{}", self.digest(&[&asked.name, key])),
            None => self.new_id(),
        };
        if self.jobs.iter().any(|job| job.id == id) {
            return Ok(accepted(id, Novelty::AlreadyExists));
        }
        self.jobs.push(new_job(id.clone(), asked, now_ms));
        Ok(accepted(id, Novelty::Created))
    }

    fn effect(&mut self, asked: JobEffect) -> Result<EffectKnown, HostError> {
        let Some(id) = self.ticket(asked.ticket)?.job.clone() else {
            let problem = "effects are recorded in jobs, and this is a heartbeat";
            return Err(self.error("ticket.no_job", problem));
        };
        let n = asked.key.chars().count();
        let bytes = asked.value.text().len();
        if asked.key.trim().is_empty() || n > bounds::KEY || bytes > PAYLOAD_BYTES {
            let problem = format!(
                "an effect has a key of 1 to {} characters and a value of at most {PAYLOAD_BYTES} bytes; nothing was recorded",
                bounds::KEY
            );
            return Err(self.error("job.invalid", &problem));
        }
        let job = self.jobs.iter_mut().find(|job| job.id == id);
        let known = job.as_ref().and_then(|job| job.effects.get(&asked.key));
        if let Some(value) = known.cloned() {
            return Ok(EffectKnown {
                first: false,
                value,
            });
        }
        if let Some(job) = job {
            job.effects.insert(asked.key, asked.value.clone());
        }
        Ok(EffectKnown {
            first: true,
            value: asked.value,
        })
    }

    fn run(&self, by: &ById) -> Projection {
        let found = self.runs.iter().find(|run| run.id == by.id);
        found.map_or_else(Projection::default, |run| {
            shown(&run.id, run.status, run.result_at_ms, run.error.as_deref())
        })
    }

    fn job(&self, by: &ById) -> Projection {
        let found = self.jobs.iter().find(|job| job.id == by.id);
        found.map_or_else(Projection::default, |job| {
            shown(&job.id, job.status, job.result_at_ms, job.error.as_deref())
        })
    }

    fn cancel_run(&mut self, by: &ById) -> CancelAsked {
        let found = self.runs.iter_mut().find(|run| run.id == by.id);
        let done = found.is_some();
        if let Some(run) = found.filter(|run| !run.status.is_over()) {
            run.status = RunStatus::Cancelled;
            run.error = Some(ASKED.to_owned());
        }
        CancelAsked { done }
    }

    fn cancel_job(&mut self, by: &ById) -> CancelAsked {
        let found = self.jobs.iter_mut().find(|job| job.id == by.id);
        let done = found.is_some();
        if let Some(job) = found.filter(|job| !job.status.is_over()) {
            if job.status == RunStatus::Running {
                job.is_wanted = false;
            } else {
                job.status = RunStatus::Cancelled;
                job.error = Some(ASKED.to_owned());
            }
        }
        CancelAsked { done }
    }

    fn ticket(&mut self, number: u64) -> Result<&mut Open, HostError> {
        let problem =
            format!("the heartbeat or job with ticket {number} is over; nothing was stored");
        let over = self.error("ticket.ended", &problem);
        self.tickets.get_mut(&number).ok_or(over)
    }

    fn check_room(&self, n: usize, code: &str) -> Result<(), HostError> {
        if n < N_WAITING {
            return Ok(());
        }
        let problem = format!("has {n} unfinished in this queue, as many as it may");
        Err(self.error(code, &problem))
    }

    fn new_id(&mut self) -> String {
        self.n_made += 1;
        format!("job_{:032x}", self.n_made)
    }

    /// What ids of things with a key end in.
    fn digest(&self, parts: &[&str]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.name());
        for part in parts {
            hash.update([0]);
            hash.update(part);
        }
        let bytes = hash.finalize();
        bytes[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn name(&self) -> &str {
        self.plugin.as_deref().unwrap_or("plugin")
    }

    fn refuse(&self, code: &str, what: &str, (field, rule): &rule::Broken) -> HostError {
        let problem = format!("the {what}'s {field} {rule}; nothing was stored");
        self.error(code, &problem)
    }

    fn error(&self, code: &str, problem: &str) -> HostError {
        HostError::new(code, format!("plugin {}: {problem}", self.name()))
    }
}

fn accepted(id: String, status: Novelty) -> Accepted {
    Accepted { id, status }
}

fn new_job(id: String, asked: JobEnqueue, now_ms: u64) -> FakeJob {
    FakeJob {
        id,
        due_at_ms: now_ms.saturating_add(asked.delay_ms),
        asked,
        status: RunStatus::Pending,
        attempt: 0,
        result: None,
        result_at_ms: None,
        error: None,
        effects: std::collections::BTreeMap::new(),
        is_wanted: true,
    }
}

fn pause(n_failed: u32) -> u64 {
    let at = usize::try_from(n_failed.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES_MS[at.min(PAUSES_MS.len() - 1)]
}

fn shown(
    id: &str,
    status: RunStatus,
    result_at_ms: Option<u64>,
    error: Option<&str>,
) -> Projection {
    let has_failed = matches!(
        status,
        RunStatus::Failed | RunStatus::Blocked | RunStatus::Cancelled
    );
    Projection {
        id: Some(id.to_owned()),
        status: Some(status),
        result_at_ms: result_at_ms.filter(|_| status == RunStatus::Completed),
        error: error.filter(|_| has_failed).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// One request: what it is answered, or the code of its refusal.
    fn ask(work: &mut Work, method: &str, params: Value) -> Result<Value, String> {
        let answer = work
            .serve(method, &params.into(), 1_000)
            .expect("a method of the families");
        answer.map(Json::into_value).map_err(|error| error.code)
    }

    fn wish(ticket: u64, key: &str) -> Value {
        let place = json!({"kind": "file", "address": "report.md"});
        json!({"ticket": ticket, "idempotency_key": key, "destination": place, "input": "i"})
    }

    fn own() -> Work {
        let mut work = Work::default();
        work.know("p".into(), vec!["job.work".into()]);
        work
    }

    #[test]
    fn ids_are_those_of_a_host() {
        let mut work = own();
        let ticket = work.issue(None);
        let run = "run_776e9c643a14b5e91d039a77beb6dd51";
        let job = "job_78873f47846bf9c7609f425b862a82eb";
        for (method, params, id) in [
            ("agent/dispatch", wish(ticket, "k"), run),
            ("job/enqueue", json!({"name": "work", "key": "k"}), job),
        ] {
            for status in ["created", "already_exists"] {
                let got = ask(&mut work, method, params.clone());
                assert_eq!(got, Ok(json!({"id": id, "status": status})));
            }
        }
    }

    #[test]
    fn a_ticket_is_good_for_its_call_and_25_runs() {
        let mut work = own();
        let ticket = work.issue(None);
        for n in 0..25 {
            let got = ask(&mut work, "agent/dispatch", wish(ticket, ["a", "b"][n % 2]));
            assert!(got.is_ok(), "{got:?}");
        }
        let mut check = |method: &str, params: Value, want: &str| {
            assert_eq!(ask(&mut work, method, params), Err(want.to_owned()));
        };
        check("agent/dispatch", wish(ticket, " "), "agent.invalid");
        check("agent/dispatch", wish(ticket, "a"), "agent.too_many");
        check("agent/dispatch", wish(ticket + 1, "a"), "ticket.ended");
        let effect = json!({"ticket": ticket, "key": "e"});
        check("job/effect", effect.clone(), "ticket.no_job");
        check(
            "agent/dispatch",
            json!({"ticket": ticket}),
            "params.invalid",
        );
        work.end_ticket(ticket);
        assert_eq!(
            ask(&mut work, "job/effect", effect),
            Err("ticket.ended".into())
        );
    }

    #[test]
    fn a_projection_shows_nothing_of_the_request() {
        let mut work = own();
        let ticket = work.issue(None);
        let accepted = ask(&mut work, "agent/dispatch", wish(ticket, "k")).expect("accepted");
        let id = accepted["id"].as_str().expect("an id").to_owned();
        let by = json!({"id": id});
        use RunStatus::{Blocked, Completed, Pending};
        for (status, error, want) in [
            (Pending, None, json!({"id": id, "status": "pending"})),
            (
                Blocked,
                Some("no key"),
                json!({"id": id, "status": "blocked", "error": "no key"}),
            ),
            (
                Completed,
                None,
                json!({"id": id, "status": "completed", "result_at_ms": 7}),
            ),
        ] {
            assert!(work.end_run(&id, status, error, 7));
            assert_eq!(ask(&mut work, "agent/get", by.clone()), Ok(want));
        }
        assert_eq!(
            ask(&mut work, "agent/cancel", by),
            Ok(json!({"done": true}))
        );
        let none = json!({"id": "run_none"});
        assert_eq!(ask(&mut work, "agent/get", none.clone()), Ok(json!({})));
        assert_eq!(
            ask(&mut work, "agent/cancel", none),
            Ok(json!({"done": false}))
        );
        assert!(work.serve("agent/list", &Json::object(), 1).is_none());
    }

    #[test]
    fn queues_have_an_end() {
        let mut work = own();
        for n in 0..N_WAITING {
            work.jobs.push(new_job(n.to_string(), asked("work"), 1));
        }
        let enqueue = json!({"name": "work"});
        assert_eq!(
            ask(&mut work, "job/enqueue", enqueue.clone()),
            Err("job.queue_full".into())
        );
        work.jobs[7].status = RunStatus::Failed;
        assert!(ask(&mut work, "job/enqueue", enqueue).is_ok());
    }

    fn asked(name: &str) -> JobEnqueue {
        let asked = json!({"name": name});
        serde_json::from_value(asked).expect("a wish")
    }

    #[test]
    fn jobs_are_judged_and_ordered() {
        let mut work = own();
        for (params, want) in [
            (json!({"name": "play"}), "job.unknown"),
            (json!({"name": "Wo rk"}), "job.invalid"),
            (json!({"name": "work", "max_attempts": 0}), "job.invalid"),
            (
                json!({"name": "work", "params": "x".repeat(300 << 10)}),
                "job.invalid",
            ),
            (json!({"name": "work", "colour": "red"}), "params.invalid"),
        ] {
            assert_eq!(ask(&mut work, "job/enqueue", params), Err(want.to_owned()));
        }
        for (n, more) in [
            (1, json!({"priority": "low"})),
            (2, json!({})),
            (3, json!({"delay_ms": 10})),
            (4, json!({"priority": "urgent"})),
        ] {
            let mut params = json!({"name": "work", "params": n});
            for (key, value) in more.as_object().expect("an object") {
                params[key] = value.clone();
            }
            ask(&mut work, "job/enqueue", params).expect("accepted");
        }
        let mut order = Vec::new();
        while let Some(id) = work.due(1_000) {
            let (_, call) = work.begin(&id).expect("a job");
            order.push(call.params.into_value());
            work.ended(&id, &Ok(Reply::nothing()), 1_000);
        }
        assert_eq!(order, [json!(4), json!(2), json!(1)]);
        assert!(work.due(1_010).is_some());
    }
}
