//! Durable work over two nodes on one database, and what only Postgres has: notices, connections that
//! break, stores of an older format.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kodex_plugin::PluginName;
use kodex_store::{
    Store,
    postgres::{PgOptions, PgStore},
    queue::{
        Added, Claim, Claimed, Effect, End, Ending, JobLease, JobState, LogLine, LogStream, NewJob,
        Priority, Recover, Renewed, Unique,
    },
    suite::database::{Database, connect, name},
};
use serde_json::value::RawValue;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::faults::Proxy;

/// The longest that anything here may take.
const SOON: Duration = Duration::from_secs(20);

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("is JSON")
}

fn job<'a>(id: &'a str, plugin: &'a PluginName, payload: &'a RawValue) -> NewJob<'a> {
    NewJob {
        max_attempts: 3,
        ..NewJob::new(id, "jobs", plugin, "work", payload)
    }
}

fn wish(n: usize) -> Claim<'static> {
    Claim {
        queue: "jobs",
        holder: "node",
        n,
        lease_ms: 60_000,
        caps: &[],
        plugins: None,
    }
}

const TAKE_BACK: Recover<'static> = Recover {
    limit: 100,
    max_crashes: 5,
    pauses_ms: &[],
};

async fn open(database: &Database) -> PgStore {
    PgStore::open(database.options()).await.expect("opens")
}

async fn complete(store: &PgStore, claimed: &[Claimed]) -> Vec<bool> {
    let ends: Vec<End<'_>> = claimed
        .iter()
        .map(|claimed| End {
            lease: &claimed.lease,
            how: Ending::Complete { result: None },
        })
        .collect();
    store.queue().end(&ends).await.expect("ends")
}

async fn state(store: &PgStore, id: &str) -> JobState {
    let found = store.queue().find(id).await.expect("looks");
    found.expect("is there").state
}

/// Everything once, on a store that keeps nothing in its sessions as behind a pooler, and on a usual one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_done_with_and_without_prepared_statements() {
    for prepare in [false, true] {
        let database = Database::new().await;
        let mut options = database.options();
        options.prepare = prepare;
        let store = PgStore::open(options).await.expect("opens");
        everything(&store).await;
        store.close().await.expect("closes");
        let closed = store.queue().now_ms().await;
        assert_eq!(closed.expect_err("is closed").code(), "store.closed");
    }
}

async fn everything(store: &PgStore) {
    let (plugin, payload) = (name("one"), raw("{\"a\": 1}"));
    let queue = store.queue();
    let hints = queue.hints().await.expect("hints");
    let keyed = NewJob {
        unique_key: Some("key"),
        unique: Unique::Replace,
        lane: Some("lane"),
        ..job("b", &plugin, &payload)
    };
    let again = NewJob { id: "c", ..keyed };
    let added = queue
        .add(&[job("a", &plugin, &payload), keyed, again])
        .await;
    let kept = Added::Existing {
        id: "b".to_owned(),
        changed: false,
    };
    let added = added.expect("adds");
    assert_eq!(added[..2], [Added::Created, Added::Created]);
    // Its due time moves by as much as the server's clock did.
    assert!(matches!(&added[2], Added::Existing { id, .. } if id == "b") || added[2] == kept);
    assert!(hints.has_changed().expect("the store is there"));
    let caps = [(plugin.clone(), 1)];
    let capped = Claim {
        caps: &caps,
        ..wish(5)
    };
    let claimed = queue.claim(&capped).await.expect("claims");
    assert_eq!(claimed.len(), 1, "the cap holds");
    let mut all = claimed;
    all.extend(queue.claim(&wish(5)).await.expect("claims"));
    assert_eq!(all.len(), 2);
    let lease = all[0].lease.clone();
    assert_eq!(all[0].job.payload.get(), "{\"a\": 1}", "as it was written");
    let held = queue.renew(std::slice::from_ref(&lease), 60_000).await;
    assert!(matches!(held.expect("renews")[..], [Renewed::Held { .. }]));
    let effect = || queue.effect(&lease, "sent", &payload);
    assert!(matches!(effect().await, Ok(Effect::First)));
    assert!(matches!(effect().await, Ok(Effect::Again(_))));
    let line = LogLine {
        stream: LogStream::Out,
        text: "begins".to_owned(),
    };
    queue.log(&lease, &[line]).await.expect("logs");
    assert_eq!(queue.logs(&lease.id, 0, 10).await.expect("reads").len(), 1);
    assert_eq!(complete(store, &all).await, [true, true]);
    assert_eq!(queue.revive("a").await, Ok(Some(true)));
    assert_eq!(queue.n_living("jobs", &plugin, 10).await, Ok(1));
    assert!(queue.next_at("jobs").await.expect("looks").is_none());
    queue.cancel("a").await.expect("cancels");
    assert_eq!(queue.counts().await.expect("counts").len(), 2);
    assert!(queue.recover(&TAKE_BACK).await.expect("looks").is_empty());
    assert_eq!(queue.prune(u64::MAX, 10).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_do_each_job_once_within_lanes_and_caps() {
    const N: usize = 120;
    let database = Database::new().await;
    let (a, b) = tokio::join!(open(&database), open(&database));
    let stores = [Arc::new(a), Arc::new(b)];
    let (payload, plugins) = (raw("1"), [name("free"), name("capped")]);
    let ids: Vec<String> = (0..N).map(|n| format!("{n:03}")).collect();
    let lanes = ["left", "right"];
    let jobs: Vec<NewJob<'_>> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| NewJob {
            lane: (n % 3 == 0).then(|| lanes[n % 2]),
            ..job(id, &plugins[n % 2], &payload)
        })
        .collect();
    stores[0].queue().add(&jobs).await.expect("adds");
    let mut workers = JoinSet::new();
    for worker in 0..6 {
        let store = Arc::clone(&stores[worker % 2]);
        let caps = [(plugins[1].clone(), 2)];
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let claim = Claim {
                    caps: &caps,
                    ..wish(1 + worker)
                };
                let claimed = store.queue().claim(&claim).await.expect("claims");
                let running = store.queue().counts().await.expect("counts");
                for count in &running {
                    let over = count.state == JobState::Running && count.plugin == caps[0].0;
                    assert!(!over || count.n <= 2, "over the cap: {count:?}");
                }
                complete(&store, &claimed).await;
                let is_over = |state| matches!(state, JobState::Completed);
                done.extend(claimed.into_iter().map(|claimed| {
                    assert_eq!(claimed.lease.token, 1, "nobody had it before");
                    claimed.job.id
                }));
                if running.iter().all(|count| is_over(count.state)) {
                    return done;
                }
            }
        });
    }
    let done = timeout(SOON * 3, workers.join_all()).await.expect("ends");
    let done: Vec<String> = done.into_iter().flatten().collect();
    assert_eq!(done.len(), N, "each once");
    assert_eq!(done.iter().collect::<HashSet<_>>().len(), N);
}

/// Batches of one kind and mixed ones take ways of their own; both keep every field, and an id that is there
/// stops none of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_added_as_they_were_given() {
    let database = Database::new().await;
    let store = open(&database).await;
    let queue = store.queue();
    let (one, two) = (name("one"), name("two"));
    let (small, large) = (raw("1"), raw("[1, 2]"));
    let kind = |id, payload| NewJob {
        lane: Some("lane"),
        priority: Priority::Low,
        delay_ms: 60_000,
        max_age_ms: Some(120_000),
        max_attempts: 7,
        ..job(id, &one, payload)
    };
    let alike = [kind("a", &small), kind("b", &large)];
    let mixed = [
        kind("c", &small),
        job("d", &two, &large),
        NewJob {
            queue: "others",
            ..job("e", &two, &small)
        },
    ];
    for jobs in [&alike[..], &mixed[..]] {
        let added = queue.add(jobs).await.expect("adds");
        assert!(added.iter().all(|added| *added == Added::Created));
        for want in jobs {
            let found = queue.find(want.id).await.expect("looks");
            let found = found.expect("is there");
            assert_eq!(
                (found.queue.as_str(), &found.plugin, found.name.as_str()),
                (want.queue, want.plugin, want.name)
            );
            assert_eq!(
                (found.lane.as_deref(), found.priority, found.max_attempts),
                (want.lane, want.priority, want.max_attempts)
            );
            assert_eq!(found.payload.get(), want.payload.get());
            assert_eq!(found.due_at_ms, found.added_at_ms + want.delay_ms);
            let age = found.expires_at_ms.map(|at| at - found.added_at_ms);
            assert_eq!(age, want.max_age_ms);
            assert_eq!(found.state, JobState::Pending);
        }
    }
    let known = |id: &str| Added::Existing {
        id: id.to_owned(),
        changed: false,
    };
    let again = [kind("f", &large), kind("b", &small), kind("f", &small)];
    let added = queue.add(&again).await.expect("adds");
    assert_eq!(added, [Added::Created, known("b"), known("f")]);
    let mixed = [job("g", &two, &small), kind("c", &large)];
    let added = queue.add(&mixed).await.expect("adds");
    assert_eq!(added, [Added::Created, known("c")]);
    let kept = queue.find("b").await.expect("looks").expect("is there");
    assert_eq!(kept.payload.get(), large.get(), "it is not changed");
}

/// Claims that know nothing of lanes come first and must give nothing away that stands in one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_hold_and_keep_their_place_among_jobs_without() {
    let database = Database::new().await;
    // The other node has seen no lane yet.
    let (store, other_node) = tokio::join!(open(&database), open(&database));
    let queue = store.queue();
    let (plugin, payload) = (name("one"), raw("1"));
    let laned = |id| NewJob {
        lane: Some("lane"),
        ..job(id, &plugin, &payload)
    };
    let plain = |id| job(id, &plugin, &payload);
    let ids = |claimed: &[Claimed]| -> Vec<String> {
        claimed
            .iter()
            .map(|claimed| claimed.job.id.clone())
            .collect()
    };
    let jobs = [plain("a"), laned("b"), laned("c"), plain("d"), plain("e")];
    queue.add(&jobs).await.expect("adds");
    let mut held = Vec::new();
    for (node, n, want) in [
        (&store, 1, &["a"][..]),
        (&store, 1, &["b"]),
        (&other_node, 2, &["d", "e"]),
        (&store, 2, &[]),
    ] {
        let claimed = node.queue().claim(&wish(n)).await.expect("claims");
        assert_eq!(ids(&claimed), want);
        held.extend(claimed);
    }
    assert_eq!(complete(&store, &held).await, [true; 4]);
    assert_eq!(complete(&store, &held).await, [false; 4], "they are over");
    let claimed = queue.claim(&wish(2)).await.expect("claims");
    assert_eq!(ids(&claimed), ["c"]);
    let [one] = &claimed[..] else {
        panic!("one was claimed")
    };
    let other = JobLease {
        token: one.lease.token + 1,
        ..one.lease.clone()
    };
    let done = |lease| End {
        lease,
        how: Ending::Complete { result: None },
    };
    assert_eq!(queue.end(&[done(&other)]).await, Ok(vec![false]));
    let both = [done(&other), done(&one.lease)];
    assert_eq!(queue.end(&both).await, Ok(vec![false, true]));
}

async fn heard(hints: &mut watch::Receiver<u64>) -> bool {
    matches!(timeout(SOON, hints.changed()).await, Ok(Ok(())))
}

/// Until the node listens: adds on the other one until it hears.
async fn until_heard(speaker: &PgStore, hints: &mut watch::Receiver<u64>, word: &str) {
    let (plugin, payload) = (name("one"), raw("1"));
    let heard = async {
        for n in 0.. {
            let id = format!("{word} {n}");
            speaker
                .queue()
                .add(&[job(&id, &plugin, &payload)])
                .await
                .expect("adds");
            if timeout(Duration::from_millis(50), hints.changed())
                .await
                .is_ok()
            {
                return;
            }
        }
    };
    timeout(SOON, heard).await.expect("hears at last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_what_others_add_end_and_revive() {
    let database = Database::new().await;
    let (listener, speaker) = tokio::join!(open(&database), open(&database));
    let mut hints = listener.queue().hints().await.expect("hints");
    let (plugin, payload) = (name("one"), raw("1"));
    until_heard(&speaker, &mut hints, "first").await;
    let queue = speaker.queue();
    let claimed = queue.claim(&wish(1_000)).await.expect("claims");
    complete(&speaker, &claimed).await;
    // What was said of those adds may still be on its way.
    while timeout(Duration::from_millis(300), hints.changed())
        .await
        .is_ok()
    {}

    let later = NewJob {
        delay_ms: 3_600_000,
        ..job("later", &plugin, &payload)
    };
    queue.add(&[later]).await.expect("adds");
    complete(&speaker, &queue.claim(&wish(1)).await.expect("claims")).await;
    let silent = timeout(Duration::from_millis(300), hints.changed()).await;
    assert!(silent.is_err(), "nothing is due");

    let laned = NewJob {
        lane: Some("lane"),
        ..job("laned", &plugin, &payload)
    };
    queue.add(&[laned]).await.expect("adds");
    assert!(heard(&mut hints).await, "added");
    let claimed = queue.claim(&wish(1)).await.expect("claims");
    complete(&speaker, &claimed).await;
    assert!(heard(&mut hints).await, "its lane is free");
    assert_eq!(queue.revive("laned").await, Ok(Some(true)));
    assert!(heard(&mut hints).await, "revived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_again_after_its_connections_were_ended() {
    let database = Database::new().await;
    let (listener, speaker) = tokio::join!(open(&database), open(&database));
    let mut hints = listener.queue().hints().await.expect("hints");
    until_heard(&speaker, &mut hints, "before").await;
    let admin = connect(&database.admin).await;
    // What a restart of the server does to every session.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.query_one(end, &[]).await.expect("ends them");
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()";
    let gone = async {
        while admin
            .query_one(left, &[])
            .await
            .expect("asks")
            .get::<_, i64>(0)
            > 0
        {}
    };
    timeout(SOON, gone).await.expect("they end");
    while hints.has_changed().expect("the store is there") {
        hints.mark_unchanged();
    }
    // A session that is found to be gone may cost one call; the next has a new one.
    let calls = async { while speaker.queue().now_ms().await.is_err() {} };
    timeout(SOON, calls).await.expect("works again");
    until_heard(&speaker, &mut hints, "after").await;
    store_works(&listener).await;
}

async fn store_works(store: &PgStore) {
    let works = async { while store.queue().counts().await.is_err() {} };
    timeout(SOON, works).await.expect("works");
}

/// CP28: the answer is lost after the server has committed: what happened is found again by repeating the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cp28_calls_without_an_answer_are_safe_to_repeat() {
    let database = Database::new().await;
    let proxy = Proxy::cutting(&database.url, "kodex.jobs").await;
    let mut options = PgOptions::new(&proxy.url);
    // So that every message holds its statement.
    options.prepare = false;
    let store = PgStore::open(options).await.expect("opens");
    let queue = store.queue();
    let cut = || proxy.is_armed.store(true, Ordering::SeqCst);
    let (plugin, payload) = (name("one"), raw("1"));

    cut();
    let lost = queue.add(&[job("a", &plugin, &payload)]).await;
    assert_eq!(lost.expect_err("has no answer").code(), "store.lost");
    let existing = Added::Existing {
        id: "a".to_owned(),
        changed: false,
    };
    let again = queue.add(&[job("a", &plugin, &payload)]).await;
    assert_eq!(again, Ok(vec![existing]));

    cut();
    let short = Claim {
        lease_ms: 100,
        ..wish(1)
    };
    let lost = queue.claim(&short).await;
    assert_eq!(lost.expect_err("has no answer").code(), "store.lost");
    assert_eq!(state(&store, "a").await, JobState::Running);
    let recovered = async {
        loop {
            let recovered = queue.recover(&TAKE_BACK).await.expect("looks");
            if !recovered.is_empty() {
                return recovered;
            }
        }
    };
    let recovered = timeout(SOON, recovered).await.expect("its lease ends");
    assert_eq!(recovered[0].state, JobState::Pending);

    let claimed = queue.claim(&wish(1)).await.expect("claims");
    assert_eq!(claimed[0].lease.token, 2, "nobody was told the first");
    cut();
    let end = End {
        lease: &claimed[0].lease,
        how: Ending::Complete { result: None },
    };
    let lost = queue.end(std::slice::from_ref(&end)).await;
    assert_eq!(lost.expect_err("has no answer").code(), "store.lost");
    assert_eq!(state(&store, "a").await, JobState::Completed);
    assert_eq!(queue.end(&[end]).await, Ok(vec![false]), "it is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_first_format_gets_the_tables() {
    let database = Database::new().await;
    let (plugin, payload) = (name("one"), raw("1"));
    let store = open(&database).await;
    store
        .namespace(&plugin, kodex_store::Access::Write)
        .await
        .expect("makes a namespace");
    store.close().await.expect("closes");
    let admin = connect(&database.admin).await;
    let older =
        "DROP TABLE kodex.jobs, kodex.job_caps, kodex.job_effects, kodex.job_logs, kodex.job_lines;
                 UPDATE kodex.meta SET value = '1' WHERE name = 'format'";
    admin.batch_execute(older).await.expect("goes back");
    let (a, b) = tokio::join!(open(&database), open(&database));
    a.queue()
        .add(&[job("a", &plugin, &payload)])
        .await
        .expect("adds");
    assert_eq!(state(&b, "a").await, JobState::Pending);
    assert_eq!(b.plugins().await.expect("lists"), [plugin], "as it was");
    let format = "SELECT value FROM kodex.meta WHERE name = 'format'";
    let format: String = admin.query_one(format, &[]).await.expect("reads").get(0);
    assert_eq!(format, "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_jobs_that_cannot_be() {
    for (damage, about) in [
        ("payload = '{'", "payload cannot be read"),
        ("token = -1", "token cannot be read"),
        ("state = 'running'", "nobody holds it"),
        ("state = 'dead'", "ended at no time"),
    ] {
        let database = Database::new().await;
        let store = open(&database).await;
        let (plugin, payload) = (name("one"), raw("1"));
        store
            .queue()
            .add(&[job("a", &plugin, &payload)])
            .await
            .expect("adds");
        let before = store.check().await.expect("checks");
        assert!(before.iter().all(|finding| finding.code != "store.job"));
        let admin = connect(&database.admin).await;
        let damage = format!("UPDATE kodex.jobs SET {damage}");
        admin.batch_execute(&damage).await.expect("damages");
        let findings = store.check().await.expect("checks");
        let found = findings.iter().find(|finding| finding.code == "store.job");
        let said = &found.expect("is found").message;
        assert!(said.contains(about), "{said}");
    }
}
