//! The plugin, its tables, a clock moved by hand, and agents that do what the test says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{
    Call, Deadline, Host, HostCall, HostError, Json, Plugin, PluginError, Reply, Request,
    RequestKind,
    host::LogLevel,
    tool::{Actor, Caller},
    wire::work::{AgentDispatch, Destination, Visibility},
};
use kodex_scheduler::{SchedulerPlugin, record, run::Run, task::Task};
use kodex_testkit::{CALL_LIMIT, FakeHost, HandClock, activate, call_hook, finish};
use serde_json::{Value, json};

/// What the agents were asked, and where each run is.
#[derive(Default)]
pub(crate) struct Agents {
    pub(crate) asked: Vec<AgentDispatch>,
    /// By key: the status and the error.
    pub(crate) runs: BTreeMap<String, (String, Option<String>)>,
    /// What the next requests are answered, instead of accepting them.
    pub(crate) refuses: Option<HostError>,
}

pub(crate) struct World {
    pub(crate) host: FakeHost,
    pub(crate) clock: HandClock,
    pub(crate) plugin: SchedulerPlugin,
    /// Which request of the plugin to its host fails.
    pub(crate) faults: Arc<Faults>,
    agents: Arc<Mutex<Agents>>,
    keep: Option<crate::stand::Keep>,
}

/// Which request fails, and how many were made.
#[derive(Default)]
pub(crate) struct Faults {
    n_asked: AtomicUsize,
    plan: Mutex<Option<Plan>>,
}

#[derive(Clone)]
enum Plan {
    /// The request of this number, from 1, fails.
    Fail { nth: usize, is_done: bool },
    /// The first request of this method that holds the word is never answered.
    Die {
        method: String,
        word: String,
        is_done: bool,
    },
    /// It was never answered.
    Dead,
}

/// What becomes of a request.
enum Fate {
    Nothing,
    Fails { is_done: bool },
    Dies { is_done: bool },
}

impl Faults {
    /// From now on the nth request fails, once; it takes effect nevertheless, or not.
    pub(crate) fn plan(&self, nth: usize, is_done: bool) {
        self.n_asked.store(0, Ordering::Relaxed);
        *self.plan.lock().expect("no panic before") = Some(Plan::Fail { nth, is_done });
    }

    /// The node dies in a request, before or after it took effect.
    pub(crate) fn die(&self, method: &str, word: &str, is_done: bool) {
        *self.plan.lock().expect("no panic before") = Some(Plan::Die {
            method: method.to_owned(),
            word: word.to_owned(),
            is_done,
        });
    }

    /// Whether what was planned has happened; from now on nothing is.
    pub(crate) fn stop(&self) -> bool {
        match self.plan.lock().expect("no panic before").take() {
            Some(Plan::Fail { nth, .. }) => self.n_asked.load(Ordering::Relaxed) >= nth,
            Some(Plan::Die { .. }) => false,
            Some(Plan::Dead) | None => true,
        }
    }

    fn next(&self, asked: &str, params: &Json) -> Fate {
        let n_asked = self.n_asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut plan = self.plan.lock().expect("no panic before");
        match plan.clone() {
            Some(Plan::Fail { nth, is_done }) if nth == n_asked => Fate::Fails { is_done },
            Some(Plan::Die {
                method,
                word,
                is_done,
            }) if method == asked && params.text().contains(&word) => {
                *plan = Some(Plan::Dead);
                Fate::Dies { is_done }
            }
            _ => Fate::Nothing,
        }
    }
}

/// The way to the host, on which a request may fail before or after it took effect.
struct Faulty {
    host: FakeHost,
    faults: Arc<Faults>,
}

impl Host for Faulty {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        Box::pin(async move {
            let is_done = match self.faults.next(method, &params) {
                Fate::Nothing => return self.host.request(method, params).await,
                Fate::Fails { is_done } => is_done,
                Fate::Dies { is_done } => {
                    if is_done {
                        let _ = self.host.request(method, params).await;
                    }
                    return std::future::pending().await;
                }
            };
            // A transaction whose end fails is over all the same, and one that nobody knows ends with its call.
            let mut tx = params.value()["tx"].as_u64();
            if is_done && let Ok(answer) = self.host.request(method, params).await {
                tx = answer.value()["tx"].as_u64();
            }
            if matches!(method, "db/begin" | "db/commit" | "db/rollback")
                && let Some(tx) = tx
            {
                self.host.ended(tx);
            }
            Err(HostError::new("store.lost", "the test says so"))
        })
    }

    fn ended(&self, number: u64) {
        self.host.ended(number);
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        self.host.log(level, message, fields);
    }
}

/// A Monday.
pub(crate) const START: &str = "2026-01-05T08:00:00Z";

pub(crate) fn ms(text: &str) -> i64 {
    let at: jiff::Timestamp = text
        .parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    at.as_millisecond()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    pub(crate) fn with(config: Value) -> Self {
        Self::nodes(config, 1).remove(0)
    }

    /// So many nodes with tables, clock and agents in common. The first one must live longest.
    pub(crate) fn nodes(config: Value, n: usize) -> Vec<Self> {
        let clock = HandClock::at_unix_ms(ms(START).unsigned_abs());
        let (hosts, keep) = crate::stand::hosts(&clock, n);
        let mut keep = Some(keep);
        let agents = Arc::new(Mutex::new(Agents::default()));
        let node = |host: FakeHost| {
            let plugin = SchedulerPlugin::new().expect("a plugin");
            host.upgrade(&plugin).expect("the migrations apply");
            let (asked, read) = (agents.clone(), agents.clone());
            host.answer_with("agent/dispatch", move |params| {
                dispatch(&mut lock(&asked), params)
            });
            host.answer_with("agent/get", move |params| Ok(project(&lock(&read), params)));
            let mut context = host.context(plugin.manifest().name.clone(), config.clone().into());
            let faults = Arc::new(Faults::default());
            context.host = Arc::new(Faulty {
                host: host.clone(),
                faults: faults.clone(),
            });
            activate(&plugin, context).expect("it starts");
            Self {
                host,
                clock: clock.clone(),
                plugin,
                faults,
                agents: agents.clone(),
                keep: keep.take(),
            }
        };
        hosts.into_iter().map(node).collect()
    }

    pub(crate) fn agents(&self) -> MutexGuard<'_, Agents> {
        lock(&self.agents)
    }

    /// Moves the clock to a moment.
    pub(crate) fn at(&self, text: &str) -> &Self {
        self.clock.set_unix_ms(ms(text).unsigned_abs());
        self
    }

    pub(crate) fn later(&self, seconds: u64) -> &Self {
        self.clock.advance(Duration::from_secs(seconds));
        self
    }

    pub(crate) fn now_ms(&self) -> i64 {
        use kodex_plugin::Clock as _;
        i64::try_from(self.clock.unix_ms()).expect("in range")
    }

    /// One heartbeat; says how many runs it started.
    pub(crate) fn beat(&self) -> u64 {
        self.try_beat().expect("a heartbeat")
    }

    pub(crate) fn try_beat(&self) -> Result<u64, PluginError> {
        let payload = json!({"now_unix_ms": self.now_ms(), "ticket": 1});
        let reply = call_hook(&self.plugin, "heartbeat", payload)?;
        let reply = reply.0.expect("a reply").into_value();
        Ok(reply["n_started"].as_u64().expect("a number"))
    }

    /// A heartbeat that may never end.
    pub(crate) async fn beating(&self) -> Result<Reply, PluginError> {
        let payload = Json::from(json!({"now_unix_ms": self.now_ms(), "ticket": 1}));
        let request = Request {
            kind: RequestKind::Hook,
            name: "heartbeat",
            payload: &payload,
            deadline: deadline(),
            caller: None,
        };
        match self.plugin.call(request) {
            Call::Ready(answer) => answer,
            Call::Pending(answer) => answer.await,
        }
    }

    /// A tool, called in a conversation.
    pub(crate) fn tool(
        &self,
        caller: Option<&Caller>,
        name: &str,
        input: Value,
    ) -> Result<Value, String> {
        let payload = Json::from(input);
        let answer = finish(self.plugin.call(Request {
            kind: RequestKind::Tool,
            name,
            payload: &payload,
            deadline: deadline(),
            caller,
        }));
        value(answer)
    }

    pub(crate) fn people(&self, name: &str, input: Value) -> Result<Value, String> {
        value(call_hook(&self.plugin, name, input))
    }

    /// A task of people; its id.
    pub(crate) fn add(&self, schedule: Value, more: Value) -> String {
        let n = self.host.asked().len();
        let mut input = json!({"task": format!("do {n}"), "schedule": schedule, "call_id": format!("call {n}"),
            "destination": {"kind": "session", "address": "main"}});
        for (key, value) in more.as_object().expect("an object") {
            input[key] = value.clone();
        }
        let made = self.people("scheduler.add", input).expect("a task");
        made["task"]["id"].as_str().expect("an id").to_owned()
    }

    /// A task as it stands in its table.
    pub(crate) fn task(&self, id: &str) -> Task {
        let rows = self
            .host
            .sql("SELECT record FROM tasks WHERE id = ?", json!([id]));
        let rows = rows.expect("a query");
        let text = rows.raw().rows[0][0]
            .value()
            .as_str()
            .expect("a text")
            .to_owned();
        record::read(&text).expect("a record")
    }

    /// The runs of a task in their order: occurrence and state.
    pub(crate) fn runs(&self, id: &str) -> Vec<Run> {
        let sql = "SELECT record FROM runs WHERE task_id = ? ORDER BY scheduled_for_ms, generation";
        let rows = self.host.sql(sql, json!([id])).expect("a query");
        let texts = rows
            .raw()
            .rows
            .iter()
            .map(|row| row[0].value().as_str().expect("a text"));
        texts.filter_map(|text| record::read(text).ok()).collect()
    }

    /// Runs of a task in short: `HH:MM state`.
    pub(crate) fn shown(&self, id: &str) -> String {
        let runs = self.runs(id);
        let runs = runs.iter().map(|run| {
            let at = kodex_scheduler::moment::text(run.scheduled_for_ms);
            format!("{} {}", &at[5..16], run.state.as_str())
        });
        runs.collect::<Vec<_>>().join(", ")
    }

    /// Every agent run that goes on ends.
    pub(crate) fn end_all(&self, status: &str, error: Option<&str>) {
        for (now, why) in self.agents().runs.values_mut() {
            if now == "running" {
                (*now, *why) = (status.to_owned(), error.map(str::to_owned));
            }
        }
    }

    pub(crate) fn analyze(&self) {
        self.keep.as_ref().expect("the first node").analyze();
    }

    pub(crate) fn sql(&self, sql: &str, params: Value) {
        self.host.sql(sql, params).expect("a statement");
    }
}

fn deadline() -> Deadline {
    #[expect(clippy::disallowed_methods, reason = "a deadline is real time")]
    let now = Instant::now();
    Deadline {
        at: now + CALL_LIMIT,
        timeout: CALL_LIMIT,
    }
}

fn value(answer: Result<Reply, PluginError>) -> Result<Value, String> {
    match answer {
        Ok(reply) => Ok(reply.0.expect("a reply").into_value()),
        Err(error) => Err(format!("{}: {}", error.code, error.message)),
    }
}

fn lock(agents: &Mutex<Agents>) -> MutexGuard<'_, Agents> {
    agents.lock().expect("no panic before")
}

fn dispatch(agents: &mut Agents, params: &Json) -> Result<Json, HostError> {
    if let Some(error) = &agents.refuses {
        return Err(error.clone());
    }
    let asked: AgentDispatch = params.to().expect("the form of the contract");
    let key = asked.idempotency_key.clone();
    let status = match agents.runs.contains_key(&key) {
        true => "already_exists",
        false => "created",
    };
    agents
        .runs
        .entry(key.clone())
        .or_insert_with(|| ("running".to_owned(), None));
    agents.asked.push(asked);
    Ok(Json::from(json!({"id": key, "status": status})))
}

fn project(agents: &Agents, params: &Json) -> Json {
    let id = params.value()["id"].as_str().expect("an id").to_owned();
    Json::from(match agents.runs.get(&id) {
        Some((status, error)) => json!({"id": id, "status": status, "error": error}),
        None => json!({}),
    })
}

/// A person in a conversation of their own.
pub(crate) fn caller(conversation: &str, actor: &str, call: &str) -> Caller {
    Caller {
        call_id: call.to_owned(),
        source: Destination {
            kind: "session".to_owned(),
            address: conversation.to_owned(),
        },
        visibility: Visibility::Private,
        direct: true,
        actor: Some(Actor {
            id: actor.to_owned(),
            name: Some(actor.to_uppercase()),
        }),
    }
}

pub(crate) fn daily(time: &str) -> Value {
    json!({"kind": "recurring", "frequency": "daily", "time": time})
}

pub(crate) fn every(value: u32, unit: &str) -> Value {
    json!({"kind": "interval", "every": {"value": value, "unit": unit}})
}

pub(crate) fn once_after(value: u32, unit: &str) -> Value {
    json!({"kind": "one_off", "timing": {"after": {"value": value, "unit": unit}}})
}
