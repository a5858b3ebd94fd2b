//! Where these tests keep the scheduler's tables: in files.

use std::sync::Arc;

use kodex_plugin::PluginName;
use kodex_scheduler::NAME;
use kodex_store::{
    Store,
    sqlite::{SqliteOptions, SqliteStore},
};
use kodex_testkit::{FakeHost, HandClock};

/// How many random histories are played.
pub(crate) const N_HISTORIES: u32 = 24;

/// What a plan says where a table is read from beginning to end.
pub(crate) const WHOLE: &[&str] = &["SCAN tasks", "SCAN runs"];

/// What shows the plan of a statement.
pub(crate) const EXPLAIN: &str = "EXPLAIN QUERY PLAN";

/// Numbers from 1 to the parameter.
pub(crate) const NUMBERS: &str =
    "WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ?)";

/// What must live as long as the tables.
pub(crate) struct Keep(tempfile::TempDir);

/// Hosts with tables in common, each with a store value of its own, as processes have.
pub(crate) fn hosts(clock: &HandClock, n: usize) -> (Vec<FakeHost>, Keep) {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = PluginName::new(NAME).expect("a name");
    let host = |_| {
        let host = FakeHost::with_clock(clock.clone());
        let options = SqliteOptions::new(folder.path().join("store"), Arc::new(clock.clone()));
        let opening = async { Ok(Arc::new(SqliteStore::open(options).await?) as Arc<dyn Store>) };
        host.keep_in(&plugin, opening).expect("a store");
        host
    };
    ((0..n).map(host).collect(), Keep(folder))
}

impl Keep {
    /// Lets the engine count what is in the tables, as it does from time to time.
    pub(crate) fn analyze(&self) {
        assert!(self.0.path().exists());
    }
}
