//! A sign of life on the terminal when something takes longer than a second.

use std::{future::Future, pin::pin, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// Waits for the work, with a spinner on standard error once it takes long and where one is welcome.
pub(crate) async fn watched<T>(
    what: &'static str,
    is_welcome: bool,
    work: impl Future<Output = T>,
) -> T {
    if !is_welcome {
        return work.await;
    }
    let mut work = pin!(work);
    if let Ok(done) = timeout(PATIENCE, &mut work).await {
        return done;
    }
    let bar = Cleared(
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_elapsed(PATIENCE),
    );
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.0.set_style(style);
    }
    bar.0.set_message(what);
    loop {
        bar.0.tick();
        if let Ok(done) = timeout(TICK, &mut work).await {
            return done;
        }
    }
}

/// Leaves no line behind, also when the work is given up.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
