//! Stops what runs too long or what nobody waits for any more.
//!
//! A [`Token`] belongs to one piece of work; dropping the caller's future sets it. A [`Watch`] belongs
//! to one connection: the engine asks it every few hundred operations, and while it waits for a lock.
//! `sqlite3_interrupt` is not used, because it may hit the statement after the one it was meant for.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{Clock, clock::millis};

/// Longest wait for another process where no bounds were given.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const CANCELLED: u8 = 2;

/// Says whether a piece of work waits, runs or is not wanted any more.
#[derive(Clone, Default)]
pub(super) struct Token(Arc<AtomicU8>);

impl Token {
    /// Takes the work out of the queue; false when it was cancelled there.
    pub(super) fn start(&self) -> bool {
        self.swap(QUEUED, RUNNING)
    }

    /// Cancels work that has not begun; false when it has.
    pub(super) fn give_up(&self) -> bool {
        self.swap(QUEUED, CANCELLED)
    }

    pub(super) fn cancel(&self) {
        self.0.store(CANCELLED, Ordering::Release);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == CANCELLED
    }

    fn swap(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Cancels its token when the future that holds it is dropped.
pub(super) struct CancelOnDrop(pub(super) Token);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Why the engine was stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Timeout { after_ms: u64 },
    Cancelled { after_ms: u64 },
}

struct Run {
    token: Token,
    started_at: Instant,
    over_at: Option<Instant>,
    stop: Option<Stop>,
}

/// What the engine asks while it works for one connection.
pub(super) struct Watch {
    clock: Arc<dyn Clock>,
    run: Mutex<Option<Run>>,
}

impl Watch {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            run: Mutex::new(None),
        }
    }

    /// From now on the engine works for `token`, until `timeout` has passed or `until` has come.
    pub(super) fn begin(&self, token: &Token, timeout: Option<Duration>, until: Option<Instant>) {
        let now = self.clock.now();
        let over_at = timeout.and_then(|timeout| now.checked_add(timeout));
        *locked(&self.run) = Some(Run {
            token: token.clone(),
            started_at: now,
            over_at: earlier(over_at, until),
            stop: None,
        });
    }

    pub(super) fn end(&self) {
        *locked(&self.run) = None;
    }

    /// Why the engine was told to stop, if it was.
    pub(super) fn stop(&self) -> Option<Stop> {
        locked(&self.run).as_ref().and_then(|run| run.stop)
    }

    /// Whether the engine must stop now.
    pub(super) fn is_over(&self) -> bool {
        let mut run = locked(&self.run);
        let Some(run) = run.as_mut() else {
            return false;
        };
        if run.stop.is_none() {
            let now = self.clock.now();
            let after_ms = millis(now.saturating_duration_since(run.started_at));
            if run.token.is_cancelled() {
                run.stop = Some(Stop::Cancelled { after_ms });
            } else if run.over_at.is_some_and(|over_at| now >= over_at) {
                run.stop = Some(Stop::Timeout { after_ms });
            }
        }
        run.stop.is_some()
    }

    /// Waits a little for a lock that another connection holds; false when it is no longer worth it.
    /// `n_waits` is how often it waited for this lock already.
    pub(super) fn wait_for_lock(&self, n_waits: i32) -> bool {
        const STEPS_MS: [u64; 8] = [1, 1, 2, 3, 5, 8, 13, 20];
        let bounded = locked(&self.run)
            .as_ref()
            .is_some_and(|run| run.over_at.is_some());
        let n_waits = usize::try_from(n_waits).unwrap_or(usize::MAX);
        let waited_ms = STEPS_MS.iter().take(n_waits).sum::<u64>()
            + 20 * u64::try_from(n_waits.saturating_sub(STEPS_MS.len())).unwrap_or(u64::MAX / 20);
        if self.is_over() || (!bounded && waited_ms > millis(LOCK_WAIT)) {
            return false;
        }
        let step_ms = STEPS_MS.get(n_waits).copied().unwrap_or(20);
        std::thread::park_timeout(Duration::from_millis(step_ms));
        true
    }
}

/// The earlier of two moments, where none is never.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Locks; what a panic left behind is a whole value all the same, because every critical section here is
/// a single assignment or push.
pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
