//! One store that several nodes share, each through a store value of its own, as processes do.

use std::{any::Any, future::Future, pin::Pin, sync::Arc, time::Duration};

use kodex_plugin::{Clock, PluginName};
use kodex_scheduler::{MIGRATIONS, NAME};
use kodex_store::{
    Access, Bounds, Rows, Statement, Store, Value,
    journal::{self, StepKind},
    postgres::PgStore,
    queue::{Filter, N_TOGETHER, Recover},
    sqlite::{SqliteOptions, SqliteStore},
    suite::database::Database,
};
use kodex_testkit::HandClock;

/// Nodes on the store.
pub(crate) const N_NODES: usize = 3;

pub(crate) struct Stand {
    pub(crate) stores: Vec<Arc<dyn Store>>,
    pub(crate) clock: HandClock,
    pub(crate) plugin: PluginName,
    _keep: Box<dyn Any + Send>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Where every history begins: a Monday morning.
pub(crate) const START_MS: u64 = 1_767_600_000_000;

impl Stand {
    pub(crate) async fn new(engine: Engine) -> Self {
        let clock = HandClock::at_unix_ms(START_MS);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        let keep: Box<dyn Any + Send> = match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                for _ in 0..N_NODES {
                    let options = SqliteOptions::new(folder.path().join("store"), shared.clone());
                    let store = SqliteStore::open(options).await.expect("a store opens");
                    stores.push(Arc::new(store));
                }
                Box::new(folder)
            }
            Engine::Postgres => {
                let database = Database::new().await;
                for _ in 0..N_NODES {
                    let mut options = database.options();
                    options.clock = Some(shared.clone());
                    let store = PgStore::open(options).await.expect("a store opens");
                    stores.push(Arc::new(store));
                }
                Box::new(database)
            }
        };
        let plugin = PluginName::new(NAME).expect("a name");
        migrate(&*stores[0], &plugin).await;
        Self {
            stores,
            clock,
            plugin,
            _keep: keep,
        }
    }

    /// Runs SQL on the scheduler's tables, past the scheduler.
    pub(crate) async fn sql(&self, text: &str, params: impl IntoIterator<Item = Value>) -> Rows {
        let space = self.stores[0].namespace(&self.plugin, Access::Write).await;
        let statement = Statement::with(text, params);
        let space = space.expect("a namespace");
        let rows = space.run(&statement, &Bounds::default()).await;
        rows.unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Back to the beginning: no task, no run, no job.
    pub(crate) async fn wipe(&self) {
        for table in ["runs", "tasks", "facts", "passed", "tallies"] {
            self.sql(&format!("DELETE FROM {table}"), []).await;
        }
        let queue = self.stores[0].queue();
        self.clock.advance(Duration::from_secs(30 * 86_400));
        loop {
            let jobs = queue.list(&all()).await.expect("a list");
            let Some(job) = jobs.first() else { break };
            queue.recover(&LOST).await.expect("takes back");
            for job in &jobs {
                queue.cancel(&job.id).await.expect("cancels");
            }
            self.clock.advance(Duration::from_secs(1));
            let before = self.clock.unix_ms().max(job.added_at_ms) + 86_400_000;
            queue.prune(before, N_TOGETHER).await.expect("removes");
        }
        self.clock.set_unix_ms(START_MS);
    }

    pub(crate) async fn close(self) {
        for store in &self.stores {
            store.close().await.expect("closes");
        }
    }
}

/// Everything that is there.
pub(crate) fn all() -> Filter<'static> {
    Filter {
        queue: None,
        plugin: None,
        states: &[],
        after: None,
        limit: N_TOGETHER,
    }
}

/// How lost jobs are taken back.
pub(crate) const LOST: Recover<'static> = Recover {
    limit: N_TOGETHER,
    max_crashes: 3,
    pauses_ms: &[1_000, 5_000],
};

async fn migrate(store: &dyn Store, plugin: &PluginName) {
    let steps = journal::linked(plugin, MIGRATIONS, store.engine()).expect("sound migrations");
    let mut after: Option<String> = None;
    for step in &steps {
        let ledger = store.ledger();
        let work: Pin<Box<dyn Future<Output = _> + Send>> = match step.kind {
            // There is nothing yet that it could move.
            StepKind::Code => Box::pin(ledger.record(plugin, step, after.as_deref())),
            _ => Box::pin(ledger.apply(plugin, step, after.as_deref())),
        };
        after = Some(work.await.expect("a migration").id);
    }
}
