//! The wait after the last fault: until nothing lives in the queue, no occurrence is due and none goes on.
//!
//! Clocks that were an hour ahead left times that lie in the future, and the scheduler leaves a claim alone
//! for a minute that somebody lost; so the clocks are moved on, and nobody has to wait for that.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use kodex_store::queue::JobState;

use super::{
    fault::Chaos,
    watch::{self, Watch},
    world::World,
};

/// How long everything may take to come to its end once nothing is broken any more.
const PATIENCE: Duration = Duration::from_secs(90);
/// Further than any clock ever was.
const AHEAD_MS: i64 = 2 * 3_600_000;
/// Longer than the scheduler leaves a claim alone.
const STEP_MS: i64 = 70_000;
/// How long nothing may seem to happen before the clocks are moved.
const STEP_AFTER: Duration = Duration::from_secs(4);

/// How it came to rest.
pub(super) struct Calm {
    /// How long that took; none when it never did.
    pub(super) after: Option<Duration>,
    /// The nodes' time then.
    pub(super) now_ms: i64,
}

/// Waits for it.
pub(super) fn reach(
    world: &World,
    watch: &Watch,
    chaos: &mut Chaos,
    tokio: &tokio::runtime::Runtime,
    stops: &AtomicBool,
) -> Result<Calm> {
    let begun_at = Instant::now();
    let mut stepped_at = begun_at;
    let mut offset_ms = match chaos.nodes.iter().any(|node| node.clock.is_some()) {
        true => AHEAD_MS,
        false => 0,
    };
    chaos.set_clocks(offset_ms)?;
    let store = tokio.block_on(watch.store())?;
    let mut calm = Calm {
        after: None,
        now_ms: 0,
    };
    while begun_at.elapsed() < PATIENCE && !stops.load(Ordering::Relaxed) {
        calm.now_ms = unix_ms() + offset_ms;
        if tokio.block_on(is_calm(&*store, calm.now_ms))? {
            calm.after = Some(begun_at.elapsed());
            break;
        }
        if offset_ms > 0 && stepped_at.elapsed() >= STEP_AFTER {
            stepped_at = Instant::now();
            offset_ms += STEP_MS;
            chaos.set_clocks(offset_ms)?;
        }
        chaos.revive_all(world)?;
        // Between two looks at the store.
        std::thread::sleep(Duration::from_millis(100));
    }
    tokio.block_on(store.close())?;
    Ok(calm)
}

async fn is_calm(store: &dyn kodex_store::Store, now_ms: i64) -> Result<bool> {
    let counts = store.queue().counts().await?;
    let is_living = |state| matches!(state, JobState::Pending | JobState::Running);
    if counts
        .iter()
        .any(|count| is_living(count.state) && count.n > 0)
    {
        return Ok(false);
    }
    let (tasks, slots) = watch::schedule(store, now_ms).await?;
    let is_open = |state: &str| matches!(state, "pending" | "running");
    Ok(tasks.iter().all(|task| task.next_ms > now_ms)
        && !slots.iter().any(|slot| is_open(&slot.state)))
}

fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
