//! Plugins' jobs (6S).

use super::*;
use kodex::{
    SessionRef, Sessions,
    contract::wire::work::{Destination, SessionProjection},
};

type Calls = Arc<Mutex<Vec<Value>>>;

/// A plugin with the job `work`, whose first calls fail, and a hook that adds one.
fn worker(name: &str, n_failing: usize) -> (Arc<Doing>, Calls) {
    let calls = Calls::default();
    let notes = calls.clone();
    let plugin = Doing::new(name)
        .on("job.work", move |_, call| {
            let n = {
                let mut notes = notes.lock().expect("no panic");
                notes.push(call);
                notes.len()
            };
            async move {
                if n <= n_failing {
                    return Err(PluginError::raised("no luck"));
                }
                Ok(Reply::from(json!({"n": n})))
            }
        })
        .on("add.job", |context, params| async move {
            Ok(Reply::from(ask(&context, "job/enqueue", params).await))
        });
    (plugin.built(), calls)
}

async fn add(runtime: &Runtime, params: Value) -> Value {
    let outcome = runtime
        .emit("add.job", Json::from(params))
        .await
        .expect("emitted");
    let (_, reply) = outcome.replies().next().expect("a reply");
    reply.value().clone()
}

#[tokio::test]
async fn a_job_is_done_and_tried_again_until_it_is() {
    each(|store| async move {
        let (plugin, calls) = worker("works", 2);
        let runtime = built(builder(&store, vec![plugin.clone()])).await;
        let id = id_of(&add(&runtime, json!({"name": "work", "params": {"file": "a"}})).await);
        let working = runtime.work().await.expect("works");
        let done = reaches(&runtime, &id, RunStatus::Completed).await;
        assert_eq!(done.attempt, 3);
        let calls = calls.lock().expect("no panic").clone();
        let told: Vec<_> = calls
            .iter()
            .map(|call| (&call["id"], &call["params"], &call["attempt"]))
            .collect();
        let (id_value, file) = (json!(id), json!({"file": "a"}));
        assert_eq!(
            told,
            [
                (&id_value, &file, &json!(1)),
                (&id_value, &file, &json!(2)),
                (&id_value, &file, &json!(3))
            ]
        );
        let seen = plugin.ask("job/get", json!({"id": id})).await;
        assert_eq!(seen["status"], "completed");
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_fails_again_and_again_opens_no_breaker() {
    each(|store| async move {
        // A breaker opens at five failures and stays so for half a minute.
        let (plugin, _) = worker("works", 12);
        let runtime = built(builder(&store, vec![plugin])).await;
        let id = id_of(&add(&runtime, json!({"name": "work", "max_attempts": 20})).await);
        let working = runtime.work().await.expect("works");
        let done = reaches(&runtime, &id, RunStatus::Completed).await;
        assert_eq!(done.attempt, 13);
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_wish_for_a_job_is_judged() {
    each(|store| async move {
        let (plugin, _) = worker("works", 0);
        let runtime = built(builder(&store, vec![plugin])).await;
        for (params, want) in [
            (json!({"name": "work", "key": "k"}), "created"),
            (json!({"name": "work", "key": "k"}), "already_exists"),
            (json!({"name": "work", "key": "other"}), "created"),
            (json!({"name": "work"}), "created"),
            (json!({"name": "work"}), "created"),
            (json!({"name": "play"}), "job.unknown"),
            (json!({"name": "Wo rk"}), "job.invalid"),
            (json!({"name": "work", "key": " "}), "job.invalid"),
            (json!({"name": "work", "max_attempts": 0}), "job.invalid"),
            (
                json!({"name": "work", "params": "x".repeat(300 << 10)}),
                "job.invalid",
            ),
            (json!({"name": "work", "colour": "red"}), "params.invalid"),
        ] {
            let answer = add(&runtime, params).await;
            let word = answer["error"].as_str().or(answer["status"].as_str());
            assert_eq!(word, Some(want), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_attempts_are_used_up_is_dead_and_can_be_tried_again() {
    each(|store| async move {
        let (plugin, calls) = worker("works", 2);
        let runtime = built(builder(&store, vec![plugin])).await;
        let id = id_of(&add(&runtime, json!({"name": "work", "max_attempts": 2})).await);
        let working = runtime.work().await.expect("works");
        let dead = reaches(&runtime, &id, RunStatus::Failed).await;
        assert_eq!(
            (dead.dead, dead.reason_code.as_deref(), dead.attempt),
            (true, Some("attempts_exhausted"), 2)
        );
        assert!(dead.reason.expect("a text").contains("no luck"));
        runtime.works().retry(&id).await.expect("tried again");
        let done = reaches(&runtime, &id, RunStatus::Completed).await;
        assert_eq!(
            (
                done.generation,
                done.attempt,
                calls.lock().expect("no panic").len()
            ),
            (1, 1, 3)
        );
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn an_effect_happens_once_over_all_attempts() {
    each(|store| async move {
        let told = Arc::new(Mutex::new(Vec::new()));
        let notes = told.clone();
        let plugin = Doing::new("effects")
            .on("job.work", move |context, call| {
                let notes = notes.clone();
                async move {
                    let params =
                        json!({"ticket": call["ticket"], "key": "sent", "value": call["attempt"]});
                    let answer = ask(&context, "job/effect", params).await;
                    notes.lock().expect("no panic").push(answer);
                    match call["attempt"].as_u64() {
                        Some(1 | 2) => Err(PluginError::raised("after the effect")),
                        _ => Ok(Reply::nothing()),
                    }
                }
            })
            .on("add.job", |context, params| async move {
                Ok(Reply::from(ask(&context, "job/enqueue", params).await))
            })
            .on("heartbeat", |context, beat| async move {
                let params = json!({"ticket": beat["ticket"], "key": "sent"});
                let answer = ask(&context, "job/effect", params).await;
                assert_eq!(answer["error"], "ticket.no_job");
                Ok(Reply::nothing())
            });
        let runtime = built(builder(&store, vec![plugin.built()])).await;
        let id = id_of(&add(&runtime, json!({"name": "work"})).await);
        let working = runtime.work().await.expect("works");
        reaches(&runtime, &id, RunStatus::Completed).await;
        let told = told.lock().expect("no panic").clone();
        let again = json!({"first": false, "value": 1});
        assert_eq!(
            told,
            [json!({"first": true, "value": 1}), again.clone(), again]
        );
        assert_eq!(
            pulse(&runtime).await.plugins[0].outcome,
            kodex::PulseOutcome::Done
        );
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_job_may_ask_for_a_run() {
    each(|store| async move {
        let plugin = Doing::new("chain")
            .on("job.work", |context, call| async move {
                let mut params = wish("from a job");
                params["ticket"] = call["ticket"].clone();
                let answer = ask(&context, "agent/dispatch", params).await;
                Ok(Reply::from(answer))
            })
            .on("add.job", |context, params| async move {
                Ok(Reply::from(ask(&context, "job/enqueue", params).await))
            });
        let runner = Scripted::new([]);
        let runtime = built(builder(&store, vec![plugin.built()]).runner(runner.clone())).await;
        let id = id_of(&add(&runtime, json!({"name": "work"})).await);
        let working = runtime.work().await.expect("works");
        reaches(&runtime, &id, RunStatus::Completed).await;
        until("the run is done", || async {
            (runner.n_ran() == 1).then_some(())
        })
        .await;
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

/// A session that is loaded as it was told, but for some of the times.
struct Kept {
    n_loads: Mutex<usize>,
    failing: &'static [usize],
    session: SessionProjection,
}

impl Sessions for Kept {
    fn load<'a>(&'a self, _: &'a SessionRef) -> Pending<'a, Result<SessionProjection, String>> {
        let mut n_loads = self.n_loads.lock().expect("no panic");
        *n_loads += 1;
        let answer = match self.failing.contains(&n_loads) {
            true => Err("not written yet".to_owned()),
            false => Ok(self.session.clone()),
        };
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test]
async fn the_end_of_a_session_triggers_one_job_of_each_plugin_that_wants_it() {
    each(|store| async move {
        let calls = Calls::default();
        let listener = |name: &str| {
            let notes = calls.clone();
            Doing::new(name)
                .on("job.session.completed", move |_, call| {
                    notes.lock().expect("no panic").push(call);
                    async { Ok(Reply::nothing()) }
                })
                .built()
        };
        let session = SessionRef {
            conversation_id: "c".into(),
            session_id: "s".into(),
        };
        let sessions = Kept {
            n_loads: Mutex::default(),
            // The first time that its end is told, and the first time that a job asks.
            failing: &[1, 4],
            session: SessionProjection {
                conversation_id: "c".into(),
                session_id: "s".into(),
                completed_at_ms: 7,
                source: Some(Destination {
                    kind: "session".into(),
                    address: "c".into(),
                }),
                ..SessionProjection::default()
            },
        };
        let plugins = vec![
            listener("one"),
            listener("two"),
            Doing::new("three").built(),
        ];
        let runtime = built(builder(&store, plugins).sessions(Arc::new(sessions))).await;
        let early = runtime.session_completed(&session).await;
        let early = early.expect_err("it has not ended");
        assert_eq!(early.code(), "work.session");
        assert!(early.to_string().contains("not written yet"), "{early}");
        let filter = kodex::WorkFilter::default();
        let listed = runtime.works().list(&filter).await.expect("a list");
        assert!(listed.is_empty(), "{listed:?}");
        assert_eq!(runtime.session_completed(&session).await.expect("added"), 2);
        assert_eq!(runtime.session_completed(&session).await.expect("known"), 0);
        let blank = SessionRef {
            conversation_id: " ".into(),
            ..session.clone()
        };
        assert_eq!(
            runtime
                .session_completed(&blank)
                .await
                .expect_err("blank")
                .code(),
            "work.session"
        );
        let working = runtime.work().await.expect("works");
        until("both are called", || async {
            (calls.lock().expect("no panic").len() == 2).then_some(())
        })
        .await;
        let call = calls.lock().expect("no panic")[0].clone();
        assert_eq!(
            call["params"],
            json!({"conversation_id": "c", "session_id": "s"})
        );
        assert_eq!(call["session"]["completed_at_ms"], 7);
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_is_not_registered_any_more_fails_its_attempts() {
    each(|store| async move {
        let (plugin, _) = worker("works", 0);
        let before = built(builder(&store, vec![plugin])).await;
        let id = id_of(&add(&before, json!({"name": "work", "max_attempts": 2})).await);
        let after = built(builder(&store, vec![Doing::new("works").built()])).await;
        let working = after.work().await.expect("works");
        let dead = reaches(&after, &id, RunStatus::Failed).await;
        assert_eq!(
            (dead.attempt, dead.reason_code.as_deref()),
            (2, Some("attempts_exhausted"))
        );
        assert!(
            dead.reason.expect("a text").contains("job.work"),
            "the hook is named"
        );
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_stored_job_that_cannot_be_read_is_buried_at_once() {
    each(|store| async move {
        use kodex::store::queue::{NewJob, Priority};
        let (plugin, calls) = worker("works", 0);
        let runtime = built(builder(&store, vec![plugin])).await;
        let name = kodex::PluginName::new("works").expect("a name");
        let payload = serde_json::value::to_raw_value(&json!({"odd": true})).expect("JSON");
        let odd = NewJob {
            priority: Priority::Urgent,
            ..NewJob::new("job_odd", "job", &name, "work", &payload)
        };
        store.queue().add(&[odd]).await.expect("added");
        let working = runtime.work().await.expect("works");
        let odd = reaches(&runtime, "job_odd", RunStatus::Failed).await;
        assert_eq!(
            (odd.dead, odd.reason_code.as_deref(), odd.attempt),
            (true, Some("malformed"), 1)
        );
        assert!(calls.lock().expect("no panic").is_empty());
        working.drain(Duration::ZERO, std::future::pending()).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_job_says_never_keeps_others_from_ending() {
    for said in ["a text that speaks of \\u0000", "one that has \u{0}"] {
        each(|store| async move {
            let talking = Doing::new("talks")
                .on("job.work", move |_, _| async move {
                    Ok(Reply::from(json!(said)))
                })
                .on("job.other", |_, _| async { Ok(Reply::nothing()) })
                .on("add.job", |context, params| async move {
                    Ok(Reply::from(ask(&context, "job/enqueue", params).await))
                });
            let runtime = built(builder(&store, vec![talking.built()])).await;
            let ids = [
                id_of(&add(&runtime, json!({"name": "work"})).await),
                id_of(&add(&runtime, json!({"name": "other"})).await),
            ];
            let working = runtime.work().await.expect("works");
            for id in &ids {
                let done = reaches(&runtime, id, RunStatus::Completed).await;
                assert_eq!((done.attempt, done.n_crashes), (1, 0), "{said:?}");
            }
            working.drain(Duration::ZERO, std::future::pending()).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_at_once_leaves_no_job_behind_as_running() {
    each(|store| async move {
        let (plugin, _) = worker("works", 0);
        for round in 0..60 {
            let runtime = built(builder(&store, vec![plugin.clone()])).await;
            let id = id_of(&add(&runtime, json!({"name": "work", "params": round})).await);
            let working = runtime.work().await.expect("works");
            let waits = round % 2 == 0;
            if waits {
                working.until_idle().await.expect("is idle");
            }
            working
                .drain(Duration::from_secs(5), std::future::pending())
                .await;
            let item = runtime.works().find(&id).await.expect("it is there");
            let is_done = item.status == RunStatus::Completed;
            let is_back = item.status == RunStatus::Pending && item.attempt == 0;
            assert!(is_done || is_back && !waits, "round {round}: {item:?}");
        }
    })
    .await;
}
