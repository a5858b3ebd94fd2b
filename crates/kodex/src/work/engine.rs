//! The work engine: claims what is due as far as there is room, has it executed, renews the leases, ends the
//! claims, and takes back what others lost.
//!
//! It waits on hints, on the next due time and, as the net below, on a poll; it never looks more often.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kodex_plugin::{PluginName, clock::millis};
use kodex_store::{
    Store, StoreError,
    queue::{Claim, Claimed, Filter, JobState, N_TOGETHER, Recover, Recovered},
};
use serde_json::value::RawValue;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    JOBS, RUNS,
    end::{Ender, Over},
    held::{Claims, Held, Word},
    job,
    reach::Reach,
    run,
};
use crate::{Runtime, runtime::Shared};

/// The shortest and longest pause after the store failed.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(15)];
/// How often ended jobs beyond their retention are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// How far the end of a node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Working,
    /// Nothing new is claimed.
    Draining,
    /// What still runs is given back.
    Releasing,
}

/// What the loops of one node share.
pub(super) struct Node {
    pub(super) runtime: Runtime,
    pub(super) store: Arc<dyn Store>,
    holder: String,
    claims: Claims,
    pub(super) ender: Ender,
    phase: watch::Sender<Phase>,
    freed: Notify,
    reach: Reach,
    n_claimed: AtomicU64,
    n_ended: AtomicU64,
}

/// A node at work; made by [`Runtime::work`]. Dropping it drops what runs; the leases then end by
/// themselves. [`Working::drain`] ends it well.
pub struct Working {
    node: Arc<Node>,
    loops: JoinSet<()>,
    /// The tasks that execute claims.
    executing: Arc<Executing>,
}

/// How a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct WorkHealth {
    /// Whether the last words with the store succeeded. Nothing is claimed while it takes no writes.
    pub store: bool,
    /// If not, the code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'static str>,
    /// Claims that this process holds.
    pub n_held: usize,
    /// Claims since the start.
    pub n_claimed: u64,
    /// Claims that this process ended since the start, in whatever way.
    pub n_ended: u64,
    /// Nothing new is claimed, because the node stops.
    pub draining: bool,
}

impl std::fmt::Debug for Working {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Working")
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

impl Working {
    pub(super) async fn start(runtime: Runtime, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let hints = store.queue().hints().await?;
        let shared = runtime.shared().clone();
        let node = Arc::new(Node {
            ender: Ender::new(store.clone()),
            holder: shared.works.holder.clone(),
            claims: Claims::default(),
            phase: watch::Sender::new(Phase::Working),
            freed: Notify::new(),
            reach: Reach::new(),
            n_claimed: AtomicU64::new(0),
            n_ended: AtomicU64::new(0),
            runtime,
            store,
        });
        let executing = Arc::new(Executing::default());
        let settings = &shared.works.settings;
        let mut loops = JoinSet::new();
        for (queue, n) in [(RUNS, settings.n_runs), (JOBS, settings.n_jobs)] {
            let serving = Serving {
                node: node.clone(),
                executing: executing.clone(),
                queue,
                slots: Arc::new(Semaphore::new(n)),
                cap: settings.n_per_plugin,
                hints: hints.clone(),
            };
            loops.spawn(serving.serve());
        }
        loops.spawn(node.clone().watch());
        loops.spawn(node.clone().keep_leases());
        loops.spawn(node.clone().sweep());
        loops.spawn(node.ender.clone().serve());
        Ok(Self {
            node,
            loops,
            executing,
        })
    }

    /// How the node is doing.
    #[must_use]
    pub fn health(&self) -> WorkHealth {
        self.node.health()
    }

    /// A way to ask how the node is doing, for as long as it lives.
    pub fn watch(&self) -> impl Fn() -> WorkHealth + Send + Sync + 'static {
        let node = self.node.clone();
        move || node.health()
    }

    /// Waits until nothing runs here and nothing is due.
    ///
    /// # Errors
    /// The store's.
    pub async fn until_idle(&self) -> Result<(), StoreError> {
        let queue = self.node.store.queue();
        let pending = Filter {
            queue: None,
            plugin: None,
            states: &[JobState::Pending],
            after: None,
            limit: N_TOGETHER,
        };
        loop {
            self.executing.idle().await;
            let now = queue.now_ms().await?;
            let waiting = queue.list(&pending).await?;
            let current = self.node.runtime.current();
            let is_due = waiting.iter().any(|job| {
                // A job of a plugin that is not here waits for another node.
                let is_ours =
                    job.queue == RUNS || current.catalog.slot(job.plugin.as_str()).is_some();
                is_ours && job.due_at_ms <= now
            });
            if !is_due && self.executing.is_idle() {
                return Ok(());
            }
            // The engine takes it within this time; there is nothing else to wait on.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the node: nothing new is claimed, what runs may end within `grace` and is then given back without
    /// its attempt being counted. `now` ends the grace early.
    pub async fn drain(mut self, grace: Duration, now: impl Future<Output = ()>) {
        self.node.phase.send_replace(Phase::Draining);
        let idle = self.executing.idle();
        tokio::select! {
            () = idle => {}
            () = tokio::time::sleep(grace) => {}
            () = now => {}
        }
        self.node.phase.send_replace(Phase::Releasing);
        self.node.claims.release();
        // Giving back is one statement each; a store that is gone must not hold up the end.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.executing.idle()).await;
        self.executing.abort();
        self.loops.shutdown().await;
    }
}

impl Drop for Working {
    /// The tasks that execute claims know their set, so it does not go by itself; without their leases being
    /// renewed they must not go on.
    fn drop(&mut self) {
        self.executing.abort();
    }
}

/// The claims that are asked for, and the tasks that execute them.
#[derive(Default)]
struct Executing {
    tasks: std::sync::Mutex<JoinSet<()>>,
    n: watch::Sender<usize>,
}

impl Executing {
    /// Something goes on until the answer is dropped.
    fn count(self: &Arc<Self>) -> Counted {
        self.n.send_modify(|n| *n += 1);
        Counted(self.clone())
    }

    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let counted = self.count();
        let mut tasks = crate::register::lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _counted = counted;
            task.await;
        });
    }

    async fn idle(&self) {
        let mut n = self.n.subscribe();
        // The sender lives as long as this value.
        let _ = n.wait_for(|n| *n == 0).await;
    }

    fn is_idle(&self) -> bool {
        *self.n.borrow() == 0
    }

    fn abort(&self) {
        crate::register::lock(&self.tasks).abort_all();
    }
}

struct Counted(Arc<Executing>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.n.send_modify(|n| *n -= 1);
    }
}

impl Node {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.runtime.shared()
    }

    fn health(&self) -> WorkHealth {
        let failure = self.reach.failure();
        WorkHealth {
            store: failure.is_none(),
            failure,
            n_held: self.claims.n(),
            n_claimed: self.n_claimed.load(Ordering::Relaxed),
            n_ended: self.n_ended.load(Ordering::Relaxed),
            draining: self.phase() != Phase::Working,
        }
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until nothing new is to be claimed.
    async fn stopping(&self) {
        let mut phase = self.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase > Phase::Working).await;
    }

    /// Looks whether the store is there and takes writes.
    async fn watch(self: Arc<Self>) {
        self.reach.watch(&*self.store).await;
    }

    /// Prolongs the leases of what runs here.
    async fn keep_leases(self: Arc<Self>) {
        let lease = self.shared().works.settings.lease;
        loop {
            // Twice in the time after which leases are renewed, so that a lost one is noticed soon.
            tokio::time::sleep(lease / 6).await;
            self.claims.give_up();
            tokio::time::sleep(lease / 6).await;
            self.claims.renew(&*self.store, lease).await;
        }
    }

    /// Takes back what others lost, and removes what is old.
    async fn sweep(self: Arc<Self>) {
        let settings = self.shared().works.settings.clone();
        let mut pruned_at: Option<Instant> = None;
        loop {
            if let Err(error) = recover(self.shared(), &*self.store, N_TOGETHER).await {
                tracing::warn!(code = error.code(), "taking back lost jobs: {error}");
            }
            if pruned_at.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
                pruned_at = Some(Instant::now());
                if let Err(error) = self.prune(settings.retention).await {
                    tracing::warn!(code = error.code(), "removing old jobs: {error}");
                }
            }
            tokio::time::sleep(settings.sweep).await;
        }
    }

    async fn prune(&self, retention: Duration) -> Result<(), StoreError> {
        let queue = self.store.queue();
        let before = queue.now_ms().await?.saturating_sub(millis(retention));
        while queue.prune(before, N_TOGETHER).await? >= N_TOGETHER as u64 {}
        Ok(())
    }

    /// Executes one claim and ends it.
    async fn execute(self: Arc<Self>, held: Arc<Held>, claimed: Claimed) {
        let work = async {
            match claimed.job.queue.as_str() {
                RUNS => run::execute(&self, &held, &claimed).await,
                _ => job::execute(&self, &claimed).await,
            }
        };
        let over = tokio::select! {
            over = work => over,
            // What was going on is dropped, and with it what it started.
            word = held.told() => match word {
                Word::Cancel => Over::Cancelled,
                Word::Release => Over::Release { after: Duration::ZERO },
                Word::Lost | Word::Go => Over::Nothing,
            },
        };
        self.ender.end(&held, over).await;
        self.claims.remove(&held.lease);
        self.n_ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes back jobs that others lost, at most so many, and says what was given up.
pub(super) async fn recover(
    shared: &Shared,
    store: &dyn Store,
    limit: usize,
) -> Result<Vec<Recovered>, StoreError> {
    let settings = &shared.works.settings;
    let pauses: Vec<_> = settings.pauses.iter().map(|pause| millis(*pause)).collect();
    let wish = Recover {
        limit,
        max_crashes: settings.crashes,
        pauses_ms: &pauses,
    };
    let recovered = store.queue().recover(&wish).await?;
    for job in recovered.iter().filter(|job| job.state == JobState::Dead) {
        let reason = job.reason_code.as_deref().unwrap_or_default();
        tracing::error!(plugin = %job.plugin, job = %job.id, reason, "a job was given up");
    }
    Ok(recovered)
}

/// One queue of a node.
struct Serving {
    node: Arc<Node>,
    executing: Arc<Executing>,
    queue: &'static str,
    slots: Arc<Semaphore>,
    cap: Option<usize>,
    hints: watch::Receiver<u64>,
}

impl Serving {
    async fn serve(mut self) {
        let mut pause = PAUSES[0];
        let node = self.node.clone();
        while node.phase() == Phase::Working {
            tokio::select! {
                () = node.reach.answers() => {}
                () = node.stopping() => return,
            }
            // A hint that comes from here on is not missed.
            self.hints.mark_unchanged();
            match self.claim().await {
                Ok(Took { n_asked, n_claimed }) => {
                    pause = PAUSES[0];
                    node.reach.met(self.queue, Ok(()));
                    if n_asked == 0 || n_claimed < n_asked {
                        self.wait(n_asked).await;
                    }
                }
                Err(error) => {
                    node.reach.met(self.queue, Err(&error));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = node.reach.comes_back() => {}
                        () = node.stopping() => {}
                    }
                    pause = (pause * 2).min(PAUSES[1]);
                }
            }
        }
    }

    /// Takes as much as there is room for and starts it.
    async fn claim(&self) -> Result<Took, StoreError> {
        let n_asked = self.slots.available_permits().min(N_TOGETHER);
        // What the store has given away and nobody executes yet is not idle: who ends the node waits for it. It
        // counts before the phase is looked at, and the phase changes before anybody waits.
        let _asking = self.executing.count();
        if n_asked == 0 || self.node.phase() != Phase::Working {
            return Ok(Took {
                n_asked,
                n_claimed: 0,
            });
        }
        let lease_time = self.node.shared().works.settings.lease;
        let current = self.node.runtime.current();
        let plugins: Vec<PluginName> = current
            .catalog
            .slots
            .iter()
            .map(|slot| slot.name.clone())
            .collect();
        let caps: Vec<_> = match self.cap {
            Some(cap) => plugins.iter().map(|name| (name.clone(), cap)).collect(),
            None => Vec::new(),
        };
        let claim = Claim {
            queue: self.queue,
            holder: &self.node.holder,
            n: n_asked,
            lease_ms: millis(lease_time),
            caps: &caps,
            // Any node can execute a run; a job needs its plugin.
            plugins: (self.queue == JOBS).then_some(&plugins),
        };
        let asked_at = Instant::now();
        let claimed = self.node.store.queue().claim(&claim).await?;
        let n_claimed = claimed.len();
        self.node
            .n_claimed
            .fetch_add(n_claimed as u64, Ordering::Relaxed);
        for claimed in claimed {
            let held = self.node.claims.add(&claimed.lease, asked_at, lease_time);
            if self.node.phase() == Phase::Releasing {
                held.tell(Word::Release);
            }
            // There is one for each, because only this loop takes them.
            let slot = self.slots.clone().try_acquire_owned();
            let node = self.node.clone();
            self.executing.spawn(async move {
                node.clone().execute(held, claimed).await;
                drop(slot);
                node.freed.notify_waiters();
            });
        }
        Ok(Took { n_asked, n_claimed })
    }

    /// Waits for something to do: a hint, a free place, the next due time, or the poll.
    async fn wait(&mut self, n_asked: usize) {
        let node = self.node.clone();
        let freed = node.freed.notified();
        tokio::pin!(freed);
        freed.as_mut().enable();
        if n_asked == 0 {
            if self.slots.available_permits() == 0 {
                tokio::select! {
                    () = freed => {}
                    () = node.stopping() => {}
                }
            }
            return;
        }
        let nap = self.nap().await;
        tokio::select! {
            // An end is a hint too only where a lane was freed; the store says so.
            changed = self.hints.changed() => {
                if changed.is_err() {
                    tokio::time::sleep(nap).await;
                }
            }
            () = tokio::time::sleep(nap) => {}
            () = node.stopping() => {}
        }
    }

    /// How long until the next job is due, at most the poll.
    async fn nap(&self) -> Duration {
        let poll = self.node.shared().works.settings.poll;
        let queue = self.node.store.queue();
        let next = async {
            let next = queue.next_at(self.queue).await?;
            Ok::<_, StoreError>((next, queue.now_ms().await?))
        };
        match next.await {
            // What is over already waits for something else: the end of a job in its lane, the sweep.
            Ok((Some(next), now)) if next > now => Duration::from_millis(next - now).min(poll),
            Ok(_) | Err(_) => poll,
        }
    }
}

struct Took {
    n_asked: usize,
    n_claimed: usize,
}

/// JSON text as it is stored.
pub(super) fn raw(value: &impl serde::Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}
