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

/// A bar over steps that are counted, on standard error, once the work takes long.
pub(crate) struct Bar {
    begun_at: Option<std::time::Instant>,
    n_done: usize,
    n_all: usize,
    what: String,
    drawn: Option<Cleared>,
}

impl Bar {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long somebody has been waiting before a terminal"
    )]
    pub(crate) fn new(is_welcome: bool) -> Self {
        Self {
            begun_at: is_welcome.then(std::time::Instant::now),
            n_done: 0,
            n_all: 0,
            what: String::new(),
            drawn: None,
        }
    }

    pub(crate) fn at(&mut self, n_done: usize, n_all: usize, what: &str) {
        (self.n_done, self.n_all) = (n_done, n_all);
        self.say(what);
    }

    pub(crate) fn say(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        self.tick();
    }

    pub(crate) fn tick(&mut self) {
        let is_due = self
            .begun_at
            .is_some_and(|begun_at| begun_at.elapsed() >= PATIENCE);
        if self.drawn.is_none() && is_due {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(None, target).with_elapsed(PATIENCE);
            if let Ok(style) =
                ProgressStyle::with_template("[{bar:30}] {pos}/{len} {msg} ({elapsed})")
            {
                bar.set_style(style);
            }
            self.drawn = Some(Cleared(bar));
        }
        if let Some(Cleared(bar)) = &self.drawn {
            bar.set_length(self.n_all as u64);
            bar.set_position(self.n_done as u64);
            bar.set_message(self.what.clone());
            bar.tick();
        }
    }

    /// Writes something else without tearing the bar.
    pub(crate) fn beside(&self, write: impl FnOnce()) {
        match &self.drawn {
            Some(Cleared(bar)) => bar.suspend(write),
            None => write(),
        }
    }
}
