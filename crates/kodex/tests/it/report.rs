//! What plugins show of themselves: cut to its bounds, shown as failed, and made without writing anything.

use std::sync::{Arc, Mutex};

use kodex::{Define, Plugin, PluginError, PluginReport, Reply, Runtime, report::bounds};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A plugin that reports what it is given: a document, `nothing`, `raise` or `panic`.
fn reporting(name: &str, answer: Value) -> Arc<dyn Plugin> {
    Define::new(name, "1.0.0", "Reports.")
        .hook("report", move |request| {
            assert!(request.payload.value()["now_unix_ms"].is_u64());
            match answer.as_str() {
                Some("nothing") => Ok(Reply::nothing()),
                Some("raise") => Err(PluginError::raised("no luck")),
                Some("panic") => panic!("on purpose"),
                _ => Ok(Reply::from(answer.clone())),
            }
        })
        .build()
        .expect("a good name")
}

async fn report_of(answer: Value) -> Option<PluginReport> {
    let runtime = super::runtime(vec![reporting("p", answer)]).await;
    runtime.report("p").await
}

/// Compares what is shown of an answer, without the plugin's name and the time.
async fn check(answer: Value, want: Value) {
    let report = report_of(answer.clone()).await.expect("a report");
    let mut got = serde_json::to_value(&report).expect("JSON");
    let fields = got.as_object_mut().expect("an object");
    fields.remove("plugin");
    fields.remove("at_unix_ms");
    fields.remove("failed");
    assert_eq!(got, want, "{answer}");
}

#[tokio::test]
async fn texts_are_trimmed_cut_with_three_dots_and_dropped_when_blank() {
    // 287.
    let long = "ä".repeat(500);
    let cut = |n: usize| format!("{}...", "ä".repeat(n - 3));
    check(
        json!({"title": format!("  {long}"), "metrics": [
            {"label": long, "value": long, "tone": "good"},
            {"label": " ", "value": "x"}, {"label": "x", "value": "\n"}, {"label": "x"}, {"value": "x"}, 7,
            {"label": " at ", "value": format!(" {} ", "v".repeat(160)), "tone": "purple"},
            {"label": "n", "value": 3, "tone": 1}, {"label": "is", "value": true, "tone": "danger"},
        ]}),
        json!({"title": cut(80), "metrics": [
            {"label": cut(80), "value": cut(160), "tone": "good"},
            {"label": "at", "value": "v".repeat(160)},
            {"label": "n", "value": "3"}, {"label": "is", "value": "true", "tone": "danger"},
        ], "record_sets": []}),
    )
    .await;
    check(
        json!({"title": " "}),
        json!({"title": "p", "metrics": [], "record_sets": []}),
    )
    .await;
    check(
        json!({"title": [], "metrics": {"label": "x"}, "record_sets": "none", "more": 1}),
        json!({"title": "p", "metrics": [], "record_sets": []}),
    )
    .await;
}

#[tokio::test]
async fn lists_end_at_their_bounds_and_what_is_dropped_takes_no_place() {
    // 287.
    let metrics: Vec<_> = (0..20)
        .flat_map(|n| {
            [
                json!({"label": "", "value": "x"}),
                json!({"label": format!("l{n}"), "value": "v"}),
            ]
        })
        .collect();
    let fields: Vec<_> = (0..20)
        .map(|n| json!({"key": format!("k{n}"), "label": "L"}))
        .collect();
    let rows: Vec<_> = (0..40)
        .map(|_| json!({"values": {"k0": "v", "k7": "v", "k8": "v"}}))
        .collect();
    let sets: Vec<_> = (0..20)
        .flat_map(|n| {
            let set = json!({"title": format!("t{n}"), "fields": fields, "records": rows, "empty_text": "e".repeat(200)});
            [json!({"title": "  ", "fields": fields}), set]
        })
        .collect();
    let report = report_of(json!({"metrics": metrics, "record_sets": sets}))
        .await
        .expect("a report");
    assert_eq!(
        (report.metrics.len(), report.metrics[7].label.as_str()),
        (8, "l7")
    );
    assert_eq!(
        (
            report.record_sets.len(),
            report.record_sets[7].title.as_str()
        ),
        (8, "t7")
    );
    let set = &report.record_sets[3];
    assert_eq!((set.fields.len(), set.records.len()), (8, 25));
    assert_eq!(set.records[24].id.as_deref(), Some("3:24"));
    assert_eq!(
        set.empty_text.as_ref().map(|text| text.chars().count()),
        Some(160)
    );
}

#[tokio::test]
async fn rows_have_a_value_for_every_column_and_no_other() {
    // 288.
    let long = "k".repeat(90);
    check(
        json!({"record_sets": [{"title": "T", "fields": [
            {"key": "a", "label": "A"}, {"key": " b ", "label": "B"}, {"key": "a", "label": "again"},
            {"key": "", "label": "x"}, {"key": "x", "label": " "}, {"label": "x"}, {"key": long, "label": "Long"},
        ], "records": [
            {"id": "one", "values": {"a": " 1 ", " b ": 2, "secret": "s", "x": "s", (long.as_str()): "v"}},
            {"id": "one", "values": {"a": null, "b": ["s"]}},
            {"id": " "}, "row",
        ]}]}),
        json!({"title": "p", "metrics": [], "record_sets": [{"title": "T", "fields": [
            {"key": "a", "label": "A"}, {"key": "b", "label": "B"}, {"key": format!("{}...", "k".repeat(77)), "label": "Long"},
        ], "records": [
            {"id": "one", "values": {"a": "1", "b": "2", (format!("{}...", "k".repeat(77))): "v"}},
            {"id": "0:1", "values": {"a": "", "b": "", (format!("{}...", "k".repeat(77))): ""}},
            {"id": "0:2", "values": {"a": "", "b": "", (format!("{}...", "k".repeat(77))): ""}},
        ]}]}),
    )
    .await;
}

#[tokio::test]
async fn a_plugin_that_fails_is_shown_as_failed_and_the_others_are_complete() {
    // 289.
    let good = |name| reporting(name, json!({"metrics": [{"label": "open", "value": "3"}]}));
    let plugins = vec![
        good("z"),
        reporting("raising", json!("raise")),
        reporting("quiet", json!("nothing")),
        reporting("panicking", json!("panic")),
        reporting("odd", json!([1])),
        reporting("null", json!(null)),
        good("a"),
    ];
    let runtime = super::runtime(plugins).await;
    let reports = runtime.reports().await;
    let shown: Vec<_> = reports
        .iter()
        .map(|report| {
            let set = report.record_sets.first();
            let code = set
                .and_then(|set| set.records.first())
                .map(|row| row.values["code"].as_str());
            format!(
                "{} {} {}",
                report.plugin,
                report.metrics[0].value,
                code.unwrap_or("-")
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "a 3 -",
            "odd failed reply.invalid",
            "panicking failed native.panicked",
            "raising failed plugin.raised",
            "z 3 -"
        ]
    );
    assert_eq!(
        reports
            .iter()
            .map(|report| report.failed)
            .collect::<Vec<_>>(),
        [false, true, true, true, false]
    );
    let failed = serde_json::to_value(&reports[3]).expect("JSON");
    assert_eq!(
        failed["metrics"],
        json!([{"label": "report", "value": "failed", "tone": "danger"}])
    );
    assert_eq!(
        (&failed["title"], &failed["record_sets"][0]["title"]),
        (&json!("raising"), &json!("Error"))
    );
    assert_eq!(failed["record_sets"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        failed["record_sets"][0]["records"][0]["values"]["message"],
        "no luck"
    );
    assert_eq!(runtime.report("quiet").await, None);
    assert_eq!(runtime.report("nobody").await, None);
}

#[cfg(feature = "sqlite")]
mod looking {
    use kodex::{
        Call, Context, Json, Manifest, Request, RequestKind, SystemClock, Tool, UpgradeOptions,
        contract::{
            HookName,
            manifest::{Database, Run, Subscription, Version},
        },
        store::sqlite::{SqliteOptions, SqliteStore},
    };

    use super::*;

    /// A plugin that tries every service in its tool and in its report, and says what came of it.
    struct Trying {
        manifest: Manifest,
        context: Mutex<Option<Context>>,
    }

    const TRIES: &[(&str, &str, &str, &str)] = &[
        (
            "state/set",
            r#"{"key": "k", "value": 1}"#,
            "done",
            "report.read_only",
        ),
        ("state/get", r#"{"key": "k"}"#, "done", "done"),
        ("state/list", "{}", "done", "done"),
        (
            "state/delete",
            r#"{"key": "gone"}"#,
            "done",
            "report.read_only",
        ),
        (
            "state/lock",
            r#"{"key": "l", "ttl_ms": 1000}"#,
            "done",
            "report.read_only",
        ),
        (
            "db/query",
            r#"{"sql": "INSERT INTO notes (text) VALUES ('a')"}"#,
            "done",
            "db.refused",
        ),
        (
            "db/query",
            r#"{"sql": "SELECT count(*) FROM notes"}"#,
            "done",
            "done",
        ),
        (
            "db/query",
            r#"{"sql": "SELECT text FROM notes", "page": 1}"#,
            "done",
            "done",
        ),
        ("db/begin", "{}", "done", "done"),
        (
            "job/enqueue",
            r#"{"name": "later"}"#,
            "job.unknown",
            "report.read_only",
        ),
        ("agent/cancel", r#"{"id": "r"}"#, "done", "report.read_only"),
        ("agent/get", r#"{"id": "r"}"#, "done", "done"),
        ("clock/now", "{}", "done", "done"),
    ];

    impl Trying {
        fn new() -> Arc<Self> {
            let name = kodex::PluginName::new("trying").expect("a good name");
            let mut manifest = Manifest::new(name, Version::new("1.0.0"), "Tries.", Run::Native);
            manifest
                .tools
                .push(Tool::new("try", "Tries.").expect("a good name"));
            let hook = HookName::new("report").expect("a good name");
            manifest.hooks.push(Subscription::new(hook));
            manifest.database = Some(Database {
                migrations: "migrations".into(),
                renamed_from: None,
            });
            Arc::new(Self {
                manifest,
                context: Mutex::default(),
            })
        }
    }

    impl Plugin for Trying {
        fn manifest(&self) -> &Manifest {
            &self.manifest
        }

        fn migrations(&self) -> &'static [(&'static str, &'static str)] {
            &[(
                "0001_notes.sql",
                "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);",
            )]
        }

        fn activate(&self, context: Context) -> Call<'_, ()> {
            *self.context.lock().expect("no panic") = Some(context);
            Call::Ready(Ok(()))
        }

        fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
            let context = self
                .context
                .lock()
                .expect("no panic")
                .clone()
                .expect("active");
            Call::pending(async move {
                let mut came = Vec::new();
                for (method, params, ..) in TRIES {
                    let params = serde_json::from_str::<Value>(params).expect("JSON");
                    let answer = context.host.request(method, Json::from(params)).await;
                    if let (Ok(answer), "db/begin") = (&answer, *method) {
                        let tx = json!({"tx": answer.value()["tx"]});
                        let sql = json!({"tx": tx["tx"], "sql": "DELETE FROM notes WHERE id = -1"});
                        let deleted = context.host.request("db/query", Json::from(sql)).await;
                        assert_eq!(
                            deleted.is_ok(),
                            request.kind == RequestKind::Tool,
                            "{deleted:?}"
                        );
                        let _ = context.host.request("db/rollback", Json::from(tx)).await;
                    }
                    if *method == "state/lock"
                        && let Ok(lease) = &answer
                    {
                        let lease = Json::from(json!({"lease": lease.value()}));
                        let _ = context.host.request("state/unlock", lease).await;
                    }
                    came.push(answer.map_or_else(|error| error.code, |_| "done".to_owned()));
                }
                Ok(Reply::from(
                    json!({"record_sets": [{"title": "came", "fields": [{"key": "c", "label": "c"}],
                    "records": came.iter().map(|code| json!({"values": {"c": code}})).collect::<Vec<_>>()}]}),
                ))
            })
        }
    }

    fn came(report: &Value) -> Vec<(String, String)> {
        let rows = report["record_sets"][0]["records"]
            .as_array()
            .expect("rows")
            .iter();
        let codes = rows.map(|row| row["values"]["c"].as_str().expect("a code").to_owned());
        TRIES
            .iter()
            .map(|(method, ..)| (*method).to_owned())
            .zip(codes)
            .collect()
    }

    fn wanted(in_a_report: bool) -> Vec<(String, String)> {
        let want = |(method, _, tool, report): &(&str, &str, &str, &str)| {
            (
                (*method).to_owned(),
                (if in_a_report { *report } else { *tool }).to_owned(),
            )
        };
        TRIES.iter().map(want).collect()
    }

    #[tokio::test]
    async fn a_report_reads_and_writes_nothing_while_a_tool_beside_it_writes() {
        // 45.
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteOptions::new(folder.path().join("store"), Arc::new(SystemClock));
        let store = Arc::new(SqliteStore::open(options).await.expect("a store opens"));
        let builder = Runtime::builder().native(Trying::new()).store(store);
        let runtime = builder.build().await.expect("it loads");
        runtime
            .upgrade(&UpgradeOptions::default(), &|_| {})
            .await
            .expect("applied");
        let empty = Json::object();
        let (tool, report) = tokio::join!(
            runtime.call_tool("trying/try", &empty),
            runtime.report("trying")
        );
        let report = serde_json::to_value(report.expect("a report")).expect("JSON");
        assert_eq!(came(&report), wanted(true));
        assert_eq!(came(tool.expect("it answers").value()), wanted(false));
        let emitted = runtime
            .emit("report", Json::from(json!({"now_unix_ms": 1})))
            .await
            .expect("dispatched");
        let (_, reply) = emitted.replies().next().expect("a reply");
        assert_eq!(
            came(reply.value()),
            wanted(true),
            "also when the hook is called by name"
        );
        let tool = runtime
            .call_tool("trying/try", &empty)
            .await
            .expect("it answers");
        assert_eq!(
            came(tool.value()),
            wanted(false),
            "and what it marked is over with it"
        );
        runtime.shutdown().await;
    }
}

/// Documents with the words of a report in places where they fit and where they do not.
fn documents() -> impl Strategy<Value = Value> {
    let letter = prop::sample::select(vec!["a", " ", "\n", "ä", "😀", " a "]);
    let text = (letter, 0..200_usize).prop_map(|(letter, n)| letter.repeat(n));
    let text = prop_oneof![text, Just("a".to_owned()), Just("good".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 40, 12, |inner| {
        let key = prop::sample::select(vec![
            "title",
            "metrics",
            "record_sets",
            "label",
            "value",
            "tone",
            "fields",
            "records",
            "key",
            "id",
            "values",
            "empty_text",
            "a",
        ]);
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..30).prop_map(Value::from),
            5 => prop::collection::btree_map(key.prop_map(str::to_owned), inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// What a plausible reply looks like, with documents where its texts should be.
fn replies() -> impl Strategy<Value = Value> {
    let some = || prop::collection::vec(documents(), 0..12);
    let set =
        (documents(), some(), some(), documents()).prop_map(|(title, keys, values, empty)| {
            let fields: Vec<_> = keys
                .iter()
                .map(|key| json!({"key": key, "label": key}))
                .collect();
            let records: Vec<_> = values
                .iter()
                .map(|value| json!({"id": value, "values": {"a": value, "good": value}}))
                .collect();
            json!({"title": title, "fields": fields, "records": records, "empty_text": empty})
        });
    let plausible = (documents(), some(), prop::collection::vec(set, 0..10)).prop_map(
        |(title, metrics, sets)| {
            let metrics: Vec<_> = metrics
                .iter()
                .map(|any| json!({"label": any, "value": any, "tone": any}))
                .collect();
            json!({"title": title, "metrics": metrics, "record_sets": sets})
        },
    );
    prop_oneof![1 => documents(), 3 => plausible]
}

/// Whether a text is trimmed, not blank and within its limit.
fn is_within(text: &str, n_chars: usize) -> bool {
    !text.is_empty() && text.trim() == text && text.chars().count() <= n_chars
}

fn assert_within_bounds(report: &PluginReport) {
    assert!(is_within(&report.title, bounds::TITLE_CHARS));
    assert!(report.metrics.len() <= bounds::N_METRICS);
    assert!(report.record_sets.len() <= bounds::N_RECORD_SETS);
    for metric in &report.metrics {
        assert!(is_within(&metric.label, bounds::LABEL_CHARS));
        assert!(is_within(&metric.value, bounds::VALUE_CHARS));
    }
    for set in &report.record_sets {
        assert!(is_within(&set.title, bounds::TITLE_CHARS));
        assert!(
            set.empty_text
                .as_ref()
                .is_none_or(|text| is_within(text, bounds::EMPTY_CHARS))
        );
        assert!(set.fields.len() <= bounds::N_FIELDS && set.records.len() <= bounds::N_RECORDS);
        let mut keys: Vec<_> = set.fields.iter().map(|field| field.key.clone()).collect();
        keys.sort();
        for field in &set.fields {
            assert!(
                is_within(&field.key, bounds::LABEL_CHARS)
                    && is_within(&field.label, bounds::LABEL_CHARS)
            );
        }
        let mut ids: Vec<_> = set
            .records
            .iter()
            .map(|record| record.id.clone().expect("an id"))
            .collect();
        for record in &set.records {
            assert!(
                record.values.keys().eq(keys.iter()),
                "{:?} {keys:?}",
                record.values
            );
            assert!(
                record
                    .values
                    .values()
                    .all(|text| text.is_empty() || is_within(text, bounds::VALUE_CHARS))
            );
        }
        assert!(ids.iter().all(|id| is_within(id, bounds::LABEL_CHARS)));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), set.records.len(), "ids tell rows apart");
    }
}

#[test]
fn whatever_is_answered_what_is_shown_is_within_its_bounds() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event loop");
    let answer = Arc::new(Mutex::new(Value::Null));
    let said = answer.clone();
    let plugin = Define::new("p", "1.0.0", "Reports.")
        .hook("report", move |_| {
            Ok(Reply::from(said.lock().expect("no panic").clone()))
        })
        .build()
        .expect("a good name");
    let runtime = tokio
        .block_on(Runtime::builder().native(plugin).build())
        .expect("it loads");
    proptest!(|(reply in replies())| {
        *answer.lock().expect("no panic") = reply.clone();
        let report = tokio.block_on(runtime.report("p"));
        prop_assert_eq!(report.is_none(), reply.is_null());
        if let Some(report) = report {
            prop_assert_eq!(report.failed, !reply.is_object());
            assert_within_bounds(&report);
        }
    });
}
