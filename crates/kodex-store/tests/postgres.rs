//! The shared suite over Postgres, and what only Postgres has. `cargo xtask test` starts the server.

#[path = "postgres/faults.rs"]
mod faults;
#[path = "postgres/opening.rs"]
mod opening;
#[path = "postgres/queue.rs"]
mod queue;
#[path = "postgres/roles.rs"]
mod roles;
#[path = "postgres/state.rs"]
mod state;
#[cfg(feature = "tls")]
#[path = "postgres/tls.rs"]
mod tls;
#[path = "postgres/types.rs"]
mod types;

use std::sync::Arc;

use kodex_plugin::Clock;
use kodex_store::{
    postgres::PgStore,
    suite::{
        Stand, StoreSuite,
        database::{Database, connect},
    },
};

fn suite() -> StoreSuite {
    StoreSuite::new(|clock: Arc<dyn Clock>| {
        Box::pin(async move {
            let database = Database::new().await;
            let mut options = database.options();
            options.clock = Some(clock);
            let store = PgStore::open(options).await.expect("opens");
            let admin = database.admin.clone();
            Stand {
                store: Arc::new(store),
                keep: Box::new(database),
                door: Arc::new(move |sql| {
                    let admin = admin.clone();
                    Box::pin(async move {
                        let sql = format!("SET search_path = kodex; {sql}");
                        let ran = connect(&admin).await.batch_execute(&sql).await;
                        ran.expect("runs");
                    })
                }),
            }
        })
    })
}

macro_rules! areas {
    ($($area:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $area() {
            suite().$area().await;
        }
    )*

    #[test]
    fn every_area_runs() {
        assert_eq!(StoreSuite::AREAS, [$(stringify!($area)),*]);
    }};
}

areas! {
    state races access values bounds transactions cursors ledger renames catalog job_additions job_claims
    job_ends job_people job_recovery job_races job_histories job_small_worlds
}
