//! Durable work over two nodes on one database, and what only Postgres has.

use kodex_plugin::PluginName;
use kodex_store::{
    Store,
    postgres::PgStore,
    queue::{Added, Claim, End, Ending, NewJob, Priority, Unique},
    suite::database::{Database, name},
};
use serde_json::value::RawValue;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("is JSON")
}

fn job<'a>(id: &'a str, plugin: &'a PluginName, payload: &'a RawValue) -> NewJob<'a> {
    NewJob {
        id,
        queue: "jobs",
        plugin,
        name: "work",
        lane: None,
        unique_key: None,
        unique: Unique::Keep,
        priority: Priority::Normal,
        payload,
        delay_ms: 0,
        due_at_ms: None,
        max_age_ms: None,
        max_attempts: 3,
    }
}

fn claim(n: usize) -> Claim<'static> {
    Claim {
        queue: "jobs",
        holder: "node",
        n,
        lease_ms: 60_000,
        caps: &[],
        plugins: None,
    }
}

async fn open(database: &Database) -> PgStore {
    PgStore::open(database.options()).await.expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_through() {
    let database = Database::new().await;
    let store = open(&database).await;
    let (plugin, payload) = (name("one"), raw("{\"a\":1}"));
    let queue = store.queue();
    let added = queue
        .add(&[job("a", &plugin, &payload), job("b", &plugin, &payload)])
        .await;
    assert_eq!(added.expect("adds"), [Added::Created, Added::Created]);
    let claimed = queue.claim(&claim(10)).await.expect("claims");
    assert_eq!(claimed.len(), 2);
    let ends: Vec<End<'_>> = claimed
        .iter()
        .map(|claimed| End {
            lease: &claimed.lease,
            how: Ending::Complete { result: None },
        })
        .collect();
    assert_eq!(queue.end(&ends).await.expect("ends"), [true, true]);
    let retry = claimed[0].lease.clone();
    let effect = queue.effect(&retry, "key", &payload).await.expect("asks");
    assert!(matches!(effect, kodex_store::queue::Effect::Lost));
    queue.log(&retry, &[]).await.expect("logs");
    queue.now_ms().await.expect("asks");
    queue.next_at("jobs").await.expect("asks");
    queue.counts().await.expect("counts");
    queue.n_living("jobs", &plugin, 10).await.expect("counts");
    queue.revive("a").await.expect("revives");
    queue.cancel("a").await.expect("cancels");
    queue.prune(u64::MAX, 10).await.expect("prunes");
    queue.hints().await.expect("hints");
    store.close().await.expect("closes");
}
