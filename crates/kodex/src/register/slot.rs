//! A plugin's place in the catalog: the plugin itself and what the guard remembers of it. A slot
//! outlives a reload when its plugin did not change, so workers and breakers keep their state.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{Failure, Json, Manifest, Plugin, PluginError, PluginName};
use tokio::sync::{Notify, watch};

use crate::{
    dispatch::{Breaker, Ended, Permit, Transition, observed::Told},
    journal::Journal,
    settings::{GuardSettings, PluginSettings},
};

/// One plugin, alive in a runtime.
pub(crate) struct Slot {
    pub(crate) name: PluginName,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) source: String,
    /// Where its migrations are, when it declares a database.
    pub(crate) journal: Option<Arc<Journal>>,
    /// What a reload compares to decide whether the plugin's files are still the same; nothing when
    /// nobody will reload.
    pub(crate) fingerprint: Option<u64>,
    pub(crate) settings: PluginSettings,
    /// The object that the plugin is activated with.
    pub(crate) context: Json,
    pub(crate) activation: Mutex<Activation>,
    /// Says in one load what [`Activation::Done`] says.
    pub(crate) active: AtomicBool,
    /// Calls running in this plugin.
    pub(crate) in_flight: AtomicU32,
    /// Calls waiting for a free place.
    pub(crate) waiting: AtomicU32,
    pub(crate) freed: Notify,
    /// Set when the plugin left the catalog; then [`Slot::idle`] is told.
    pub(crate) retired: AtomicBool,
    /// Told when the last running call of a retired plugin ends.
    pub(crate) idle: Notify,
    /// Keys (hooks and tools) whose breaker is not closed.
    pub(crate) n_open: AtomicU32,
    pub(crate) observed: Mutex<Observed>,
    /// Observe calls that were dropped because the queue was full.
    pub(crate) n_dropped: AtomicU64,
    /// What it adds to every system prompt, from the first time it said so on.
    pub(crate) standing: OnceLock<Vec<String>>,
    cells: Mutex<HashMap<String, Arc<Cell>>>,
}

/// Payloads of observe hooks that wait for their turn.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) queue: VecDeque<Told>,
    pub(crate) n_running: u32,
}

/// How far the activation of a plugin has come.
pub(crate) enum Activation {
    /// Nobody asked yet, or the last try failed.
    Idle,
    /// A task is at it; the channel tells when it ends.
    Running(watch::Receiver<Option<Result<(), PluginError>>>),
    /// It may be called.
    Done,
}

/// A bound on distinct hook names per plugin. Names beyond it share one breaker and one counter,
/// so that whoever invents hook names cannot fill the memory.
const MAX_CELLS: usize = 1_024;
const OVERFLOW: &str = "*";

impl Slot {
    pub(crate) fn new(
        plugin: Arc<dyn Plugin>,
        manifest: Arc<Manifest>,
        source: String,
        journal: Option<Arc<Journal>>,
        fingerprint: Option<u64>,
        settings: PluginSettings,
        context: Json,
    ) -> Self {
        Self {
            name: manifest.name.clone(),
            manifest,
            plugin,
            source,
            journal,
            fingerprint,
            settings,
            context,
            activation: Mutex::new(Activation::Idle),
            active: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            retired: AtomicBool::new(false),
            idle: Notify::new(),
            n_open: AtomicU32::new(0),
            observed: Mutex::default(),
            n_dropped: AtomicU64::new(0),
            standing: OnceLock::new(),
            cells: Mutex::default(),
        }
    }

    /// The memory of the guard for one hook or tool of this plugin.
    pub(crate) fn cell(&self, key: &str, guard: &GuardSettings) -> Arc<Cell> {
        let mut cells = lock(&self.cells);
        if let Some(cell) = cells.get(key) {
            return cell.clone();
        }
        let key = if cells.len() >= MAX_CELLS {
            OVERFLOW
        } else {
            key
        };
        cells
            .entry(key.to_owned())
            .or_insert_with(|| Arc::new(Cell::new(&self.name, key, guard)))
            .clone()
    }

    /// All hooks and tools that the guard has met, by name.
    pub(crate) fn cells(&self) -> Vec<Arc<Cell>> {
        let mut cells: Vec<_> = lock(&self.cells).values().cloned().collect();
        cells.sort_by(|a, b| a.key.cmp(&b.key));
        cells
    }

    /// Whether so many keys of the plugin are open that the plugin as a whole counts as open: at
    /// least two, and at least half.
    pub(crate) fn is_rolled_up(&self) -> bool {
        let n_open = self.n_open.load(Ordering::Relaxed) as usize;
        n_open >= 2 && n_open * 2 >= lock(&self.cells).len()
    }
}

/// Upper bounds of the latency histogram in microseconds; the last bucket has none.
pub(crate) const HISTOGRAM_BUCKETS: [u64; 16] = [
    1,
    5,
    10,
    50,
    100,
    500,
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    600_000_000,
];

/// What the guard remembers of one hook or tool of one plugin.
pub(crate) struct Cell {
    /// The hook's name, or `tool:<name>`.
    pub(crate) key: String,
    /// The breaker's free pass, so that the usual call needs no lock to be admitted.
    free_pass: AtomicU64,
    state: Mutex<CellState>,
}

pub(crate) struct CellState {
    pub(crate) breaker: Breaker,
    pub(crate) counts: CellCounts,
}

/// Counters of one hook or tool of one plugin.
#[derive(Debug, Clone, Default)]
pub(crate) struct CellCounts {
    pub(crate) ok: u64,
    pub(crate) failed: HashMap<Failure, u64>,
    pub(crate) histogram: [u64; HISTOGRAM_BUCKETS.len() + 1],
    pub(crate) total: Duration,
    pub(crate) last_error: Option<(String, String)>,
}

impl CellCounts {
    pub(crate) fn failed(&mut self, error: &PluginError) {
        *self.failed.entry(error.failure).or_default() += 1;
        self.last_error = Some((error.code.to_string(), error.message.clone()));
    }

    #[inline]
    pub(crate) fn took(&mut self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // Nearly all answers of native plugins fall into the first bucket.
        let bucket = HISTOGRAM_BUCKETS
            .iter()
            .position(|bound| nanos <= bound * 1_000);
        self.histogram[bucket.unwrap_or(HISTOGRAM_BUCKETS.len())] += 1;
        self.total += span;
    }
}

impl Cell {
    fn new(plugin: &PluginName, key: &str, guard: &GuardSettings) -> Self {
        let mut hasher = DefaultHasher::new();
        (plugin.as_str(), key).hash(&mut hasher);
        let breaker = Breaker::new(guard.breaker.clone(), hasher.finish());
        Self {
            key: key.to_owned(),
            free_pass: AtomicU64::new(Permit::pack(breaker.free_pass())),
            state: Mutex::new(CellState {
                breaker,
                counts: CellCounts::default(),
            }),
        }
    }

    /// Looks at breaker and counters.
    pub(crate) fn read(&self) -> MutexGuard<'_, CellState> {
        lock(&self.state)
    }

    /// Changes breaker and counters, and keeps the free pass in step.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut CellState) -> T) -> T {
        let mut state = lock(&self.state);
        let result = change(&mut state);
        let pass = Permit::pack(state.breaker.free_pass());
        if self.free_pass.load(Ordering::Relaxed) != pass {
            self.free_pass.store(pass, Ordering::Release);
        }
        result
    }

    /// Counts the end of a call and tells the breaker. One lock, and nothing else as long as the
    /// breaker's state does not change.
    #[inline]
    pub(crate) fn settle(
        &self,
        permit: Permit,
        ended: Ended,
        error: Option<&PluginError>,
        took: Duration,
        now: Instant,
    ) -> Option<Transition> {
        let mut state = lock(&self.state);
        state.counts.took(took);
        match error {
            None => state.counts.ok += 1,
            Some(error) => state.counts.failed(error),
        }
        let transition = state.breaker.record(permit, ended, now)?;
        self.free_pass
            .store(Permit::pack(state.breaker.free_pass()), Ordering::Release);
        Some(transition)
    }

    #[inline]
    pub(crate) fn free_pass(&self) -> Option<Permit> {
        Permit::unpack(self.free_pass.load(Ordering::Acquire))
    }

    /// Counts a call that was refused before the plugin was asked.
    pub(crate) fn refused(&self, failure: Failure) {
        *lock(&self.state).counts.failed.entry(failure).or_default() += 1;
    }
}

/// A poisoned lock means that a panic was caught elsewhere; the data under these locks is valid
/// after every statement, so work goes on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
