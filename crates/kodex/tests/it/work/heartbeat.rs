//! The heartbeat (6L).

use super::*;
use kodex::{HeartbeatSettings, PulseOutcome};

fn quiet(name: &str) -> Arc<Doing> {
    Doing::new(name)
        .on("heartbeat", |_, _| async { Ok(Reply::nothing()) })
        .built()
}

#[tokio::test]
async fn a_failing_and_a_hanging_plugin_do_not_stop_the_others() {
    each(|store| async move {
        let failing = Doing::new("b-fails").on("heartbeat", |_, _| async {
            Err(PluginError::raised("no luck"))
        });
        let panicking =
            Doing::new("c-panics").on("heartbeat", |_, _| async { panic!("on purpose") });
        let late = Arc::new(Mutex::new(None));
        let kept = late.clone();
        let hanging = Doing::new("d-hangs").on("heartbeat", move |context, beat| {
            *kept.lock().expect("no panic") = Some((context, beat["ticket"].clone()));
            std::future::pending()
        });
        let odd = Doing::new("e-odd").on("heartbeat", |_, _| async {
            Ok(Reply::from(json!({"n_started": "many"})))
        });
        let hanging = hanging.timeout(Duration::from_millis(50)).built();
        let plugins = vec![
            quiet("a-works"),
            failing.built(),
            panicking.built(),
            hanging,
            odd.built(),
            quiet("f-works"),
        ];
        let runtime = built(builder(&store, plugins)).await;
        let pulse = pulse(&runtime).await;
        let told: Vec<_> = pulse
            .plugins
            .iter()
            .map(|one| (one.plugin.as_str(), one.outcome))
            .collect();
        use PulseOutcome::{Done, Failed, TimedOut};
        assert_eq!(
            told,
            [
                ("a-works", Done),
                ("b-fails", Failed),
                ("c-panics", Failed),
                ("d-hangs", TimedOut),
                ("e-odd", Failed),
                ("f-works", Done)
            ]
        );
        // Whoever goes on after its time is refused.
        let (context, ticket) = late
            .lock()
            .expect("no panic")
            .take()
            .expect("it was called");
        let mut params = wish("late");
        params["ticket"] = ticket;
        let answer = ask(&context, "agent/dispatch", params).await;
        assert_eq!(answer["error"], "ticket.ended");
    })
    .await;
}

#[tokio::test]
async fn every_plugin_has_its_turn_where_not_all_fit() {
    each(|store| async move {
        let names: Vec<_> = (0..7).map(|n| format!("plugin-{n}")).collect();
        let runtime = built(builder(
            &store,
            names.iter().map(|name| quiet(name)).collect(),
        ))
        .await;
        let settings = HeartbeatSettings {
            n_plugins: 3,
            ..HeartbeatSettings::default()
        };
        let mut turns = Vec::new();
        for _ in 0..5 {
            let pulse = runtime.heartbeat(&settings).await.expect("a pulse");
            assert_eq!((pulse.plugins.len(), pulse.n_left), (3, 4));
            turns.extend(pulse.plugins.into_iter().map(|one| one.plugin));
        }
        let want: Vec<_> = names.iter().cycle().take(15).cloned().collect();
        assert_eq!(turns, want, "round and round");
    })
    .await;
}

#[tokio::test]
async fn the_time_of_a_pulse_is_bounded_and_those_left_out_are_first_next() {
    each(|store| async move {
        let hanging = |name: &str| {
            let plugin = Doing::new(name).on("heartbeat", |_, _| std::future::pending());
            plugin.timeout(Duration::from_secs(20)).built()
        };
        let runtime = built(builder(
            &store,
            vec![hanging("a"), hanging("b"), quiet("c")],
        ))
        .await;
        let settings = HeartbeatSettings {
            total: Duration::from_millis(500),
            n_parallel: 1,
            ..HeartbeatSettings::default()
        };
        let mut turns = Vec::new();
        for _ in 0..3 {
            let pulse = runtime.heartbeat(&settings).await.expect("a pulse");
            turns.push(
                pulse
                    .plugins
                    .into_iter()
                    .map(|one| one.plugin)
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(turns, [vec!["a"], vec!["b"], vec!["c", "a"]]);
    })
    .await;
}

#[tokio::test]
async fn two_pulses_at_once_start_nothing_twice() {
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let one = built(builder(&store, vec![plugin.clone()])).await;
        let two = built(builder(&store, vec![plugin])).await;
        let (a, b) = tokio::join!(pulse(&one), pulse(&two));
        let told = told.lock().expect("no panic").clone();
        let n = told
            .iter()
            .filter(|answer| answer["status"] == "created")
            .count();
        assert_eq!(n, 1, "{told:?} {a:?} {b:?}");
        let filter = kodex::WorkFilter::default();
        assert_eq!(one.works().list(&filter).await.expect("a list").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn lost_runs_are_taken_back_before_plugins_are_asked_and_25_at_a_time() {
    each(|store| async move {
        let settings = WorkSettings {
            lease: Duration::from_millis(100),
            ..brisk()
        };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let looking = Doing::new("a").on("heartbeat", move |context, _| {
            let notes = notes.clone();
            async move {
                let answer = ask(&context, "agent/get", json!({"id": "run_00"})).await;
                notes
                    .lock()
                    .expect("no panic")
                    .push(answer["status"].clone());
                Ok(Reply::nothing())
            }
        });
        let runtime = built(builder(&store, vec![looking.built()]).work(settings)).await;
        use kodex::store::queue::{Claim, NewJob};
        let name = kodex::PluginName::new("a").expect("a name");
        let payload = serde_json::value::to_raw_value(&json!({})).expect("JSON");
        let ids: Vec<_> = (0..30).map(|n| format!("run_{n:02}")).collect();
        let jobs: Vec<_> = ids
            .iter()
            .map(|id| NewJob::new(id, "run", &name, "agent", &payload))
            .collect();
        store.queue().add(&jobs).await.expect("added");
        let claim = Claim {
            queue: "run",
            holder: "gone",
            n: 30,
            lease_ms: 100,
            caps: &[],
            plugins: None,
        };
        assert_eq!(
            store.queue().claim(&claim).await.expect("claimed").len(),
            30
        );
        // Leases end by time alone.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(pulse(&runtime).await.n_recovered, 25);
        assert_eq!(*seen.lock().expect("no panic"), ["pending"]);
        assert_eq!(pulse(&runtime).await.n_recovered, 5);
    })
    .await;
}

#[tokio::test]
async fn without_a_store_there_is_no_pulse() {
    let runtime = built(Runtime::builder().native(quiet("a"))).await;
    let error = runtime
        .heartbeat(&HeartbeatSettings::default())
        .await
        .expect_err("no store");
    assert_eq!(error.code(), "store.not_configured");
}
