//! One store with what asks it: a native plugin's host, a Python plugin, and the bare driver beside it.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use kodex::{
    Json, Python, Runtime, SystemClock, UpgradeOptions,
    contract::{
        Host,
        wire::store::{DbQuery, StateGet, StateSet, method},
    },
    python::Search,
    store::{
        Engine, Store,
        postgres::{PgOptions, PgStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use serde_json::{json, value::RawValue};

use super::{
    Asked, Database, FILL, JOURNAL, Pooled, Rusqlite, Server, asking, asking::Asking, key, text,
    turn, value,
};
use crate::programs::Programs;

const WORKER: &str = include_str!("../../plugins/bench_stored.py");
const WORKER_TOOL: &str = "bench-stored/turn";
/// Its values and rows are its own, and filled one by one. How many there are is nothing beside the way
/// to another process.
const N_KNOWN_OF_WORKER: u64 = 1_000;
/// Writers of the first values: as many as a store commits together.
const N_FILLING: u64 = 32;

/// See the module.
pub(crate) struct World {
    tokio: tokio::runtime::Runtime,
    runtime: Runtime,
    store: Arc<dyn Store>,
    host: Arc<dyn Host>,
    bare: Bare,
    n_known: u64,
    /// Dropped last.
    _databases: Vec<Database>,
}

/// The bare driver of an engine.
enum Bare {
    Sqlite(Box<Rusqlite>),
    Postgres(Pooled),
}

impl World {
    /// Makes everything anew, with values and rows in it.
    pub(crate) fn new(
        engine: Engine,
        server: Option<&Server>,
        programs: &Programs,
        n_known: u64,
    ) -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let folder = programs.scratch.path().join(engine.as_str());
        fs::create_dir_all(&folder)?;
        let mut databases = Vec::new();
        let mut database = |name: &str| -> Result<String> {
            let server = server.context("a server for Postgres")?;
            let database = server.database(name)?;
            let url = database.url.clone();
            databases.push(database);
            Ok(url)
        };
        let (store, bare): (Arc<dyn Store>, Bare) = match engine {
            Engine::Sqlite => {
                let options = SqliteOptions::new(folder.join("store"), Arc::new(SystemClock));
                let store = tokio.block_on(SqliteStore::open(options))?;
                let bare = Rusqlite::new(&folder, n_known)?;
                (Arc::new(store), Bare::Sqlite(Box::new(bare)))
            }
            Engine::Postgres => {
                let store = PgStore::open(PgOptions::new(database("store")?));
                let store = tokio.block_on(store)?;
                let bare = tokio.block_on(Pooled::new(&database("bare")?, n_known))?;
                (Arc::new(store), Bare::Postgres(bare))
            }
        };
        let (runtime, host) = tokio.block_on(plugins(&store, programs))?;
        let world = Self {
            tokio,
            runtime,
            store,
            host,
            bare,
            n_known,
            _databases: databases,
        };
        world.fill()?;
        Ok(world)
    }

    fn fill(&self) -> Result<()> {
        self.tokio.block_on(async {
            let mut filling = tokio::task::JoinSet::new();
            for first in 0..N_FILLING {
                let (host, n_known) = (self.host.clone(), self.n_known);
                filling.spawn(async move {
                    for number in (first..n_known).step_by(N_FILLING as usize) {
                        ask(&*host, Asked::Set, number).await?;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(filled) = filling.join_next().await {
                filled??;
            }
            let host = &*self.host;
            let rows = statement(FILL, json!([self.n_known]));
            request(host, method::DB_QUERY, &rows).await?;
            // The plugin in Python has rows of its own.
            self.worker_asks("fill", Duration::ZERO).await.map(drop)
        })
    }

    /// How often a native plugin can ask in a second, so many calls at a time.
    pub(crate) fn native(&self, asked: Asked, lanes: u64, span: Duration) -> Result<f64> {
        let host = self.host.clone();
        let asking = move |number| {
            let host = host.clone();
            async move { ask(&*host, asked, number).await }
        };
        self.tokio.block_on(turn(lanes, self.n_known, span, asking))
    }

    /// How often a plugin in Python can, within one call.
    pub(crate) fn worker(&self, asked: Asked, span: Duration) -> Result<f64> {
        let answer = self
            .tokio
            .block_on(self.worker_asks(asked.as_str(), span))?;
        let answer = answer.value()["per_second"].as_f64();
        answer.context("a worker without a figure")
    }

    async fn worker_asks(&self, asked: &str, span: Duration) -> Result<Json> {
        let ms = span.as_secs_f64() * 1e3;
        let known = self.n_known.min(N_KNOWN_OF_WORKER);
        let input = json!({"asked": asked, "known": known, "ms": ms, "sql": FILL});
        let input = Json::from(input);
        let answer = self.runtime.call_tool(WORKER_TOOL, &input).await;
        answer.with_context(|| format!("the plugin in Python was asked to {asked}"))
    }

    /// How often the bare driver can be asked.
    pub(crate) fn bare(&mut self, asked: Asked, lanes: u64, span: Duration) -> Result<f64> {
        match &mut self.bare {
            Bare::Sqlite(bare) => bare.turn(asked, self.n_known, span),
            Bare::Postgres(bare) => {
                let turn = bare.turn(asked, lanes, self.n_known, span);
                self.tokio.block_on(turn)
            }
        }
    }

    /// What the limit is called.
    pub(crate) fn limit(&self) -> &'static str {
        match self.bare {
            Bare::Sqlite(_) => "bare rusqlite",
            Bare::Postgres(_) => "tokio-postgres through deadpool",
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tokio.block_on(async {
            self.runtime.shutdown().await;
            // Its folder or database is gone next.
            let _ = self.store.close().await;
        });
    }
}

/// A runtime with both plugins, their journals applied, and the host of the native one.
async fn plugins(store: &Arc<dyn Store>, programs: &Programs) -> Result<(Runtime, Arc<dyn Host>)> {
    let folder = programs.scratch.path().join("stored-plugin");
    let journal = folder.join("bench_stored");
    fs::create_dir_all(&journal)?;
    let file = folder.join("bench_stored.py");
    fs::write(&file, WORKER)?;
    for (name, text) in JOURNAL {
        fs::write(journal.join(name), text)?;
    }
    let search = Search {
        configured: Some(programs.python.clone()),
        ..Search::default()
    };
    let native = Arc::new(Asking::new()?);
    let runtime = Runtime::builder()
        .strict(true)
        .store(store.clone())
        .python(Python {
            entry_points: false,
            ..Python::new(search, programs.cache())
        })
        .plugin(&file)
        .native(native.clone())
        .build()
        .await?;
    runtime.upgrade(&UpgradeOptions::default(), &|_| {}).await?;
    let begun = runtime.call_tool(asking::TOOL, &Json::object()).await;
    begun.context("the native plugin")?;
    let host = native.host()?;
    Ok((runtime, host))
}

fn statement(sql: &str, params: serde_json::Value) -> DbQuery {
    DbQuery {
        sql: sql.to_owned(),
        params: Some(Json::from(params)),
        ..DbQuery::default()
    }
}

async fn request(host: &dyn Host, method: &str, asked: &impl serde::Serialize) -> Result<Json> {
    let answer = host.request(method, Json::of(asked)?).await;
    answer.with_context(|| format!("{} asks for {method}", asking::NAME))
}

/// One request as a native plugin makes it, and a look at the answer.
async fn ask(host: &dyn Host, asked: Asked, number: u64) -> Result<()> {
    let answer = match asked {
        Asked::Get => request(host, method::STATE_GET, &StateGet { key: key(number) }).await?,
        Asked::Set => {
            let set = StateSet {
                key: key(number),
                value: Json::checked(RawValue::from_string(value(number))?),
                ttl_ms: None,
                if_version: None,
                under: None,
            };
            return request(host, method::STATE_SET, &set).await.map(drop);
        }
        Asked::Read => {
            let read = statement(
                "SELECT id, text FROM notes WHERE id = ?",
                json!([number + 1]),
            );
            request(host, method::DB_QUERY, &read).await?
        }
        Asked::Insert => {
            let insert = statement("INSERT INTO notes (text) VALUES (?)", json!([text(number)]));
            return request(host, method::DB_QUERY, &insert).await.map(drop);
        }
    };
    // What was not found is a short answer.
    if answer.text().len() < 100 {
        bail!(
            "{} {number} was not found: {}",
            asked.as_str(),
            answer.text()
        );
    }
    Ok(())
}
