//! Python and process plugins through the whole pipeline, with a real interpreter.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kodex::{
    Builder, DispatchOptions, Json, PluginSettings, Python, Reason, Runtime, Status,
    python::{Search, Variables},
};
use serde_json::json;
use tempfile::TempDir;

use crate::json;

/// A folder with plugins and a cache of its own.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        for (name, text) in files {
            project.write(name, text);
        }
        project
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.plugins().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    }

    fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    fn builder(&self) -> Builder {
        let python = Python {
            entry_points: false,
            ..Python::new(search(), self.folder.path().join("cache"))
        };
        Runtime::builder()
            .plugin_dir(self.plugins())
            .search_path(path())
            .python(python)
    }

    async fn start(&self) -> Runtime {
        self.builder()
            .build()
            .await
            .expect("lenient loading never fails")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test uses the machine's interpreter"
)]
fn path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test uses the machine's interpreter"
)]
fn search() -> Search {
    Search {
        path: path(),
        cwd: Path::new("/").to_owned(),
        variables: Variables::read(|name| std::env::var_os(name)),
        ..Search::default()
    }
}

/// A plugin in the form of the first Python runtime whose handler is the given body.
fn seed(name: &str, body: &str) -> String {
    format!(
        "from kodex_plugin_system.base import PluginManifest\n\
         class P:\n\
         \x20   manifest = PluginManifest(name={name:?}, version='0.1.0', description='For tests.')\n\
         \x20   def activate(self, context):\n\
         \x20       self.context = context\n\
         \x20   def handle_hook(self, hook, payload):\n\
         \x20       {body}\n\
         def get_plugin():\n\
         \x20   return P()\n"
    )
}

fn texts(outcome: &kodex::Outcome) -> Vec<String> {
    outcome
        .entries
        .iter()
        .map(|entry| match &entry.result {
            Ok(reply) => format!(
                "{}={}",
                entry.plugin,
                reply.0.as_ref().map_or("-", Json::text)
            ),
            Err(error) => format!("{}!{}:{error}", entry.plugin, error.code),
        })
        .collect()
}

#[tokio::test]
async fn first_runtime_plugins_answer_in_discovery_order_and_fail_by_name() {
    let project = Project::new(&[
        (
            "b_second.py",
            &seed("aaa", "return {'hook': hook, 'payload': payload}"),
        ),
        (
            "a_first.py",
            &seed("zzz", "return {'org': self.context.get('org')}"),
        ),
        ("c_third.py", &seed("raises", "raise ValueError('no luck')")),
        ("d_silent.py", &seed("silent", "return None")),
        ("_skipped.py", "raise SystemExit('never imported')"),
        ("e_none.py", "x = 1\n"),
        ("f_broken.py", "import nothing_of_this_name\n"),
    ]);
    let runtime = project
        .builder()
        .default_context(Json::from(json!({"org": "acme"})))
        .build()
        .await
        .expect("a runtime");
    let outcome = runtime
        .emit(
            "any.hook",
            json(r#"{"n": 12345678901234567890123, "ü": 1.50}"#),
        )
        .await
        .expect("an outcome");
    assert_eq!(
        texts(&outcome),
        [
            r#"zzz={"org":"acme"}"#,
            r#"aaa={"hook":"any.hook","payload":{"n":12345678901234567890123,"\u00fc":1.5}}"#,
            "raises!plugin.raised:no luck",
            "silent=-",
        ]
    );
    let ledger: Vec<_> = runtime
        .ledger()
        .to_vec()
        .into_iter()
        .map(|r| (r.plugin_name, r.status, r.message))
        .collect();
    assert_eq!(
        ledger[4],
        ("-".into(), Status::Skipped, "missing get_plugin()".into())
    );
    assert_eq!(
        ledger[5],
        (
            "-".into(),
            Status::Error,
            "No module named 'nothing_of_this_name'".into()
        )
    );
    runtime.shutdown().await;
}

#[tokio::test]
async fn listing_an_unchanged_plugin_never_executes_it() {
    let project = Project::new(&[]);
    let count = project.folder.path().join("count");
    let counts = format!(
        "with open({:?}, 'a') as f: f.write('x')\n{}",
        count,
        seed("counted", "return {}")
    );
    project.write("counted.py", &counts);
    for _ in 0..3 {
        assert_eq!(
            project.start().await.manifests()[0].name.as_str(),
            "counted"
        );
    }
    assert_eq!(fs::read_to_string(&count).expect("it ran once"), "x");
    project.write("counted.py", &counts.replace("counted", "renamed"));
    assert_eq!(
        project.start().await.manifests()[0].name.as_str(),
        "renamed"
    );
    assert_eq!(fs::read_to_string(&count).expect("it ran twice"), "xx");
}

#[tokio::test]
async fn plugins_that_misbehave_on_import_are_named_and_the_rest_loads() {
    let project = Project::new(&[
        ("a_good.py", &seed("good", "return 1")),
        ("b_exits.py", "import os\nos._exit(7)\n"),
        ("c_hangs.py", "import time\ntime.sleep(1000)\n"),
        ("d_twin.py", &seed("good", "return 2")),
        (
            "e_no_manifest.py",
            "class P:\n    manifest = {'name': 'x'}\ndef get_plugin():\n    return P()\n",
        ),
        ("f_also_good.py", &seed("also-good", "return 3")),
    ]);
    let python = Python {
        entry_points: false,
        inspect_timeout: std::time::Duration::from_millis(700),
        ..Python::new(search(), project.folder.path().join("cache"))
    };
    let runtime = Runtime::builder()
        .plugin_dir(project.plugins())
        .python(python)
        .build()
        .await
        .expect("a runtime");
    let codes: Vec<_> = runtime
        .ledger()
        .iter()
        .map(|record| {
            record
                .diagnostics
                .first()
                .map_or("ok".to_owned(), |found| found.code.clone())
        })
        .collect();
    assert_eq!(
        codes,
        [
            "ok",
            "load.python.exited",
            "load.python.timeout",
            "load.name.duplicate",
            "load.python.not_a_manifest",
            "ok",
        ]
    );
    let outcome = runtime.emit("h", json("{}")).await.expect("an outcome");
    assert_eq!(texts(&outcome), ["good=1", "also-good=3"]);
    let explained = runtime.explain("h").expect("a good name");
    let not_loaded = explained
        .plugins
        .iter()
        .filter(|why| why.reason == Reason::NotLoaded)
        .count();
    assert_eq!(not_loaded, 4);
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced_and_the_others_do_not_notice() {
    let project = Project::new(&[
        (
            "a_mortal.py",
            &seed(
                "mortal",
                "import os; payload.get('die') and os._exit(9); return os.getpid()",
            ),
        ),
        (
            "b_steady.py",
            &seed("steady", "import os; return os.getpid()"),
        ),
    ]);
    let runtime = project.start().await;
    let first = texts(&runtime.emit("h", json("{}")).await.expect("an outcome"));
    let died = texts(
        &runtime
            .emit("h", json(r#"{"die": true}"#))
            .await
            .expect("an outcome"),
    );
    assert!(died[0].starts_with("mortal!worker.exited"), "{died:?}");
    let after = texts(&runtime.emit("h", json("{}")).await.expect("an outcome"));
    assert_ne!(first[0], after[0], "another process answers");
    assert_eq!(
        (&first[1], &died[1]),
        (&after[1], &after[1]),
        "the same process answers"
    );
    let metrics = runtime.metrics();
    assert_eq!(
        (metrics[0].health.restarts, metrics[1].health.restarts),
        (1, 0)
    );
    runtime.shutdown().await;
    for line in [&after[0], &after[1]] {
        let pid = line.split('=').nth(1).expect("a process id");
        assert!(
            !Path::new("/proc").join(pid).exists(),
            "process {pid} is gone after the shutdown"
        );
    }
}

#[tokio::test]
async fn a_plugin_that_overruns_is_cancelled_and_answers_again() {
    let project = Project::new(&[(
        "slow.py",
        &seed(
            "slow",
            "import time; payload.get('slow') and time.sleep(60); return 'here'",
        ),
    )]);
    let settings = PluginSettings {
        timeout: Some(std::time::Duration::from_millis(500)),
        ..PluginSettings::default()
    };
    let runtime = project
        .builder()
        .plugin_settings("slow", settings)
        .build()
        .await
        .expect("a runtime");
    assert_eq!(
        texts(&runtime.emit("h", json("{}")).await.expect("an outcome")),
        [r#"slow="here""#]
    );
    let late = texts(
        &runtime
            .emit("h", json(r#"{"slow": 1}"#))
            .await
            .expect("an outcome"),
    );
    assert!(late[0].starts_with("slow!call.timeout"), "{late:?}");
    assert_eq!(
        texts(&runtime.emit("h", json("{}")).await.expect("an outcome")),
        [r#"slow="here""#]
    );
    assert_eq!(
        runtime.metrics()[0].health.restarts,
        0,
        "Python plugins survive their timeout"
    );
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_folder_with_a_manifest_runs_any_program() {
    let manifest = r#"
manifest = 1
[plugin]
name = "echo-sh"
version = "1.0.0"
description = "Echoes."
[run]
kind = "process"
command = ["sh", "run.sh"]
env = ["GREETING"]
[[hook]]
on = "greet"
"#;
    let script = r#"
while read -r line; do
  id=$(printf '%s' "$line" | jq .id)
  case $(printf '%s' "$line" | jq -r .method) in
    initialize) result='{"contract":{"version":1,"features":[]},"plugin":{"name":"echo-sh","version":"1.0.0"}}' ;;
    call) result=$(jq -nc --arg g "$GREETING" --arg h "${HOME-unset}" '{reply: [$g, $h]}') ;;
    *) result=null ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;
    let project = Project::new(&[("echo-sh/kodex.toml", manifest), ("echo-sh/run.sh", script)]);
    let variables = [
        ("GREETING".into(), "hello".into()),
        ("HOME".into(), "/root".into()),
    ]
    .into();
    let runtime = project
        .builder()
        .variables(variables)
        .build()
        .await
        .expect("a runtime");
    let outcome = runtime.emit("greet", json("{}")).await.expect("an outcome");
    assert_eq!(
        texts(&outcome),
        [r#"echo-sh=["hello","unset"]"#],
        "only named variables pass"
    );
    assert!(
        runtime
            .emit("other", json("{}"))
            .await
            .expect("an outcome")
            .entries
            .is_empty()
    );
    runtime.shutdown().await;
}

#[tokio::test]
async fn reload_keeps_the_process_of_what_did_not_change() {
    let project = Project::new(&[
        ("same.py", &seed("same", "import os; return os.getpid()")),
        ("edited.py", &seed("edited", "return 1")),
    ]);
    let runtime = project.start().await;
    let before = texts(&runtime.emit("h", json("{}")).await.expect("an outcome"));
    project.write("edited.py", &seed("edited", "return 22"));
    project.write("new.py", &seed("new", "return 3"));
    let changes = runtime.reload().await.expect("a reload");
    assert_eq!(
        (changes.changed, changes.added, changes.removed.len()),
        (vec!["edited".into()], vec!["new".into()], 0)
    );
    let after = texts(&runtime.emit("h", json("{}")).await.expect("an outcome"));
    assert_eq!(after, ["edited=22", "new=3", before[1].as_str()]);
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_missing_interpreter_is_explained_and_hurts_only_python_plugins() {
    let project = Project::new(&[("a.py", &seed("a", "return 1"))]);
    let nowhere = Search {
        path: vec!["/nonexistent".into()],
        ..Search::default()
    };
    let runtime = Runtime::builder()
        .native(crate::plugin("native", "h", "echo"))
        .plugin_dir(project.plugins())
        .python(Python::new(nowhere, project.folder.path().join("cache")))
        .build()
        .await
        .expect("a runtime");
    let found = &runtime.ledger()[1].diagnostics[0];
    assert_eq!(found.code, "python.not_found");
    assert!(found.message.contains("/nonexistent"), "{}", found.message);
    assert!(
        found
            .hint
            .as_deref()
            .is_some_and(|hint| hint.contains("interpreter"))
    );
    assert_eq!(
        runtime
            .emit("h", json("{}"))
            .await
            .expect("an outcome")
            .replies()
            .count(),
        1
    );
}

#[tokio::test]
async fn fail_fast_stops_at_a_python_exception() {
    let project = Project::new(&[
        ("a.py", &seed("a", "raise RuntimeError('first')")),
        ("b.py", &seed("b", "raise RuntimeError('second')")),
    ]);
    let runtime = project.start().await;
    let options = DispatchOptions {
        fail_fast: true,
        ..DispatchOptions::default()
    };
    let error = runtime
        .emit_with("h", json("{}"), &options)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "Plugin 'a' failed on hook 'h': first");
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_plugin_is_inspected_and_activated_with_the_context_that_the_user_set_for_it() {
    let needs = seed("needs-key", "return self.context").replace(
        "self.context = context",
        "self.context = dict(context, key=context['key'])",
    );
    let project = Project::new(&[("needs.py", &needs)]);
    let bare = project.start().await;
    assert_eq!(
        bare.ledger()[0].diagnostics[0].code,
        "load.python.activate_failed"
    );
    assert_eq!(bare.ledger()[0].message, "'key'");
    let settings = PluginSettings {
        context: Json::from(json!({"key": "own"})),
        ..PluginSettings::default()
    };
    let runtime = project
        .builder()
        .default_context(Json::from(json!({"org": "acme"})))
        .plugin_settings("needs-key", settings)
        .build()
        .await
        .expect("a runtime");
    let outcome = runtime.emit("h", json("{}")).await.expect("an outcome");
    assert_eq!(texts(&outcome), [r#"needs-key={"key":"own","org":"acme"}"#]);
    runtime.shutdown().await;
}

#[tokio::test]
async fn settings_switch_plugins_off_order_them_and_are_checked_for_names() {
    let project = Project::new(&[
        ("a.py", &seed("alpha", "return 1")),
        ("b.py", &seed("bravo", "return 2")),
        ("c.py", &seed("carol", "return 3")),
    ]);
    let runtime = project
        .builder()
        .plugin_settings(
            "alpha",
            PluginSettings {
                priority: Some(10),
                ..PluginSettings::default()
            },
        )
        .plugin_settings(
            "bravo",
            PluginSettings {
                enabled: false,
                ..PluginSettings::default()
            },
        )
        .plugin_settings(
            "carrol",
            PluginSettings {
                enabled: false,
                ..PluginSettings::default()
            },
        )
        .build()
        .await
        .expect("a runtime");
    assert_eq!(
        texts(&runtime.emit("h", json("{}")).await.expect("an outcome")),
        ["carol=3", "alpha=1"]
    );
    let why: Vec<_> = runtime
        .explain("h")
        .expect("a name")
        .plugins
        .into_iter()
        .map(|w| (w.plugin, w.reason))
        .collect();
    assert_eq!(why[2], ("bravo".to_owned(), Reason::NotEnabled));
    let codes: Vec<_> = runtime
        .doctor()
        .findings
        .into_iter()
        .map(|f| (f.diagnostic.code, f.diagnostic.hint))
        .collect();
    assert!(
        codes.contains(&(
            "config.plugin.unknown".into(),
            Some("did you mean 'carol'?".into())
        )),
        "{codes:?}"
    );
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_call_in_flight_ends_on_the_plugin_it_began_with() {
    let body = |answer: &str| {
        seed(
            "edited",
            &format!(
                "import os, time\n        open(payload['begun'], 'w').close()\n        while not os.path.exists(payload['go']): time.sleep(0.01)\n        return {answer:?}"
            ),
        )
    };
    let project = Project::new(&[("edited.py", &body("old"))]);
    let go = project.folder.path().join("go");
    let begun_file = project.folder.path().join("begun");
    let payload = Json::from(json!({"go": go, "begun": begun_file}));
    let runtime = project.start().await;
    let call = runtime.emit("h", payload.clone());
    tokio::pin!(call);
    let begun = async {
        while !begun_file.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut call => panic!("nobody said go"),
        _ = begun => {}
    }
    project.write("edited.py", &body("new"));
    assert_eq!(
        runtime.reload().await.expect("a reload").changed,
        ["edited"]
    );
    fs::write(&go, "").expect("written");
    assert_eq!(texts(&call.await.expect("an outcome")), [r#"edited="old""#]);
    assert_eq!(
        texts(&runtime.emit("h", payload).await.expect("an outcome")),
        [r#"edited="new""#]
    );
    runtime.shutdown().await;
}
