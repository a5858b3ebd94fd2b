//! An upgrade whose store fails at its n-th operation, before or after it took effect, for every n: run
//! again, it ends as if nothing had happened.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kodex::{
    PluginName,
    store::{
        Access, Applied, Engine, Finding, Ledger, Namespace, State, Step, Store, StoreError, Table,
        Work,
        journal::Progress,
        state::{Adopted, Entry, Key, Lease, Numbers, Write, Written},
    },
};
use serde_json::json;

use super::{Asking, Files, ask_now, counts, query, runtime, stores, upgrade};

/// When the operation fails: before it reaches the engine, or after it took effect there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// A store that fails once.
struct Faulty {
    inner: Arc<dyn Store>,
    /// How many operations are left until the failure.
    left: AtomicUsize,
    when: When,
}

impl Faulty {
    fn new(inner: &Arc<dyn Store>, nth: usize, when: When) -> Arc<Self> {
        let left = AtomicUsize::new(nth);
        Arc::new(Self {
            inner: inner.clone(),
            left,
            when,
        })
    }

    fn has_failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// Passes an operation on, or makes it the one that fails.
    fn pass<'a, T: Send + 'a>(&'a self, work: Work<'a, T>) -> Work<'a, T> {
        let take = |left: usize| left.checked_sub(1);
        let is_it = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            == Ok(1);
        let lost = || StoreError::Lost { during: "a test" };
        match (is_it, self.when) {
            (false, _) => work,
            (true, When::Before) => Box::pin(async move { Err(lost()) }),
            (true, When::After) => Box::pin(async move { work.await.and_then(|_| Err(lost())) }),
        }
    }
}

impl Store for Faulty {
    fn engine(&self) -> Engine {
        self.inner.engine()
    }
    fn place(&self) -> &str {
        self.inner.place()
    }
    fn namespace<'a>(
        &'a self,
        plugin: &'a PluginName,
        access: Access,
    ) -> Work<'a, Arc<dyn Namespace>> {
        self.pass(self.inner.namespace(plugin, access))
    }
    fn state(&self) -> &dyn State {
        self
    }
    fn ledger(&self) -> &dyn Ledger {
        self
    }
    fn queue(&self) -> &dyn kodex::store::Queue {
        self.inner.queue()
    }

    fn leases<'a>(
        &'a self,
        plugin: &'a PluginName,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Lease>> {
        self.pass(self.inner.leases(plugin, after, limit))
    }
    fn numbers<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Numbers> {
        self.pass(self.inner.numbers(plugin))
    }
    fn adopt<'a>(&'a self, plugin: &'a PluginName, adopted: &'a Adopted<'a>) -> Work<'a, ()> {
        self.pass(self.inner.adopt(plugin, adopted))
    }
    fn plugins(&self) -> Work<'_, Vec<PluginName>> {
        self.pass(self.inner.plugins())
    }
    fn tables<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Table>> {
        self.pass(self.inner.tables(plugin))
    }
    fn check(&self) -> Work<'_, Vec<Finding>> {
        self.inner.check()
    }
    fn ping(&self) -> Work<'_, ()> {
        self.inner.ping()
    }
    fn close(&self) -> Work<'_, ()> {
        self.inner.close()
    }
}

impl State for Faulty {
    fn read<'a>(&'a self, plugin: &'a PluginName, key: &'a str) -> Work<'a, Option<Entry>> {
        self.pass(self.inner.state().read(plugin, key))
    }
    fn write<'a>(&'a self, plugin: &'a PluginName, write: &'a Write<'a>) -> Work<'a, Written> {
        self.pass(self.inner.state().write(plugin, write))
    }
    fn list<'a>(
        &'a self,
        plugin: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Key>> {
        self.pass(self.inner.state().list(plugin, prefix, after, limit))
    }
    fn lock<'a>(&'a self, plugin: &'a PluginName, key: &'a str, ttl_ms: u64) -> Work<'a, Lease> {
        self.pass(self.inner.state().lock(plugin, key, ttl_ms))
    }
    fn renew<'a>(
        &'a self,
        plugin: &'a PluginName,
        lease: &'a Lease,
        ttl_ms: u64,
    ) -> Work<'a, Lease> {
        self.inner.state().renew(plugin, lease, ttl_ms)
    }
    fn unlock<'a>(&'a self, plugin: &'a PluginName, lease: &'a Lease) -> Work<'a, bool> {
        self.pass(self.inner.state().unlock(plugin, lease))
    }
    fn sweep(&self, limit: usize) -> Work<'_, u64> {
        self.inner.state().sweep(limit)
    }
}

impl Ledger for Faulty {
    fn applied<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Applied>> {
        self.pass(self.inner.ledger().applied(plugin))
    }
    fn apply<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        self.pass(self.inner.ledger().apply(plugin, step, after))
    }
    fn record<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        self.pass(self.inner.ledger().record(plugin, step, after))
    }
    fn progress<'a>(&'a self, plugin: &'a PluginName, id: &'a str) -> Work<'a, Option<Progress>> {
        self.pass(self.inner.ledger().progress(plugin, id))
    }
    fn save_progress<'a>(&'a self, plugin: &'a PluginName, progress: &'a Progress) -> Work<'a, ()> {
        self.pass(self.inner.ledger().save_progress(plugin, progress))
    }
    fn rename<'a>(&'a self, from: &'a PluginName, to: &'a PluginName) -> Work<'a, ()> {
        self.pass(self.inner.ledger().rename(from, to))
    }
}

const FILES: Files = &[
    ("0001_table.sql", "CREATE TABLE t (i INTEGER PRIMARY KEY);"),
    // Twice would fail, and once too little would show.
    ("0002_row.sql", "INSERT INTO t VALUES (1);"),
    ("0003_code.sql", "-- kodex: code\n"),
    ("0004_row.sql", "INSERT INTO t VALUES (4);"),
];

fn plugin() -> Arc<Asking> {
    Arc::new(Asking::new("p", FILES).step("0003_code", |context, _| {
        let sql = "INSERT INTO t VALUES (3) ON CONFLICT DO NOTHING";
        ask_now(context, "step/progress", json!({"progress": 1}))?;
        ask_now(context, "db/query", json!({"sql": sql}))?;
        Ok(None)
    }))
}

/// Fails at the first operation, at the second, and so on, until none is left to fail.
async fn survives(engine: usize, when: When) {
    for nth in 1.. {
        let stores = stores().await;
        let store = &stores.all[engine];
        let faulty = Faulty::new(store, nth, when);
        let failing: Arc<dyn Store> = faulty.clone();
        let first = upgrade(&runtime(Some(&failing), [plugin()]).await).await;
        if !faulty.has_failed() {
            first.expect("no operation failed");
            assert!(nth > 8, "only {nth} operations were counted");
            return;
        }
        // A lock whose answer was lost is held by nobody; its lease would run out by itself.
        free(store).await;
        let again = runtime(Some(store), [plugin()]).await;
        let report = upgrade(&again).await;
        let report = report.unwrap_or_else(|error| panic!("{nth}: {error}"));
        assert_eq!(report.n_pending, 0, "{nth}");
        let rows = query(&again, "p", "SELECT i FROM t ORDER BY i").await;
        assert_eq!(rows, json!([[1], [3], [4]]), "{nth}");
        let done = upgrade(&again).await.expect("done").counts();
        assert_eq!(counts(done), "4 0 4 0", "{nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_survives_the_failure_of_any_operation_on_sqlite() {
    survives(0, When::Before).await;
    survives(0, When::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_survives_the_failure_of_any_operation_on_postgres() {
    survives(1, When::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_survives_the_loss_of_any_answer_on_postgres() {
    survives(1, When::After).await;
}

/// Gives the upgrade's lock back, whoever holds it.
async fn free(store: &Arc<dyn Store>) {
    let owner = PluginName::lenient("kodex").expect("a name");
    for token in 0..4 {
        let lease = Lease {
            key: "upgrade".into(),
            token,
            until_ms: 0,
        };
        store.state().unlock(&owner, &lease).await.expect("answers");
    }
}
