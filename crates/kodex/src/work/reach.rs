//! Whether a node reaches its store: what each of its parts met there last.
//!
//! A claim that fails says nothing about the next one, and an idle node claims nothing that would fail: reading
//! works on a full disk. So a sign of life is written now and then, and while that fails nothing is claimed.

use std::{collections::BTreeMap, time::Duration};

use kodex_store::{Store, StoreError};
use tokio::sync::watch;

/// From one sign of life to the next, while all is well and while it is not.
const EVERY: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(1)];
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The part that writes signs of life.
const SIGN: &str = "a sign of life";

/// See the module.
pub(super) struct Reach {
    /// Stable code of the last failure, by part; parts without one are not in it.
    failures: watch::Sender<BTreeMap<&'static str, &'static str>>,
}

impl Reach {
    pub(super) fn new() -> Self {
        Self {
            failures: watch::Sender::new(BTreeMap::new()),
        }
    }

    /// The code of a failure that lasts.
    pub(super) fn failure(&self) -> Option<&'static str> {
        let failures = self.failures.borrow();
        failures.get(SIGN).or(failures.values().next()).copied()
    }

    /// Notes what a part met.
    pub(super) fn met(&self, part: &'static str, result: Result<(), &StoreError>) {
        let code = result.map_err(StoreError::code).err();
        let was = self.failure();
        self.failures.send_if_modified(|failures| {
            let before = match code {
                Some(code) => failures.insert(part, code),
                None => failures.remove(part),
            };
            before != code
        });
        match (was, result) {
            (None, Err(error)) => tracing::error!(
                event = "store_failing",
                code = error.code(),
                "{part}: {error}; nothing is claimed until the store answers"
            ),
            (Some(_), Ok(())) if self.failure().is_none() => {
                tracing::info!(event = "store_answers", "the store answers again");
            }
            _ => {}
        }
    }

    /// Waits until signs of life are taken.
    pub(super) async fn answers(&self) {
        let mut failures = self.failures.subscribe();
        // The sender lives as long as this value.
        let _ = failures
            .wait_for(|failures| !failures.contains_key(SIGN))
            .await;
    }

    /// Waits until signs of life are taken that were not.
    pub(super) async fn comes_back(&self) {
        let mut failures = self.failures.subscribe();
        let _ = failures
            .wait_for(|failures| failures.contains_key(SIGN))
            .await;
        self.answers().await;
    }

    /// Writes signs of life until it is dropped.
    pub(super) async fn watch(&self, store: &dyn Store) {
        loop {
            let sign = match tokio::time::timeout(PATIENCE, store.ping()).await {
                Ok(sign) => sign,
                Err(_) => Err(StoreError::Busy {
                    what: format!("the store at {}", store.place()),
                }),
            };
            self.met(SIGN, sign.as_ref().map(drop));
            tokio::time::sleep(EVERY[usize::from(sign.is_err())]).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use kodex_store::StoreError;

    use super::{Reach, SIGN};

    #[test]
    fn one_part_that_succeeds_does_not_hide_another_that_fails() {
        let reach = Reach::new();
        let busy = StoreError::Busy { what: "it".into() };
        for (part, is_well, want) in [
            ("run", true, None),
            ("run", false, Some("store.busy")),
            ("job", true, Some("store.busy")),
            ("run", true, None),
            ("job", false, Some("store.busy")),
            (SIGN, false, Some("store.closed")),
            ("job", true, Some("store.closed")),
            (SIGN, true, None),
        ] {
            let error = if part == SIGN {
                &StoreError::Closed
            } else {
                &busy
            };
            reach.met(part, if is_well { Ok(()) } else { Err(error) });
            assert_eq!(reach.failure(), want, "{part}");
        }
    }
}
