//! `Runtime::transfer`: from every engine to every other, compared, refused, gone on with.

use std::sync::Arc;

use kodex::{PluginName, Runtime, TableTransferred, TransferError, Transferred, store::Store};
use serde_json::{Value, json};

use super::{Asking, Files, ask, query, runtime, stores, upgrade};

const FILES: Files = &[
    (
        "0001_tables.sql",
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born TIMESTAMP, happy BOOLEAN, weight NUMERIC);\n\
         CREATE TABLE letters (id INTEGER PRIMARY KEY, sender INTEGER NOT NULL REFERENCES people (id), body TEXT);\n\
         INSERT INTO people VALUES (1, 'first', NULL, NULL, NULL);",
    ),
    ("0002_data.sql", "-- kodex: code\n"),
];

fn plugin() -> Arc<Asking> {
    Arc::new(Asking::new("mail", FILES).step("0002_data", |_, _| Ok(None)))
}

async fn filled(store: &Arc<dyn Store>) -> Runtime {
    let runtime = runtime(Some(store), [plugin()]).await;
    upgrade(&runtime).await.expect("applied");
    for (sql, params) in [
        (
            "INSERT INTO people VALUES (?, ?, ?, ?, ?)",
            json!([2, "Ünï", "2026-01-02 03:04:05", true, {"$numeric": "70.50"}]),
        ),
        (
            "INSERT INTO people VALUES (?, ?, ?, ?, ?)",
            json!([3, "", null, false, {"$numeric": "0.1"}]),
        ),
        (
            "INSERT INTO letters VALUES (?, ?, ?)",
            json!([1, 2, "line\nline"]),
        ),
    ] {
        let done = ask(
            &runtime,
            "mail",
            "db/query",
            json!({"sql": sql, "params": params}),
        )
        .await;
        assert_eq!(done["changed"], 1, "{done}");
    }
    for (key, value) in [
        ("plain", json!({"a": [1, 2.5, null]})),
        ("null", Value::Null),
    ] {
        ask(
            &runtime,
            "mail",
            "state/set",
            json!({"key": key, "value": value}),
        )
        .await;
    }
    ask(
        &runtime,
        "mail",
        "state/set",
        json!({"key": "ttl", "value": 1, "ttl_ms": 600_000}),
    )
    .await;
    runtime
}

async fn transfer(
    runtime: &Runtime,
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
) -> Result<Transferred, TransferError> {
    runtime.transfer(&**from, &**to, &|_, _, _| ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_and_is_equal() {
    for nth in 0..stores().await.all.len() {
        let (sources, targets) = (stores().await, stores().await);
        let from = &sources.all[nth];
        let source = filled(from).await;
        for to in &targets.all {
            let moved = transfer(&source, from, to).await.expect("moved");
            let mail = &moved.plugins[0];
            let table = |table: &TableTransferred| (table.table.clone(), table.n_rows);
            let tables: Vec<_> = mail.tables.iter().map(table).collect();
            assert_eq!((mail.n_steps, mail.n_keys), (2, 3));
            assert_eq!(
                tables,
                [("people".to_owned(), 3), ("letters".to_owned(), 1)]
            );
            let target = runtime(Some(to), [plugin()]).await;
            assert_eq!(kodex_counts(&target).await, "2 0 2 0");
            for sql in [
                "SELECT id, name, happy FROM people ORDER BY id",
                "SELECT * FROM letters",
            ] {
                let theirs = query(&source, "mail", sql).await;
                assert_eq!(query(&target, "mail", sql).await, theirs);
            }
            let plain = ask(&target, "mail", "state/get", json!({"key": "plain"})).await;
            assert_eq!(plain["value"]["a"], json!([1, 2.5, null]));
            let ttl = ask(&target, "mail", "state/get", json!({"key": "ttl"})).await;
            assert!(ttl["expires_at_ms"].is_u64());
            let again = transfer(&source, from, to)
                .await
                .expect_err("not empty any more");
            assert_eq!(again.code(), "transfer.not_empty");
        }
    }
}

async fn kodex_counts(runtime: &Runtime) -> String {
    super::counts(upgrade(runtime).await.expect("nothing to do").counts())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_tokens_go_on_where_they_were() {
    for nth in 0..stores().await.all.len() {
        let (sources, targets) = (stores().await, stores().await);
        let from = &sources.all[nth];
        let source = filled(from).await;
        let idle = Arc::new(Asking::new("idle", &[]));
        let other = runtime(Some(from), [idle.clone()]).await;
        let state = async |runtime: &Runtime, plugin: &str, method: &str, params: Value| {
            ask(runtime, plugin, &format!("state/{method}"), params).await
        };
        let brief = json!({"key": "brief", "ttl_ms": 60_000});
        for _ in 0..3 {
            let lease = state(&source, "mail", "lock", brief.clone()).await;
            state(&source, "mail", "unlock", json!({"lease": lease})).await;
        }
        let wanted = json!({"key": "held", "ttl_ms": 600_000});
        let held = state(&source, "mail", "lock", wanted.clone()).await;
        let gone = json!({"key": "gone", "value": 1});
        let last = state(&source, "mail", "set", gone.clone()).await["version"].clone();
        state(&source, "mail", "delete", json!({"key": "gone"})).await;
        // Nothing but a number is left of this plugin.
        let lease = state(&other, "idle", "lock", brief.clone()).await;
        state(&other, "idle", "unlock", json!({"lease": lease})).await;
        let both = runtime(Some(from), [plugin(), idle.clone()]).await;

        for to in &targets.all {
            transfer(&both, from, to).await.expect("moved");
            let target = runtime(Some(to), [plugin(), idle.clone()]).await;
            for key in ["plain", "null", "ttl"] {
                let key = json!({"key": key});
                let theirs = state(&source, "mail", "get", key.clone()).await;
                assert!(theirs["version"].is_u64(), "{theirs}");
                assert_eq!(state(&target, "mail", "get", key).await, theirs);
            }
            let locked = state(&target, "mail", "lock", wanted.clone()).await;
            assert_eq!(locked["error"], "state.locked", "{locked}");
            let under = json!({"key": "plain", "value": 1, "under": held});
            let written = state(&target, "mail", "set", under).await;
            assert!(
                written["version"].as_u64() > last.as_u64(),
                "{written} after {last}"
            );
            let later = state(&target, "mail", "set", gone.clone()).await;
            assert!(
                later["version"].as_u64() > last.as_u64(),
                "{later} after {last}"
            );
            let given = json!({"lease": held});
            assert_eq!(state(&target, "mail", "unlock", given).await["held"], true);
            let next = state(&target, "mail", "lock", wanted.clone()).await;
            assert!(
                next["token"].as_u64() > held["token"].as_u64(),
                "{next} after {held}"
            );
            let next = state(&target, "idle", "lock", brief.clone()).await;
            assert!(
                next["token"].as_u64() > lease["token"].as_u64(),
                "{next} after {lease}"
            );
            assert_eq!(to.check().await.expect("looks"), []);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_refused_before_anything_is_changed() {
    let (sources, targets) = (stores().await, stores().await);
    let (from, to) = (&sources.all[0], &targets.all[0]);
    let source = filled(from).await;
    assert_eq!(
        transfer(&source, from, from)
            .await
            .expect_err("itself")
            .code(),
        "transfer.same"
    );
    let without = runtime(Some(from), []).await;
    let error = transfer(&without, from, to)
        .await
        .expect_err("nobody knows the tables");
    assert_eq!(error.code(), "transfer.no_journal");
    assert!(error.to_string().contains("mail"), "{error}");
    const MORE: Files = &[
        FILES[0],
        FILES[1],
        ("0003_more.sql", "CREATE TABLE more (i INTEGER);"),
    ];
    let ahead = runtime(Some(from), [Arc::new(Asking::new("mail", MORE))]).await;
    assert_eq!(
        transfer(&ahead, from, to).await.expect_err("behind").code(),
        "transfer.behind"
    );
    assert_eq!(to.plugins().await.expect("names"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_move_goes_on() {
    let (sources, targets) = (stores().await, stores().await);
    for (from, to) in sources.all.iter().zip(&targets.all) {
        let source = filled(from).await;
        let moved = {
            // Given up, and dropped, somewhere on its way; then again from the start.
            let soon = std::time::Duration::from_millis(5);
            let first = tokio::time::timeout(soon, transfer(&source, from, to)).await;
            match first {
                Ok(done) => done.expect("moved"),
                // Sooner than a lock runs out that nobody gives back.
                Err(_) => {
                    let again = transfer(&source, from, to);
                    let bound = std::time::Duration::from_secs(20);
                    let again = tokio::time::timeout(bound, again).await;
                    again.expect("nobody holds it up").expect("goes on")
                }
            }
        };
        assert_eq!(moved.plugins[0].tables.len(), 2);
        let mail = PluginName::new("mail").expect("a name");
        assert_eq!(to.ledger().applied(&mail).await.expect("rows").len(), 2);
    }
}
