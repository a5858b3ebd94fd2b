//! The worker backend: a plugin in a child process that speaks the lines of `contract/WIRE.md`.
//!
//! Opening starts nothing. The process starts when the plugin is activated, and again when a call
//! finds it gone, within the rule of [`restarts`](crate::restarts). A call that overruns its
//! deadline is cancelled, and what does not give it up is ended with everything it started. It does
//! not order calls, limit how many run, retry any, or measure them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use kodex_plugin::{Call, Context, Health, Manifest, Plugin, PluginError, Reply, Request};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

mod answer;
mod bucket;
mod flight;
mod handshake;
mod host_calls;
mod inbound;
pub(crate) mod lines;
mod link;
mod options;
mod outbound;
mod pump;
mod session;
mod shared;
mod start;
mod table;
pub(crate) mod tail;

pub use options::{WorkerOptions, WorkerTimes};

use self::{
    link::{Link, Unsent},
    session::session,
    shared::{Phase, Shared},
};
use crate::{
    Backend, Launch, OpenError, Package, codes,
    restarts::{Decision, Event},
};

/// Opens packages that are programs of their own.
#[derive(Debug, Clone)]
pub struct WorkerBackend {
    options: WorkerOptions,
}

impl WorkerBackend {
    /// A backend whose workers share these options.
    #[must_use]
    pub fn new(options: WorkerOptions) -> Self {
        Self { options }
    }

    /// Like [`Backend::open`], but keeps the type, which has more to tell.
    ///
    /// # Errors
    /// [`OpenError`] when the package is not a program of its own.
    pub fn open_worker(&self, package: Package) -> Result<Worker, OpenError> {
        let plugin = package.manifest.name.clone();
        let Launch::Command(command) = package.launch.clone() else {
            return Err(OpenError::Launch {
                plugin,
                backend: "worker",
                wanted: "a command line",
            });
        };
        if !package.root.is_absolute() {
            let root = package.root;
            return Err(OpenError::RelativeRoot { plugin, root });
        }
        let shared = Shared::new(package, command, self.options.clone());
        Ok(Worker {
            shared: Arc::new(shared),
            activation: Mutex::new(None),
        })
    }
}

impl Backend for WorkerBackend {
    fn kind(&self) -> &'static str {
        "worker"
    }

    fn open(&self, package: Package) -> Result<Arc<dyn Plugin>, OpenError> {
        Ok(Arc::new(self.open_worker(package)?))
    }
}

/// A plugin in a child process. Dropping it ends the process and everything it started.
pub struct Worker {
    shared: Arc<Shared>,
    activation: Mutex<Option<Activation>>,
}

/// What a start needs, from the activation on.
struct Activation {
    context: Context,
    stop: watch::Sender<bool>,
    session: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("plugin", &self.shared.manifest.name)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Lets a quarantined worker start again.
    pub fn clear(&self) {
        self.shared.decide(Event::Cleared);
    }

    fn activation(&self) -> std::sync::MutexGuard<'_, Option<Activation>> {
        self.activation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that answers, starting one if none does.
    async fn link(&self) -> Result<Arc<Link>, PluginError> {
        let mut phases = self.shared.phase.subscribe();
        let mut waited = false;
        loop {
            let phase = phases.borrow_and_update().clone();
            match phase {
                Phase::Up(link) if !link.is_closed() => return Ok(link),
                // Who waited for a start that failed gets the reason and tries no other.
                Phase::Idle(Some(error)) if waited => return Err(error),
                Phase::Idle(error) => {
                    self.start(error.as_ref())?;
                    waited = true;
                }
                Phase::Stopped => {
                    return Err(deactivated());
                }
                Phase::Starting => waited = true,
                Phase::Up(_) | Phase::Ending => {}
            }
            // The sender lives as long as the worker.
            let _ = phases.changed().await;
        }
    }

    /// Starts a session, if the rule for restarts lets it.
    fn start(&self, last: Option<&PluginError>) -> Result<(), PluginError> {
        let mut activation = self.activation();
        let Some(activation) = &mut *activation else {
            return Err(codes::INACTIVE.error("the plugin was not activated"));
        };
        // Under the lock of the activation there is one start at a time.
        if !matches!(&*self.shared.phase.borrow(), Phase::Idle(_)) {
            return Ok(());
        }
        match self.shared.decide(Event::Wanted) {
            Decision::Start | Decision::Idle => {}
            Decision::Wait(due_at) => return Err(self.backing_off(due_at, last)),
            Decision::Quarantined => return Err(quarantined(last)),
        }
        self.shared.phase.send_replace(Phase::Starting);
        let session = session(
            Arc::clone(&self.shared),
            activation.context.clone(),
            activation.stop.subscribe(),
        );
        activation.session = Some(self.shared.options.runtime.spawn(session));
        Ok(())
    }

    fn backing_off(&self, due_at: Instant, last: Option<&PluginError>) -> PluginError {
        let left = due_at.saturating_duration_since(self.shared.options.clock.now());
        codes::BACKING_OFF.error(format!(
            "the process is not started again for another {:.1} s; {}",
            left.as_secs_f64(),
            before(last)
        ))
    }

    async fn slow_call(&self, request: Request<'_>) -> Result<Reply, PluginError> {
        let now = self.shared.options.clock.now();
        let left = request.deadline.at.saturating_duration_since(now);
        let starting = async {
            loop {
                let link = self.link().await?;
                match link.call(&request) {
                    Ok(flight) => return Ok(flight),
                    Err(Unsent::Refused(error)) => return Err(error),
                    Err(Unsent::Barred(_)) => link.probation_over().await,
                }
            }
        };
        let flight = match timeout(left, starting).await {
            Ok(begun) => begun?,
            Err(_) => {
                return Err(codes::TIMEOUT.error("the process was not ready before the deadline"));
            }
        };
        flight.await.map(Reply)
    }

    async fn stop(&self) {
        let mut phases = self.shared.phase.subscribe();
        {
            let activation = self.activation();
            let stopped = self.shared.phase.send_if_modified(|phase| {
                let idle = matches!(phase, Phase::Idle(_));
                if idle {
                    *phase = Phase::Stopped;
                }
                idle
            });
            match &*activation {
                Some(activation) if !stopped => {
                    activation.stop.send_replace(true);
                }
                _ => return,
            }
        }
        let times = &self.shared.options.times;
        let longest = times.shutdown + times.term_grace + STOP_SLACK;
        tokio::select! {
            _ = phases.wait_for(|phase| matches!(phase, Phase::Stopped | Phase::Idle(_))) => {}
            () = sleep(longest) => self.shared.kill(&deactivated()),
        }
        self.shared.phase.send_replace(Phase::Stopped);
    }
}

/// What ending a group may take besides its grace.
const STOP_SLACK: std::time::Duration = std::time::Duration::from_secs(2);

fn deactivated() -> PluginError {
    codes::STOPPED.error("the plugin was deactivated")
}

fn quarantined(last: Option<&PluginError>) -> PluginError {
    codes::QUARANTINED.error(format!(
        "the process ended too often and is not started again until somebody clears it; {}",
        before(last)
    ))
}

fn before(last: Option<&PluginError>) -> String {
    match last {
        Some(error) => format!("the last time: {} ({})", error.message, error.code),
        None => "it ended before".to_owned(),
    }
}

impl Plugin for Worker {
    fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        {
            let mut activation = self.activation();
            let session = activation.take().and_then(|known| known.session);
            *activation = Some(Activation {
                context,
                stop: watch::Sender::new(false),
                session,
            });
            self.shared.phase.send_if_modified(|phase| {
                let stopped = matches!(phase, Phase::Stopped);
                if stopped {
                    *phase = Phase::Idle(None);
                }
                stopped
            });
        }
        Call::pending(async { self.link().await.map(drop) })
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        let up = match &*self.shared.phase.borrow() {
            Phase::Up(link) => Some(Arc::clone(link)),
            _ => None,
        };
        if let Some(link) = up {
            match link.call(&request) {
                Ok(flight) => return Call::pending(async move { flight.await.map(Reply) }),
                Err(Unsent::Refused(error)) => return Call::Ready(Err(error)),
                Err(Unsent::Barred(_)) => {}
            }
        }
        Call::pending(self.slow_call(request))
    }

    fn deactivate(&self) -> Call<'_, ()> {
        Call::pending(async {
            self.stop().await;
            Ok(())
        })
    }

    fn health(&self) -> Health {
        self.shared.health()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let session = self.activation().take().and_then(|known| known.session);
        if let Some(session) = session {
            session.abort();
        }
        self.shared.kill(&deactivated());
    }
}
