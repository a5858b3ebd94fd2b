//! Where these tests keep the scheduler's tables: each in a database of its own on the private server.

use std::sync::Arc;

use kodex_plugin::PluginName;
use kodex_scheduler::NAME;
use kodex_store::{Store, postgres::PgStore, suite::database::Database};
use kodex_testkit::{FakeHost, HandClock};

/// How many random histories are played; each needs a database.
pub(crate) const N_HISTORIES: u32 = 6;

/// What must live as long as the tables.
pub(crate) type Keep = Database;

pub(crate) fn host(clock: &HandClock) -> (FakeHost, Keep) {
    let host = FakeHost::with_clock(clock.clone());
    let mut made = None;
    let opening = async {
        let database = Database::new().await;
        let mut options = database.options();
        options.clock = Some(Arc::new(clock.clone()));
        made = Some(database);
        Ok(Arc::new(PgStore::open(options).await?) as Arc<dyn Store>)
    };
    let plugin = PluginName::new(NAME).expect("a name");
    host.keep_in(&plugin, opening).expect("a store");
    (host, made.expect("it was made"))
}
