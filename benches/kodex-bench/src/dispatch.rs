//! Native plugins under the full guard, against pluggy, the first Python runtime's loop and a bare
//! `dyn` call: nanoseconds per handler with a payload of 200 bytes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use kodex::{Json, Runtime};
use serde_json::{Value, json};

use crate::{
    machine,
    native::{HOOK, answer, payload, runtime},
    peer::Peer,
    programs::{Programs, command, output, script, sibling},
    report::{Figure, Report},
    samples::Samples,
    size::Size,
};

const BENCH: &str = "dispatch";

/// Payloads that lie ready before the clock starts: enough to forget the clock, few enough to stay in
/// the processor's cache.
const BATCH: usize = 64;

/// Plugins that do not subscribe.
const N_ELSEWHERE: usize = 100;

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    machine::pin_to_one_processor()?;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let python = programs
        .python_of_peers
        .as_ref()
        .unwrap_or(&programs.python);
    let peer = Peer::start(
        command(python)
            .arg(script("dispatch.py"))
            .arg(&programs.sdk),
    )?;
    let mut bench = Bench {
        tokio,
        peer,
        payload: payload(),
        span: size.span(),
    };
    for n_handlers in [1, 10, 100] {
        bench.handlers(n_handlers, report, size)?;
    }
    bench.event(report, size)?;
    report.add(&allocations()?);
    Ok(())
}

struct Bench {
    tokio: tokio::runtime::Runtime,
    peer: Peer,
    payload: Value,
    span: Duration,
}

impl Bench {
    /// One number of handlers: pluggy and the first runtime's loop are two figures.
    fn handlers(&mut self, n_handlers: usize, report: &mut Report, size: Size) -> Result<()> {
        let n = n_handlers as f64;
        let runtime = self.tokio.block_on(runtime(n_handlers, 0))?;
        let bare = bare_handlers(n_handlers);
        let pluggy = self.peer.version("pluggy");
        let [mut ours, mut limit, mut peer, mut first] =
            [const { Vec::new() }; 4].map(Samples::from);
        for _ in size.rounds(60, 0.2) {
            limit.push(self.bare(&bare) / n);
            ours.push(self.event_ns(&runtime) / n);
            if pluggy.is_some() {
                peer.push(self.peer_ns("pluggy", n_handlers)?);
            }
            ours.push(self.event_ns(&runtime) / n);
            first.push(self.peer_ns("first_runtime", n_handlers)?);
        }
        let figure = |case: &str| Figure::lower(BENCH, case, "ns", &ours).limit("dyn call", &limit);
        let against_pluggy = figure(&format!("native_{n_handlers}"))
            .peer(pluggy.as_deref().unwrap_or("pluggy"), &peer);
        let against_first =
            figure(&format!("native_{n_handlers}_seed")).peer("the first runtime's loop", &first);
        // Section 1 sets no target for one handler: there the event's fixed cost is most of it.
        report.add(&if n_handlers == 1 {
            against_pluggy
        } else {
            against_pluggy.target("ratio_peer>=6")
        });
        report.add(&if n_handlers == 1 {
            against_first
        } else {
            against_first.target("ratio_peer>=1.8")
        });
        Ok(())
    }

    /// What an event costs when nobody listens, alone and beside plugins that listen elsewhere.
    fn event(&mut self, report: &mut Report, size: Size) -> Result<()> {
        let empty = self.tokio.block_on(runtime(0, 0))?;
        let elsewhere = self.tokio.block_on(runtime(0, N_ELSEWHERE))?;
        let text = self.payload.to_string();
        let handlers = bare_handlers(N_ELSEWHERE);
        let [mut fixed, mut parse, mut idle, mut bare, mut peer] =
            [const { Vec::new() }; 5].map(Samples::from);
        for _ in size.rounds(60, 0.2) {
            let alone = self.event_ns(&empty);
            fixed.push(alone);
            parse.push(self.per_call(|| {
                black_box(serde_json::from_str::<Value>(black_box(&text)).ok());
            }));
            let beside = self.event_ns(&elsewhere);
            idle.push((beside - alone) / N_ELSEWHERE as f64);
            bare.push(self.bare(&handlers) / N_ELSEWHERE as f64);
            peer.push(self.peer_ns("not_subscribed", N_ELSEWHERE)?);
        }
        report.add(
            &Figure::lower(BENCH, "event_fixed", "ns", &fixed)
                .limit("parse the payload once", &parse)
                .target("value<=450 or ratio_limit<=2.7"),
        );
        report.add(
            &Figure::lower(BENCH, "not_subscribed", "ns", &idle)
                .peer("the first runtime's loop", &peer)
                .limit("dyn call", &bare)
                .target("value<=5 or ratio_limit<=0.34"),
        );
        Ok(())
    }

    /// Nanoseconds of one event.
    fn event_ns(&self, runtime: &Runtime) -> f64 {
        self.tokio.block_on(async {
            let (mut n_events, mut spent) = (0, Duration::ZERO);
            self.batch(runtime).await;
            while spent < self.span {
                spent += self.batch(runtime).await;
                n_events += BATCH;
            }
            spent.as_secs_f64() * 1e9 / n_events as f64
        })
    }

    /// Time for one batch of events. Each takes its payload; making the payloads is the caller's cost.
    async fn batch(&self, runtime: &Runtime) -> Duration {
        let payloads = [(); BATCH].map(|()| Json::from(self.payload.clone()));
        let started_at = Instant::now();
        for payload in payloads {
            let outcome = runtime.emit(black_box(HOOK), payload).await;
            black_box(outcome.expect("a good hook name"));
        }
        started_at.elapsed()
    }

    fn bare(&self, handlers: &[Box<dyn Bare>]) -> f64 {
        self.per_call(|| {
            let mut replies = Vec::with_capacity(handlers.len());
            for handler in handlers {
                replies.extend(handler.call(black_box(HOOK), black_box(&self.payload)));
            }
            black_box(replies);
        })
    }

    /// Nanoseconds of one call.
    fn per_call(&self, mut call: impl FnMut()) -> f64 {
        let mut batch = || {
            let started_at = Instant::now();
            for _ in 0..BATCH {
                call();
            }
            started_at.elapsed()
        };
        batch();
        let (mut n_calls, mut spent) = (0, Duration::ZERO);
        while spent < self.span {
            spent += batch();
            n_calls += BATCH;
        }
        spent.as_secs_f64() * 1e9 / n_calls as f64
    }

    /// Nanoseconds for each handler, of a peer.
    fn peer_ns(&mut self, case: &str, n_handlers: usize) -> Result<f64> {
        let question =
            json!({"case": case, "handlers": n_handlers, "ms": self.span.as_secs_f64() * 1e3});
        self.peer.ask(&question)?["ns"]
            .as_f64()
            .context("a peer's answer without `ns`")
    }
}

/// The limit: the same work behind a trait object, and nothing else.
trait Bare {
    fn call(&self, hook: &str, payload: &Value) -> Option<Value>;
}

struct Handler(u64);

impl Bare for Handler {
    #[inline(never)]
    fn call(&self, hook: &str, payload: &Value) -> Option<Value> {
        (hook == HOOK).then(|| answer(self.0, payload))
    }
}

fn bare_handlers(n: usize) -> Vec<Box<dyn Bare>> {
    (0..n)
        .map(|own| Box::new(Handler(own as u64)) as Box<dyn Bare>)
        .collect()
}

/// Allocations of one event with more handlers, beyond those with one, for each handler more. Counted
/// by a program of its own, whose allocator would slow the other figures down.
fn allocations() -> Result<Figure> {
    let counted = output(&mut command(sibling("kodex-bench-allocations")?))?;
    let per_handler: f64 = counted
        .trim()
        .parse()
        .context("the number of allocations")?;
    Ok(Figure::lower(
        BENCH,
        "allocations_100",
        "allocations",
        &vec![per_handler].into(),
    )
    .target("value<=0"))
}
