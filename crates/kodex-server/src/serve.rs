//! The life of a resident runtime: surfaces up, work begun, beats, and a drained end.

use std::{sync::Arc, time::Duration};

use kodex::{Runtime, WorkError, Working, store::StoreError};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    beat::beat,
    control::Control,
    error::ServeError,
    http,
    options::Options,
    resident::Resident,
    socket::{self, Bound},
};

/// Pauses between attempts to begin while the store is not there.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];

/// Keeps a runtime at work until `control` asks for its end, and ends it well: nothing new is claimed, what
/// runs may go on within the grace and is then given back, so that another node takes it at once. The
/// runtime itself stays open; whoever made it shuts it down.
///
/// A store that cannot be reached yet is waited for: the process lives and says that it is not ready.
///
/// # Errors
/// [`ServeError`] when an address or the socket cannot be had, or the store can never be used.
pub async fn serve(
    runtime: Runtime,
    options: Options,
    control: &Control,
) -> Result<(), ServeError> {
    // First the socket: it says whether another one is there.
    let bound = match &options.socket {
        Some(path) => Some(Bound::new(path).await?),
        None => None,
    };
    let listener = match options.http {
        Some(address) => Some(http::listen(address, options.expose_http).await?),
        None => None,
    };
    let resident = Arc::new(Resident::new(runtime, options, control.clone()));
    let mut parts = JoinSet::new();
    if let Some((listener, address)) = listener {
        resident.listens(address);
        tracing::info!(event = "http", %address, "probes and metrics are answered");
        let resident = resident.clone();
        parts.spawn(async move {
            http::serve(listener, resident).await;
            "http"
        });
    }
    if let Some(bound) = &bound {
        let (listener, resident) = (bound.listener(), resident.clone());
        parts.spawn(async move {
            socket::serve(listener, resident).await;
            "socket"
        });
    }
    let turning = resident.clone();
    parts.spawn(async move {
        turning.turn().await;
        "turn"
    });
    let ended = live(&resident, control, &mut parts).await;
    parts.shutdown().await;
    tracing::info!(event = "ended", "the resident runtime has ended");
    ended
}

async fn live(
    resident: &Resident,
    control: &Control,
    parts: &mut JoinSet<&'static str>,
) -> Result<(), ServeError> {
    let working = tokio::select! {
        biased;
        () = control.stopping() => return Ok(()),
        part = ended(parts) => return Err(part),
        working = begin(resident) => working?,
    };
    resident.begun(working.watch());
    tracing::info!(
        event = "serving",
        pid = std::process::id(),
        store = resident.options.store.place(),
        n_plugins = resident.runtime.manifests().len(),
        "the resident runtime is at work"
    );
    let beating = beat(resident, resident.options.beat, control);
    tokio::pin!(beating);
    let mut is_beating = true;
    let result = tokio::select! {
        biased;
        () = control.stopping() => Ok(()),
        part = ended(parts) => Err(part),
        () = reload(resident, control) => Ok(()),
        () = &mut beating => {
            is_beating = false;
            Ok(())
        }
    };
    // An end of our own doing is an end all the same: what is held is given back.
    if result.is_err() {
        control.stop();
    }
    let grace = resident.options.grace;
    tracing::info!(
        event = "draining",
        grace_ms = grace.as_millis(),
        "nothing new is begun"
    );
    let rest = async {
        if is_beating {
            beating.await;
        }
        resident.idle().await;
    };
    let rest = async {
        tokio::select! {
            () = rest => {}
            () = sleep(grace) => {}
            () = control.releasing() => {}
        }
    };
    tokio::join!(working.drain(grace, control.releasing()), rest);
    result
}

/// Begins to work, as soon as the store is there.
async fn begin(resident: &Resident) -> Result<Working, ServeError> {
    let mut pause = PAUSES[0];
    loop {
        match resident.runtime.work().await {
            Ok(working) => return Ok(working),
            Err(error) if may_pass(&error) => {
                tracing::error!(
                    event = "store_unreachable",
                    code = error.code(),
                    "work cannot begin yet: {error}"
                );
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES[1]);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn may_pass(error: &WorkError) -> bool {
    match error {
        // A connection that is cut while it looks around says no more than one that cannot be made.
        WorkError::Store(
            StoreError::Unreachable { .. } | StoreError::Full { .. } | StoreError::Lost { .. },
        ) => true,
        WorkError::Store(error) => error.is_retryable(),
        _ => false,
    }
}

async fn reload(resident: &Resident, control: &Control) {
    loop {
        control.reloading().await;
        // It says itself how it went.
        let _ = resident.reload().await;
    }
}

/// The first part that ended although it should not.
async fn ended(parts: &mut JoinSet<&'static str>) -> ServeError {
    match parts.join_next().await {
        Some(Ok(part)) => ServeError::Ended { part },
        Some(Err(error)) => {
            tracing::error!("a part ended oddly: {error}");
            ServeError::Ended { part: "unknown" }
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use kodex::{WorkError, store::StoreError};

    #[test]
    fn a_store_that_is_away_at_the_start_is_waited_for() {
        let unreachable = StoreError::Unreachable {
            place: "postgres://somewhere".to_owned(),
            problem: "nobody listens".to_owned(),
        };
        let lost = StoreError::Lost {
            during: "reading the core schema",
        };
        for (error, want) in [
            (unreachable, true),
            (lost, true),
            (StoreError::Closed, false),
        ] {
            let text = error.to_string();
            assert_eq!(super::may_pass(&WorkError::Store(error)), want, "{text}");
        }
        assert!(!super::may_pass(&WorkError::NoStore));
    }
}
