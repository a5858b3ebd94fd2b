//! Ends claims: many at a time, because whatever comes while one statement is under way goes into the next.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use kodex_plugin::clock::millis;
use kodex_store::{
    Store, StoreError,
    queue::{End, Ending, JobLease, Reason},
};
use serde_json::value::RawValue;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::held::Held;
use crate::register::lock;

/// Most ends in one statement.
const N_AT_ONCE: usize = 500;
/// How long to wait before an end is tried again that the store did not take.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How a claim is over; the owned form of [`Ending`].
#[derive(Debug)]
pub(super) enum Over {
    Completed {
        result: Option<Box<RawValue>>,
    },
    Failed {
        code: &'static str,
        text: String,
    },
    Buried {
        code: &'static str,
        text: String,
    },
    Blocked {
        text: String,
    },
    Cancelled,
    Retry {
        code: String,
        text: String,
        after: Duration,
    },
    GoOn {
        checkpoint: Option<Box<RawValue>>,
        after: Duration,
    },
    Release {
        after: Duration,
    },
    /// The lease is lost: nothing is said.
    Nothing,
}

impl Over {
    fn ending(&self) -> Option<Ending<'_>> {
        Some(match self {
            Self::Completed { result } => Ending::Complete {
                result: result.as_deref(),
            },
            Self::Failed { code, text } => Ending::Fail(Reason { code, text }),
            Self::Buried { code, text } => Ending::Bury(Reason { code, text }),
            Self::Blocked { text } => Ending::Block(Reason {
                code: "run.blocked",
                text,
            }),
            Self::Cancelled => Ending::Cancelled(Reason {
                code: "cancelled",
                text: "somebody asked for its end",
            }),
            Self::Retry { code, text, after } => Ending::Retry {
                reason: Reason { code, text },
                after_ms: millis(*after),
            },
            Self::GoOn { checkpoint, after } => Ending::GoOn {
                checkpoint: checkpoint.as_deref(),
                after_ms: millis(*after),
            },
            Self::Release { after } => Ending::Release {
                after_ms: millis(*after),
            },
            Self::Nothing => return None,
        })
    }
}

struct Waiting {
    lease: JobLease,
    over: Over,
    trusted_until: Instant,
    done: oneshot::Sender<()>,
}

/// See the module. Cloning gives another handle on the same one.
#[derive(Clone)]
pub(super) struct Ender {
    store: Arc<dyn Store>,
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
    added: Arc<Notify>,
}

impl Ender {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            waiting: Arc::default(),
            added: Arc::default(),
        }
    }

    /// Ends a claim, and returns when the store has taken that or its lease is over.
    pub(super) async fn end(&self, held: &Held, over: Over) {
        if matches!(over, Over::Nothing) {
            tracing::warn!(job = %held.lease.id, "a lease was lost; somebody else goes on with the job");
            return;
        }
        let (done, is_done) = oneshot::channel();
        lock(&self.waiting).push_back(Waiting {
            lease: held.lease.clone(),
            over,
            trusted_until: held.trusted_until(),
            done,
        });
        self.added.notify_one();
        let _ = is_done.await;
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(self) {
        loop {
            let mut some: Vec<_> = {
                let mut waiting = lock(&self.waiting);
                let n = waiting.len().min(N_AT_ONCE);
                waiting.drain(..n).collect()
            };
            if some.is_empty() {
                self.added.notified().await;
                continue;
            }
            while !some.is_empty() && !self.take(&mut some).await {
                tokio::time::sleep(AGAIN_AFTER).await;
                let now = Instant::now();
                some.retain(|one| one.trusted_until > now);
            }
        }
    }

    /// Hands ends to the store; says whether it took them.
    async fn take(&self, some: &mut Vec<Waiting>) -> bool {
        let ends: Vec<_> = some
            .iter()
            .filter_map(|one| {
                Some(End {
                    lease: &one.lease,
                    how: one.over.ending()?,
                })
            })
            .collect();
        match self.store.queue().end(&ends).await {
            Ok(held) => {
                for (one, held) in some.drain(..).zip(held) {
                    if !held {
                        tracing::warn!(job = %one.lease.id, "the end of a job came too late; somebody else has it");
                    }
                    let _ = one.done.send(());
                }
                true
            }
            // One of them can never be stored; it must keep no other one, nor be tried for ever.
            Err(StoreError::BadJob { .. }) if some.len() > 1 => {
                for one in std::mem::take(some) {
                    let mut alone = vec![one];
                    Box::pin(self.take(&mut alone)).await;
                    some.append(&mut alone);
                }
                some.is_empty()
            }
            Err(error @ StoreError::BadJob { .. }) => {
                for one in some.iter_mut() {
                    tracing::error!(job = %one.lease.id, code = error.code(), "ending a job: {error}");
                    one.over = Over::Failed {
                        code: "work.unstorable",
                        text: format!("what it came to cannot be stored: {error}"),
                    };
                }
                false
            }
            Err(error) => {
                tracing::warn!(n = some.len(), code = error.code(), "ending jobs: {error}");
                false
            }
        }
    }
}
