//! The guard around plugins that are slow, hang, panic or are called too often.
#![expect(
    clippy::disallowed_methods,
    reason = "each test awaits or aborts what it spawned"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use kodex::{
    BreakerState, Call, Combine, DispatchOptions, GuardSettings, Json, Limits, Manifest, Plugin,
    PluginError, PluginSettings, Reason, Reply, Request, Runtime,
    contract::{
        HookName, PluginName,
        manifest::{Run, Subscription, Version},
    },
};
use kodex_testkit::HandClock;
use tokio::sync::Notify;

use crate::json;

/// A plugin that waits until it is let go, and counts how many calls are inside it.
struct Gated {
    manifest: Manifest,
    inside: AtomicU32,
    most: AtomicU32,
    entered: Notify,
    open: AtomicBool,
    let_go: Notify,
}

impl Gated {
    fn new(name: &str, hook: &str) -> Arc<Self> {
        let name = PluginName::new(name).expect("a name");
        let mut manifest = Manifest::new(name, Version::new("1.0.0"), "Waits.", Run::Native);
        manifest
            .hooks
            .push(Subscription::new(HookName::new(hook).expect("a hook")));
        Arc::new(Self {
            manifest,
            inside: AtomicU32::new(0),
            most: AtomicU32::new(0),
            entered: Notify::new(),
            open: AtomicBool::new(false),
            let_go: Notify::new(),
        })
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.let_go.notify_waiters();
    }
}

/// Leaves the count when the call ends or is dropped.
struct Inside<'a>(&'a Gated);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Plugin for Gated {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn call<'a>(&'a self, _: Request<'a>) -> Call<'a, Reply> {
        Call::pending(async move {
            let now_inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now_inside, Ordering::SeqCst);
            let _inside = Inside(self);
            self.entered.notify_waiters();
            loop {
                let let_go = self.let_go.notified();
                if self.open.load(Ordering::SeqCst) {
                    return Ok(Reply::from(serde_json::json!("done")));
                }
                let_go.await;
            }
        })
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

fn limited(concurrency: u32, queue: u32) -> GuardSettings {
    GuardSettings {
        limits: Limits {
            concurrency,
            queue,
            ..Limits::default()
        },
        ..GuardSettings::default()
    }
}

fn codes(outcome: &kodex::Outcome) -> Vec<String> {
    outcome
        .failures()
        .map(|(_, error)| error.code.to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_never_answers_meets_its_deadline() {
    let gated = Gated::new("slow", "h");
    let runtime = Runtime::builder()
        .native(gated.clone())
        .native(crate::plugin("quick", "h", "echo"))
        .plugin_settings(
            "slow",
            PluginSettings {
                timeout: Some(Duration::from_millis(50)),
                ..Default::default()
            },
        )
        .build()
        .await
        .expect("a runtime");
    let outcome = runtime.emit("h", json("{}")).await.expect("an outcome");
    assert_eq!(codes(&outcome), ["call.timeout"]);
    assert_eq!(outcome.replies().count(), 1, "the other plugin is unharmed");
    assert_eq!(
        gated.inside.load(Ordering::SeqCst),
        0,
        "the call was really cancelled"
    );
}

#[tokio::test]
async fn no_more_calls_run_in_a_plugin_than_allowed() {
    let gated = Gated::new("slow", "h");
    let runtime = Runtime::builder()
        .native(gated.clone())
        .guard(limited(2, 3))
        .build()
        .await
        .expect("a runtime");
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.emit("h", json("{}")).await.expect("an outcome") })
        })
        .collect();
    until("two inside, three waiting", || {
        let metrics = &runtime.metrics()[0];
        (metrics.in_flight, metrics.waiting) == (2, 3)
    })
    .await;
    let refused = runtime.emit("h", json("{}")).await.expect("an outcome");
    assert_eq!(codes(&refused), ["limit.queue_full"]);
    gated.open();
    for call in calls {
        assert_eq!(call.await.expect("no panic").replies().count(), 1);
    }
    assert_eq!(gated.most.load(Ordering::SeqCst), 2);
    let metrics = &runtime.metrics()[0];
    assert_eq!(
        (metrics.in_flight, metrics.waiting),
        (0, 0),
        "every place was given back"
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_everything_back() {
    let gated = Gated::new("slow", "h");
    let runtime = Runtime::builder()
        .native(gated.clone())
        .build()
        .await
        .expect("a runtime");
    let call = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.emit("h", json("{}")).await }
    });
    until("the call is inside", || {
        gated.inside.load(Ordering::SeqCst) == 1
    })
    .await;
    call.abort();
    let _ = call.await;
    assert_eq!(gated.inside.load(Ordering::SeqCst), 0);
    let metrics = &runtime.metrics()[0];
    assert_eq!(metrics.in_flight, 0);
    assert_eq!(metrics.keys[0].calls["cancelled"], 1);
    assert_eq!(metrics.keys[0].breaker, BreakerState::Closed);
}

#[tokio::test]
async fn a_plugin_that_keeps_panicking_is_left_alone_until_it_behaves() {
    let clock = Arc::new(HandClock::default());
    let broken = Arc::new(AtomicBool::new(true));
    let plugin = kodex::Define::new("moody", "1.0.0", "Panics for a while.")
        .hook("h", {
            let broken = broken.clone();
            move |_| {
                assert!(!broken.load(Ordering::SeqCst), "on purpose");
                Ok(serde_json::json!("fine").into())
            }
        })
        .build()
        .expect("a plugin");
    let runtime = Runtime::builder()
        .native(plugin)
        .clock(clock.clone())
        .build()
        .await
        .expect("a runtime");
    let emit = async || codes(&runtime.emit("h", json("{}")).await.expect("an outcome"));
    assert_eq!(emit().await, ["native.panicked"]);
    assert_eq!(emit().await, ["native.panicked"]);
    assert_eq!(
        emit().await,
        ["breaker.open"],
        "two crashes in a row open the breaker"
    );
    let why = &runtime.explain("h").expect("a good name").plugins[0];
    assert_eq!(why.reason, Reason::BreakerOpen);
    assert!(why.text.contains("on purpose"), "{}", why.text);
    broken.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(40));
    assert_eq!(emit().await, [""; 0]);
    assert_eq!(emit().await, [""; 0]);
    assert_eq!(
        runtime.explain("h").expect("a good name").plugins[0].reason,
        Reason::Asked
    );
    let calls = &runtime.metrics()[0].keys[0].calls;
    assert_eq!(
        (calls["ok"], calls["crash"], calls["rejected_breaker"]),
        (2, 2, 1)
    );
    assert_eq!(runtime.doctor().breaker_transitions, 3);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_hangs_costs_the_host_nothing_but_dropped_lines() {
    let gated = Gated::new("slow", "h");
    let runtime = Runtime::builder()
        .native(gated.clone())
        .guard(limited(2, 10))
        .build()
        .await
        .expect("a runtime");
    let options = DispatchOptions {
        combine: Some(Combine::Observe),
        ..DispatchOptions::default()
    };
    let before = tokio::time::Instant::now();
    for _ in 0..1_000 {
        runtime
            .emit_with("h", json("{}"), &options)
            .await
            .expect("an outcome");
    }
    assert_eq!(tokio::time::Instant::now(), before, "no caller ever waited");
    assert_eq!(runtime.metrics()[0].dropped, 1_000 - 2 - 10);
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_an_event_bounds_the_sum_of_its_answers() {
    let names = ["a", "b", "c", "d"];
    let mut builder = Runtime::builder().guard(GuardSettings {
        event_budget: Duration::from_secs(3),
        ..Default::default()
    });
    for name in names {
        builder = builder.native(Gated::new(name, "h")).plugin_settings(
            name,
            PluginSettings {
                timeout: Some(Duration::from_secs(2)),
                ..Default::default()
            },
        );
    }
    let runtime = builder.build().await.expect("a runtime");
    let options = DispatchOptions {
        combine: Some(Combine::Chain),
        ..DispatchOptions::default()
    };
    let before = tokio::time::Instant::now();
    let outcome = runtime
        .emit_with("h", json(r#"{"n":1}"#), &options)
        .await
        .expect("an outcome");
    // Time is virtual for tokio and real for the runtime's clock, so only the codes are exact.
    assert_eq!(codes(&outcome)[0], "call.timeout");
    assert!(tokio::time::Instant::now() - before <= Duration::from_secs(8));
    assert_eq!(outcome.folded, kodex::Folded::Payload(json(r#"{"n":1}"#)));
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_a_failure() {
    let plugin = kodex::Define::new("big", "1.0.0", "Says too much.")
        .hook("h", |_| {
            Ok(Json::from(serde_json::json!("x".repeat(2_000_000))).into())
        })
        .build()
        .expect("a plugin");
    let runtime = crate::runtime(vec![plugin]).await;
    let outcome = runtime.emit("h", json("{}")).await.expect("an outcome");
    assert_eq!(codes(&outcome), ["reply.too_large"]);
}

/// A plugin that cannot be activated the first time.
struct Late {
    manifest: Manifest,
    n_tries: AtomicU32,
}

impl Plugin for Late {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn activate(&self, _: kodex::Context) -> Call<'_, ()> {
        Call::pending(async {
            match self.n_tries.fetch_add(1, Ordering::SeqCst) {
                0 => Err(PluginError::raised("not yet")),
                _ => Ok(()),
            }
        })
    }

    fn call<'a>(&'a self, _: Request<'a>) -> Call<'a, Reply> {
        Call::Ready(Ok(serde_json::json!("here").into()))
    }
}

#[tokio::test]
async fn activation_happens_once_at_the_first_request_and_is_tried_again_after_a_failure() {
    let manifest = Gated::new("late", "h").manifest.clone();
    let late = Arc::new(Late {
        manifest,
        n_tries: AtomicU32::new(0),
    });
    let runtime = Runtime::builder()
        .native(late.clone())
        .build()
        .await
        .expect("a runtime");
    assert_eq!(
        late.n_tries.load(Ordering::SeqCst),
        0,
        "loading activates nothing"
    );
    let first = runtime.emit("h", json("{}")).await.expect("an outcome");
    assert_eq!(codes(&first), ["plugin.raised"]);
    for _ in 0..3 {
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
    assert_eq!(late.n_tries.load(Ordering::SeqCst), 2);
}
