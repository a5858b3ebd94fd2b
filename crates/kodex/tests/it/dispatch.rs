//! How replies combine, end to end, by hook and mode.

use kodex::{Define, DispatchOptions, Folded, Json, Outcome, Reply};

use crate::{json, plugin, runtime};

/// One line for an outcome: each entry, then what it adds up to.
fn show(outcome: &Outcome) -> String {
    let mut parts: Vec<String> = outcome
        .entries
        .iter()
        .map(|entry| match &entry.result {
            Ok(reply) => match &reply.0 {
                Some(json) => format!("{}={}", entry.plugin, json.text()),
                None => format!("{}=-", entry.plugin),
            },
            Err(error) => format!("{}!{}", entry.plugin, error.code),
        })
        .collect();
    parts.push(match &outcome.folded {
        Folded::Nothing => "|".into(),
        Folded::Payload(json) => format!("| payload {}", json.text()),
        Folded::Stopped(ruling) => format!("| stopped {:?}", ruling.verdict.reason),
        Folded::Decided(ruling) => format!("| {:?}", ruling.decision()).to_lowercase(),
        Folded::Won(plugin, json) => format!("| won {plugin} {}", json.text()),
        Folded::NobodyAnswered => "| nobody".into(),
        other => format!("| {other:?}"),
    });
    parts.join(" ")
}

#[track_caller]
fn check(
    hook: &str,
    combine: Option<kodex::Combine>,
    plugins: &[(&str, &'static str)],
    want: &str,
) {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio");
    tokio.block_on(async {
        let plugins = plugins
            .iter()
            .map(|(name, word)| plugin(name, hook, word))
            .collect();
        let runtime = runtime(plugins).await;
        let options = DispatchOptions {
            combine,
            ..DispatchOptions::default()
        };
        let outcome = runtime
            .emit_with(hook, json(r#"{"n":1}"#), &options)
            .await
            .expect("an outcome");
        assert_eq!(show(&outcome), want);
    });
}

#[test]
fn unknown_hooks_collect_in_name_order() {
    check(
        "prompt.preprocess",
        None,
        &[
            ("b", "echo"),
            ("a", r#"{"x":1}"#),
            ("c", "nothing"),
            ("d", "raise"),
            ("e", "panic"),
        ],
        r#"a={"x":1} b={"n":1} c=- d!plugin.raised e!native.panicked |"#,
    );
}

#[test]
fn a_chain_passes_the_payload_on_and_over_failures() {
    let chain = Some(kodex::Combine::Chain);
    check(
        "any",
        chain,
        &[("a", r#"{"n":2}"#), ("b", "raise"), ("c", "echo")],
        r#"a={"n":2} b!plugin.raised c={"n":2} | payload {"n":2}"#,
    );
    check(
        "any",
        chain,
        &[("a", "nothing")],
        r#"a=- | payload {"n":1}"#,
    );
    check(
        "any",
        chain,
        &[("a", "null")],
        r#"a=null | payload {"n":1}"#,
    );
}

#[test]
fn a_decision_is_the_strictest_and_a_broken_gate_denies() {
    let decide = Some(kodex::Combine::Decide);
    let (allow, ask, deny) = (
        r#"{"decision":"allow"}"#,
        r#"{"decision":"ask"}"#,
        r#"{"decision":"deny"}"#,
    );
    check(
        "any",
        decide,
        &[("a", allow), ("b", ask)],
        &format!("a={allow} b={ask} | ask"),
    );
    check(
        "any",
        decide,
        &[("a", deny), ("b", "panic")],
        &format!("a={deny} | deny"),
    );
    check(
        "any",
        decide,
        &[("a", allow), ("b", "raise")],
        &format!("a={allow} b!plugin.raised | deny"),
    );
    check(
        "any",
        decide,
        &[("a", r#"{"verdict":1}"#)],
        "a!reply.invalid | deny",
    );
    check("any", decide, &[], "| allow");
}

#[test]
fn the_first_reply_wins() {
    let first = Some(kodex::Combine::First);
    check(
        "any",
        first,
        &[("a", "nothing"), ("b", "raise"), ("c", "7"), ("d", "8")],
        "a=- b!plugin.raised c=7 | won c 7",
    );
    check("any", first, &[("a", "nothing")], "a=- | nobody");
}

#[tokio::test]
async fn fail_fast_names_the_first_failure() {
    let runtime = runtime(vec![plugin("a", "h", "echo"), plugin("b", "h", "raise")]).await;
    let options = DispatchOptions {
        fail_fast: true,
        ..DispatchOptions::default()
    };
    let error = runtime
        .emit_with("h", json("{}"), &options)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "Plugin 'b' failed on hook 'h': no luck");
}

#[tokio::test]
async fn a_capability_narrows_who_is_asked() {
    let offering = Define::new("has", "1.0.0", "Offers it.")
        .capabilities(["context.enrich"])
        .hook("h", |request| Ok(request.payload.clone().into()))
        .build()
        .expect("a plugin");
    let runtime = runtime(vec![offering, plugin("other", "h", "echo")]).await;
    assert_eq!(runtime.route("context.enrich"), ["has"]);
    let options = DispatchOptions {
        capability: Some("context.enrich".into()),
        ..DispatchOptions::default()
    };
    let outcome = runtime
        .emit_with("h", json("{}"), &options)
        .await
        .expect("an outcome");
    assert_eq!(show(&outcome), "has={} |");
}

#[tokio::test]
async fn priority_orders_before_names() {
    use kodex::contract::{HookName, manifest::Subscription};
    let wish = |priority| Subscription {
        priority,
        ..Subscription::new(HookName::new("h").expect("a name"))
    };
    let make = |name: &str, priority| {
        Define::new(name, "1.0.0", "Ordered.")
            .subscribe(wish(priority), |_| Ok(serde_json::json!(1).into()))
            .build()
            .expect("a plugin")
    };
    let runtime = runtime(vec![make("a", 5), make("b", -5), make("c", 0)]).await;
    let outcome = runtime.emit("h", json("{}")).await.expect("an outcome");
    assert_eq!(show(&outcome), "b=1 c=1 a=1 |");
}

#[tokio::test]
async fn a_bad_hook_name_is_an_error_with_a_code() {
    let runtime = runtime(Vec::new()).await;
    assert_eq!(
        runtime.emit("", json("{}")).await.unwrap_err().code(),
        "name.hook.invalid"
    );
    assert_eq!(
        runtime.emit("a\nb", json("{}")).await.unwrap_err().code(),
        "name.hook.invalid"
    );
}

#[tokio::test]
async fn names_collide_loudly_and_strict_mode_fails() {
    let twins = || vec![plugin("twin", "h", "echo"), plugin("twin", "h", "raise")];
    let runtime = runtime(twins()).await;
    let ledger = runtime.ledger();
    assert_eq!(
        ledger[1].message,
        "Duplicate plugin name 'twin' is not allowed"
    );
    assert_eq!(ledger[1].diagnostics[0].code, "load.name.duplicate");
    let mut builder = kodex::Runtime::builder().strict(true);
    for twin in twins() {
        builder = builder.native(twin);
    }
    assert_eq!(
        builder.build().await.unwrap_err().code(),
        "load.name.duplicate"
    );
}

#[test]
fn a_plugin_that_is_asked_on_every_hook_neither_changes_a_chain_nor_gates() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio");
    tokio.block_on(async {
        let catch_all = || plugin("any", "*", r#"{"decision":"deny","own":1}"#);
        let runtime = runtime(vec![catch_all(), plugin("named", "h", r#"{"n":2}"#)]).await;
        let dispatch = async |combine| {
            let options = DispatchOptions {
                combine: Some(combine),
                ..DispatchOptions::default()
            };
            show(
                &runtime
                    .emit_with("h", json(r#"{"n":1}"#), &options)
                    .await
                    .expect("an outcome"),
            )
        };
        assert_eq!(
            dispatch(kodex::Combine::Chain).await,
            r#"any={"decision":"deny","own":1} named={"n":2} | payload {"n":2}"#
        );
    });
}

/// Routes of invented names are kept up to a bound; before and beyond it every event finds its own.
#[tokio::test]
async fn invented_hook_names_reach_whoever_asked_for_every_hook() {
    let any = Define::new("any", "1.0.0", "Says which hook it was asked on.")
        .hook("*", |request| {
            Ok(Reply::from(Json::of(request.name).expect("a text")))
        })
        .build()
        .expect("a good name");
    let runtime = runtime(vec![any]).await;
    for round in 0..2 {
        for n in 0..300 {
            let hook = format!("invented.{n}");
            let outcome = runtime.emit(&hook, json("{}")).await.expect("an outcome");
            assert_eq!(outcome.hook.as_str(), hook, "round {round}");
            assert_eq!(show(&outcome), format!("any={hook:?} |"), "round {round}");
        }
    }
}
