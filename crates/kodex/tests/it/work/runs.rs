//! The life of an agent run (6N).

use super::*;
use kodex::{Deliver, DeliverError};

struct Stand {
    runtime: Runtime,
    runner: Arc<Scripted>,
    plugin: Arc<Doing>,
    id: String,
}

/// A run that was asked for and a runner that will answer so.
async fn stand(
    store: &Arc<dyn Store>,
    steps: Vec<Step>,
    more: impl Fn(Builder) -> Builder,
) -> Stand {
    let runner = Scripted::new(steps);
    let (plugin, told) = asking("asks", wish("k"));
    let start = builder(store, vec![plugin.clone()]).runner(runner.clone());
    let runtime = built(more(start)).await;
    pulse(&runtime).await;
    let id = id_of(&told.lock().expect("no panic")[0]);
    Stand {
        runtime,
        runner,
        plugin,
        id,
    }
}

#[tokio::test]
async fn a_run_is_executed_and_its_answer_kept() {
    each(|store| async move {
        let Stand {
            runtime,
            runner,
            plugin,
            id,
        } = stand(&store, vec![], |builder| builder).await;
        let working = runtime.work().await.expect("works");
        let done = reaches(&runtime, &id, RunStatus::Completed).await;
        assert_eq!(done.answer.as_deref(), Some("answer to do k"));
        assert_eq!((done.attempt, done.n_crashes), (1, 0));
        let ran = runner.ran();
        assert_eq!(ran.len(), 1);
        assert_eq!(
            (ran[0].id.as_str(), ran[0].plugin.as_str(), &ran[0].subject),
            (id.as_str(), "asks", &None)
        );
        let seen = plugin.ask("agent/get", json!({"id": id})).await;
        let keys: Vec<_> = seen
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, ["id", "result_at_ms", "status"]);
        pulse(&runtime).await;
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
        assert_eq!(
            runner.n_ran(),
            1,
            "what is over stays over, whoever asks again"
        );
    })
    .await;
}

/// A run whose runner behaves so ends so: state, stable word, slices that ran.
#[tokio::test]
async fn each_end_of_a_runner_has_its_state() {
    let end = |end| Step::End(end);
    let failed = || {
        end(RunEnd::Failed {
            code: "x.broken",
            error: "broken".into(),
        })
    };
    let retry = || {
        end(RunEnd::Retry {
            code: "x.later",
            error: "later".into(),
            after: None,
        })
    };
    let go_on = |left: u64| {
        end(RunEnd::Continue {
            checkpoint: Some(Json::from(json!({"at": left}))),
            after: Duration::ZERO,
        })
    };
    type Case = (
        &'static str,
        Vec<Step>,
        RunStatus,
        Option<&'static str>,
        usize,
    );
    let cases: Vec<Case> = vec![
        (
            "failed",
            vec![failed()],
            RunStatus::Failed,
            Some("x.broken"),
            1,
        ),
        (
            "blocked",
            vec![end(RunEnd::Blocked {
                reason: "needs a word".into(),
            })],
            RunStatus::Blocked,
            Some("run.blocked"),
            1,
        ),
        (
            "retried",
            vec![retry(), retry()],
            RunStatus::Completed,
            None,
            3,
        ),
        (
            "exhausted",
            (0..9).map(|_| retry()).collect(),
            RunStatus::Failed,
            Some("attempts_exhausted"),
            5,
        ),
        (
            "panicking",
            vec![Step::Panic],
            RunStatus::Completed,
            None,
            2,
        ),
        (
            "continued",
            (0..20).map(go_on).collect(),
            RunStatus::Completed,
            None,
            21,
        ),
        (
            "busy",
            (0..12)
                .map(|_| {
                    end(RunEnd::Busy {
                        after: Duration::ZERO,
                    })
                })
                .collect(),
            RunStatus::Completed,
            None,
            13,
        ),
        (
            "silent",
            vec![end(RunEnd::Completed {
                answer: " \n".into(),
            })],
            RunStatus::Completed,
            None,
            1,
        ),
    ];
    let cases = Mutex::new(cases);
    let stores = stores().await;
    let all = cases.into_inner().expect("no panic");
    for (at, (name, steps, status, code, n_ran)) in all.into_iter().enumerate() {
        // The engines take turns: what an end does is the store's suite's to show on each.
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> = match at % 2 {
            0 => stores.all[1].clone(),
            _ => {
                let options = SqliteOptions::new(folder.path().join("s"), Arc::new(SystemClock));
                Arc::new(SqliteStore::open(options).await.expect("a store opens"))
            }
        };
        let runner = Scripted::new(steps);
        let (plugin, told) = asking(name, wish(name));
        let runtime = built(builder(&store, vec![plugin]).runner(runner.clone())).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = runtime.work().await.expect("works");
        let done = reaches(&runtime, &id, status).await;
        if let Some(code) = code {
            assert_eq!(done.reason_code.as_deref(), Some(code), "{name}");
        }
        assert_eq!(runner.n_ran(), n_ran, "{name}");
        if name == "continued" {
            let left: Vec<_> = runner
                .ran()
                .iter()
                .map(|run| run.checkpoint.clone())
                .collect();
            assert_eq!(left[0], None);
            assert_eq!(left[20], Some(Json::from(json!({"at": 19}))));
            assert_eq!(done.attempt, 1, "planned pauses are no attempts");
        }
        if name == "silent" {
            assert_eq!(
                done.answer.as_deref(),
                Some("The run ended without an answer.")
            );
        }
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    }
}

#[tokio::test]
async fn without_a_runner_a_run_fails_and_says_what_to_do() {
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let runtime = built(builder(&store, vec![plugin])).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = runtime.work().await.expect("works");
        let done = reaches(&runtime, &id, RunStatus::Failed).await;
        assert_eq!(done.reason_code.as_deref(), Some("run.no_runner"));
        assert!(done.reason.expect("a text").contains("[runner]"));
        working.drain(Duration::ZERO, std::future::pending()).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_is_cancelled_while_it_waits_and_while_it_works() {
    each(|store| async move {
        let Stand {
            runtime,
            runner,
            id,
            ..
        } = stand(&store, vec![Step::Hang], |builder| builder).await;
        let working = runtime.work().await.expect("works");
        until("it runs", || async { (runner.n_ran() == 1).then_some(()) }).await;
        assert!(!runtime.works().cancel(&id).await.expect("asked"));
        reaches(&runtime, &id, RunStatus::Cancelled).await;
        let again = runtime.works().cancel(&id).await.expect_err("it is over");
        assert_eq!(again.code(), "work.state");
        runtime.works().retry(&id).await.expect("tried again");
        let done = reaches(&runtime, &id, RunStatus::Completed).await;
        assert_eq!((done.generation, runner.n_ran()), (1, 2));
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
        let unknown = runtime.works().find("run_none").await.expect_err("none");
        assert_eq!(unknown.code(), "work.unknown");
    })
    .await;
}

/// Delivers as it was told, and notes what it was given.
struct Delivery {
    ends: Mutex<VecDeque<Result<(), DeliverError>>>,
    given: Mutex<Vec<(String, String)>>,
}

impl Deliver for Delivery {
    fn deliver<'a>(
        &'a self,
        run: &'a Run,
        answer: &'a str,
    ) -> Pending<'a, Result<(), DeliverError>> {
        self.given
            .lock()
            .expect("no panic")
            .push((run.id.clone(), answer.to_owned()));
        let end = self.ends.lock().expect("no panic").pop_front();
        Box::pin(std::future::ready(end.unwrap_or(Ok(()))))
    }
}

#[tokio::test]
async fn a_failed_delivery_is_repeated_and_the_agents_work_is_not() {
    each(|store| async move {
        let later = || {
            Err(DeliverError {
                transient: true,
                message: "not now".into(),
            })
        };
        let delivery = Arc::new(Delivery {
            ends: Mutex::new([later(), later()].into()),
            given: Mutex::default(),
        });
        let door = delivery.clone();
        let Stand {
            runtime,
            runner,
            id,
            ..
        } = stand(&store, vec![], |builder| {
            builder.destination("session", door.clone())
        })
        .await;
        let working = runtime.work().await.expect("works");
        reaches(&runtime, &id, RunStatus::Completed).await;
        let given = delivery.given.lock().expect("no panic").clone();
        assert_eq!(given, vec![(id.clone(), "answer to do k".to_owned()); 3]);
        assert_eq!(runner.n_ran(), 1);
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_delivery_has_tries_of_its_own() {
    each(|store| async move {
        let later = || {
            Err(DeliverError {
                transient: true,
                message: "not now".into(),
            })
        };
        // More than the agent has attempts, and one less than the deliveries that there may be, twice.
        let n_most = 8;
        let delivery = Arc::new(Delivery {
            ends: Mutex::new((0..2 * n_most - 1).map(|_| later()).collect()),
            given: Mutex::default(),
        });
        let door = delivery.clone();
        let settings = WorkSettings {
            attempts: 2,
            deliveries: n_most,
            ..brisk()
        };
        let Stand {
            runtime,
            runner,
            id,
            ..
        } = stand(&store, vec![], |builder| {
            builder
                .work(settings.clone())
                .destination("session", door.clone())
        })
        .await;
        let working = runtime.work().await.expect("works");
        let given_up = reaches(&runtime, &id, RunStatus::Failed).await;
        assert_eq!(given_up.reason_code.as_deref(), Some("run.delivery"));
        let reason = given_up.reason.expect("a reason");
        assert!(
            reason.contains("in 8 tries") && reason.contains("not now"),
            "{reason}"
        );
        assert_eq!((given_up.attempt, given_up.dead), (1, false));
        let lines = runtime.works().logs(&id, 0, 100).await.expect("lines");
        let n_told = lines
            .iter()
            .filter(|line| line.text.contains("not now"))
            .count();
        assert_eq!(n_told, 7, "each one but the last is followed by another");
        // Tried again by people it begins to count anew, and the answer is the one that there was.
        runtime.works().retry(&id).await.expect("tried again");
        reaches(&runtime, &id, RunStatus::Completed).await;
        assert_eq!(delivery.given.lock().expect("no panic").len(), 16);
        assert_eq!(runner.n_ran(), 1);
        working
            .drain(Duration::from_secs(5), std::future::pending())
            .await;
    })
    .await;
}

#[tokio::test]
async fn what_is_answered_while_the_node_ends_is_delivered() {
    struct Slow(tokio::sync::Notify, tokio::sync::Notify);
    impl AgentRunner for Slow {
        fn run<'a>(&'a self, _: &'a Run) -> Pending<'a, RunEnd> {
            Box::pin(async move {
                self.0.notify_one();
                self.1.notified().await;
                RunEnd::Completed { answer: "a".into() }
            })
        }
    }
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let slow = Arc::new(Slow(Default::default(), Default::default()));
        let runtime = built(builder(&store, vec![plugin]).runner(slow.clone())).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = runtime.work().await.expect("works");
        slow.0.notified().await;
        let health = working.watch();
        let drained = working.drain(Duration::from_secs(20), std::future::pending());
        let answers = async {
            until("the end of claims", || async {
                health().draining.then_some(())
            })
            .await;
            slow.1.notify_one();
        };
        tokio::join!(drained, answers);
        let done = runtime.works().find(&id).await.expect("it is there");
        assert_eq!(done.status, RunStatus::Completed);
    })
    .await;
}

/// Answers that are hard to keep.
#[tokio::test]
async fn every_answer_can_be_kept() {
    each(|store| async move {
        for (at, answer) in [
            "speaks of \\u0000, and holds \0 one".to_owned(),
            "\"".repeat(300_000),
            "\u{1b}[0m".repeat(100_000),
            "\u{1f600}".repeat(100_000),
        ]
        .into_iter()
        .enumerate()
        {
            let end = answer[answer.len() - 4..].replace('\0', "");
            let runner = Scripted::new([Step::End(RunEnd::Completed { answer })]);
            let (plugin, told) = asking("asks", wish(&format!("k{at}")));
            let runtime = built(builder(&store, vec![plugin]).runner(runner)).await;
            pulse(&runtime).await;
            let id = id_of(&told.lock().expect("no panic")[0]);
            let working = runtime.work().await.expect("works");
            let done = reaches(&runtime, &id, RunStatus::Completed).await;
            assert!(
                done.answer.is_some_and(|answer| answer.ends_with(&end)),
                "{at}"
            );
            working
                .drain(Duration::from_secs(5), std::future::pending())
                .await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_runner_says_stands_in_the_log() {
    struct Talking;
    impl AgentRunner for Talking {
        fn run<'a>(&'a self, run: &'a Run) -> Pending<'a, RunEnd> {
            Box::pin(async move {
                run.log.note("one").await;
                run.log.note("x".repeat(100_000)).await;
                RunEnd::Completed { answer: "a".into() }
            })
        }
    }
    each(|store| async move {
        let (plugin, told) = asking("asks", wish("k"));
        let runtime = built(builder(&store, vec![plugin]).runner(Arc::new(Talking))).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = runtime.work().await.expect("works");
        reaches(&runtime, &id, RunStatus::Completed).await;
        let lines = runtime.works().logs(&id, 0, 100).await.expect("lines");
        assert_eq!(
            (lines[0].text.as_str(), lines[0].stream.as_str()),
            ("one", "kodex")
        );
        assert!(lines[1].text.len() <= 8 << 10);
        let rest = runtime
            .works()
            .logs(&id, lines[0].number, 100)
            .await
            .expect("lines");
        assert_eq!(rest, lines[1..]);
        working.drain(Duration::ZERO, std::future::pending()).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_not_answered_is_not_delivered() {
    for (end, status) in [
        (
            RunEnd::Blocked {
                reason: "log in".into(),
            },
            RunStatus::Blocked,
        ),
        (
            RunEnd::Failed {
                code: "x.broken",
                error: "broken".into(),
            },
            RunStatus::Failed,
        ),
    ] {
        let end = &end;
        each(|store| async move {
            let delivery = Arc::new(Delivery {
                ends: Mutex::default(),
                given: Mutex::default(),
            });
            let door = delivery.clone();
            let step = Step::End(end.clone());
            let stand = stand(&store, vec![step], |builder| {
                builder.destination("session", door.clone())
            })
            .await;
            let working = stand.runtime.work().await.expect("works");
            reaches(&stand.runtime, &stand.id, status).await;
            assert!(delivery.given.lock().expect("no panic").is_empty());
            let asked = json!({"id": stand.id});
            let seen = stand.plugin.ask("agent/get", asked).await;
            let keys: Vec<_> = seen.as_object().expect("an object").keys().collect();
            assert_eq!(keys, ["error", "id", "status"]);
            working.drain(Duration::ZERO, std::future::pending()).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_run_that_goes_on_later_waits_for_it_and_is_the_same() {
    for left in [Some(Json::from(json!({"at": 1}))), None] {
        let left = &left;
        each(|store| async move {
            let later = Step::End(RunEnd::Continue {
                checkpoint: left.clone(),
                after: Duration::from_millis(300),
            });
            let stand = stand(&store, vec![later], |builder| builder).await;
            let working = stand.runtime.work().await.expect("works");
            reaches(&stand.runtime, &stand.id, RunStatus::AwaitingResume).await;
            let seen = stand.plugin.ask("agent/get", json!({"id": stand.id})).await;
            assert_eq!(seen["status"], "awaiting_resume");
            let done = reaches(&stand.runtime, &stand.id, RunStatus::Completed).await;
            assert_eq!(done.attempt, 1);
            let ran = stand.runner.ran();
            assert_eq!(ran.len(), 2);
            assert_eq!(ran[1].checkpoint, *left);
            let same = |run: &Run| {
                let place = (run.destination.clone(), run.source.clone());
                let who = (run.plugin.clone(), run.subject.clone());
                (run.id.clone(), run.input.clone(), place, who)
            };
            assert_eq!(same(&ran[0]), same(&ran[1]));
            working.drain(Duration::ZERO, std::future::pending()).await;
        })
        .await;
    }
}

#[tokio::test]
async fn whose_credentials_a_run_may_use_reaches_the_runner() {
    each(|store| async move {
        let mut params = wish("k");
        params["subject"] = json!({"user": "u-1"});
        let runner = Scripted::new([]);
        let (plugin, told) = asking("asks", params);
        let runtime = built(builder(&store, vec![plugin]).runner(runner.clone())).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let working = runtime.work().await.expect("works");
        reaches(&runtime, &id, RunStatus::Completed).await;
        let subject = runner.ran()[0].subject.clone().expect("a subject");
        assert_eq!(subject, "u-1");
        working.drain(Duration::ZERO, std::future::pending()).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_waited_too_long_is_given_up() {
    assert_eq!(
        WorkSettings::default().run_age,
        Duration::from_secs(24 * 3_600)
    );
    each(|store| async move {
        let runner = Scripted::new([]);
        let (plugin, told) = asking("asks", wish("k"));
        let settings = WorkSettings {
            run_age: Duration::from_millis(50),
            ..brisk()
        };
        let start = builder(&store, vec![plugin]).work(settings);
        let runtime = built(start.runner(runner.clone())).await;
        pulse(&runtime).await;
        let id = id_of(&told.lock().expect("no panic")[0]);
        let old = until("it is given up", || async {
            pulse(&runtime).await;
            let item = runtime.works().find(&id).await.expect("it is there");
            (item.status == RunStatus::Failed).then_some(item)
        })
        .await;
        assert_eq!(
            (old.dead, old.reason_code.as_deref()),
            (true, Some("expired"))
        );
        assert_eq!(runner.n_ran(), 0);
    })
    .await;
}
