//! What a plugin's host offers of SQL and state.

use std::{sync::Arc, time::Duration};

use kodex::{Json, PluginName, Runtime, store::Access};
use serde_json::{Value, json};

use super::{Asking, ask, query, runtime, stores, upgrade};

const NOTES: super::Files = &[(
    "0001_notes.sql",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);",
)];

fn notes() -> Arc<Asking> {
    Arc::new(Asking::new("notes", NOTES))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_has_what_it_declares() {
    for store in stores().await.all {
        let bare = Arc::new(Asking::new("bare", &[]));
        let runtime = runtime(Some(&store), [notes(), bare]).await;
        assert_eq!(query(&runtime, "bare", "SELECT 1").await, "db.undeclared");
        assert_eq!(
            ask(
                &runtime,
                "bare",
                "state/set",
                json!({"key": "k", "value": 1})
            )
            .await["done"],
            true
        );
        upgrade(&runtime).await.expect("applied");
        assert_eq!(
            query(&runtime, "notes", "INSERT INTO notes VALUES (1, 'a')").await,
            json!([])
        );
        assert_eq!(
            query(&runtime, "notes", "SELECT id, text FROM notes").await,
            json!([[1, "a"]])
        );
        let text = ask(&runtime, "notes", "host/unheard", json!({})).await;
        assert_eq!(text["error"], "host.method.unknown");
        runtime.shutdown().await;
        store.close().await.expect("closed");
    }
}

#[tokio::test]
async fn without_a_store_only_plugins_that_want_one_fail() {
    let bare = Arc::new(Asking::new("bare", &[]));
    let runtime = runtime(None, [notes(), bare]).await;
    let refused = ask(&runtime, "notes", "clock/now", json!({})).await;
    assert_eq!(refused["refused"], "store.not_configured", "{refused}");
    assert!(ask(&runtime, "bare", "clock/now", json!({})).await["unix_ms"].is_u64());
    assert_eq!(
        ask(&runtime, "bare", "state/get", json!({"key": "k"})).await["error"],
        "store.not_configured"
    );
    let error = upgrade(&runtime).await.expect_err("no store");
    assert_eq!(error.code(), "store.not_configured");
    let text = error.to_string();
    assert!(
        text.contains("notes") && text.contains("KODEX_DATABASE_URL") && text.contains("[store]"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_behind_keeps_the_plugin_from_starting_until_it_is_applied() {
    for store in stores().await.all {
        let runtime = runtime(Some(&store), [notes()]).await;
        let refused = ask(&runtime, "notes", "clock/now", json!({})).await;
        assert_eq!(refused["refused"], "journal.behind", "{refused}");
        let text = refused["message"].as_str().expect("text");
        assert!(
            text.contains("0001_notes.sql") && text.contains("kodex upgrade"),
            "{text}"
        );
        let found = runtime.check_journals().await;
        assert_eq!((found.len(), &*found[0].code), (1, "journal.behind"));
        upgrade(&runtime).await.expect("applied");
        assert_eq!(runtime.check_journals().await, []);
        assert_eq!(
            query(&runtime, "notes", "SELECT count(*) FROM notes").await,
            json!([[0]])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_requires_databases_fails_naming_every_plugin_without_one() {
    let strict = |store: Option<&Arc<dyn kodex::store::Store>>| {
        let builder = Runtime::builder().require_databases(true).native(notes());
        let builder = builder.native(Arc::new(Asking::new("other", NOTES)));
        match store {
            Some(store) => builder.store(store.clone()),
            None => builder,
        }
    };
    let error = strict(None).build().await.expect_err("no store");
    assert_eq!(error.code(), "store.not_configured");
    let text = error.to_string();
    for part in ["notes", "other", "KODEX_DATABASE_URL", "[store]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for store in stores().await.all {
        let error = strict(Some(&store)).build().await.expect_err("behind");
        assert_eq!(error.code(), "journal.behind");
        let text = error.to_string();
        assert!(
            text.contains("plugin notes") && text.contains("plugin other"),
            "{text}"
        );
        let lenient = runtime(
            Some(&store),
            [notes(), Arc::new(Asking::new("other", NOTES))],
        )
        .await;
        upgrade(&lenient).await.expect("applied");
        strict(Some(&store)).build().await.expect("up to date");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_plugins_see_only_their_own() {
    for store in stores().await.all {
        let other = Arc::new(Asking::new("other", NOTES));
        let runtime = runtime(Some(&store), [notes(), other]).await;
        upgrade(&runtime).await.expect("applied");
        for (plugin, text) in [("notes", "n"), ("other", "o")] {
            query(
                &runtime,
                plugin,
                &format!("INSERT INTO notes VALUES (1, '{text}')"),
            )
            .await;
            ask(
                &runtime,
                plugin,
                "state/set",
                json!({"key": "k", "value": text}),
            )
            .await;
        }
        for (plugin, text) in [("notes", "n"), ("other", "o")] {
            assert_eq!(
                query(&runtime, plugin, "SELECT text FROM notes").await,
                json!([[text]])
            );
            assert_eq!(
                ask(&runtime, plugin, "state/get", json!({"key": "k"})).await["value"],
                text
            );
        }
    }
}

async fn ready(store: &Arc<dyn kodex::store::Store>) -> (Runtime, Arc<Asking>) {
    let plugin = notes();
    let runtime = runtime(Some(store), [plugin.clone()]).await;
    upgrade(&runtime).await.expect("applied");
    (runtime, plugin)
}

async fn tx(runtime: &Runtime, method: &str, tx: &Value) -> Value {
    ask(runtime, "notes", method, json!({"tx": tx})).await
}

async fn insert(runtime: &Runtime, tx: &Value, id: u32) -> Value {
    let params =
        json!({"sql": "INSERT INTO notes VALUES (:id, 'x')", "params": {"id": id}, "tx": tx});
    ask(runtime, "notes", "db/query", params).await
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_end_with_their_call() {
    for store in stores().await.all {
        let (runtime, plugin) = ready(&store).await;
        let begun = ask(&runtime, "notes", "db/begin", json!({"call": 7})).await;
        let id = &begun["tx"];
        assert_eq!(insert(&runtime, id, 1).await["changed"], 1);
        assert_eq!(tx(&runtime, "db/save", id).await, Value::Null);
        assert_eq!(insert(&runtime, id, 2).await["changed"], 1);
        assert_eq!(tx(&runtime, "db/undo", id).await, Value::Null);
        assert_eq!(tx(&runtime, "db/undo", id).await["error"], "db.transaction");
        plugin.context().host.ended(7);
        assert_eq!(
            tx(&runtime, "db/commit", id).await["error"],
            "db.transaction"
        );
        assert_eq!(
            query(&runtime, "notes", "SELECT count(*) FROM notes").await,
            json!([[0]])
        );

        let begun = ask(&runtime, "notes", "db/begin", json!({"call": 8})).await;
        insert(&runtime, &begun["tx"], 3).await;
        plugin.context().host.ended(7);
        assert_eq!(tx(&runtime, "db/commit", &begun["tx"]).await, Value::Null);
        assert_eq!(
            query(&runtime, "notes", "SELECT id FROM notes").await,
            json!([[3]])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_for_rust_rolls_back_what_is_dropped() {
    use kodex::contract::db::Db;
    for store in stores().await.all {
        let (runtime, plugin) = ready(&store).await;
        query(&runtime, "notes", "SELECT 1").await;
        let db = Db::of(&plugin.context());
        let begun = db.begin().await.expect("begins");
        begun
            .execute("INSERT INTO notes VALUES (?, ?)", json!([1, "dropped"]))
            .await
            .expect("inserts");
        drop(begun);
        let begun = db.begin().await.expect("the writer is free again");
        let inner = begun.begin().await.expect_err("a second one would wait");
        assert_eq!(inner.code, "db.transaction");
        begun
            .execute("INSERT INTO notes VALUES (?, ?)", json!([2, "kept"]))
            .await
            .expect("inserts");
        begun.save().await.expect("a savepoint");
        begun
            .execute("INSERT INTO notes VALUES (?, ?)", json!([3, "undone"]))
            .await
            .expect("inserts");
        begun.undo().await.expect("undone");
        begun.commit().await.expect("committed");
        #[derive(serde::Deserialize, PartialEq, Debug)]
        struct Note {
            id: i64,
            text: String,
        }
        let all: Vec<Note> = db
            .query("SELECT id, text FROM notes", json!([]))
            .await
            .expect("rows")
            .to()
            .expect("notes");
        assert_eq!(
            all,
            [Note {
                id: 2,
                text: "kept".into()
            }]
        );
        let one: Option<Note> = db
            .query_one("SELECT * FROM notes WHERE id = :id", json!({"id": 9}))
            .await
            .expect("none");
        assert_eq!(one, None);

        for id in 10..35 {
            db.execute("INSERT INTO notes VALUES (?, ?)", json!([id, "x"]))
                .await
                .expect("inserts");
        }
        let mut pages = db
            .pages("SELECT id FROM notes ORDER BY id", json!([]), 10)
            .await
            .expect("pages");
        let mut sizes = Vec::new();
        while let Some(page) = pages.next().await.expect("a page") {
            sizes.push(page.len());
        }
        assert_eq!(sizes.iter().sum::<usize>(), 26, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_texts_that_grow_as_json() {
    for store in stores().await.all {
        let (runtime, _) = ready(&store).await;
        for id in [1, 2] {
            let params = json!({"sql": "INSERT INTO notes VALUES (?, ?)", "params": [id, "\n".repeat(400_000)]});
            assert_eq!(
                ask(&runtime, "notes", "db/query", params).await["changed"],
                1
            );
        }
        let sql = "SELECT id, text FROM notes ORDER BY id";
        let mut page = ask(
            &runtime,
            "notes",
            "db/query",
            json!({"sql": sql, "page": 10}),
        )
        .await;
        let mut ids = Vec::new();
        while let Some(rows) = page["rows"].as_array().filter(|rows| !rows.is_empty()) {
            ids.extend(rows.iter().map(|row| row[0].clone()));
            let next = json!({"cursor": page["cursor"], "page": 10});
            page = ask(&runtime, "notes", "db/fetch", next).await;
        }
        assert_eq!(ids, [1, 2], "{:.200}", page.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_with_the_call_that_asked_for_it() {
    const FOREVER: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) SELECT count(*) FROM n";
    for store in stores().await.all {
        let (runtime, plugin) = ready(&store).await;
        query(&runtime, "notes", "SELECT 1").await;
        let host = plugin.context().host;
        let running = host.request("db/query", Json::from(json!({"sql": FOREVER, "call": 5})));
        let end = async {
            // Long enough for the statement to run in the engine; it would run for minutes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            plugin.context().host.ended(5);
        };
        let both =
            tokio::time::timeout(Duration::from_secs(4), async { tokio::join!(running, end) });
        let (answer, ()) = both.await.expect("it ends long before its own timeout");
        assert_eq!(answer.expect_err("ended").code, "call.ended");
        // The connection is free: nothing of it is left running.
        assert_eq!(query(&runtime, "notes", "SELECT 1").await, json!([[1]]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_bounded() {
    for store in stores().await.all {
        let (runtime, _) = ready(&store).await;
        let mut last = Value::Null;
        for _ in 0..70 {
            let params = json!({"sql": "SELECT 1 UNION ALL SELECT 2", "page": 1, "call": 1});
            last = ask(&runtime, "notes", "db/query", params).await;
            if !last["error"].is_null() {
                break;
            }
        }
        let code = last["error"].as_str().unwrap_or_default();
        assert!(["db.too_many_open", "store.busy"].contains(&code), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_conditional_fenced_and_listed() {
    for store in stores().await.all {
        let (runtime, _) = ready(&store).await;
        let state = async |method: &str, params: Value| {
            ask(&runtime, "notes", &format!("state/{method}"), params).await
        };
        assert_eq!(state("get", json!({"key": "k"})).await, json!({}));
        let first = state("set", json!({"key": "k", "value": null})).await;
        assert_eq!(
            state("get", json!({"key": "k"})).await["value"],
            Value::Null
        );
        assert_eq!(
            state("set", json!({"key": "k", "value": 1, "if_version": 0})).await["done"],
            false
        );
        assert_eq!(
            state(
                "set",
                json!({"key": "k", "value": 2, "if_version": first["version"]})
            )
            .await["done"],
            true
        );
        let lease = state("lock", json!({"key": "l", "ttl_ms": 60_000})).await;
        let held = state("lock", json!({"key": "l", "ttl_ms": 60_000})).await;
        assert_eq!(held["error"], "state.locked");
        assert!(
            held["message"].as_str().expect("text").contains("\"l\""),
            "{held}"
        );
        assert_eq!(
            state("set", json!({"key": "k", "value": 3, "under": lease})).await["done"],
            true
        );
        assert_eq!(
            state("unlock", json!({"lease": lease})).await,
            json!({"held": true})
        );
        assert_eq!(
            state("set", json!({"key": "k", "value": 4, "under": lease})).await["error"],
            "state.lease_lost"
        );
        assert_eq!(state("get", json!({"key": "k"})).await["value"], 3);
        for key in ["a/1", "a/2", "b"] {
            state("set", json!({"key": key, "value": key})).await;
        }
        let page = state("list", json!({"prefix": "a/", "limit": 1})).await;
        assert_eq!(
            (&page["keys"][0]["key"], &page["after"]),
            (&json!("a/1"), &json!("a/1"))
        );
        let page = state("list", json!({"prefix": "a/", "after": "a/1"})).await;
        assert_eq!(
            (page["keys"].as_array().map(Vec::len), &page["after"]),
            (Some(1), &Value::Null)
        );
        assert_eq!(state("delete", json!({"key": "b"})).await["done"], true);
        assert_eq!(state("delete", json!({"key": "b"})).await["done"], true);
        for (params, code) in [
            (json!({"key": " ", "value": 1}), "state.key"),
            (json!({"key": "x".repeat(513), "value": 1}), "state.key"),
            (
                json!({"key": "k", "value": "x".repeat(300_000)}),
                "state.too_large",
            ),
            (json!({"key": "k", "value": 1, "ttl_ms": 0}), "state.ttl"),
            (json!({"key": "k"}), "params.invalid"),
            (json!({"key": "k", "value": 1, "ttl": 1}), "params.invalid"),
        ] {
            assert_eq!(state("set", params).await["error"], code);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_access_but_that_of_rows_reaches_a_plugin() {
    for store in stores().await.all {
        let (runtime, _) = ready(&store).await;
        for sql in [
            "CREATE TABLE x (i INTEGER)",
            "DROP TABLE notes",
            "SELECT * FROM kodex_journal",
            "DELETE FROM kodex_journal",
        ] {
            assert_eq!(query(&runtime, "notes", sql).await, "db.refused", "{sql}");
        }
        let name = PluginName::new("notes").expect("a name");
        assert!(store.namespace(&name, Access::Read).await.is_ok());
        assert_eq!(store.ledger().applied(&name).await.expect("rows").len(), 1);
    }
}
