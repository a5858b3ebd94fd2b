//! The engine: recovery, fencing, lanes, draining, a store that goes away.

use super::*;

/// Two nodes on one store: what one lost the other takes, and the loser's word counts for nothing.
#[tokio::test]
async fn a_node_that_stopped_loses_its_runs_to_another() {
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let stuck = Scripted::new([Step::Hang]);
        let lazy = WorkSettings {
            // It neither renews nor looks within this test.
            lease: Duration::from_millis(300),
            sweep: Duration::from_secs(600),
            ..brisk()
        };
        let one = built(
            builder(&store, vec![plugin.clone()])
                .work(lazy)
                .runner(stuck.clone()),
        )
        .await;
        pulse(&one).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let stopped = one.work().await.expect("works");
        until("it runs", || async { (stuck.n_ran() == 1).then_some(()) }).await;
        // Dropped without a word, as a killed process goes.
        drop(stopped);
        let runner = Scripted::new([]);
        let two = built(builder(&store, vec![plugin]).runner(runner.clone())).await;
        let working = two.work().await.expect("works");
        let done = reaches(&two, &id, RunStatus::Completed).await;
        assert_eq!((done.n_crashes, done.attempt, runner.n_ran()), (1, 2, 1));
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_drained_node_gives_back_what_it_could_not_finish() {
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let stuck = Scripted::new([Step::Hang]);
        let one = built(builder(&store, vec![plugin.clone()]).runner(stuck.clone())).await;
        pulse(&one).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = one.work().await.expect("works");
        until("it runs", || async { (stuck.n_ran() == 1).then_some(()) }).await;
        working
            .drain(Duration::from_millis(20), std::future::pending())
            .await;
        let item = one.works().find(&id).await.expect("it is there");
        assert_eq!(
            (item.status, item.attempt, item.n_crashes),
            (RunStatus::Pending, 0, 0)
        );
        assert_eq!(item.holder, None);
    })
    .await;
}

#[tokio::test]
async fn answers_for_one_place_are_made_one_after_the_other() {
    #[derive(Default)]
    struct Counting {
        n: Mutex<(usize, usize)>,
    }
    impl AgentRunner for Counting {
        fn run<'a>(&'a self, _: &'a Run) -> Pending<'a, RunEnd> {
            Box::pin(async move {
                {
                    let mut n = self.n.lock().expect("no panic");
                    n.0 += 1;
                    n.1 = n.1.max(n.0);
                }
                // A run takes its time; without it none would meet another.
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.n.lock().expect("no panic").0 -= 1;
                RunEnd::Completed { answer: "a".into() }
            })
        }
    }
    each(|store| async move {
        for (place, want) in [(json!("one place"), 1), (json!(null), 4)] {
            let told = Arc::new(Mutex::new(Vec::new()));
            let notes = told.clone();
            let name = format!("many-{want}");
            let plugin = Doing::new(&name).on("heartbeat", move |context, beat| {
                let (notes, place) = (notes.clone(), place.clone());
                async move {
                    for n in 0..6 {
                        let mut params = wish(&format!("k{n}"));
                        params["ticket"] = beat["ticket"].clone();
                        if place.is_string() {
                            params["destination"]["address"] = place.clone();
                        }
                        let answer = ask(&context, "agent/dispatch", params).await;
                        notes.lock().expect("no panic").push(answer);
                    }
                    Ok(Reply::nothing())
                }
            });
            let runner = Arc::new(Counting::default());
            let settings = WorkSettings {
                n_runs: 4,
                ..brisk()
            };
            let runtime = built(
                builder(&store, vec![plugin.built()])
                    .work(settings)
                    .runner(runner.clone()),
            )
            .await;
            pulse(&runtime).await;
            let working = runtime.work().await.expect("works");
            let ids: Vec<_> = told.lock().expect("no panic").iter().map(id_of).collect();
            assert_eq!(ids.len(), 6);
            for id in ids {
                let done = reaches(&runtime, &id, RunStatus::Completed).await;
                assert_eq!(done.attempt, 1, "waiting for a place is no attempt");
            }
            let most = runner.n.lock().expect("no panic").1;
            assert!(
                if want == 1 {
                    most == 1
                } else {
                    (2..=4).contains(&most)
                },
                "{most} at once"
            );
            working
                .drain(Duration::from_secs(5), std::future::pending())
                .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_malformed_row_is_buried_and_the_others_run() {
    each(|store| async move {
        use kodex::store::queue::{NewJob, Priority};
        let (plugin, told) = asking("asks", wish("k"));
        let runner = Scripted::new([]);
        let runtime = built(builder(&store, vec![plugin]).runner(runner)).await;
        let name = kodex::PluginName::new("asks").expect("a name");
        let payload = serde_json::value::to_raw_value(&json!({"odd": true})).expect("JSON");
        let odd = NewJob {
            priority: Priority::Urgent,
            ..NewJob::new("run_odd", "run", &name, "agent", &payload)
        };
        store.queue().add(&[odd]).await.expect("added");
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = runtime.work().await.expect("works");
        reaches(&runtime, &id, RunStatus::Completed).await;
        let odd = reaches(&runtime, "run_odd", RunStatus::Failed).await;
        assert_eq!(
            (odd.dead, odd.reason_code.as_deref()),
            (true, Some("malformed"))
        );
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_takes_its_process_along_is_given_up() {
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let runtime = built(builder(&store, vec![plugin.clone()])).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        for n in 1..=3 {
            let stuck = Scripted::new([Step::Hang]);
            let settings = WorkSettings {
                lease: Duration::from_millis(200),
                sweep: Duration::from_secs(600),
                ..brisk()
            };
            let node = built(
                builder(&store, vec![plugin.clone()])
                    .work(settings)
                    .runner(stuck.clone()),
            )
            .await;
            let working = node.work().await.expect("works");
            until("it runs", || async { (stuck.n_ran() == 1).then_some(()) }).await;
            drop(working);
            until("it is taken back", || async {
                pulse(&runtime).await;
                let item = runtime.works().find(&id).await.expect("it is there");
                (item.n_crashes == n).then_some(())
            })
            .await;
        }
        let item = runtime.works().find(&id).await.expect("it is there");
        assert_eq!(
            (item.dead, item.reason_code.as_deref()),
            (true, Some("poison"))
        );
    })
    .await;
}
