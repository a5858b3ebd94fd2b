//! How the store is and the work in it: from the resident runtime where one listens, because it is the one that
//! works; otherwise by a look into the store.
//!
//! It is asked for by somebody who wants to know what is wrong, so nothing here fails: what goes wrong is what is
//! told, and each question has its bound.

use std::{collections::BTreeMap, fmt::Write as _, future::Future, sync::Arc, time::Duration};

use kodex::{
    Diagnostic, Finding,
    store::{Store, StoreError},
};
use kodex_server::{Client, ClientError, QueueStatus, Status, wire::NoParams};
use serde::Serialize;

use crate::{invocation::Invocation, problem::Problem, render::text};

/// How long a resident runtime or a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What findings about the store are about.
const STORE: &str = "store";
/// What findings about the resident runtime are about.
const DAEMON: &str = "kodex serve";
const WORK: &str = "runs and jobs";

/// How the store and the work in it are.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Health {
    /// None where no place for a store is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreHealth>,
    /// None where none listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<DaemonHealth>,
    /// Runs and jobs by queue and state; none where they cannot be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    queues: Option<Vec<QueueStatus>>,
    #[serde(skip)]
    findings: Vec<Finding>,
}

/// How a store is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct StoreHealth {
    /// Where it is, without a password.
    place: String,
    /// Whether it is there and takes writes.
    answers: bool,
    /// If not, the stable code of what it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// How a resident runtime is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct DaemonHealth {
    /// Its process.
    pid: u32,
    /// Whether it takes work.
    ready: bool,
    /// Why not, as `/readyz` and `kodex status` say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Runs and jobs that it holds.
    n_held: usize,
}

impl Health {
    /// Asks whoever knows.
    pub(crate) async fn ask(invocation: &mut Invocation) -> Result<Self, Problem> {
        let ready = invocation.config()?;
        let mut health = Self::default();
        let socket = ready.socket(&invocation.environment.cwd);
        if let Some(socket) = socket.filter(|socket| socket.exists()) {
            let asked = async {
                match Client::connect(&socket).await? {
                    Some(mut client) => {
                        client.ask("status", &NoParams {}, PATIENCE).await.map(Some)
                    }
                    None => Ok(None),
                }
            };
            match asked.await {
                Ok(Some(status)) => {
                    health.hear(status);
                    return Ok(health);
                }
                Ok(None) => {}
                Err(error) => health.miss(&error),
            }
        }
        // A store that cannot be named is a matter of configuration, which is said elsewhere.
        if let Some(store) = invocation.store()? {
            health.look(&store).await;
        }
        Ok(health)
    }

    /// What a resident runtime says.
    fn hear(&mut self, status: Status) {
        let failure = status.store_failure.clone();
        let is_gone = status
            .reason
            .as_deref()
            .is_some_and(|why| why.starts_with("store_"));
        if let Some(reason) = &status.reason {
            let text = format!(
                "the resident runtime (process {}) takes no work: {reason}",
                status.pid
            );
            let found = match is_gone {
                true => Diagnostic::error("daemon.unready", text)
                    .with_hint("it goes on by itself when the store is back; `kodex explain store.unreachable` says more"),
                false => Diagnostic::warning("daemon.unready", text)
                    .with_hint("it is about to begin or to end; ask again in a moment"),
            };
            self.find(DAEMON, found);
        }
        self.store = Some(StoreHealth {
            place: status.store,
            answers: !is_gone,
            failure,
        });
        self.daemon = Some(DaemonHealth {
            pid: status.pid,
            ready: status.ready,
            reason: status.reason,
            n_held: status.work.map_or(0, |work| work.n_held),
        });
        self.count(status.queues);
    }

    /// One is there and does not answer.
    fn miss(&mut self, error: &ClientError) {
        let found = Diagnostic::warning(error.code().to_owned(), error.to_string())
            .with_hint("how the store is was looked up here; look at the log of `kodex serve`");
        self.find(DAEMON, found);
    }

    /// Looks into a store.
    async fn look(&mut self, store: &Arc<dyn Store>) {
        let place = store.place().to_owned();
        let late = || StoreError::Busy {
            what: format!("the store at {place}"),
        };
        let asked = async {
            bounded(store.ping()).await.unwrap_or_else(|| Err(late()))?;
            bounded(store.queue().counts())
                .await
                .unwrap_or_else(|| Err(late()))
        };
        let counts = asked.await;
        self.store = Some(StoreHealth {
            answers: counts.is_ok(),
            failure: counts.as_ref().err().map(|error| error.code().to_owned()),
            place,
        });
        match counts {
            Ok(counts) => {
                let mut sums: BTreeMap<(String, &str), u64> = BTreeMap::new();
                for count in counts {
                    *sums.entry((count.queue, count.state.as_str())).or_default() += count.n;
                }
                let row = |((queue, state), n): ((String, &str), u64)| QueueStatus {
                    queue,
                    state: state.to_owned(),
                    n,
                };
                self.count(Some(sums.into_iter().map(row).collect()));
            }
            Err(error) => {
                let problem = Problem::from(error);
                self.find(STORE, *problem.found);
            }
        }
    }

    fn count(&mut self, queues: Option<Vec<QueueStatus>>) {
        let n_dead: u64 = queues
            .iter()
            .flatten()
            .filter(|row| row.state == "dead")
            .map(|row| row.n)
            .sum();
        if n_dead > 0 {
            let text = format!("{n_dead} runs or jobs were given up");
            let found = Diagnostic::warning("work.dead", text).with_hint(
                "`kodex runs list --state dead` and the same with `--jobs` say why; `kodex runs retry ID` tries one again",
            );
            self.find(WORK, found);
        }
        self.queues = queues;
    }

    fn find(&mut self, source: &str, diagnostic: Diagnostic) {
        self.findings.push(Finding {
            source: source.to_owned(),
            diagnostic,
        });
    }

    /// What is wrong or worth knowing.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// In lines for people.
    pub(crate) fn lines(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{name:<10} {}", text::line(value));
        };
        match &self.store {
            Some(StoreHealth { place, failure, .. }) => match failure {
                None => line("store", place),
                Some(failure) => line("store", &format!("{place}: {failure}")),
            },
            None => line("store", "none is configured"),
        }
        match &self.daemon {
            Some(daemon) => {
                let state = match &daemon.reason {
                    None => "ready".to_owned(),
                    Some(reason) => format!("not ready: {reason}"),
                };
                line(
                    "resident",
                    &format!("{state}, process {}, {} held", daemon.pid, daemon.n_held),
                );
            }
            None => line("resident", "none"),
        }
        for one in self.queues.iter().flatten() {
            line(
                &format!("{}s", one.queue),
                &format!("{} {}", one.n, one.state),
            );
        }
        out
    }
}

async fn bounded<T>(asked: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, asked).await.ok()
}
