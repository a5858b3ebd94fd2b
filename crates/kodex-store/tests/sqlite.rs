//! The shared suite over SQLite, and what only SQLite has.

use std::sync::Arc;

use kodex_plugin::Clock;
use kodex_store::{
    sqlite::{SqliteOptions, SqliteStore},
    suite::{Stand, StoreSuite},
};

fn suite() -> StoreSuite {
    StoreSuite::new(|clock: Arc<dyn Clock>| {
        Box::pin(async move {
            let folder = tempfile::tempdir().expect("makes a folder");
            let options = SqliteOptions::new(folder.path().join("store"), clock);
            let file = folder.path().join("store/kodex.db");
            let store = SqliteStore::open(options).await.expect("opens");
            Stand {
                store: Arc::new(store),
                keep: Box::new(folder),
                door: Arc::new(move |sql| {
                    let db = rusqlite::Connection::open(&file).expect("opens");
                    // Nothing of a test has to survive the loss of power.
                    db.execute_batch("PRAGMA synchronous = OFF").expect("sets");
                    db.execute_batch(&sql).expect("runs");
                    Box::pin(std::future::ready(()))
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
