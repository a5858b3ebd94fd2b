//! Where these tests keep the scheduler's tables: each in a database of its own on the private server.

use std::sync::Arc;

use kodex_plugin::PluginName;
use kodex_scheduler::NAME;
use kodex_store::{
    Store,
    postgres::PgStore,
    suite::database::{Database, connect},
};
use kodex_testkit::{FakeHost, HandClock};

/// How many random histories are played; each needs a database.
pub(crate) const N_HISTORIES: u32 = 6;

/// What a plan says where a table is read from beginning to end.
pub(crate) const WHOLE: &[&str] = &["Seq Scan on tasks", "Seq Scan on runs"];

/// What shows the plan of a statement.
pub(crate) const EXPLAIN: &str = "EXPLAIN";

/// Numbers from 1 to the parameter.
pub(crate) const NUMBERS: &str =
    "WITH g (n) AS (SELECT n FROM generate_series(1, CAST(? AS BIGINT)) AS s (n))";

/// What must live as long as the tables.
pub(crate) struct Keep(Database);

/// Hosts with tables in common, each with a store value of its own, as processes have.
pub(crate) fn hosts(clock: &HandClock, n: usize) -> (Vec<FakeHost>, Keep) {
    let plugin = PluginName::new(NAME).expect("a name");
    let mut made = None;
    let mut hosts = Vec::with_capacity(n);
    for _ in 0..n {
        let host = FakeHost::with_clock(clock.clone());
        let opening = async {
            if made.is_none() {
                made = Some(Database::new().await);
            }
            let database = made.as_ref().expect("it was made");
            let mut options = database.options();
            options.clock = Some(Arc::new(clock.clone()));
            Ok(Arc::new(PgStore::open(options).await?) as Arc<dyn Store>)
        };
        host.keep_in(&plugin, opening).expect("a store");
        hosts.push(host);
    }
    (hosts, Keep(made.expect("it was made")))
}

impl Keep {
    /// Lets the engine count what is in the tables, as it does from time to time.
    pub(crate) fn analyze(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let admin = connect(&self.0.admin).await;
            admin.batch_execute("ANALYZE").await.expect("it counts");
        });
    }
}
