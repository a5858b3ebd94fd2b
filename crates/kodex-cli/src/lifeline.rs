//! The process beside a resident runtime that ends what is left when that is killed.
//!
//! It is this program again, under a name that nobody types.

use std::{convert::Infallible, ffi::OsString, time::Duration};

use kodex::lifeline::{self, Lifeline};

use crate::problem::Exit;

/// The argument that makes this program a lifeline; the next one names whose.
const WORD: &str = "--lifeline-of";
/// How long to wait before another one is started.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Whether this process is to be a lifeline; then it was one, until now.
pub(crate) fn held(argv: &[OsString]) -> Option<Exit> {
    let [_, word, name] = argv else { return None };
    if word != WORD {
        return None;
    }
    match name.to_str().and_then(lifeline::hold) {
        Some(_) => Some(Exit::Fine),
        None => Some(Exit::Usage),
    }
}

/// Ends what killed processes left.
pub(crate) async fn tidy_up() {
    match tokio::task::spawn_blocking(lifeline::end_orphans).await {
        Ok(0) | Err(_) => {}
        Ok(n_ended) => tracing::warn!(
            event = "orphans_ended",
            n_ended,
            "processes were left over by a runtime that was killed; they were ended"
        ),
    }
}

/// Has a lifeline beside this process for as long as it is awaited.
pub(crate) async fn keep() -> Infallible {
    loop {
        match Lifeline::start("/proc/self/exe".into(), vec![WORD.into()]) {
            Ok(lifeline) => {
                lifeline.lost().await;
                tracing::warn!(
                    event = "lifeline_lost",
                    "the lifeline was ended; another one is started"
                );
            }
            Err(error) => tracing::warn!(
                event = "lifeline_failed",
                "no lifeline can be started: {error}; if this process is killed, what it started is ended at the \
                 next start"
            ),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
