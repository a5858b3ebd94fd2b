//! Values on Postgres: the limit over two nodes, who waits for whom, and stores of older formats.

use std::{sync::Arc, time::Duration};

use kodex_plugin::PluginName;
use kodex_store::{
    Store, StoreError,
    postgres::PgStore,
    state::{N_KEYS, OnlyIf, Write, Written},
    suite::database::{Database, connect, name},
};
use serde_json::value::RawValue;
use tokio::{task::JoinSet, time::timeout};

/// The longest that anything here may take.
const SOON: Duration = Duration::from_secs(20);

async fn write(
    store: &PgStore,
    plugin: &PluginName,
    key: &str,
    value: Option<&str>,
) -> Result<u64, StoreError> {
    let value = value.map(|text| RawValue::from_string(text.to_owned()).expect("is JSON"));
    let write = Write {
        key,
        value: value.as_deref(),
        ttl_ms: None,
        only_if: OnlyIf::Always,
        under: None,
    };
    match store.state().write(plugin, &write).await? {
        Written::Done { version } => Ok(version),
        Written::Refused { .. } => panic!("there is no condition"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_keep_the_limit_of_keys() {
    const N_FREE: u64 = 20;
    const N_WRITERS: u64 = 8;
    let database = Database::new().await;
    let (plugin, admin) = (name("one"), connect(&database.admin).await);
    let open = || async { Arc::new(PgStore::open(database.options()).await.expect("opens")) };
    let stores = [open().await, open().await];
    // Both nodes hold room for more keys than will be free.
    for (store, key) in stores.iter().zip(["a", "b"]) {
        write(store, &plugin, key, Some("1")).await.expect("writes");
    }
    let fill = format!(
        "INSERT INTO kodex.state (plugin, key, value, version)
         SELECT 'one', 'full' || n, '1', nextval('kodex.versions') FROM generate_series(1, {}) n;
         UPDATE kodex.counters SET n_keys = {N_KEYS} WHERE plugin = 'one'",
        N_KEYS - N_FREE - 2
    );
    admin.batch_execute(&fill).await.expect("fills");
    // Whoever still has room from before the rows came uses it up first; the next count voids the rest.
    let count = "UPDATE kodex.counters SET n_counts = n_counts + 1 WHERE plugin = 'one'";
    admin.batch_execute(count).await.expect("voids");
    let mut writers = JoinSet::new();
    for writer in 0..N_WRITERS {
        let store = Arc::clone(&stores[usize::from(writer % 2 == 0)]);
        let plugin = plugin.clone();
        writers.spawn(async move {
            let mut n_done = 0;
            for at in 0.. {
                match write(&store, &plugin, &format!("new{writer}-{at}"), Some("1")).await {
                    Ok(_) => n_done += 1,
                    Err(error) => {
                        assert_eq!(error.code(), "state.too_many_keys");
                        return n_done;
                    }
                }
            }
            n_done
        });
    }
    let done: Vec<u64> = writers.join_all().await;
    let n_done: u64 = done.iter().sum();
    // What is under way while the keys are counted is not counted.
    assert!((N_FREE..=N_FREE + N_WRITERS).contains(&n_done), "{done:?}");
    for store in &stores {
        let kept = write(store, &plugin, "a", Some("2")).await;
        assert!(kept.is_ok(), "what is there is written as before: {kept:?}");
    }
    for at in 0..=n_done - N_FREE {
        write(&stores[0], &plugin, &format!("full{}", at + 1), None)
            .await
            .expect("deletes");
    }
    write(&stores[1], &plugin, "more", Some("1"))
        .await
        .expect("there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_other_keys_are_not_waited_for() {
    let database = Database::new().await;
    let store = PgStore::open(database.options()).await.expect("opens");
    let plugin = name("one");
    write(&store, &plugin, "held", Some("1"))
        .await
        .expect("writes");
    write(&store, &plugin, "free", Some("1"))
        .await
        .expect("writes");
    let admin = connect(&database.admin).await;
    let hold = "BEGIN; SELECT 1 FROM kodex.counters FOR UPDATE; SELECT 1 FROM kodex.state WHERE key = 'held' FOR UPDATE";
    admin.batch_execute(hold).await.expect("locks");
    for key in ["free", "new"] {
        let written = timeout(SOON, write(&store, &plugin, key, Some("2"))).await;
        assert!(matches!(written, Ok(Ok(_))), "{key}: {written:?}");
    }
    let lock = timeout(SOON, store.state().lock(&plugin, "lock", 1_000)).await;
    assert!(matches!(lock, Ok(Ok(_))), "{lock:?}");
    admin.batch_execute("COMMIT").await.expect("unlocks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_go_on_above_those_of_an_older_format() {
    let database = Database::new().await;
    let plugin = name("one");
    let store = PgStore::open(database.options()).await.expect("opens");
    write(&store, &plugin, "key", Some("1"))
        .await
        .expect("writes");
    store.close().await.expect("closes");
    let admin = connect(&database.admin).await;
    let older = "ALTER TABLE kodex.counters DROP COLUMN n_counts, ADD COLUMN last_version bigint NOT NULL DEFAULT 5000;
                 DROP SEQUENCE kodex.versions;
                 UPDATE kodex.meta SET value = '2' WHERE name = 'format'";
    admin.batch_execute(older).await.expect("goes back");
    for at in 0..2 {
        let store = PgStore::open(database.options()).await.expect("opens");
        let version = write(&store, &plugin, &format!("key{at}"), Some("2")).await;
        assert!(
            version.as_ref().is_ok_and(|version| *version > 5_000 + at),
            "{version:?}"
        );
        store.close().await.expect("closes");
    }
}
