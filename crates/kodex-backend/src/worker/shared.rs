//! What a worker and the session of its process share.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kodex_plugin::{Health, Life, Limits, Manifest, PluginError};
use tokio::sync::watch;

use super::{WorkerOptions, link::Link};
use crate::{
    Command,
    restarts::{Decision, Event, Restarts},
};

/// Where a worker stands.
#[derive(Clone)]
pub(super) enum Phase {
    /// No process; what ended or prevented the last one.
    Idle(Option<PluginError>),
    /// A process is on its way.
    Starting,
    /// A process answers.
    Up(Arc<Link>),
    /// A process is on its way out.
    Ending,
    /// Deactivated.
    Stopped,
}

pub(super) struct Shared {
    pub(super) manifest: Manifest,
    pub(super) root: PathBuf,
    pub(super) limits: Limits,
    pub(super) command: Command,
    pub(super) options: WorkerOptions,
    pub(super) phase: watch::Sender<Phase>,
    restarts: Mutex<Restarts>,
    /// The process that runs, also while it starts and ends.
    live: Mutex<Option<Arc<Link>>>,
    /// What is left of the processes before.
    past: Mutex<Health>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(package: crate::Package, command: Command, options: WorkerOptions) -> Self {
        Self {
            manifest: package.manifest,
            root: package.root,
            limits: package.limits,
            command,
            options,
            phase: watch::Sender::new(Phase::Idle(None)),
            restarts: Mutex::new(Restarts::default()),
            live: Mutex::new(None),
            past: Mutex::new(Health::default()),
        }
    }

    pub(super) fn decide(&self, event: Event) -> Decision {
        let now = self.options.clock.now();
        lock(&self.restarts).on(&self.options.restarts, now, event)
    }

    pub(super) fn adopt(&self, link: &Arc<Link>) {
        *lock(&self.live) = Some(Arc::clone(link));
    }

    /// The process is gone: keeps its numbers.
    pub(super) fn retire(&self) {
        let Some(link) = lock(&self.live).take() else {
            return;
        };
        let mut past = lock(&self.past);
        past.discarded += link.n_discarded();
        past.dropped += link.n_dropped();
        past.log_tail = link.tail().text();
    }

    /// Ends what runs, at once, from a place that cannot wait.
    pub(super) fn kill(&self, error: &PluginError) {
        let link = lock(&self.live).take();
        if let Some(link) = link {
            link.close(error);
            link.group.end_now();
        }
    }

    pub(super) fn health(&self) -> Health {
        let mut health = lock(&self.past).clone();
        if let Some(link) = &*lock(&self.live) {
            health.pid = Some(link.group.pid());
            health.discarded += link.n_discarded();
            health.dropped += link.n_dropped();
            health.log_tail = link.tail().text();
        }
        let restarts = lock(&self.restarts);
        health.restarts = restarts.n_restarts();
        let waits = restarts
            .due_at()
            .is_some_and(|due_at| self.options.clock.now() < due_at);
        health.state = match &*self.phase.borrow() {
            Phase::Starting | Phase::Up(_) | Phase::Ending => Life::Running,
            Phase::Stopped => Life::Idle,
            Phase::Idle(_) if restarts.is_quarantined() => Life::Quarantined,
            Phase::Idle(_) if waits => Life::BackOff,
            Phase::Idle(_) => Life::Idle,
        };
        health
    }
}
