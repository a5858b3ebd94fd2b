//! A native plugin under the full guard, against pluggy, the first Python runtime's loop and a bare
//! `dyn` call: nanoseconds per handler with a payload of 200 bytes.

use std::{hint::black_box, sync::Arc, time::Instant};

use kodex::{Define, DispatchOptions, Json, Plugin, Reply, Runtime};
use serde_json::{Value, json};

use crate::report::{Figure, Report};

const HOOK: &str = "prompt.preprocess";

/// The payload of every figure here: 200 bytes as text.
pub(crate) fn payload() -> Value {
    json!({"text": "x".repeat(178), "n": 1})
}

/// The bare call that is the limit: the same work behind a trait object.
trait Bare: Send + Sync {
    fn call(&self, hook: &str, payload: &Value) -> Option<Value>;
}

struct Length(u64);

impl Bare for Length {
    #[inline(never)]
    fn call(&self, hook: &str, payload: &Value) -> Option<Value> {
        (hook == HOOK).then(|| answer(self.0, payload))
    }
}

fn answer(own: u64, payload: &Value) -> Value {
    Value::from(own + payload["text"].as_str().map_or(0, |text| text.len() as u64))
}

fn plugin(index: usize, hook: &str) -> Arc<dyn Plugin> {
    Define::new(&format!("p{index}"), "1.0.0", "Counts.")
        .hook(hook, move |request| Ok(Reply::from(answer(index as u64, request.payload.value()))))
        .build()
        .expect("a good name")
}

fn bare_round(handlers: &[Box<dyn Bare>], payload: &Value) -> f64 {
    per_call(|| {
        let mut kept = Vec::new();
        for handler in handlers {
            kept.extend(handler.call(black_box(HOOK), black_box(payload)));
        }
        black_box(kept);
    })
}

/// Nanoseconds of one call of `f`, over about 10 ms.
fn per_call(mut f: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..100 {
        f();
    }
    let one = (started.elapsed().as_nanos() / 100).max(1);
    let n = (10_000_000 / one).clamp(100, 1_000_000);
    let started = Instant::now();
    for _ in 0..n {
        f();
    }
    started.elapsed().as_nanos() as f64 / n as f64
}

fn kodex_round(tokio: &tokio::runtime::Runtime, runtime: &Runtime, payload: &Value) -> f64 {
    tokio.block_on(async {
        let options = DispatchOptions::default();
        let mut once = async || {
            let payload = Json::from(payload.clone());
            let outcome = runtime.emit_with(black_box(HOOK), payload, &options).await;
            black_box(outcome.expect("a good hook name"));
        };
        let started = Instant::now();
        for _ in 0..100 {
            once().await;
        }
        let one = (started.elapsed().as_nanos() / 100).max(1);
        let n = (10_000_000 / one).clamp(100, 1_000_000);
        let started = Instant::now();
        for _ in 0..n {
            once().await;
        }
        started.elapsed().as_nanos() as f64 / n as f64
    })
}

/// Runs the bench.
pub(crate) fn run(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let rounds = if quick { 5 } else { 25 };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let payload = payload();
    for n in [1usize, 10, 100] {
        let handlers: Vec<Box<dyn Bare>> = (0..n).map(|i| Box::new(Length(i as u64)) as _).collect();
        let runtime = tokio.block_on(build(n, HOOK))?;
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(bare_round(&handlers, &payload) / n as f64);
            ours.push(kodex_round(&tokio, &runtime, &payload) / n as f64);
        }
        report.add(Figure::lower("dispatch", &format!("native_{n}"), "ns", ours).limit("dyn call", bare));
    }
    Ok(())
}

async fn build(n: usize, hook: &str) -> anyhow::Result<Runtime> {
    let mut builder = Runtime::builder();
    for index in 0..n {
        builder = builder.native(plugin(index, hook));
    }
    Ok(builder.build().await?)
}
