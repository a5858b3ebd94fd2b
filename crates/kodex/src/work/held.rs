//! The claims that this process holds, and what it is told about them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kodex_store::{
    Store,
    queue::{JobLease, N_TOGETHER, Renewed},
};
use tokio::{sync::watch, time::Instant};

use crate::register::lock;

/// What whoever works on a claim must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Go on.
    Go,
    /// Somebody asked for the end of the job.
    Cancel,
    /// The lease was lost, or will be before anything more can be said: stop, and say nothing.
    Lost,
    /// This process stops: give the job back.
    Release,
}

/// One claim.
pub(super) struct Held {
    pub(super) lease: JobLease,
    word: watch::Sender<Word>,
    /// Until when the lease can be trusted, by this machine's clock: the time of its beginning is taken
    /// before the store was asked, and a sixth of it is kept back.
    trusted_until: Mutex<Instant>,
}

impl Held {
    /// Until when anything may still be said about the claim.
    pub(super) fn trusted_until(&self) -> Instant {
        *lock(&self.trusted_until)
    }

    /// Waits until there is something else to do than to go on.
    pub(super) async fn told(&self) -> Word {
        let mut word = self.word.subscribe();
        match word.wait_for(|word| *word != Word::Go).await {
            Ok(word) => *word,
            // The sender lives in this value.
            Err(_) => Word::Lost,
        }
    }

    pub(super) fn tell(&self, said: Word) {
        self.word.send_if_modified(|word| {
            // What is lost stays lost.
            let is_new = *word != said && *word != Word::Lost;
            if is_new {
                *word = said;
            }
            is_new
        });
    }
}

/// All claims of this process.
#[derive(Default)]
pub(super) struct Claims {
    held: Mutex<HashMap<JobLease, Arc<Held>>>,
}

impl Claims {
    pub(super) fn add(
        &self,
        lease: &JobLease,
        asked_at: Instant,
        lease_time: Duration,
    ) -> Arc<Held> {
        let held = Arc::new(Held {
            lease: lease.clone(),
            word: watch::Sender::new(Word::Go),
            trusted_until: Mutex::new(trust(asked_at, lease_time)),
        });
        lock(&self.held).insert(lease.clone(), held.clone());
        held
    }

    pub(super) fn remove(&self, lease: &JobLease) {
        lock(&self.held).remove(lease);
    }

    pub(super) fn n(&self) -> usize {
        lock(&self.held).len()
    }

    fn all(&self) -> Vec<Arc<Held>> {
        lock(&self.held).values().cloned().collect()
    }

    /// Says to all that this process stops.
    pub(super) fn release(&self) {
        self.all().iter().for_each(|held| held.tell(Word::Release));
    }

    /// Prolongs every claim, and tells those whose time cannot be trusted any more.
    pub(super) async fn renew(&self, store: &dyn Store, lease_time: Duration) {
        let all = self.all();
        for some in all.chunks(N_TOGETHER) {
            let leases: Vec<_> = some.iter().map(|held| held.lease.clone()).collect();
            let asked_at = Instant::now();
            let ms = kodex_plugin::clock::millis(lease_time);
            // An answer that comes after the leases are over helps nobody.
            let asked = tokio::time::timeout(lease_time / 3, store.queue().renew(&leases, ms));
            match asked.await {
                Ok(Ok(answers)) => {
                    for (held, answer) in some.iter().zip(answers) {
                        note(held, answer, asked_at, lease_time);
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(
                        n = leases.len(),
                        code = error.code(),
                        "renewing leases: {error}"
                    );
                }
                Err(_) => tracing::warn!(n = leases.len(), "renewing leases: no answer"),
            }
        }
        self.give_up();
    }

    /// Tells those whose time cannot be trusted any more.
    pub(super) fn give_up(&self) {
        let now = Instant::now();
        for held in self.all() {
            if held.trusted_until() <= now {
                held.tell(Word::Lost);
            }
        }
    }
}

fn note(held: &Held, answer: Renewed, asked_at: Instant, lease_time: Duration) {
    match answer {
        Renewed::Held { cancel, .. } => {
            *lock(&held.trusted_until) = trust(asked_at, lease_time);
            if cancel {
                held.tell(Word::Cancel);
            }
        }
        Renewed::Lost => held.tell(Word::Lost),
    }
}

fn trust(asked_at: Instant, lease_time: Duration) -> Instant {
    asked_at + lease_time - lease_time / 6
}
