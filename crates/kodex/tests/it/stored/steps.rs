//! Data steps: code of the plugin, in the order of the journal.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use kodex::{PluginError, UpgradeEvent, UpgradeOptions};
use serde_json::{Value, json};

use super::{Asking, Files, ask_now, counts, query, runtime, stores, upgrade, upgrade_with};

const FILES: Files = &[
    (
        "0001_tasks.sql",
        "CREATE TABLE tasks (id INTEGER PRIMARY KEY, title TEXT);",
    ),
    (
        "0002_backfill.sql",
        "-- kodex: code\n-- from the old values\n",
    ),
    ("0003_index.sql", "CREATE INDEX by_title ON tasks (title);"),
];

/// Moves the values `old/*` into the table; those that are no object are missing.
fn backfill(context: &kodex::Context, _: &Value) -> Result<Option<Value>, PluginError> {
    let mut counts = [0u64; 4];
    let listed = ask_now(context, "state/list", json!({"prefix": "old/"}))?;
    for key in listed["keys"].as_array().into_iter().flatten() {
        let value = ask_now(context, "state/get", json!({"key": key["key"]}))?["value"].clone();
        counts[0] += 1;
        let (Some(id), Some(title)) = (value["id"].as_i64(), value["title"].as_str()) else {
            counts[3] += 1;
            continue;
        };
        let sql = "INSERT INTO tasks (id, title) VALUES (?, ?) ON CONFLICT (id) DO NOTHING";
        let changed = ask_now(
            context,
            "db/query",
            json!({"sql": sql, "params": [id, title]}),
        )?["changed"]
            .as_u64();
        counts[if changed == Some(1) { 1 } else { 2 }] += 1;
    }
    let [scanned, migrated, existing, missing] = counts;
    Ok(Some(
        json!({"scanned": scanned, "migrated": migrated, "existing": existing, "missing": missing}),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_step_runs_in_its_place_with_its_own_state() {
    for store in stores().await.all {
        let bare = Arc::new(Asking::new("tasks", &[]));
        let before = runtime(Some(&store), [bare]).await;
        for (key, value) in [
            ("old/1", json!({"id": 1, "title": "a"})),
            ("old/2", json!("malformed")),
        ] {
            super::ask(
                &before,
                "tasks",
                "state/set",
                json!({"key": key, "value": value}),
            )
            .await;
        }
        let tasks = Arc::new(Asking::new("tasks", FILES).step("0002_backfill", backfill));
        let runtime = runtime(Some(&store), [tasks.clone()]).await;
        let (report, heard) = upgrade_with(&runtime, &UpgradeOptions::default()).await;
        let report = report.expect("applied");
        assert_eq!(counts(report.plugins[0].steps[1].counts), "2 1 0 1");
        assert_eq!(counts(report.counts()), "4 3 0 1");
        let begun = heard.iter().filter_map(|event| match event {
            UpgradeEvent::StepBegins { id, .. } => Some(id.rsplit('/').next().unwrap_or(id)),
            _ => None,
        });
        let begun: Vec<_> = begun.collect();
        assert_eq!(
            begun,
            ["0001_tasks.sql", "0002_backfill.sql", "0003_index.sql"]
        );
        assert_eq!(
            query(&runtime, "tasks", "SELECT id, title FROM tasks").await,
            json!([[1, "a"]])
        );
        assert_eq!(
            super::ask(&runtime, "tasks", "state/get", json!({"key": "old/1"})).await["value"]["id"],
            1
        );
        assert_eq!(
            counts(upgrade(&runtime).await.expect("nothing to do").counts()),
            "3 0 3 0"
        );
        assert_eq!(tasks.told.lock().expect("no panic").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_goes_on_where_it_was_interrupted() {
    for store in stores().await.all {
        let tries = Arc::new(AtomicU32::new(0));
        let seen = tries.clone();
        let step = move |context: &kodex::Context, payload: &Value| {
            let first = seen.fetch_add(1, Ordering::SeqCst) == 0;
            assert_eq!(
                payload["progress"],
                if first {
                    Value::Null
                } else {
                    json!({"at": 500})
                }
            );
            if first {
                ask_now(
                    context,
                    "step/progress",
                    json!({"progress": {"at": 500}, "counts": {"scanned": 500}}),
                )?;
                return Err(PluginError::raised("the power failed"));
            }
            Ok(Some(
                json!({"scanned": 1000, "migrated": 500, "existing": 500, "skipped": 3}),
            ))
        };
        let tasks = Arc::new(Asking::new("tasks", FILES).step("0002_backfill", step));
        let runtime = runtime(Some(&store), [tasks]).await;
        let (report, heard) = upgrade_with(&runtime, &UpgradeOptions::default()).await;
        let error = report.expect_err("the first try fails");
        assert_eq!(error.code(), "plugin.raised");
        assert!(
            error.to_string().contains("plugin:tasks/0002_backfill.sql")
                && error.to_string().contains("the power failed")
        );
        let progress = |event: &UpgradeEvent| matches!(event, UpgradeEvent::StepProgress { counts, .. } if counts.scanned == 500);
        assert!(heard.iter().any(progress), "{heard:?}");
        let report = upgrade(&runtime).await.expect("the second goes on");
        assert_eq!(
            counts(report.plugins[0].steps[1].counts),
            "1000 500 500 0 3"
        );
        assert_eq!(counts(report.counts()), "1002 501 501 0 3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_has_no_other_services_and_may_return_nothing() {
    for store in stores().await.all {
        let step = |context: &kodex::Context, _: &Value| {
            for method in ["agent/dispatch", "model/complete", "host/unheard"] {
                let refused = ask_now(context, method, json!({})).expect_err("not there");
                assert!(refused.message.starts_with("step.service"), "{refused}");
            }
            ask_now(context, "clock/now", json!({}))?;
            Ok(None)
        };
        let tasks = Arc::new(Asking::new("tasks", FILES).step("0002_backfill", step));
        let runtime = runtime(Some(&store), [tasks]).await;
        let report = upgrade(&runtime).await.expect("applied");
        assert_eq!(counts(report.plugins[0].steps[1].counts), "0 0 0 0");
        let outside = super::ask(&runtime, "tasks", "step/progress", json!({"progress": 1})).await;
        assert_eq!(outside["error"], "step.not_running");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_raises_stops_the_plugins_after_it() {
    for store in stores().await.all {
        let a = Arc::new(
            Asking::new("a", FILES).step("0002_backfill", |_, _| Err(PluginError::raised("no"))),
        );
        let b = Arc::new(Asking::new("b", FILES).step("0002_backfill", |_, _| Ok(None)));
        let runtime = runtime(Some(&store), [a, b.clone()]).await;
        upgrade(&runtime).await.expect_err("a raises");
        assert_eq!(b.told.lock().expect("no panic").len(), 0);
        assert_eq!(
            store
                .ledger()
                .applied(&kodex::PluginName::new("b").expect("a name"))
                .await
                .expect("rows"),
            []
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_panics_is_a_failed_step() {
    for store in stores().await.all {
        let tasks = Asking::new("tasks", FILES).step("0002_backfill", |_, _| panic!("on purpose"));
        let runtime = runtime(Some(&store), [Arc::new(tasks)]).await;
        let error = upgrade(&runtime).await.expect_err("it panics");
        assert_eq!(error.code(), "native.panicked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_no_counters_is_named() {
    for store in stores().await.all {
        let tasks = Asking::new("tasks", FILES)
            .step("0002_backfill", |_, _| Ok(Some(json!({"done": true}))));
        let runtime = runtime(Some(&store), [Arc::new(tasks)]).await;
        assert_eq!(
            upgrade(&runtime).await.expect_err("no counters").code(),
            "step.reply"
        );
    }
}
