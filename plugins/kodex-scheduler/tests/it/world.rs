//! The plugin, its tables, a clock moved by hand, and agents that do what the test says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use kodex_plugin::{
    Deadline, HostError, Json, Plugin, PluginError, Reply, Request, RequestKind,
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
    agents: Arc<Mutex<Agents>>,
    _keep: crate::stand::Keep,
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
        let clock = HandClock::at_unix_ms(ms(START).unsigned_abs());
        let (host, keep) = crate::stand::host(&clock);
        let plugin = SchedulerPlugin::new().expect("a plugin");
        host.upgrade(&plugin).expect("the migrations apply");
        let agents = Arc::new(Mutex::new(Agents::default()));
        let (asked, read) = (agents.clone(), agents.clone());
        host.answer_with("agent/dispatch", move |params| {
            dispatch(&mut lock(&asked), params)
        });
        host.answer_with("agent/get", move |params| Ok(project(&lock(&read), params)));
        let context = host.context(plugin.manifest().name.clone(), config.into());
        activate(&plugin, context).expect("it starts");
        Self {
            host,
            clock,
            plugin,
            agents,
            _keep: keep,
        }
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
