//! Applies what was planned, under one lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{PluginName, wire::store::StepCounts};
use kodex_store::{Step, Store, StoreError, journal::StepKind, state::Lease};
use tokio::sync::oneshot;

use super::{
    PluginUpgrade, StepReport, StepState, UpgradeError, UpgradeEvent, UpgradeOptions,
    UpgradeReport,
    plan::{self, OnePlugin},
    report,
    step::Stepping,
};
use crate::runtime::{Current, SWEPT_AT_ONCE, Shared};

/// How long the lock is held without being renewed: as long as a killed upgrade keeps others waiting.
const LEASE_MS: u64 = 30_000;
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often a waiting upgrade looks whether the other one has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOCK: &str = "upgrade";

type Watch<'a> = &'a (dyn Fn(UpgradeEvent) + Send + Sync);

/// Applies everything. Plans again under the lock, because another upgrade may just have ended.
pub(super) async fn run(
    shared: &Arc<Shared>,
    store: Arc<dyn Store>,
    current: &Current,
    options: &UpgradeOptions,
    baseline: Option<(PluginName, usize)>,
    watch: Watch<'_>,
) -> Result<UpgradeReport, UpgradeError> {
    let owner = crate::load::own_name();
    let held = lock(shared, &store, &owner, options, watch).await?;
    let lost = AtomicBool::new(false);
    let work = async {
        let planned = plan::plan(&*store, current).await?;
        let mut work = Work {
            shared,
            store: &store,
            options,
            watch,
            lost: &lost,
            nth: 0,
            n_pending: planned.n_pending(),
        };
        let mut report = UpgradeReport {
            store: Some(store.place().to_owned()),
            ..UpgradeReport::empty()
        };
        for one in &planned.plugins {
            let n_baseline = baseline
                .as_ref()
                .filter(|(name, _)| *name == one.name)
                .map_or(0, |(_, n)| *n);
            report.plugins.push(work.plugin(one, n_baseline).await?);
        }
        report.kept = report::kept(&*store, current).await?;
        store.state().sweep(SWEPT_AT_ONCE).await?;
        Ok(report)
    };
    let renewing = async {
        let mut lease = held.lease.clone();
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match store.state().renew(&owner, &lease, LEASE_MS).await {
                Ok(renewed) => lease = renewed,
                Err(StoreError::LeaseLost { .. }) => break,
                // The next try may still come in time.
                Err(error) => {
                    tracing::warn!(code = error.code(), "renewing the upgrade's lock: {error}")
                }
            }
        }
        lost.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = work => result,
        () = renewing => unreachable!("renewing never ends"),
    };
    held.release().await;
    result
}

/// The lock while an upgrade has it. An upgrade that is given up gives it back, so that others need not wait
/// until it runs out.
struct Held {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    owner: PluginName,
    lease: Lease,
    is_given_back: bool,
}

impl Held {
    async fn release(mut self) {
        self.is_given_back = true;
        give_back(&*self.store, &self.owner, &self.lease).await;
    }

    /// Takes the lock in a task of its own: whoever waits for it may go in the moment in which it is taken.
    async fn take(
        shared: &Arc<Shared>,
        store: &Arc<dyn Store>,
        owner: &PluginName,
    ) -> Result<Self, StoreError> {
        let (taken, is_taken) = oneshot::channel();
        let (own, store, owner) = (shared.clone(), store.clone(), owner.clone());
        shared.tasks.spawn(async move {
            let held = store.state().lock(&owner, LOCK, LEASE_MS).await;
            let held = held.map(|lease| Self {
                shared: own,
                store: store.clone(),
                owner: owner.clone(),
                lease,
                is_given_back: false,
            });
            // Where nobody waits any more, it goes back at once.
            drop(taken.send(held));
        });
        // The runtime shuts down.
        is_taken.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_given_back {
            return;
        }
        let (store, owner, lease) = (self.store.clone(), self.owner.clone(), self.lease.clone());
        self.shared
            .tasks
            .spawn(async move { give_back(&*store, &owner, &lease).await });
    }
}

/// A lock that cannot be given back runs out by itself.
async fn give_back(store: &dyn Store, owner: &PluginName, lease: &Lease) {
    if let Err(error) = store.state().unlock(owner, lease).await {
        tracing::warn!(
            code = error.code(),
            "giving the upgrade's lock back: {error}"
        );
    }
}

async fn lock(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    owner: &PluginName,
    options: &UpgradeOptions,
    watch: Watch<'_>,
) -> Result<Held, UpgradeError> {
    let begun_at = shared.clock.now();
    let mut told = false;
    loop {
        match Held::take(shared, store, owner).await {
            Ok(held) => return Ok(held),
            Err(StoreError::Locked { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if !told {
            told = true;
            watch(UpgradeEvent::Waiting);
        }
        let waited = shared.clock.now().saturating_duration_since(begun_at);
        if waited >= options.wait {
            return Err(UpgradeError::Busy { waited });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Work<'a> {
    shared: &'a Arc<Shared>,
    store: &'a Arc<dyn Store>,
    options: &'a UpgradeOptions,
    watch: Watch<'a>,
    lost: &'a AtomicBool,
    nth: usize,
    n_pending: usize,
}

impl Work<'_> {
    async fn plugin(
        &mut self,
        one: &OnePlugin,
        n_baseline: usize,
    ) -> Result<PluginUpgrade, UpgradeError> {
        let mut report = one.begin();
        if let Some(from) = &one.renamed_from {
            self.store.ledger().rename(from, &one.name).await?;
            (self.watch)(UpgradeEvent::Renamed {
                from: from.to_string(),
                plugin: one.name.to_string(),
            });
        }
        for step in &one.steps[..one.n_applied] {
            report.push(report::existing(step.id(&one.name)));
        }
        let mut newest = one.newest.clone();
        let mut stepping = Stepping::new(self.shared, self.store, one);
        let mut result = Ok(());
        for (at, step) in one.pending().iter().enumerate() {
            match self
                .step(one, step, newest.as_deref(), at < n_baseline, &mut stepping)
                .await
            {
                Ok(done) => {
                    newest = Some(done.id.clone());
                    report.push(done);
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        stepping.end().await;
        result.map(|()| report)
    }

    async fn step(
        &mut self,
        one: &OnePlugin,
        step: &Step,
        after: Option<&str>,
        baseline: bool,
        stepping: &mut Stepping<'_>,
    ) -> Result<StepReport, UpgradeError> {
        let id = step.id(&one.name);
        if self.lost.load(Ordering::Relaxed) {
            return Err(UpgradeError::LockLost { id });
        }
        self.nth += 1;
        let (nth, n_pending) = (self.nth, self.n_pending);
        (self.watch)(UpgradeEvent::StepBegins {
            id: id.clone(),
            nth,
            n_pending,
        });
        let begun_at: Instant = self.shared.clock.now();
        let ledger = self.store.ledger();
        let failed = |code: &str, message: String| UpgradeError::Step {
            id: id.clone(),
            plugin: one.name.to_string(),
            code: code.to_owned(),
            message,
        };
        let stored = |error: StoreError| failed(error.code(), error.to_string());
        let (state, counts) = match step.kind {
            _ if baseline => {
                ledger
                    .record(&one.name, step, after)
                    .await
                    .map_err(stored)?;
                (
                    StepState::Baseline,
                    StepCounts {
                        scanned: 1,
                        existing: 1,
                        ..StepCounts::default()
                    },
                )
            }
            StepKind::Sql | StepKind::Bare => {
                ledger.apply(&one.name, step, after).await.map_err(stored)?;
                (
                    StepState::Applied,
                    StepCounts {
                        scanned: 1,
                        migrated: 1,
                        ..StepCounts::default()
                    },
                )
            }
            StepKind::Code => {
                let run = stepping
                    .run(step, self.options.step_timeout, self.watch)
                    .await;
                let counts = run.map_err(|error| failed(&error.code, error.message))?;
                ledger
                    .record(&one.name, step, after)
                    .await
                    .map_err(stored)?;
                (StepState::Applied, counts)
            }
        };
        let took = self.shared.clock.now().saturating_duration_since(begun_at);
        (self.watch)(UpgradeEvent::StepEnds {
            id: id.clone(),
            counts,
            took,
        });
        Ok(StepReport {
            id,
            state,
            counts,
            took_ms: kodex_plugin::clock::millis(took),
        })
    }
}
