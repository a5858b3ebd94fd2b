//! Durable work through the runtime: agent runs, jobs, the heartbeat.

mod command;
mod crashes;
mod engine;
mod heartbeat;
mod jobs;
mod requests;
mod runs;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use kodex::{
    AgentRunner, Builder, Call, Context, Json, Manifest, Pending, Plugin, PluginError, Reply,
    Request, Run, RunEnd, Runtime, SystemClock, WorkItem, WorkSettings,
    contract::{
        HookName,
        manifest::{Run as How, Subscription, Version},
        wire::work::RunStatus,
    },
    store::{
        Store,
        postgres::PgStore,
        sqlite::{SqliteOptions, SqliteStore},
        suite::database::Database as Server,
    },
};
use serde_json::{Value, json};

/// Times that suit a test: everything that is waited for comes within a second.
fn brisk() -> WorkSettings {
    WorkSettings {
        lease: Duration::from_millis(600),
        sweep: Duration::from_millis(50),
        poll: Duration::from_millis(100),
        pauses: vec![Duration::from_millis(5)],
        ..WorkSettings::default()
    }
}

/// One empty store of every engine.
struct Stores {
    all: Vec<Arc<dyn Store>>,
    _database: Server,
    _folder: tempfile::TempDir,
}

async fn stores() -> Stores {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Server::new().await;
    let postgres = PgStore::open(database.options())
        .await
        .expect("a store opens");
    let options = SqliteOptions::new(folder.path().join("store"), Arc::new(SystemClock));
    let sqlite = SqliteStore::open(options).await.expect("a store opens");
    Stores {
        all: vec![Arc::new(sqlite), Arc::new(postgres)],
        _database: database,
        _folder: folder,
    }
}

/// Runs a check on every engine.
async fn each<F: Future<Output = ()>>(check: impl Fn(Arc<dyn Store>) -> F) {
    let stores = stores().await;
    for store in &stores.all {
        check(store.clone()).await;
        // What is still on its way ends before the database does, which would wait for it.
        store.close().await.expect("closes");
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Reply, PluginError>> + Send>>;
type Handler = Box<dyn Fn(Context, Value) -> Answering + Send + Sync>;

/// A plugin of hooks whose handlers may wait and ask the host.
struct Doing {
    manifest: Manifest,
    handlers: Vec<(String, Handler)>,
    context: Mutex<Option<Context>>,
}

impl Doing {
    fn new(name: &str) -> Self {
        let name = kodex::PluginName::new(name).expect("a name");
        Self {
            manifest: Manifest::new(name, Version::new("1.0.0"), "Does.", How::Native),
            handlers: Vec::new(),
            context: Mutex::default(),
        }
    }

    fn on<F: Future<Output = Result<Reply, PluginError>> + Send + 'static>(
        mut self,
        hook: &str,
        handler: impl Fn(Context, Value) -> F + Send + Sync + 'static,
    ) -> Self {
        let name = HookName::new(hook).expect("a hook");
        self.manifest.hooks.push(Subscription::new(name));
        let handler: Handler =
            Box::new(move |context, payload| Box::pin(handler(context, payload)));
        self.handlers.push((hook.to_owned(), handler));
        self
    }

    fn timeout(mut self, timeout: Duration) -> Self {
        if let Some(hook) = self.manifest.hooks.last_mut() {
            hook.timeout = Some(timeout);
        }
        self
    }

    fn built(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// What the host answers outside of any call.
    async fn ask(&self, method: &str, params: Value) -> Value {
        let context = self.context.lock().expect("no panic").clone();
        ask(&context.expect("activated before"), method, params).await
    }
}

/// What a plugin's host answers; an error by its code and message.
async fn ask(context: &Context, method: &str, params: Value) -> Value {
    match context.host.request(method, Json::from(params)).await {
        Ok(answer) => answer.into_value(),
        Err(error) => json!({"error": error.code, "message": error.message}),
    }
}

impl Plugin for Doing {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        *self.context.lock().expect("no panic") = Some(context);
        Call::Ready(Ok(()))
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        let context = self.context.lock().expect("no panic").clone();
        let context = context.expect("activated before");
        let found = self.handlers.iter().find(|(hook, _)| hook == request.name);
        match found {
            Some((_, handler)) => Call::pending(handler(context, request.payload.value().clone())),
            None => Call::Ready(Ok(Reply::nothing())),
        }
    }
}

/// A plugin that asks for one run per heartbeat, with these parameters, and notes what it is told.
fn asking(name: &str, params: Value) -> (Arc<Doing>, Arc<Mutex<Vec<Value>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = told.clone();
    let plugin = Doing::new(name).on("heartbeat", move |context, beat| {
        let (notes, mut params) = (notes.clone(), params.clone());
        async move {
            if params["ticket"].is_null() {
                params["ticket"] = beat["ticket"].clone();
            }
            let answer = ask(&context, "agent/dispatch", params).await;
            let n_started = u64::from(answer["error"].is_null());
            notes.lock().expect("no panic").push(answer);
            Ok(Reply::from(json!({"n_started": n_started})))
        }
    });
    (plugin.built(), told)
}

fn wish(key: &str) -> Value {
    json!({
        "idempotency_key": key,
        "destination": {"kind": "session", "address": format!("session of {key}")},
        "input": format!("do {key}"),
    })
}

/// A runner that answers as it was told, one end for each slice, and then completes; notes what it ran.
#[derive(Default)]
struct Scripted {
    ends: Mutex<VecDeque<Step>>,
    ran: Mutex<Vec<Run>>,
}

enum Step {
    End(RunEnd),
    Panic,
    Hang,
}

impl Scripted {
    fn new(ends: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            ends: Mutex::new(ends.into_iter().collect()),
            ran: Mutex::default(),
        })
    }

    fn n_ran(&self) -> usize {
        self.ran.lock().expect("no panic").len()
    }

    fn ran(&self) -> Vec<Run> {
        self.ran.lock().expect("no panic").clone()
    }
}

impl AgentRunner for Scripted {
    fn run<'a>(&'a self, run: &'a Run) -> Pending<'a, RunEnd> {
        self.ran.lock().expect("no panic").push(run.clone());
        let step = self.ends.lock().expect("no panic").pop_front();
        let answer = format!("answer to {}", run.input);
        Box::pin(async move {
            match step {
                None => RunEnd::Completed { answer },
                Some(Step::End(end)) => end,
                Some(Step::Panic) => panic!("on purpose"),
                Some(Step::Hang) => std::future::pending().await,
            }
        })
    }
}

fn builder(store: &Arc<dyn Store>, plugins: Vec<Arc<Doing>>) -> Builder {
    let start = Runtime::builder().store(store.clone()).work(brisk());
    plugins
        .into_iter()
        .fold(start, |builder, plugin| builder.native(plugin))
}

async fn built(builder: Builder) -> Runtime {
    builder.build().await.expect("native plugins load")
}

async fn pulse(runtime: &Runtime) -> kodex::Pulse {
    let settings = kodex::HeartbeatSettings::default();
    runtime.heartbeat(&settings).await.expect("a pulse")
}

/// Waits until something holds, and fails after ten seconds.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            // Paces the loop around the condition.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    waited.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Waits until a run or job is in a state, and gives it.
async fn reaches(runtime: &Runtime, id: &str, status: RunStatus) -> WorkItem {
    until(&format!("{id} becomes {status:?}"), || async {
        let item = runtime.works().find(id).await.expect("it is there");
        (item.status == status).then_some(item)
    })
    .await
}

fn id_of(answer: &Value) -> String {
    let id = answer["id"].as_str();
    id.unwrap_or_else(|| panic!("an id: {answer}")).to_owned()
}
