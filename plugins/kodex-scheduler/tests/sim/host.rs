//! A node's host: the real door to the real store, the node's own clock, and agent runs that are jobs of
//! the real queue. Every request passes the [`Gate`] first.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use kodex_plugin::{
    Clock, Host, HostCall, HostError, Json, Limits, PluginName,
    host::LogLevel,
    wire::work::{AgentDispatch, RunStatus},
};
use kodex_store::{
    Access, Door, Store,
    queue::{Added, JobState, NewJob},
};
use kodex_testkit::HandClock;
use serde_json::{Value, json, value::RawValue};

use crate::{
    Plant,
    gate::{Gate, Verdict, Wanted},
    reference::{MAX_ATTEMPTS, Reference},
    stand::Stand,
};

/// The queue of agent runs.
pub(crate) const RUNS: &str = "run";

/// What the simulation knows because it sees everything, and what it found wrong.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) jobs: Reference,
    pub(crate) problems: Vec<String>,
    pub(crate) n_dispatched: usize,
}

pub(crate) type Shared = Arc<Mutex<Truth>>;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct SimHost {
    pub(crate) gate: Gate,
    door: Door,
    store: Arc<dyn Store>,
    plugin: PluginName,
    clock: HandClock,
    pub(crate) skew_ms: AtomicI64,
    open_tx: Mutex<Option<u64>>,
    truth: Shared,
    plant: Option<Plant>,
}

impl SimHost {
    pub(crate) fn new(stand: &Stand, nth: usize, truth: Shared, plant: Option<Plant>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(stand.clock.clone());
        Self {
            gate: Gate::default(),
            door: Door::new(stand.plugin.clone(), clock, Limits::default().frame_bytes),
            store: stand.stores[nth].clone(),
            plugin: stand.plugin.clone(),
            clock: stand.clock.clone(),
            skew_ms: AtomicI64::new(0),
            open_tx: Mutex::default(),
            truth,
            plant,
        }
    }

    /// What this node takes for the time.
    pub(crate) fn now_ms(&self) -> u64 {
        let skew = self.skew_ms.load(Ordering::Relaxed);
        self.clock.unix_ms().saturating_add_signed(skew)
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        lock(&self.open_tx).is_some()
    }

    async fn serve(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        let sql = params.value()["sql"].as_str().unwrap_or_default();
        if self.plant == Some(Plant::PassedUntold) && sql.starts_with("INSERT INTO passed") {
            let sql = "SELECT * FROM passed WHERE n < 0";
            let params = json!({"sql": sql, "params": [], "tx": params.value()["tx"]});
            return self.tables(method, &Json::from(params)).await;
        }
        match method {
            "clock/now" => Ok(Json::from(json!({"unix_ms": self.now_ms()}))),
            "agent/dispatch" => self.dispatch(params).await,
            "agent/get" => self.project(params).await,
            method => self.tables(method, params).await,
        }
    }

    async fn tables(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        let space = async {
            let space = self.store.namespace(&self.plugin, Access::Write).await;
            space.map_err(HostError::from)
        };
        if matches!(method, "db/commit" | "db/rollback") {
            *lock(&self.open_tx) = None;
        }
        let answer = self.door.serve(method, params, space).await?;
        if method == "db/begin" {
            *lock(&self.open_tx) = answer.value()["tx"].as_u64();
        }
        Ok(answer)
    }

    async fn dispatch(&self, params: &Json) -> Result<Json, HostError> {
        let asked: AgentDispatch = params.to().expect("the form of the contract");
        let key = asked.idempotency_key;
        let mut id = format!("run_{key}");
        if self.plant == Some(Plant::TwoJobsOfAnOccurrence) {
            id = format!("{id}_{}", lock(&self.truth).n_dispatched);
        }
        let lane = asked.destination.address;
        let payload = RawValue::from_string(json!(key).to_string()).expect("is JSON");
        let job = NewJob {
            lane: Some(&lane),
            max_attempts: MAX_ATTEMPTS,
            ..NewJob::new(&id, RUNS, &self.plugin, "agent", &payload)
        };
        let now_ms = self.clock.unix_ms();
        let added = self
            .store
            .queue()
            .add(&[job])
            .await
            .map_err(HostError::from)?;
        let mut truth = lock(&self.truth);
        truth.n_dispatched += 1;
        if let Err(problem) = truth.jobs.add(&id, &key, &lane, now_ms, &added[0]) {
            truth.problems.push(problem);
        }
        let status = match added[0] {
            Added::Created => "created",
            Added::Existing { .. } => "already_exists",
        };
        Ok(Json::from(json!({"id": id, "status": status})))
    }

    async fn project(&self, params: &Json) -> Result<Json, HostError> {
        let id = params.value()["id"].as_str().expect("an id").to_owned();
        let found = self
            .store
            .queue()
            .find(&id)
            .await
            .map_err(HostError::from)?;
        let Some(job) = found else {
            return Ok(Json::object());
        };
        let status = match job.state {
            JobState::Pending => RunStatus::Pending,
            JobState::Running => RunStatus::Running,
            JobState::Blocked => RunStatus::Blocked,
            JobState::Completed => RunStatus::Completed,
            JobState::Failed | JobState::Dead => RunStatus::Failed,
            JobState::Cancelled => RunStatus::Cancelled,
        };
        let status = serde_json::to_value(status).expect("a word");
        Ok(Json::from(
            json!({"id": id, "status": status, "error": job.reason}),
        ))
    }
}

impl Host for SimHost {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        Box::pin(async move {
            let wanted = Wanted {
                method: method.to_owned(),
                writes: writes(method, params.value()),
            };
            let refused = |code: &str| HostError::new(code, "the simulation says so");
            match self.gate.pass(wanted).await {
                Verdict::Go => self.serve(method, &params).await,
                Verdict::FailBefore => {
                    // A transaction whose end fails is over all the same.
                    if let ("db/commit" | "db/rollback", Some(tx)) =
                        (method, params.value()["tx"].as_u64())
                    {
                        self.ended(tx);
                    }
                    Err(refused("store.unreachable"))
                }
                Verdict::Busy => Err(refused("store.busy")),
                Verdict::FailAfter => {
                    let answer = self.serve(method, &params).await;
                    // Nobody knows the number, so the host closes it with the call.
                    if let (Ok(answer), "db/begin") = (answer, method)
                        && let Some(tx) = answer.value()["tx"].as_u64()
                    {
                        self.ended(tx);
                    }
                    Err(refused("store.lost"))
                }
            }
        })
    }

    fn ended(&self, number: u64) {
        let mut open = lock(&self.open_tx);
        if *open == Some(number) {
            *open = None;
        }
        drop(open);
        self.door.ended(number);
    }

    fn log(&self, _: LogLevel, _: &str, _: &Json) {}
}

/// Whether a request waits for the transactions of others.
fn writes(method: &str, params: &Value) -> bool {
    match method {
        "db/begin" => true,
        "db/query" => {
            let sql = params["sql"].as_str().unwrap_or_default();
            params["tx"].is_null() && !sql.starts_with("SELECT")
        }
        _ => false,
    }
}
