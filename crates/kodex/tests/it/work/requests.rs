//! What may be asked of agent runs, and what a plugin may know of them (6M, and 175 to 178).

use super::*;

/// The code with which a wish is refused, or `created`; and the number of runs that are there then.
async fn judged(store: &Arc<dyn Store>, name: &str, params: Value) -> (String, usize) {
    let (plugin, told) = asking(name, params);
    let runtime = built(builder(store, vec![plugin])).await;
    pulse(&runtime).await;
    let answer = told.lock().expect("no panic").pop().expect("asked");
    let filter = kodex::WorkFilter {
        plugin: Some(kodex::PluginName::new(name).expect("a name")),
        ..Default::default()
    };
    let n = runtime.works().list(&filter).await.expect("a list").len();
    let word = answer["error"].as_str().or(answer["status"].as_str());
    (word.unwrap_or("neither").to_owned(), n)
}

#[tokio::test]
async fn a_bad_wish_is_refused_and_nothing_is_stored() {
    each(|store| async move {
        let with = |field: &str, value: Value| {
            let mut params = wish("k");
            params[field] = value;
            params
        };
        let metadata = |n: usize| (0..n).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>();
        let place = |more: Value| {
            let mut place = json!({"kind": "session", "address": "s"});
            for (key, value) in more.as_object().expect("an object") {
                place[key] = value.clone();
            }
            place
        };
        let cases = [
            ("good", wish("k"), "created"),
            ("blank-key", with("idempotency_key", json!(" ")), "agent.invalid"),
            ("long-key", with("idempotency_key", json!("x".repeat(513))), "agent.invalid"),
            ("unknown", with("colour", json!("red")), "params.invalid"),
            ("thread", with("destination", place(json!({"thread": "t"}))), "params.invalid"),
            ("user", with("destination", place(json!({"user_id": "u"}))), "params.invalid"),
            ("kind", with("destination", place(json!({"kind": "pigeon"}))), "agent.invalid"),
            ("blank-input", with("input", json!("\n")), "agent.invalid"),
            ("long-input", with("input", json!("x".repeat(32_001))), "agent.invalid"),
            ("metadata-20", with("metadata", json!(metadata(20))), "created"),
            ("metadata-21", with("metadata", json!(metadata(21))), "agent.invalid"),
            ("metadata-key", with("metadata", json!({"k".repeat(129): "v"})), "agent.invalid"),
            ("metadata-value", with("metadata", json!({"k": "v".repeat(513)})), "agent.invalid"),
            ("metadata-line", with("metadata", json!({"k": "a\nb"})), "agent.invalid"),
            ("binding", with("subject", json!({"user": "u", "binding": "b"})), "params.invalid"),
            ("subject", with("subject", json!({"user": "u"})), "created"),
            (
                "subject-public",
                json!({"idempotency_key": "k", "input": "i", "visibility": "public",
                       "destination": {"kind": "session", "address": "s"}, "subject": {"user": "u"}}),
                "agent.invalid",
            ),
            ("ticket", with("ticket", json!(987_654)), "ticket.ended"),
        ];
        for (name, params, want) in cases {
            let n = usize::from(want == "created");
            assert_eq!(judged(&store, name, params).await, (want.to_owned(), n), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_call_may_ask_for_25_runs_and_bad_wishes_do_not_count() {
    each(|store| async move {
        let told = Arc::new(Mutex::new(Vec::new()));
        let notes = told.clone();
        let many = Doing::new("many").on("heartbeat", move |context, beat| {
            let notes = notes.clone();
            async move {
                for n in 0..30 {
                    let mut params = wish(&format!("k{}", n % 20));
                    params["ticket"] = beat["ticket"].clone();
                    let mut bad = params.clone();
                    bad["input"] = json!("");
                    ask(&context, "agent/dispatch", bad).await;
                    let answer = ask(&context, "agent/dispatch", params).await;
                    let word = answer["error"].as_str().or(answer["status"].as_str());
                    notes
                        .lock()
                        .expect("no panic")
                        .push(word.unwrap_or("").to_owned());
                }
                Ok(Reply::nothing())
            }
        });
        let runtime = built(builder(&store, vec![many.built()])).await;
        pulse(&runtime).await;
        let told = told.lock().expect("no panic").clone();
        let n = |word: &str| told.iter().filter(|told| *told == word).count();
        assert_eq!(
            (n("created"), n("already_exists"), n("agent.too_many")),
            (20, 5, 5),
            "{told:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_key_is_one_run_of_one_plugin_and_nobody_elses_business() {
    each(|store| async move {
        let (first, told) = asking("first", wish("same"));
        let (second, told2) = asking("second", wish("same"));
        let runtime = built(builder(&store, vec![first.clone(), second.clone()])).await;
        pulse(&runtime).await;
        pulse(&runtime).await;
        let (one, two) = (
            told.lock().expect("no panic").clone(),
            told2.lock().expect("no panic").clone(),
        );
        assert_eq!(one[0]["status"], "created");
        assert_eq!(
            one[1],
            json!({"id": one[0]["id"], "status": "already_exists"})
        );
        assert_ne!(
            one[0]["id"], two[0]["id"],
            "another plugin's key is another run"
        );
        let by = json!({"id": one[0]["id"]});
        let seen = first.ask("agent/get", by.clone()).await;
        assert_eq!(
            seen,
            json!({"id": one[0]["id"], "status": "pending"}),
            "no part of the request"
        );
        assert_eq!(second.ask("agent/get", by.clone()).await, json!({}));
        assert_eq!(
            second.ask("agent/cancel", by.clone()).await,
            json!({"done": false})
        );
        assert_eq!(
            first.ask("job/get", by.clone()).await,
            json!({}),
            "a run is no job"
        );
        assert_eq!(first.ask("agent/cancel", by).await, json!({"done": true}));
    })
    .await;
}

#[tokio::test]
async fn more_than_may_wait_is_refused() {
    each(|store| async move {
        let settings = WorkSettings {
            n_waiting: 2,
            ..brisk()
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let notes = told.clone();
        let many = Doing::new("crowd").on("heartbeat", move |context, beat| {
            let notes = notes.clone();
            async move {
                for n in [0, 1, 2, 3, 0] {
                    let mut params = wish(&format!("k{n}"));
                    params["ticket"] = beat["ticket"].clone();
                    let answer = ask(&context, "agent/dispatch", params).await;
                    let word = answer["error"].as_str().or(answer["status"].as_str());
                    notes
                        .lock()
                        .expect("no panic")
                        .push(word.unwrap_or("").to_owned());
                }
                Ok(Reply::nothing())
            }
        });
        let runtime = built(builder(&store, vec![many.built()]).work(settings)).await;
        pulse(&runtime).await;
        let told = told.lock().expect("no panic").clone();
        assert_eq!(
            told,
            [
                "created",
                "created",
                "agent.queue_full",
                "agent.queue_full",
                // What is there already takes no place.
                "already_exists"
            ]
        );
    })
    .await;
}
