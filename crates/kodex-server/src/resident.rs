//! What all surfaces of a resident runtime look at: whether it is ready, what it counted, what the store
//! says. Questions to the store are asked at most once in a while, however often somebody asks here.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use kodex::{Pulse, PulseOutcome, Runtime, WorkError, WorkHealth};
use tokio::{sync::watch, time::Instant};

use crate::{
    control::Control,
    options::Options,
    status::{PROTOCOL, PulseStatus, QueueStatus, Status, WorkStatus},
};

/// How old an answer of the store about whether it is there may be.
const PROBE_AGE: Duration = Duration::from_secs(1);
/// How old counts of the store may be: counting looks at every row.
const COUNTS_AGE: Duration = Duration::from_secs(5);
/// How long the store may take to answer either.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// A process whose tasks were not looked at for this long does not live.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// A resident runtime as its surfaces see it.
pub(crate) struct Resident {
    pub(crate) runtime: Runtime,
    pub(crate) options: Options,
    pub(crate) control: Control,
    http: OnceLock<SocketAddr>,
    started: Instant,
    started_at_ms: u64,
    health: OnceLock<Box<dyn Fn() -> WorkHealth + Send + Sync>>,
    turned: Mutex<Instant>,
    pulsing: tokio::sync::Mutex<()>,
    pulses: Mutex<Pulses>,
    probe: Cached<bool>,
    counts: Cached<Option<Vec<QueueStatus>>>,
    pub(crate) page: Cached<Arc<str>>,
    busy: watch::Sender<usize>,
}

/// Why a resident runtime takes no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unready {
    Starting,
    Draining,
    StoreUnreachable,
    /// It is there and takes no writes: a full disk, a medium that can only be read.
    StoreUnwritable,
}

impl Unready {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::StoreUnreachable => "store_unreachable",
            Self::StoreUnwritable => "store_unwritable",
        }
    }
}

/// What became of heartbeats.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulses {
    pub(crate) status: PulseStatus,
    pub(crate) plugins: BTreeMap<&'static str, u64>,
}

impl Resident {
    pub(crate) fn new(runtime: Runtime, options: Options, control: Control) -> Self {
        Self {
            runtime,
            started: Instant::now(),
            started_at_ms: options.clock.unix_ms(),
            options,
            control,
            http: OnceLock::new(),
            health: OnceLock::new(),
            turned: Mutex::new(Instant::now()),
            pulsing: tokio::sync::Mutex::new(()),
            pulses: Mutex::default(),
            probe: Cached::default(),
            counts: Cached::default(),
            page: Cached::default(),
            busy: watch::Sender::new(0),
        }
    }

    /// Says where HTTP is answered.
    pub(crate) fn listens(&self, address: SocketAddr) {
        let _ = self.http.set(address);
    }

    /// Says that work has begun.
    pub(crate) fn begun(&self, health: impl Fn() -> WorkHealth + Send + Sync + 'static) {
        let _ = self.health.set(Box::new(health));
    }

    /// How the node is doing, once it works.
    pub(crate) fn health(&self) -> Option<WorkHealth> {
        self.health.get().map(|health| health())
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.health.get().is_some()
    }

    /// Notes now and then that tasks of this process are looked at.
    pub(crate) async fn turn(&self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            *lock(&self.turned) = Instant::now();
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        lock(&self.turned).elapsed() < TURN_PATIENCE
    }

    /// Why no work is taken, if none is.
    pub(crate) async fn unready(&self) -> Option<Unready> {
        if self.control.is_stopping() {
            return Some(Unready::Draining);
        }
        let Some(health) = self.health() else {
            return Some(Unready::Starting);
        };
        match health.failure {
            Some("store.full" | "store.read_only") => Some(Unready::StoreUnwritable),
            Some(_) => Some(Unready::StoreUnreachable),
            None => (!self.store_answers().await).then_some(Unready::StoreUnreachable),
        }
    }

    async fn store_answers(&self) -> bool {
        let ask = async {
            let asked = self.options.store.queue().next_at("run");
            matches!(tokio::time::timeout(STORE_PATIENCE, asked).await, Ok(Ok(_)))
        };
        self.probe.fresh(PROBE_AGE, ask).await
    }

    /// The store's runs and jobs by queue and state.
    pub(crate) async fn queues(&self) -> Option<Vec<QueueStatus>> {
        let ask = async {
            let asked = self.options.store.queue().counts();
            let counts = tokio::time::timeout(STORE_PATIENCE, asked)
                .await
                .ok()?
                .ok()?;
            let mut sums: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
            for count in counts {
                *sums.entry((count.queue, count.state.as_str())).or_default() += count.n;
            }
            let row = |((queue, state), n): ((String, &str), u64)| QueueStatus {
                queue,
                state: state.to_owned(),
                n,
            };
            Some(sums.into_iter().map(row).collect())
        };
        self.counts.fresh(COUNTS_AGE, ask).await
    }

    /// One heartbeat, after the one that may be under way.
    pub(crate) async fn pulse(&self) -> Result<Pulse, WorkError> {
        let _one = self.pulsing.lock().await;
        let began = Instant::now();
        let pulse = self.runtime.heartbeat(&self.options.heartbeat).await;
        let took = began.elapsed();
        let mut pulses = lock(&self.pulses);
        match &pulse {
            Ok(pulse) => {
                pulses.status.n_done += 1;
                for plugin in &pulse.plugins {
                    *pulses.plugins.entry(word(plugin.outcome)).or_default() += 1;
                }
            }
            Err(_) => pulses.status.n_failed += 1,
        }
        pulses.status.last_at_ms = Some(self.options.clock.unix_ms());
        pulses.status.last_took_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        drop(pulses);
        if let Ok(pulse) = &pulse {
            let n_plugins = pulse.plugins.len();
            tracing::debug!(
                event = "pulse",
                n_plugins,
                n_recovered = pulse.n_recovered,
                "a heartbeat"
            );
        }
        pulse
    }

    pub(crate) fn pulses(&self) -> Pulses {
        lock(&self.pulses).clone()
    }

    /// Looks at the plugins again and says what changed.
    pub(crate) async fn reload(&self) -> Result<kodex::Reloaded, kodex::LoadError> {
        let reloaded = self.runtime.reload().await;
        match &reloaded {
            Ok(kodex::Reloaded {
                added,
                changed,
                removed,
            }) => {
                tracing::info!(
                    event = "reloaded",
                    ?added,
                    ?changed,
                    ?removed,
                    "plugins were reloaded"
                );
            }
            Err(error) => {
                tracing::error!(
                    event = "reload_failed",
                    code = error.code(),
                    "the plugins stay as they were: {error}"
                );
            }
        }
        reloaded
    }

    pub(crate) fn n_refused(&self) -> usize {
        let ledger = self.runtime.ledger();
        let is_refused = |record: &&kodex::Record| record.status == kodex::Status::Error;
        ledger.iter().filter(is_refused).count()
    }

    pub(crate) async fn status(&self) -> Status {
        let unready = self.unready().await;
        Status {
            protocol: PROTOCOL,
            kodex: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: self.options.config.clone(),
            ready: unready.is_none(),
            reason: unready.map(|why| why.as_str().to_owned()),
            store_failure: self
                .health()
                .and_then(|health| health.failure)
                .map(str::to_owned),
            started_at_ms: self.started_at_ms,
            up_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            n_plugins: self.runtime.manifests().len(),
            n_refused: self.n_refused(),
            generation: self.runtime.doctor().generation,
            store: self.options.store.place().to_owned(),
            http: self.http.get().map(SocketAddr::to_string),
            work: self.health().map(|health| WorkStatus {
                n_held: health.n_held,
                n_claimed: health.n_claimed,
                n_ended: health.n_ended,
            }),
            pulses: self.pulses().status,
            queues: self.queues().await,
        }
    }

    pub(crate) fn started_at_ms(&self) -> u64 {
        self.started_at_ms
    }

    /// Counts a request that is under way, until what is given back is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.busy.send_modify(|n| *n += 1);
        Busy(&self.busy)
    }

    /// Waits until no request is under way.
    pub(crate) async fn idle(&self) {
        let mut n = self.busy.subscribe();
        // The sender lives as long as this value.
        let _ = n.wait_for(|n| *n == 0).await;
    }
}

/// A request that is under way.
pub(crate) struct Busy<'a>(&'a watch::Sender<usize>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

/// An answer that is asked for again when it has grown old; whoever comes meanwhile waits for the same one.
pub(crate) struct Cached<T>(tokio::sync::Mutex<Option<(Instant, T)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::new(None))
    }
}

impl<T: Clone> Cached<T> {
    pub(crate) async fn fresh(&self, age: Duration, ask: impl Future<Output = T>) -> T {
        let mut kept = self.0.lock().await;
        if let Some((at, value)) = &*kept
            && at.elapsed() < age
        {
            return value.clone();
        }
        let value = ask.await;
        *kept = Some((Instant::now(), value.clone()));
        value
    }
}

fn word(outcome: PulseOutcome) -> &'static str {
    match outcome {
        PulseOutcome::Done => "done",
        PulseOutcome::Busy => "busy",
        PulseOutcome::Failed => "failed",
        PulseOutcome::TimedOut => "timed_out",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
