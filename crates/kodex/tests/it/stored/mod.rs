//! Databases, state and upgrades through the runtime, over every engine.

mod database;
mod faults;
mod moving;
mod steps;
mod upgrade;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use kodex::{
    Call, Context, Json, Manifest, Plugin, PluginError, Reply, Request, RequestKind, Runtime,
    StepCounts, SystemClock, Tool, UpgradeError, UpgradeEvent, UpgradeOptions, UpgradeReport,
    contract::manifest::{Database, Run, Version},
    store::{
        Store,
        postgres::PgStore,
        sqlite::{SqliteOptions, SqliteStore},
        suite::database::Database as Server,
    },
};
use serde_json::{Value, json};

/// The stores of one test; folders and databases are gone when it is dropped.
struct Stores {
    all: Vec<Arc<dyn Store>>,
    _database: Server,
    _folder: tempfile::TempDir,
}

/// One empty store of every engine.
async fn stores() -> Stores {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Server::new().await;
    let postgres = PgStore::open(database.options())
        .await
        .expect("a store opens");
    Stores {
        all: vec![
            sqlite(folder.path().join("store")).await,
            Arc::new(postgres),
        ],
        _database: database,
        _folder: folder,
    }
}

async fn sqlite(folder: std::path::PathBuf) -> Arc<dyn Store> {
    let options = SqliteOptions::new(folder, Arc::new(SystemClock));
    Arc::new(SqliteStore::open(options).await.expect("a store opens"))
}

type StepAnswer = Box<dyn Fn(&Context, &Value) -> Result<Option<Value>, PluginError> + Send + Sync>;
type Files = &'static [(&'static str, &'static str)];

/// A plugin that passes requests on to its host: the tool `ask` takes `{"method", "params"}`.
struct Asking {
    manifest: Manifest,
    files: Files,
    steps: HashMap<String, StepAnswer>,
    context: Mutex<Option<Context>>,
    /// What the steps were told, in order.
    told: Mutex<Vec<String>>,
}

impl Asking {
    fn new(name: &str, files: Files) -> Self {
        let name = kodex::PluginName::lenient(name).expect("a name");
        let mut manifest = Manifest::new(name, Version::new("1.0.0"), "Asks.", Run::Native);
        manifest
            .tools
            .push(Tool::new("ask", "Asks the host.").expect("a name"));
        Self {
            manifest,
            files,
            steps: HashMap::new(),
            context: Mutex::default(),
            told: Mutex::default(),
        }
        .declaring(!files.is_empty())
    }

    fn declaring(mut self, declares: bool) -> Self {
        let database = Database {
            migrations: "migrations".into(),
            renamed_from: None,
        };
        self.manifest.database = declares.then_some(database);
        self
    }

    fn renamed_from(mut self, from: &str) -> Self {
        let from = kodex::PluginName::new(from).expect("a name");
        if let Some(database) = &mut self.manifest.database {
            database.renamed_from = Some(from);
        }
        self
    }

    fn step(
        mut self,
        name: &str,
        answer: impl Fn(&Context, &Value) -> Result<Option<Value>, PluginError> + Send + Sync + 'static,
    ) -> Self {
        self.steps.insert(name.to_owned(), Box::new(answer));
        self
    }

    fn context(&self) -> Context {
        let context = self.context.lock().expect("no panic");
        context.clone().expect("activated before")
    }
}

impl Plugin for Asking {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn migrations(&self) -> Files {
        self.files
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        *self.context.lock().expect("no panic") = Some(context);
        Call::Ready(Ok(()))
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        let context = self.context();
        match request.kind {
            RequestKind::Tool => Call::pending(async move {
                let asked = request.payload.value();
                let method = asked["method"].as_str().unwrap_or_default();
                let params = Json::from(asked["params"].clone());
                let answer = context.host.request(method, params).await;
                Ok(Reply::from(match answer {
                    Ok(answer) => answer.into_value(),
                    Err(error) => json!({"error": error.code, "message": error.message}),
                }))
            }),
            RequestKind::Step => {
                let payload = request.payload.value().clone();
                self.told
                    .lock()
                    .expect("no panic")
                    .push(format!("{} {payload}", request.name));
                let name = request.name.to_owned();
                Call::pending(async move {
                    let step = self.steps.get(&name).expect("the test has this step");
                    // Steps block on the host, as synchronous code in a worker does.
                    let reply = tokio::task::block_in_place(|| step(&context, &payload))?;
                    Ok(reply.map_or_else(Reply::nothing, Reply::from))
                })
            }
            _ => Call::Ready(Ok(Reply::nothing())),
        }
    }
}

/// Asks a host from synchronous code.
fn ask_now(context: &Context, method: &str, params: Value) -> Result<Value, PluginError> {
    let answer = tokio::runtime::Handle::current()
        .block_on(context.host.request(method, Json::from(params)));
    answer
        .map(Json::into_value)
        .map_err(|error| PluginError::raised(format!("{}: {}", error.code, error.message)))
}

async fn runtime(
    store: Option<&Arc<dyn Store>>,
    plugins: impl IntoIterator<Item = Arc<Asking>>,
) -> Runtime {
    let mut builder = Runtime::builder();
    if let Some(store) = store {
        builder = builder.store(store.clone());
    }
    for plugin in plugins {
        builder = builder.native(plugin);
    }
    builder.build().await.expect("native plugins load")
}

/// What a plugin's host answers.
async fn ask(runtime: &Runtime, plugin: &str, method: &str, params: Value) -> Value {
    let input = Json::from(json!({"method": method, "params": params}));
    match runtime.call_tool(&format!("{plugin}/ask"), &input).await {
        Ok(answer) => answer.into_value(),
        Err(error) => json!({"refused": error.code(), "message": error.to_string()}),
    }
}

async fn query(runtime: &Runtime, plugin: &str, sql: &str) -> Value {
    let answer = ask(runtime, plugin, "db/query", json!({"sql": sql})).await;
    if answer["error"].is_null() {
        answer["rows"].clone()
    } else {
        answer["error"].clone()
    }
}

/// Upgrades; gives the report and what was heard.
async fn upgrade_with(
    runtime: &Runtime,
    options: &UpgradeOptions,
) -> (Result<UpgradeReport, UpgradeError>, Vec<UpgradeEvent>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let tell = heard.clone();
    let watch = move |event| tell.lock().expect("no panic").push(event);
    let report = runtime.upgrade(options, &watch).await;
    let heard = std::mem::take(&mut *heard.lock().expect("no panic"));
    (report, heard)
}

async fn upgrade(runtime: &Runtime) -> Result<UpgradeReport, UpgradeError> {
    upgrade_with(runtime, &UpgradeOptions::default()).await.0
}

/// Counters as `scanned migrated existing missing skipped`.
fn counts(counts: StepCounts) -> String {
    let skipped = counts
        .skipped
        .map_or(String::new(), |skipped| format!(" {skipped}"));
    format!(
        "{} {} {} {}{skipped}",
        counts.scanned, counts.migrated, counts.existing, counts.missing
    )
}
