//! The heartbeat's ticks: one pulse after the other, never two at once. Ticks that a slow pulse missed are
//! skipped, not made up for.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{control::Control, resident::Resident};

/// From the start to the first pulse: what waited for a runtime should not wait for a whole beat.
const FIRST: Duration = Duration::from_secs(1);

/// Beats until the end is asked for; a pulse that runs then comes to its end.
pub(crate) async fn beat(resident: &Resident, every: Duration, control: &Control) {
    let mut ticks = interval_at(Instant::now() + FIRST.min(every), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !control.is_stopping() {
        tokio::select! {
            biased;
            () = control.stopping() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = resident.pulse().await {
            tracing::warn!(
                event = "pulse_failed",
                code = error.code(),
                "the heartbeat failed: {error}"
            );
        }
    }
}
