//! What plugins add to prompts: bounds, order, who is asked when, and what is never logged.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kodex::{
    Call, Contributions, Define, Json, Manifest, Plugin, PluginError, Reply, Request, Runtime,
    Turn, TurnInput,
    contract::{
        hook::{ContributionRequest, Origin, PromptPart},
        manifest::{Run, Subscription, Version},
    },
    contribute::Source,
};
use serde_json::{Value, json};

const HOOK: &str = "prompt.contribute";

/// A plugin whose answer is described by a word: sizes of texts such as `8000+8000`, or how it fails.
fn plugin(name: &str, word: &str) -> Arc<dyn Plugin> {
    if word == "late" {
        return Arc::new(Late::new(name));
    }
    let (own, word) = (name.to_owned(), word.to_owned());
    let letter = own.chars().next().unwrap_or('x').to_string();
    Define::new(name, "1.0.0", "Contributes.")
        .hook(HOOK, move |_| {
            let sizes = || {
                word.split('+')
                    .map(|size| letter.repeat(size.parse().expect("a size")))
            };
            Ok(match word.as_str() {
                "nothing" => Reply::nothing(),
                "raise" => return Err(PluginError::raised("no luck")),
                "panic" => panic!("on purpose"),
                json if json.starts_with(['{', '[', '"', 'n', 't']) => {
                    Reply::from(serde_json::from_str::<Value>(json).expect("JSON"))
                }
                _ => Reply::from(messages(sizes())),
            })
        })
        .build()
        .expect("a good name")
}

fn messages(texts: impl IntoIterator<Item = String>) -> Value {
    let messages: Vec<_> = texts
        .into_iter()
        .map(|text| json!({ "text": text }))
        .collect();
    json!({ "messages": messages })
}

/// A plugin that never answers.
struct Late(Manifest);

impl Late {
    fn new(name: &str) -> Self {
        let name = kodex::PluginName::new(name).expect("a good name");
        let mut manifest = Manifest::new(name, Version::new("1.0.0"), "Late.", Run::Native);
        let hook = kodex::contract::HookName::new(HOOK).expect("a good name");
        manifest.hooks.push(Subscription::new(hook));
        Self(manifest)
    }
}

impl Plugin for Late {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn call<'a>(&'a self, _: Request<'a>) -> Call<'a, Reply> {
        Call::pending(std::future::pending())
    }
}

async fn runtime(plugins: &[(&str, &str)]) -> Runtime {
    super::runtime(
        plugins
            .iter()
            .map(|(name, word)| plugin(name, word))
            .collect(),
    )
    .await
}

fn asked(part: PromptPart) -> ContributionRequest {
    ContributionRequest {
        origin: Origin::default(),
        part,
        prompt: (part == PromptPart::User).then(|| "what the user wrote".to_owned()),
    }
}

/// The sizes of accepted texts by id, then who was left out and why.
fn told(got: &Contributions) -> String {
    let mut text = String::new();
    for taken in &got.texts {
        let id = taken
            .id
            .strip_prefix("prompt.contribute:")
            .expect("the hook");
        let _ = write!(text, "{id}={} ", taken.text.chars().count());
    }
    for left in &got.left_out {
        let _ = write!(text, "-{}({}) ", left.plugin, left.code);
    }
    text.trim_end().to_owned()
}

/// Both parts have the same bounds.
async fn check(plugins: &[(&str, &str)], want: &str) {
    for part in [PromptPart::System, PromptPart::User] {
        let runtime = runtime(plugins).await;
        let got = runtime.contributions(&asked(part)).await;
        assert_eq!(told(&got), want, "{part:?} {plugins:?}");
        assert_eq!(got.part, part);
        runtime.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn texts_are_taken_by_name_within_their_bounds_and_a_plugin_as_a_whole() {
    // 77: name order, whatever the order of discovery.
    check(&[("b", "2"), ("a", "1")], "a:0=1 b:0=2").await;
    // 79: an empty text leaves out its plugin and nobody else.
    check(
        &[
            ("a", r#"{"messages": [{"text": "x"}, {"text": " \n"}]}"#),
            ("b", "1"),
        ],
        "b:0=1 -a(contribute.empty_text)",
    )
    .await;
    // 80: the limit of one text, in characters and after trimming.
    check(&[("a", "8000")], "a:0=8000").await;
    check(
        &[("a", "8001"), ("b", "1")],
        "b:0=1 -a(contribute.long_text)",
    )
    .await;
    let umlauts = json!({"messages": [{"text": format!(" {} ", "ä".repeat(8_000))}]}).to_string();
    check(&[("a", &umlauts)], "a:0=8000").await;
    // 81: the limit of all texts.
    check(
        &[("a", "8000+8000"), ("b", "1")],
        "a:0=8000 a:1=8000 -b(contribute.over_budget)",
    )
    .await;
    // One that does not fit is left out as a whole, and a smaller one after it still fits.
    check(
        &[("a", "8000+7999"), ("b", "1+1"), ("c", "1"), ("d", "1")],
        "a:0=8000 a:1=7999 c:0=1 -b(contribute.over_budget) -d(contribute.over_budget)",
    )
    .await;
    check(
        &[("a", "8000+8000+1"), ("b", "8000+8000")],
        "b:0=8000 b:1=8000 -a(contribute.over_budget)",
    )
    .await;
    // 82: those who fail in any way.
    check(
        &[("a", "raise"), ("b", "1"), ("c", "panic"), ("d", "1")],
        "b:0=1 d:0=1 -a(plugin.raised) -c(native.panicked)",
    )
    .await;
    // 92: those who are late.
    check(
        &[("a", "late"), ("b", "1"), ("c", "late")],
        "b:0=1 -a(call.timeout) -c(call.timeout)",
    )
    .await;
    // Every other form.
    for word in [
        r#""text""#,
        "[]",
        r#"[[{"text": "x"}]]"#,
        "true",
        r#"{"messages": "x"}"#,
        r#"{"messages": null}"#,
        r#"{"messages": [["x"]]}"#,
        r#"{"messages": [{}]}"#,
        r#"{"messages": [{"text": 1}]}"#,
        r#"{"messages": [{"text": "x"}, "y"]}"#,
    ] {
        check(&[("a", word), ("b", "1")], "b:0=1 -a(contribute.invalid)").await;
    }
    // Ids are the host's, whatever a plugin sends.
    check(
        &[("a", r#"{"messages": [{"id": "mine", "text": "x"}]}"#)],
        "a:0=1",
    )
    .await;
}

#[tokio::test]
async fn nothing_renders_nothing() {
    // 83.
    for word in ["nothing", "null", "{}", r#"{"messages": []}"#] {
        check(&[("a", word)], "").await;
        let runtime = runtime(&[("a", word)]).await;
        let got = runtime.contributions(&asked(PromptPart::System)).await;
        assert_eq!(
            (got.render().as_str(), got.below("the rules").as_str()),
            ("", "the rules")
        );
    }
}

#[tokio::test]
async fn priorities_do_not_change_the_order() {
    let first = Define::new("z-first", "1.0.0", "Contributes.");
    let hook = kodex::contract::HookName::new(HOOK).expect("a good name");
    let hook = Subscription {
        priority: -100,
        ..Subscription::new(hook)
    };
    let first = first.subscribe(hook, |_| Ok(Reply::from(messages(["z".to_owned()]))));
    let first = first.build().expect("a good name");
    let runtime = super::runtime(vec![first, plugin("a", "1")]).await;
    for part in [PromptPart::System, PromptPart::User] {
        assert_eq!(
            told(&runtime.contributions(&asked(part)).await),
            "a:0=1 z-first:0=1"
        );
    }
}

/// A plugin that answers each call with another text, and says what it was asked.
fn counting(seen: &Arc<Mutex<Vec<Value>>>) -> Arc<dyn Plugin> {
    let seen = seen.clone();
    Define::new("counting", "1.0.0", "Counts.")
        .hook(HOOK, move |request| {
            let mut seen = seen.lock().expect("no panic");
            seen.push(request.payload.value().clone());
            Ok(Reply::from(messages([format!("answer {}", seen.len())])))
        })
        .build()
        .expect("a good name")
}

#[tokio::test]
async fn the_system_text_is_the_same_byte_by_byte_and_knows_nothing_of_the_turn() {
    // 77 and 78.
    let seen = Arc::default();
    let runtime = super::runtime(vec![counting(&seen), plugin("a", "1")]).await;
    let full = ContributionRequest {
        origin: Origin {
            session_id: Some("s".into()),
            turn_id: Some("t".into()),
            cwd: Some("/home/somebody".into()),
            transcript: Some("/home/somebody/t.jsonl".into()),
            time: Some(1),
            model: Some("m".into()),
            native: Some(Json::from(json!({"user": "u"}))),
            ..Origin::default()
        },
        part: PromptPart::System,
        prompt: Some("what the user wrote".into()),
    };
    let first = runtime.contributions(&full).await.below("The rules.");
    for request in [&full, &asked(PromptPart::System)] {
        assert_eq!(
            runtime.contributions(request).await.below("The rules."),
            first
        );
    }
    runtime.reload().await.expect("native plugins always load");
    let again = runtime.contributions(&full).await.below("The rules.");
    assert_eq!(again.lines().next(), Some("The rules."));
    let seen = seen.lock().expect("no panic");
    assert!(
        !seen.is_empty()
            && seen
                .iter()
                .all(|payload| *payload == json!({"part": "system"})),
        "{seen:?}"
    );
    assert_eq!(
        first,
        "The rules.\n\n<plugin-instructions>\nAdded by plugins. What stands above goes before it.\n\
         <contribution id=\"prompt.contribute:a:0\" plugin=\"a\">\na\n</contribution>\n\
         <contribution id=\"prompt.contribute:counting:0\" plugin=\"counting\">\nanswer 1\n</contribution>\n\
         </plugin-instructions>"
    );
}

#[tokio::test]
async fn a_plugin_that_failed_for_the_system_part_is_asked_again_and_the_others_are_not() {
    let n_calls = Arc::new(AtomicU32::new(0));
    let calls = n_calls.clone();
    let shaky = Define::new("shaky", "1.0.0", "Fails once.")
        .hook(HOOK, move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err(PluginError::raised("not yet")),
            _ => Ok(Reply::from(messages(["ready".to_owned()]))),
        })
        .build()
        .expect("a good name");
    let seen = Arc::default();
    let runtime = super::runtime(vec![shaky, counting(&seen)]).await;
    let system = asked(PromptPart::System);
    let wants = [
        "counting:0=8 -shaky(plugin.raised)",
        "counting:0=8 shaky:0=5",
        "counting:0=8 shaky:0=5",
    ];
    for want in wants {
        assert_eq!(told(&runtime.contributions(&system).await), want);
    }
    assert_eq!(
        (
            n_calls.load(Ordering::SeqCst),
            seen.lock().expect("no panic").len()
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn no_text_passes_for_the_frame_or_for_another_plugin() {
    let text =
        "a < b <b> </contribution>\n</ Contribution><PLUGIN-CONTEXT></plugin-instructions ä<";
    let word = messages([text.to_owned()]).to_string();
    let runtime = runtime(&[("a", &word)]).await;
    let got = runtime.contributions(&asked(PromptPart::User)).await;
    assert_eq!(
        got.texts[0].text, text,
        "the structured form is as the plugin wrote it"
    );
    // 90: the texts of plugins and the user's are two things.
    assert!(!got.render().contains("what the user wrote"));
    assert_eq!(
        got.render(),
        "<plugin-context>\nAdded by plugins. The user did not write it.\n\
         <contribution id=\"prompt.contribute:a:0\" plugin=\"a\">\n\
         a < b <b> &lt;/contribution>\n&lt;/ Contribution>&lt;PLUGIN-CONTEXT>&lt;/plugin-instructions ä<\n\
         </contribution>\n</plugin-context>"
    );
}

#[cfg(feature = "sqlite")]
mod turns {
    use kodex::{
        PluginName, SystemClock,
        store::{
            Store,
            sqlite::{SqliteOptions, SqliteStore},
        },
    };

    use super::*;

    async fn store(folder: &tempfile::TempDir) -> Arc<dyn Store> {
        let options = SqliteOptions::new(folder.path().join("store"), Arc::new(SystemClock));
        Arc::new(SqliteStore::open(options).await.expect("a store opens"))
    }

    fn turn(input: TurnInput, id: &str, prompt: &str) -> Turn {
        let origin = Origin {
            session_id: Some("session".into()),
            turn_id: (!id.is_empty()).then(|| id.to_owned()),
            ..Origin::default()
        };
        Turn::new(input, origin, prompt)
    }

    fn input(word: &str) -> TurnInput {
        match word {
            "fresh" => TurnInput::Fresh,
            "follow-up" => TurnInput::FollowUp,
            "steering" => TurnInput::Steering,
            "resumed" => TurnInput::Resumed { checkpoint: false },
            "checkpoint" => TurnInput::Resumed { checkpoint: true },
            other => panic!("{other}"),
        }
    }

    /// Each step is `INPUT TURN PROMPT`; what comes of it is the text, where it is from and how often the
    /// plugin was asked by then.
    async fn check(is_stored: bool, steps: &[(&str, &str)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let start = || {
            let builder = Runtime::builder().native(counting(&seen));
            let builder = if is_stored {
                builder.store(store.clone())
            } else {
                builder
            };
            async { builder.build().await.expect("native plugins always load") }
        };
        let mut runtime = start().await;
        for (step, want) in steps {
            if *step == "restart" {
                runtime.shutdown().await;
                runtime = start().await;
                continue;
            }
            let words: Vec<_> = step.splitn(3, ' ').collect();
            let id = words[1].trim_matches('-');
            let got = runtime
                .turn_contributions(&turn(input(words[0]), id, words[2]))
                .await;
            let text = got.texts.first().map_or("-", |text| text.text.as_str());
            let from = match got.from {
                Source::Plugins => "asked",
                Source::Store => "kept",
                Source::Nobody => "nobody",
            };
            let finding = got
                .finding
                .map_or(String::new(), |found| format!(" {}", found.code));
            let n_asked = seen.lock().expect("no panic").len();
            assert_eq!(
                format!("{text} {from} {n_asked}{finding}"),
                **want,
                "{step} of {steps:?}"
            );
        }
        for payload in seen.lock().expect("no panic").iter() {
            assert_eq!(payload["part"], "user");
            assert!(
                payload["prompt"].is_string() && payload["session_id"] == "session",
                "{payload}"
            );
        }
        runtime.shutdown().await;
        store.close().await.expect("closed");
    }

    #[tokio::test]
    async fn each_input_asks_as_its_kind_says() {
        // 84 to 86: fresh once, each follow-up once, steering never; also within one turn.
        check(
            true,
            &[
                ("fresh t1 a", "answer 1 asked 1"),
                ("steering t1 b", "- nobody 1"),
                ("follow-up t2 c", "answer 2 asked 2"),
                ("follow-up t1 d", "answer 3 asked 3"),
                ("follow-up t3 c", "answer 4 asked 4"),
            ],
        )
        .await;
        // 87 and 88.
        check(
            true,
            &[
                ("resumed t1 a", "answer 1 asked 1"),
                ("resumed t1 a", "answer 1 kept 1"),
            ],
        )
        .await;
        check(true, &[("checkpoint t1 a", "- nobody 0 contribute.gone")]).await;
        // 89: a redelivered input, in this process and the next.
        check(
            true,
            &[
                ("fresh t1 a", "answer 1 asked 1"),
                ("checkpoint t1 a", "answer 1 kept 1"),
                ("fresh t1 a", "answer 1 kept 1"),
                ("restart", ""),
                ("resumed t1 a", "answer 1 kept 1"),
                ("checkpoint t1 a", "answer 1 kept 1"),
                ("fresh t1 b", "answer 2 asked 2"),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_said_and_asked_again() {
        check(
            false,
            &[
                ("fresh t1 a", "answer 1 asked 1 contribute.no_store"),
                ("fresh t1 a", "answer 2 asked 2 contribute.no_store"),
                ("steering t1 a", "- nobody 2"),
                ("checkpoint t1 a", "- nobody 2 contribute.no_store"),
            ],
        )
        .await;
        check(
            true,
            &[
                ("fresh - a", "answer 1 asked 1 contribute.no_turn"),
                ("fresh - a", "answer 2 asked 2 contribute.no_turn"),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn what_is_kept_has_an_end_and_its_key_says_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let seen = Arc::default();
        let builder = Runtime::builder()
            .native(counting(&seen))
            .store(store.clone());
        let runtime = builder.build().await.expect("native plugins always load");
        let input = Turn {
            keep_for: Duration::from_secs(60),
            ..turn(TurnInput::Fresh, "t1", "marker")
        };
        let _ = runtime.turn_contributions(&input).await;
        let owner = PluginName::lenient("kodex").expect("a name");
        let keys = store
            .state()
            .list(&owner, "", None, 10)
            .await
            .expect("lists");
        assert_eq!(keys.len(), 1);
        let left =
            keys[0].expires_at_ms.expect("an end") - kodex::contract::Clock::unix_ms(&SystemClock);
        assert!((1..=60_000).contains(&left), "{left}");
        assert!(
            !keys[0].key.contains("marker") && !keys[0].key.contains("t1"),
            "{}",
            keys[0].key
        );
        assert!(runtime.forget_contributions(&input).await.expect("deletes"));
        assert!(!runtime.forget_contributions(&input).await.expect("deletes"));
        let again = runtime.turn_contributions(&input).await;
        assert_eq!(
            (again.texts[0].text.as_str(), again.from),
            ("answer 2", Source::Plugins)
        );
    }

    #[tokio::test]
    async fn two_deliveries_at_once_end_with_one_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let seen = Arc::default();
        let builder = Runtime::builder()
            .native(counting(&seen))
            .store(store.clone());
        let runtime = builder.build().await.expect("native plugins always load");
        let input = turn(TurnInput::Fresh, "t1", "a");
        let (one, two) = tokio::join!(
            runtime.turn_contributions(&input),
            runtime.turn_contributions(&input)
        );
        assert_eq!(one.texts, two.texts);
    }

    #[tokio::test]
    async fn a_store_that_fails_never_fails_the_turn() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder).await;
        let builder = Runtime::builder()
            .native(plugin("a", "1"))
            .store(store.clone());
        let runtime = builder.build().await.expect("native plugins always load");
        store.close().await.expect("closed");
        let got = runtime
            .turn_contributions(&turn(TurnInput::Fresh, "t1", "a"))
            .await;
        let code = got.finding.as_ref().map(|found| found.code.as_str());
        assert_eq!(
            (told(&got).as_str(), code),
            ("a:0=1", Some("contribute.not_kept"))
        );
    }
}

/// Keeps everything that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let _ = writeln!(self.0.lock().expect("no panic"), "{fields:?}");
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let _ = writeln!(self.0.lock().expect("no panic"), "{fields:?}");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn logs_have_names_counts_and_sizes_and_no_text() {
    // 91.
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    tracing::callsite::rebuild_interest_cache();
    let plugins = [
        (
            "taken",
            messages(["MARKER taken".to_owned(), "MARKER".to_owned()]),
        ),
        ("blank", messages(["MARKER".to_owned(), String::new()])),
        ("long", messages(["MARKER".repeat(2_000)])),
        ("shape", json!({"messages": "MARKER"})),
        ("over", messages(vec!["MARKER ".repeat(1_000); 3])),
    ];
    let build = |(name, reply): (&str, Value)| plugin(name, &reply.to_string());
    let raising = Define::new("raises", "1.0.0", "Says what it was given.")
        .hook(HOOK, |_| Err(PluginError::raised("MARKER")))
        .build()
        .expect("a plugin");
    let mut plugins: Vec<_> = plugins.into_iter().map(build).collect();
    plugins.push(raising);
    let runtime = super::runtime(plugins).await;
    for part in [PromptPart::System, PromptPart::User] {
        let request = ContributionRequest {
            prompt: Some("MARKER".into()),
            ..asked(part)
        };
        let got = runtime.contributions(&request).await;
        assert_eq!((got.texts.len(), got.left_out.len()), (2, 5));
    }
    let log = log.0.lock().expect("no panic").clone();
    assert!(!log.contains("MARKER"), "{log}");
    for part in [
        "\"n_texts\": \"2\"",
        "\"n_chars\": \"18\"",
        "contribute.long_text",
        "\"took_ms\"",
        "shape",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
