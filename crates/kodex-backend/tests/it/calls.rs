//! Calls: cancelled, overrun, many at once, and what they do to the process behind them.

use std::{
    future::Future,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use kodex_plugin::{
    Call, Deadline, Failure, Json, Life, Limits, Plugin, Reply, Request, RequestKind,
};
use serde_json::{Value, json};

use crate::support::{Plug, options, settle, until};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

async fn plug(mode: &str) -> Plug {
    let plug = Plug::misbehaving(mode, Limits::default(), options());
    plug.activate().await.expect("the plugin starts");
    plug
}

fn pid(plug: &Plug) -> Option<u32> {
    plug.worker.health().pid
}

fn is_there(pid: u32) -> bool {
    // A zombie has its folder still.
    std::fs::exists(format!("/proc/{pid}")).expect("a process table")
}

#[tokio::test]
async fn a_late_answer_is_discarded_and_matches_no_later_request() {
    let plug = plug("answer-late").await;
    let first = pid(&plug);
    let error = plug.hook(json!("slow"), SHORT).await.expect_err("too slow");
    assert_eq!(
        (error.failure, &*error.code),
        (Failure::Timeout, "worker.timeout")
    );
    for n in 0..3 {
        assert_eq!(plug.hook(json!(n), LONG).await, Ok(Reply::from(json!(n))));
    }
    assert_eq!((plug.worker.health().discarded, pid(&plug)), (1, first));
}

#[tokio::test]
async fn a_cancelled_call_costs_nothing_when_the_plugin_gives_it_up() {
    let plug = plug("answer-cancel").await;
    let first = pid(&plug);
    let call = plug.hook(json!("slow"), LONG);
    assert!(
        tokio::time::timeout(SHORT, call).await.is_err(),
        "nothing comes"
    );
    assert_eq!(plug.hook(json!(1), LONG).await, Ok(Reply::from(json!(1))));
    assert_eq!((plug.worker.health().discarded, pid(&plug)), (0, first));
}

#[tokio::test]
async fn a_call_that_was_never_polled_is_cancelled_as_well() {
    let plug = plug("answer-cancel").await;
    let payload = Json::from(json!("slow"));
    let call = plug.worker.call(Request {
        kind: RequestKind::Hook,
        name: "test",
        payload: &payload,
        deadline: Deadline {
            at: Instant::now() + LONG,
            timeout: LONG,
        },
        caller: None,
    });
    drop(call);
    assert_eq!(plug.hook(json!(1), LONG).await, Ok(Reply::from(json!(1))));
}

#[tokio::test]
async fn an_overrun_ends_the_tree_and_the_next_call_has_a_new_process() {
    for mode in ["hang", "ignore-sigterm", "grandchildren", "no-cancel"] {
        let plug = plug(mode).await;
        let first = pid(&plug).expect("a process");
        let error = plug.hook(json!(null), SHORT).await.expect_err("it hangs");
        assert_eq!(error.code, "worker.timeout", "{mode}");
        let overrun_at = Instant::now();
        until("the tree is gone", || plug.survivors().is_empty()).await;
        until("the process is reaped", || !is_there(first)).await;
        assert!(overrun_at.elapsed() < Duration::from_secs(2), "{mode}");
        until("the worker knows", || plug.worker.health().pid.is_none()).await;
        let error = plug.hook(json!(null), SHORT).await.expect_err("it hangs");
        assert_eq!(error.code, "worker.timeout", "{mode}");
        assert_ne!(pid(&plug), Some(first));
        assert_eq!(plug.worker.health().restarts, 1, "{mode}");
    }
}

#[tokio::test]
async fn calls_beside_an_overrun_fail_with_its_reason() {
    let plug = plug("hang").await;
    let (overrun, beside) = tokio::join!(
        plug.hook(json!(1), SHORT),
        plug.hook(json!(2), Duration::from_secs(10))
    );
    assert_eq!(overrun.expect_err("it hangs").code, "worker.timeout");
    let beside = beside.expect_err("its process is gone");
    assert_eq!(
        (beside.failure, &*beside.code),
        (Failure::Crash, "worker.killed")
    );
}

#[tokio::test]
async fn a_caller_that_leaves_early_leaves_the_process_its_time() {
    let plug = plug("never").await;
    let started_at = Instant::now();
    let timeout = Duration::from_millis(900);
    let left = tokio::time::timeout(SHORT, plug.hook(json!(1), timeout)).await;
    assert!(left.is_err(), "the caller leaves");
    until("the process ends", || plug.worker.health().pid.is_none()).await;
    assert!(
        started_at.elapsed() >= timeout,
        "not before the deadline that it was told"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_are_in_flight_and_each_gets_its_own_answer() {
    let plug = std::sync::Arc::new(plug("well").await);
    let callers = (0..64).map(|caller| {
        let plug = std::sync::Arc::clone(&plug);
        tokio::spawn(async move {
            for n in 0..50 {
                let asked = json!([caller, n, "x".repeat(caller * 100)]);
                let reply = plug.hook(asked.clone(), LONG).await.expect("an answer");
                assert!(reply == Reply::from(asked), "{caller}, {n}: its own");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("all answers are right");
    }
    assert_eq!(plug.worker.health().discarded, 0);
}

#[tokio::test]
async fn a_caller_that_reads_and_is_not_polled_stalls_nobody() {
    let plug = plug("well").await;
    let payload = Json::from(json!("first"));
    let Call::Pending(mut leader) = plug.worker.call(Request {
        kind: RequestKind::Hook,
        name: "test",
        payload: &payload,
        deadline: Deadline {
            at: Instant::now() + LONG,
            timeout: LONG,
        },
        caller: None,
    }) else {
        panic!("a process never answers at once")
    };
    // Polled once, it waits for the pipe in the place of everyone; then it is forgotten.
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(leader.as_mut().poll(&mut context), Poll::Pending));
    for n in 0..10 {
        let asked_at = Instant::now();
        assert_eq!(plug.hook(json!(n), LONG).await, Ok(Reply::from(json!(n))));
        assert!(asked_at.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(leader.await, Ok(Reply::from(json!("first"))));
}

/// The caller that reads is not polled any more, and the pump learns of the end before it may read:
/// only the last look into the pipe finds the answer.
#[tokio::test]
async fn what_was_answered_before_the_end_counts() {
    let plug = plug("answer-and-exit").await;
    let process = pid(&plug).expect("a process");
    let payload = Json::from(json!("last words"));
    let Call::Pending(mut call) = plug.worker.call(Request {
        kind: RequestKind::Hook,
        name: "test",
        payload: &payload,
        deadline: Deadline {
            at: Instant::now() + LONG,
            timeout: LONG,
        },
        caller: None,
    }) else {
        panic!("a process never answers at once")
    };
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(call.as_mut().poll(&mut context), Poll::Pending));
    // Keeps the only thread of the runtime busy until the process is dead and not yet reaped.
    let give_up_at = Instant::now() + LONG;
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    };
    while !is_dead() {
        assert!(Instant::now() < give_up_at, "it exits after its answer");
    }
    until("the worker knows", || pid(&plug).is_none()).await;
    assert_eq!(call.await, Ok(Reply::from(json!("last words"))));
}

#[tokio::test]
async fn concurrent_first_calls_share_one_start() {
    let plug = plug("well").await;
    settle(plug.worker.deactivate()).await.expect("it stops");
    plug.activate().await.expect("it starts again");
    let first = pid(&plug);
    let calls = (0..8).map(|n| plug.hook(json!(n), LONG));
    for (n, call) in calls.enumerate() {
        assert_eq!(call.await, Ok(Reply::from(json!(n))));
    }
    assert_eq!(pid(&plug), first);
    assert_eq!(plug.worker.health().restarts, 0);
}

#[tokio::test]
async fn a_crash_loop_backs_off_and_is_quarantined_until_cleared() {
    let mut options = options();
    options.restarts.first_wait = Duration::from_millis(40);
    options.restarts.jitter = 0.0;
    let plug = Plug::misbehaving("crash", Limits::default(), options);
    plug.activate().await.expect("it starts");
    let mut seen = Vec::new();
    let give_up_at = Instant::now() + Duration::from_secs(20);
    while seen.last().map(String::as_str) != Some("worker.quarantined") {
        assert!(Instant::now() < give_up_at, "{seen:?}");
        let error = plug.hook(json!(null), LONG).await.expect_err("it crashes");
        if seen.last().map(String::as_str) != Some(&*error.code) {
            seen.push(error.code.into_owned());
        }
        // Paces the loop; its condition is the quarantine.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let health = plug.worker.health();
    assert_eq!((health.state, health.restarts), (Life::Quarantined, 5));
    let of = |code: &str| seen.iter().filter(|seen| *seen == code).count();
    // The first restart is immediate, so the first two crashes follow each other.
    assert_eq!(
        (of("worker.exited"), of("worker.backing_off")),
        (5, 4),
        "{seen:?}"
    );
    let error = plug.hook(json!(null), LONG).await.expect_err("it stays");
    assert!(error.message.contains("about to fall"), "{error}");
    plug.worker.clear();
    let error = plug.hook(json!(null), LONG).await.expect_err("it crashes");
    assert_eq!(error.code, "worker.exited");
    assert_eq!(plug.survivors(), Vec::<u32>::new());
}

#[tokio::test]
async fn nothing_is_sent_that_cannot_be_taken() {
    let plug = plug("well").await;
    let reply = plug.hook(json!("x".repeat(2 << 20)), LONG).await;
    let error = reply.expect_err("longer than a line");
    assert_eq!(
        (error.failure, &*error.code),
        (Failure::RejectedLimit, "worker.request.too_long")
    );

    let deaf = Plug::misbehaving("deaf", Limits::default(), options());
    deaf.activate().await.expect("it starts");
    let calls = (0..12).map(|_| deaf.hook(json!("x".repeat(1_000_000)), LONG));
    let mut running = Vec::new();
    for call in calls {
        let mut call = Box::pin(call);
        let mut context = Context::from_waker(Waker::noop());
        match call.as_mut().poll(&mut context) {
            Poll::Pending => running.push(call),
            Poll::Ready(reply) => {
                let error = reply.expect_err("too much waits");
                assert_eq!(error.code, "worker.write.full");
            }
        }
    }
    assert_eq!(running.len(), 8, "the others were refused at once");
    for call in running {
        assert_eq!(
            call.await.expect_err("it reads nothing").code,
            "worker.write.stalled"
        );
    }
}

#[tokio::test]
async fn an_exit_with_unread_calls_is_a_crash_for_them() {
    let plug = plug("unread").await;
    let (first, last, unread) = tokio::join!(
        plug.hook(json!(1), LONG),
        plug.hook(json!("last"), LONG),
        plug.hook(json!("x".repeat(500_000)), LONG)
    );
    assert_eq!(first, Ok(Reply::from(json!(1))));
    for lost in [last, unread] {
        assert_eq!(lost.expect_err("it is gone").code, "worker.exited");
    }
    // The first restart is immediate.
    assert_eq!(plug.hook(json!(2), LONG).await, Ok(Reply::from(json!(2))));
}

#[tokio::test]
async fn a_closed_input_is_found_at_the_next_call() {
    let plug = plug("close-stdin").await;
    assert_eq!(plug.hook(json!(1), LONG).await, Ok(Reply::from(json!(1))));
    let error = plug.hook(json!(2), LONG).await.expect_err("nobody reads");
    assert_eq!(error.code, "worker.stdin.closed");
}

#[tokio::test]
async fn line_breaks_in_a_payload_do_not_break_the_line() {
    let plug = plug("well").await;
    let text = "{\n  \"a\": [1,\r\n 2],\n \"b\": \"c\\nd\"\n}";
    let payload = Json::parse(text, &Limits::default()).expect("JSON");
    let reply = settle(plug.worker.call(Request {
        kind: RequestKind::Hook,
        name: "na\"me\n",
        payload: &payload,
        deadline: Deadline {
            at: Instant::now() + LONG,
            timeout: LONG,
        },
        caller: None,
    }))
    .await;
    assert_eq!(reply, Ok(Reply(Some(payload))));
}

#[tokio::test]
async fn answers_of_the_host_come_back_by_id() {
    let plug = plug("ask").await;
    let answers = plug
        .hook(
            json!([
                [1, "test/echo", {"a": [1, 2]}],
                ["two", "test/unknown", {}],
                [3, "test/refuse", {}],
                [4, "test/panic", {}],
                [5, "test/never", {}],
                [null, "$/cancel", {"id": 5}],
                [null, "log", {"level": "warning", "message": "a\nb", "fields": {"n": 1}}],
                [null, "log", {"level": "loud"}],
                [null, "something/else", {}],
                [6, "clock/now", {}],
            ]),
            LONG,
        )
        .await
        .expect("an answer");
    let mut answers = answers.0.expect("a reply").into_value();
    let answers = answers.as_array_mut().expect("a list");
    answers.sort_by_key(|answer| answer["id"].to_string());
    let of = |id: Value| {
        let found = answers.iter().find(|answer| answer["id"] == id);
        found.unwrap_or_else(|| panic!("an answer to {id}")).clone()
    };
    assert_eq!(of(json!(1)), json!({"id": 1, "result": {"a": [1, 2]}}));
    for (id, number, code) in [
        (json!("two"), -32601, "host.method.unknown"),
        (json!(3), -32004, "permission.denied"),
        (json!(4), -32603, "internal"),
        (json!(5), -32002, "call.cancelled"),
    ] {
        let error = of(id)["error"].clone();
        assert_eq!(
            (&error["code"], &error["data"]["code"]),
            (&json!(number), &json!(code))
        );
    }
    assert!(
        of(json!(6))["result"]["unix_ms"]
            .as_u64()
            .is_some_and(|ms| ms > 1_700_000_000_000)
    );
    let logged = plug.host.logged.lock().expect("no panic").clone();
    assert_eq!(logged.len(), 1);
    assert_eq!((&*logged[0].1, &logged[0].2), ("a\nb", &json!({"n": 1})));
    assert_eq!(
        plug.worker.health().dropped,
        2,
        "what was no message for the host is counted"
    );
}

#[tokio::test]
async fn requests_to_the_host_are_bounded_and_end_with_the_process() {
    let plug = plug("ask").await;
    let asked: Vec<Value> = (0..400).map(|id| json!([id, "test/never", {}])).collect();
    let (answers, ()) = tokio::join!(plug.hook(json!(asked), Duration::from_millis(500)), async {
        let open = || std::sync::Arc::strong_count(&plug.host.open) - 1;
        until("as many run as may", || open() == 32).await;
    });
    assert_eq!(answers.expect_err("never answered").code, "worker.timeout");
    until("they are dropped with the process", || {
        std::sync::Arc::strong_count(&plug.host.open) == 1
    })
    .await;
}
