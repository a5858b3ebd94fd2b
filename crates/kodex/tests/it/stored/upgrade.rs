//! `Runtime::upgrade`: order, counters, what stops it and what it leaves.

use std::{sync::Arc, time::Duration};

use kodex::{PluginName, PluginSettings, Runtime, StepState, UpgradeEvent, UpgradeOptions};
use serde_json::json;

use super::{Asking, Files, counts, query, runtime, stores, upgrade, upgrade_with};

const A: Files = &[
    ("0002_two.sql", "INSERT INTO t VALUES (2);"),
    (
        "0001_one.sql",
        "CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1);",
    ),
];
const B: Files = &[("0001_one.sql", "CREATE TABLE t (i INTEGER);")];

fn plugin(name: &str, files: Files) -> Arc<Asking> {
    Arc::new(Asking::new(name, files))
}

fn ids(heard: &[UpgradeEvent]) -> Vec<&str> {
    heard
        .iter()
        .filter_map(|event| match event {
            UpgradeEvent::StepEnds { id, .. } => Some(id.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_by_plugin_and_number_once() {
    for store in stores().await.all {
        let runtime = runtime(Some(&store), [plugin("b", B), plugin("a", A)]).await;
        let (report, heard) = upgrade_with(&runtime, &UpgradeOptions::default()).await;
        let report = report.expect("applied");
        assert_eq!(
            ids(&heard),
            [
                "plugin:a/0001_one.sql",
                "plugin:a/0002_two.sql",
                "plugin:b/0001_one.sql"
            ]
        );
        assert_eq!(counts(report.counts()), "3 3 0 0");
        assert_eq!(
            query(&runtime, "a", "SELECT i FROM t ORDER BY i").await,
            json!([[1], [2]])
        );
        let (report, heard) = upgrade_with(&runtime, &UpgradeOptions::default()).await;
        assert_eq!(counts(report.expect("nothing to do").counts()), "3 0 3 0");
        assert_eq!(heard, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing() {
    for store in stores().await.all {
        let runtime = runtime(Some(&store), [plugin("a", A)]).await;
        let options = UpgradeOptions {
            plan_only: true,
            ..UpgradeOptions::default()
        };
        let (report, heard) = upgrade_with(&runtime, &options).await;
        let report = report.expect("planned");
        assert_eq!((report.n_pending, heard.len()), (2, 0));
        assert!(
            report.plugins[0]
                .steps
                .iter()
                .all(|step| step.state == StepState::Pending)
        );
        assert_eq!(store.plugins().await.expect("names"), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_leaves_no_trace_and_a_retry_goes_on() {
    const BROKEN: Files = &[
        ("0001_one.sql", "CREATE TABLE t (i INTEGER);"),
        ("0002_two.sql", "INSERT INTO t VALUES (2);"),
        (
            "0003_three.sql",
            "INSERT INTO t VALUES (3); INSERT INTO nowhere VALUES (1);",
        ),
        ("0004_four.sql", "INSERT INTO t VALUES (4);"),
    ];
    const MENDED: Files = &[
        BROKEN[0],
        BROKEN[1],
        ("0003_three.sql", "INSERT INTO t VALUES (33);"),
        BROKEN[3],
    ];
    for store in stores().await.all {
        let broken = runtime(Some(&store), [plugin("a", BROKEN), plugin("b", B)]).await;
        let error = upgrade(&broken).await.expect_err("the third fails");
        assert_eq!(error.code(), "db.sql");
        assert!(
            error.to_string().contains("plugin:a/0003_three.sql"),
            "{error}"
        );
        let a = PluginName::new("a").expect("a name");
        let b = PluginName::new("b").expect("a name");
        assert_eq!(store.ledger().applied(&a).await.expect("rows").len(), 2);
        assert_eq!(store.ledger().applied(&b).await.expect("rows").len(), 0);
        let mended = runtime(Some(&store), [plugin("a", MENDED), plugin("b", B)]).await;
        let report = upgrade(&mended).await.expect("mended");
        assert_eq!(counts(report.counts()), "5 3 2 0");
        assert_eq!(
            query(&mended, "a", "SELECT i FROM t ORDER BY i").await,
            json!([[2], [4], [33]])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_wrong_anywhere_stops_everything_before_the_first_statement() {
    const GOOD: Files = &[
        ("0001_one.sql", "CREATE TABLE t (i INTEGER);"),
        ("0002_two.sql", "INSERT INTO t VALUES (2);"),
    ];
    const CHANGED: Files = &[("0001_one.sql", "CREATE TABLE t (i INTEGER);\r\n"), GOOD[1]];
    const VANISHED: Files = &[GOOD[0]];
    const EARLIER: Files = &[("0000_zero.sql", "SELECT 1;"), GOOD[0], GOOD[1]];
    const TWICE: Files = &[GOOD[0], GOOD[1], ("0002_deux.sql", "SELECT 1;")];
    const NAMED: Files = &[GOOD[0], GOOD[1], ("three.sql", "SELECT 1;")];
    const BLANK: Files = &[GOOD[0], GOOD[1], ("0003_three.sql", "-- nothing")];
    for store in stores().await.all {
        upgrade(&runtime(Some(&store), [plugin("z", GOOD)]).await)
            .await
            .expect("applied");
        for (files, code, names) in [
            (CHANGED, "journal.changed", &["plugin:z/0001_one.sql"][..]),
            (VANISHED, "journal.vanished", &["plugin:z/0002_two.sql"]),
            (
                EARLIER,
                "journal.out_of_order",
                &["0000_zero.sql", "0002_two.sql"],
            ),
            (
                TWICE,
                "journal.duplicate_number",
                &["0002_deux.sql", "0002_two.sql"],
            ),
            (NAMED, "journal.name", &["three.sql"]),
            (BLANK, "journal.blank", &["0003_three.sql"]),
        ] {
            let runtime = runtime(Some(&store), [plugin("a", B), plugin("z", files)]).await;
            let error = upgrade(&runtime).await.expect_err(code);
            assert_eq!(error.code(), code);
            let kodex::UpgradeError::Journal { problems } = error else {
                panic!("{error:?}")
            };
            for name in names {
                assert!(problems[0].to_string().contains(name), "{}", problems[0]);
            }
            let a = PluginName::new("a").expect("a name");
            assert_eq!(
                store.ledger().applied(&a).await.expect("rows"),
                [],
                "{code}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_upgrades_at_once_apply_nothing_twice() {
    for store in stores().await.all {
        let one = runtime(Some(&store), [plugin("a", A)]).await;
        let two = runtime(Some(&store), [plugin("a", A)]).await;
        let (first, second) = tokio::join!(upgrade(&one), upgrade(&two));
        let migrated =
            first.expect("one").counts().migrated + second.expect("the other").counts().migrated;
        assert_eq!(migrated, 2);
        assert_eq!(
            query(&one, "a", "SELECT count(*) FROM t").await,
            json!([[2]])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_waits_for_another_one_only_so_long() {
    for store in stores().await.all {
        let owner = PluginName::lenient("kodex").expect("a name");
        let lease = store
            .state()
            .lock(&owner, "upgrade", 60_000)
            .await
            .expect("taken");
        let runtime = runtime(Some(&store), [plugin("a", A)]).await;
        let options = UpgradeOptions {
            wait: Duration::from_millis(120),
            ..UpgradeOptions::default()
        };
        let (report, heard) = upgrade_with(&runtime, &options).await;
        assert_eq!(report.expect_err("busy").code(), "upgrade.busy");
        assert_eq!(heard, [UpgradeEvent::Waiting]);
        store
            .state()
            .unlock(&owner, &lease)
            .await
            .expect("given back");
        upgrade(&runtime).await.expect("applied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_enabled_keeps_its_ledger_and_is_reported() {
    for store in stores().await.all {
        upgrade(&runtime(Some(&store), [plugin("a", A)]).await)
            .await
            .expect("applied");
        let settings = PluginSettings {
            enabled: false,
            ..PluginSettings::default()
        };
        let builder = Runtime::builder()
            .store(store.clone())
            .native(plugin("a", A))
            .plugin_settings("a", settings);
        let report = upgrade(&builder.build().await.expect("built"))
            .await
            .expect("nothing to do");
        assert_eq!(report.plugins, []);
        assert_eq!(
            (report.kept[0].plugin.as_str(), report.kept[0].n_applied),
            ("a", 2)
        );
        let a = PluginName::new("a").expect("a name");
        assert_eq!(store.ledger().applied(&a).await.expect("rows").len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_plugin_takes_over_tables_state_and_ledger() {
    for store in stores().await.all {
        let old = runtime(Some(&store), [plugin("old", A)]).await;
        upgrade(&old).await.expect("applied");
        super::ask(&old, "old", "state/set", json!({"key": "k", "value": 7})).await;
        old.shutdown().await;
        let new = Arc::new(Asking::new("new", A).renamed_from("old"));
        let new = runtime(Some(&store), [new]).await;
        let (report, heard) = upgrade_with(&new, &UpgradeOptions::default()).await;
        assert_eq!(counts(report.expect("renamed").counts()), "2 0 2 0");
        assert_eq!(
            heard,
            [UpgradeEvent::Renamed {
                from: "old".into(),
                plugin: "new".into()
            }]
        );
        assert_eq!(
            query(&new, "new", "SELECT i FROM t ORDER BY i").await,
            json!([[1], [2]])
        );
        assert_eq!(
            super::ask(&new, "new", "state/get", json!({"key": "k"})).await["value"],
            7
        );
        let names: Vec<_> = store
            .plugins()
            .await
            .expect("names")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(!names.contains(&"old".to_owned()), "{names:?}");
        assert_eq!(upgrade_with(&new, &UpgradeOptions::default()).await.1, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_takes_what_exists_as_applied() {
    for store in stores().await.all {
        let runtime = runtime(Some(&store), [plugin("a", A)]).await;
        let baseline = |file: &str| UpgradeOptions {
            baseline: Some(("a".into(), file.into())),
            ..UpgradeOptions::default()
        };
        let error = upgrade_with(&runtime, &baseline("0009_none.sql"))
            .await
            .0
            .expect_err("no such step");
        assert_eq!(error.code(), "upgrade.baseline");
        let report = upgrade_with(&runtime, &baseline("0002_two.sql"))
            .await
            .0
            .expect("recorded");
        let states: Vec<_> = report.plugins[0]
            .steps
            .iter()
            .map(|step| step.state)
            .collect();
        assert_eq!(states, [StepState::Baseline, StepState::Baseline]);
        assert_eq!(query(&runtime, "a", "SELECT 1 FROM t").await, "db.sql");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtimes_own_name_is_no_plugins_name() {
    let runtime = runtime(None, [plugin("kodex", &[])]).await;
    let ledger = runtime.ledger();
    assert_eq!(ledger[0].diagnostics[0].code, "load.name.reserved");
}
