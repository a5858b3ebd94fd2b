//! What jobs in files go through: processes that die, writes that break off anywhere, full disks, damage,
//! backups, older formats. The names say which points of a crash (CP) a test shows:
//!
//! | point | where |
//! |---|---|
//! | CP01, CP02, CP05, CP06, CP09 to CP13, CP16, CP17 | [`cuts`], [`killed`] |
//! | CP14 | `cp14_…`; among callers of one process in the suite's races |
//! | CP18 | the suite's races and holders |
//! | CP20 | [`killed`] |
//! | CP22 | `cp22_…` |
//! | CP23 | [`full`] |
//! | CP25 | `cp25_…` |
//! | CP26 | the suite's histories, in which the clock goes both ways |

#[path = "sqlite_jobs/cuts.rs"]
mod cuts;
#[path = "sqlite_jobs/full.rs"]
mod full;
#[path = "sqlite_jobs/killed.rs"]
mod killed;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use kodex_plugin::PluginName;
use kodex_store::{
    Queue, Store,
    queue::{
        Added, Claim, Claimed, Effect, End, Ending, Filter, Job, JobState, LogLine, LogStream,
        NewJob, Recover,
    },
    sqlite::{SqliteOptions, SqliteStore, restore},
    suite::SuiteClock,
};
use rusqlite::Connection;
use serde_json::value::RawValue;

const QUEUE: &str = "work";
const LEASE_MS: u64 = 30_000;
const RULES: Recover<'static> = Recover {
    limit: 1_000,
    max_crashes: 1_000,
    pauses_ms: &[0],
};

fn plugin() -> PluginName {
    PluginName::new("notes").expect("is a name")
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("is JSON")
}

async fn open_with(folder: &Path, clock: &Arc<SuiteClock>) -> SqliteStore {
    let options = SqliteOptions::new(folder, Arc::clone(clock) as Arc<dyn kodex_plugin::Clock>);
    SqliteStore::open(options).await.expect("opens")
}

async fn open(folder: &Path) -> SqliteStore {
    open_with(folder, &Arc::default()).await
}

fn job<'a>(id: &'a str, plugin: &'a PluginName, payload: &'a RawValue) -> NewJob<'a> {
    NewJob {
        max_attempts: 1_000,
        ..NewJob::new(id, QUEUE, plugin, "name", payload)
    }
}

async fn add(queue: &dyn Queue, id: &str) -> Result<Vec<Added>, kodex_store::StoreError> {
    let (plugin, payload) = (plugin(), raw("{}"));
    queue.add(&[job(id, &plugin, &payload)]).await
}

async fn claim(queue: &dyn Queue, holder: &str, n: usize) -> Vec<Claimed> {
    let claim = Claim {
        queue: QUEUE,
        holder,
        n,
        lease_ms: LEASE_MS,
        caps: &[],
        plugins: None,
    };
    queue.claim(&claim).await.expect("is answered")
}

async fn all(queue: &dyn Queue) -> Vec<Job> {
    let filter = Filter {
        queue: None,
        plugin: None,
        states: &[],
        after: None,
        limit: 1_000,
    };
    queue.list(&filter).await.expect("lists")
}

const DONE: Ending<'static> = Ending::Complete { result: None };

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_1_gets_the_tables_from_its_next_writer() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let old = |folder: &Path| {
        let db = Connection::open(folder.join("kodex.db")).expect("opens");
        db.execute_batch(
            "DROP TABLE jobs; DROP TABLE job_lines; DROP TABLE job_logs; DROP TABLE job_effects;
             UPDATE kodex_meta SET value = '1' WHERE key = 'format'",
        )
        .expect("is as it was");
    };
    let store = open(folder.path()).await;
    add(store.queue(), "a").await.expect("is added");
    store.close().await.expect("closes");
    old(folder.path());

    let mut options = SqliteOptions::new(folder.path(), Arc::new(SuiteClock::default()));
    options.read_only = true;
    let store = SqliteStore::open(options).await.expect("opens");
    assert!(all(store.queue()).await.is_empty());
    assert_eq!(store.check().await, Ok(Vec::new()));
    let error = add(store.queue(), "b").await.expect_err("only reads");
    assert_eq!(error.code(), "store.read_only");
    store.close().await.expect("closes");

    let (reader, writer) = (open(folder.path()).await, open(folder.path()).await);
    assert!(
        all(reader.queue()).await.is_empty(),
        "before there are tables"
    );
    assert!(reader.queue().find("b").await.expect("looks").is_none());
    add(writer.queue(), "b").await.expect("is added");
    assert_eq!(
        all(reader.queue()).await.len(),
        1,
        "a reader sees them come"
    );
    assert_eq!(claim(reader.queue(), "other", 5).await.len(), 1);
    assert_eq!(reader.check().await, Ok(Vec::new()));
    let db = Connection::open(folder.path().join("kodex.db")).expect("opens");
    let format: String = db
        .query_row(
            "SELECT value FROM kodex_meta WHERE key = 'format'",
            [],
            |row| row.get(0),
        )
        .expect("is there");
    assert_eq!(format, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn cp14_stores_on_one_file_share_claims_and_sweeps() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let clock = Arc::new(SuiteClock::default());
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(open_with(folder.path(), &clock).await);
    }
    let ids: BTreeSet<_> = (0..150).map(|at| format!("{at:04}")).collect();
    for (at, id) in ids.iter().enumerate() {
        add(stores[at % 3].queue(), id).await.expect("is added");
    }
    let take = async |store: &SqliteStore| {
        let mut taken = Vec::new();
        loop {
            let claimed = claim(store.queue(), "holder", 2).await;
            if claimed.is_empty() {
                return taken;
            }
            taken.extend(claimed.into_iter().map(|claimed| claimed.lease));
        }
    };
    let (one, two, three) = tokio::join!(take(&stores[0]), take(&stores[1]), take(&stores[2]));
    let leases = [one, two, three].concat();
    assert_eq!(leases.len(), ids.len(), "none twice");
    clock.advance_ms(LEASE_MS);
    let sweep = async |store: &SqliteStore| store.queue().recover(&RULES).await.expect("sweeps");
    let (one, two, three) = tokio::join!(sweep(&stores[0]), sweep(&stores[1]), sweep(&stores[2]));
    let told: BTreeSet<_> = [&one, &two, &three]
        .into_iter()
        .flatten()
        .map(|job| job.id.clone())
        .collect();
    assert_eq!(one.len() + two.len() + three.len(), ids.len(), "each once");
    assert_eq!(told, ids);
    for job in all(stores[0].queue()).await {
        assert_eq!((job.state, job.n_crashes), (JobState::Pending, 1));
    }
    for lease in &leases {
        let how = DONE;
        let ended = stores[1].queue().end(&[End { lease, how }]).await;
        assert_eq!(ended, Ok(vec![false]), "who was swept is fenced");
    }
}

/// A job of every kind, with lines and an effect.
async fn one_of_each(queue: &dyn Queue) {
    for id in ["blocked", "completed", "pending", "running"] {
        add(queue, id).await.expect("is added");
    }
    let value = raw("7");
    for claimed in claim(queue, "holder", 4).await {
        let lease = &claimed.lease;
        let line = LogLine {
            stream: LogStream::Out,
            text: lease.id.clone(),
        };
        queue.log(lease, &[line]).await.expect("is kept");
        queue.effect(lease, "key", &value).await.expect("is kept");
        let reason = kodex_store::queue::Reason {
            code: "why",
            text: "because",
        };
        let how = match &*lease.id {
            "blocked" => Ending::Block(reason),
            "completed" => Ending::Complete {
                result: Some(&value),
            },
            "pending" => Ending::Release { after_ms: 0 },
            _ => continue,
        };
        assert_eq!(queue.end(&[End { lease, how }]).await, Ok(vec![true]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cp22_a_backup_in_the_middle_of_work_is_whole_and_comes_back() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let (from, to, back) = ("store", "backup", "back");
    let path = |name: &str| folder.path().join(name);
    let store = open(&path(from)).await;
    one_of_each(store.queue()).await;
    let before = format!("{:?}", all(store.queue()).await);
    store.backup(&path(to)).await.expect("is copied");
    restore(&path(to), &path(back)).expect("comes back");
    let again = open(&path(back)).await;
    assert_eq!(again.check().await, Ok(Vec::new()));
    assert_eq!(format!("{:?}", all(again.queue()).await), before);
    assert_eq!(
        again
            .queue()
            .logs("blocked", 0, 9)
            .await
            .map(|lines| lines.len()),
        Ok(1)
    );
    let claimed = claim(again.queue(), "other", 9).await;
    assert_eq!(claimed.len(), 1);
    let value = raw("8");
    let effect = again.queue().effect(&claimed[0].lease, "key", &value).await;
    assert!(matches!(effect, Ok(Effect::Again(first)) if first.get() == "7"));

    // While others write: each job is there whole or not at all.
    let writing = async {
        for at in 0..200 {
            let id = format!("{at:04}");
            add(store.queue(), &id).await.expect("is added");
            for claimed in claim(store.queue(), "holder", 1).await {
                let lease = &claimed.lease;
                let ended = store.queue().end(&[End { lease, how: DONE }]).await;
                assert_eq!(ended, Ok(vec![true]));
            }
        }
    };
    let copying = async {
        for at in 0..3 {
            store
                .backup(&path(&format!("busy {at}")))
                .await
                .expect("is copied");
        }
    };
    tokio::join!(writing, copying);
    for at in 0..3 {
        let back = path(&format!("back {at}"));
        restore(&path(&format!("busy {at}")), &back).expect("comes back");
        let again = open(&back).await;
        assert_eq!(again.check().await, Ok(Vec::new()));
        again.queue().counts().await.expect("counts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_jobs_is_found() {
    for (damage, want) in [
        (
            "UPDATE jobs SET payload = '{' WHERE id = 'pending'",
            "payload",
        ),
        (
            "UPDATE jobs SET plugin = '' WHERE id = 'completed'",
            "plugin",
        ),
        (
            "UPDATE jobs SET added_at_ms = -1 WHERE id = 'blocked'",
            "added_at_ms",
        ),
        (
            "UPDATE jobs SET result = 'none' WHERE id = 'completed'",
            "result",
        ),
        (
            "UPDATE jobs SET until_ms = NULL WHERE id = 'running'",
            "nobody holds it",
        ),
        ("UPDATE jobs SET token = 0 WHERE id = 'running'", "token"),
        (
            "UPDATE jobs SET holder = 'x' WHERE id = 'pending'",
            "somebody holds it",
        ),
        (
            "UPDATE jobs SET ended_at_ms = NULL WHERE id = 'blocked'",
            "at no time",
        ),
        ("DELETE FROM jobs WHERE id = 'completed'", "not there"),
    ] {
        let folder = tempfile::tempdir().expect("makes a folder");
        let store = open(folder.path()).await;
        one_of_each(store.queue()).await;
        assert_eq!(store.check().await, Ok(Vec::new()));
        let db = Connection::open(folder.path().join("kodex.db")).expect("opens");
        db.execute_batch(damage).expect("is damaged");
        let findings = store.check().await.expect("checks");
        assert_eq!(findings.len(), 1, "{damage}: {findings:?}");
        assert_eq!(findings[0].code, "store.job");
        assert!(findings[0].message.contains(want), "{damage}: {findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cp25_a_file_that_was_cut_or_replaced_is_said() {
    for (damage, want) in [
        ("cut", "store.integrity"),
        ("no database", "store.integrity"),
    ] {
        let folder = tempfile::tempdir().expect("makes a folder");
        let store = open(folder.path()).await;
        for at in 0..200 {
            add(store.queue(), &format!("{at:04}"))
                .await
                .expect("is added");
        }
        store.close().await.expect("closes");
        let path = folder.path().join("kodex.db");
        let bytes = fs::read(&path).expect("reads");
        let half = match damage {
            "cut" => bytes[..bytes.len() / 2].to_vec(),
            _ => vec![b'x'; bytes.len()],
        };
        fs::write(&path, half).expect("writes");
        let options = SqliteOptions::new(folder.path(), Arc::new(SuiteClock::default()));
        let store = match SqliteStore::open(options).await {
            Err(error) => {
                assert_eq!(error.code(), "store.damaged", "{damage}");
                continue;
            }
            Ok(store) => store,
        };
        let findings = store.check().await.expect("checks");
        assert!(
            findings.iter().any(|finding| finding.code == want),
            "{damage}: {findings:?}"
        );
        let error = store.queue().counts().await.expect_err("is damaged");
        assert_eq!(error.code(), "store.damaged", "{damage}");
    }
    // Another store under the same name: what was held there is not held here.
    let folder = tempfile::tempdir().expect("makes a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let store = open(&one).await;
    add(store.queue(), "a").await.expect("is added");
    let lease = claim(store.queue(), "holder", 1).await.remove(0).lease;
    store.close().await.expect("closes");
    let other = open(&two).await;
    add(other.queue(), "b").await.expect("is added");
    other.close().await.expect("closes");
    fs::copy(two.join("kodex.db"), one.join("kodex.db")).expect("is replaced");
    let store = open(&one).await;
    let lease = &lease;
    let ended = store.queue().end(&[End { lease, how: DONE }]).await;
    assert_eq!(ended, Ok(vec![false]));
    assert_eq!(claim(store.queue(), "holder", 5).await.len(), 1);
}
