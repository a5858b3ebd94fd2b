//! The keys about work that lasts: how much of it, who executes agent runs, where their answers go, how the
//! resident runtime serves.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kodex::{HeartbeatSettings, WorkSettings, store::queue::LEASE_MS};
use kodex_server::AllowedHost;
use serde::{Deserialize, Deserializer, de};

use super::{
    raw::{Positive, Span},
    ready::{set_number, set_size, set_span},
};

/// How long a command may take that brings an answer somewhere.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an agent may take when nobody says: long tasks are what runs are for.
const RUN_TIMEOUT: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawWork {
    n_runs: Option<Positive>,
    n_jobs: Option<Positive>,
    n_per_plugin: Option<Positive>,
    n_waiting: Option<Positive>,
    lease: Option<Lease>,
    sweep: Option<Span>,
    poll: Option<Span>,
    attempts: Option<Positive>,
    deliveries: Option<Positive>,
    crashes: Option<Positive>,
    pauses: Option<Vec<Span>>,
    run_age: Option<Span>,
    job_age: Option<Span>,
    retention: Option<Span>,
    job_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawHeartbeat {
    every: Option<Span>,
    each: Option<Span>,
    total: Option<Span>,
    n_plugins: Option<Positive>,
    n_parallel: Option<Positive>,
    n_recovered: Option<Positive>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawServe {
    http: Option<Address>,
    socket: Option<PathBuf>,
    grace: Option<Span>,
    log_format: Option<LogFormat>,
}

/// A program of the user's with how it is run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawProgram {
    command: Words,
    timeout: Option<Span>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    pass_env: Vec<String>,
    cwd: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawDestinations {
    command: BTreeMap<String, RawProgram>,
    file: Option<RawFiles>,
    webhook: Option<RawWebhook>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawWebhook {
    hosts: Vec<Host>,
    timeout: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawFiles {
    folder: PathBuf,
}

/// How the log of the resident runtime is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object on each line
    Json,
}

/// A program and its arguments.
#[derive(Debug, Clone)]
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        match words.first().map(|program| program.trim()) {
            None | Some("") => Err(de::Error::custom(
                "a command begins with its program, such as `[\"claude\", \"-p\"]`",
            )),
            Some(_) => Ok(Self(words)),
        }
    }
}

/// A lease that stores can give.
#[derive(Debug, Clone, Copy)]
struct Lease(Duration);

impl<'de> Deserialize<'de> for Lease {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Span(lease) = Span::deserialize(deserializer)?;
        let (least, most) = (LEASE_MS.start(), LEASE_MS.end());
        match u64::try_from(lease.as_millis()) {
            Ok(ms) if LEASE_MS.contains(&ms) => Ok(Self(lease)),
            _ => Err(de::Error::custom(format!(
                "a lease is from {least} to {most} ms"
            ))),
        }
    }
}

/// A host that answers may be sent to.
#[derive(Debug, Clone)]
struct Host(AllowedHost);

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// An address with a port.
#[derive(Debug, Clone, Copy)]
struct Address(SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        address(&text).map(Self).map_err(de::Error::custom)
    }
}

/// An address as it is typed: `127.0.0.1:7340`, `[::1]:7340`, `localhost:7340`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    // The one name that needs no one to be asked.
    let number = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    number.parse().map_err(|_| {
        format!("{text:?} is no address with a port; write it as `127.0.0.1:7340` or `[::1]:7340`")
    })
}

/// What is said about work that lasts, with nothing left to resolve but the search path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    pub(crate) settings: WorkSettings,
    pub(crate) heartbeat: HeartbeatSettings,
    /// Who executes agent runs.
    pub(crate) runner: Option<Program>,
    /// Commands that take answers, by name.
    pub(crate) commands: BTreeMap<String, Program>,
    /// Where answers become files.
    pub(crate) files: Option<PathBuf>,
    /// Where answers may be sent over HTTP.
    pub(crate) webhook: Option<Webhook>,
}

/// Where answers may be sent over HTTP, and how long that may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) hosts: Vec<AllowedHost>,
    pub(crate) timeout: Option<Duration>,
}

/// A program of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// A bare name is looked up on the search path; anything else is a path from the file's base.
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) timeout: Duration,
    /// Variables that it gets.
    pub(crate) env: BTreeMap<String, String>,
    /// Variables that it gets as Kodex has them.
    pub(crate) pass_env: Vec<String>,
    /// Seen from the working directory.
    pub(crate) cwd: PathBuf,
}

/// How the resident runtime serves.
#[derive(Debug, Clone)]
pub(crate) struct Serve {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) grace: Duration,
    pub(crate) beat: Duration,
    pub(crate) log_format: LogFormat,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            http: None,
            socket: None,
            grace: Duration::from_secs(30),
            beat: Duration::from_secs(60),
            log_format: LogFormat::default(),
        }
    }
}

impl Work {
    pub(super) fn lay_over(&mut self, raw: &RawWork) {
        let settings = &mut self.settings;
        set_size(&mut settings.n_runs, raw.n_runs);
        set_size(&mut settings.n_jobs, raw.n_jobs);
        if let Some(Positive(n)) = raw.n_per_plugin {
            settings.n_per_plugin = usize::try_from(n).ok();
        }
        if let Some(Positive(n)) = raw.n_waiting {
            settings.n_waiting = u64::from(n);
        }
        settings.lease = raw.lease.map_or(settings.lease, |Lease(lease)| lease);
        set_span(&mut settings.sweep, raw.sweep);
        set_span(&mut settings.poll, raw.poll);
        set_number(&mut settings.attempts, raw.attempts);
        set_number(&mut settings.deliveries, raw.deliveries);
        set_number(&mut settings.crashes, raw.crashes);
        if let Some(pauses) = &raw.pauses {
            settings.pauses = pauses.iter().map(|Span(pause)| *pause).collect();
        }
        set_span(&mut settings.run_age, raw.run_age);
        set_span(&mut settings.job_age, raw.job_age);
        set_span(&mut settings.retention, raw.retention);
        set_span(&mut settings.job_timeout, raw.job_timeout);
    }

    pub(super) fn lay_heartbeat_over(&mut self, raw: &RawHeartbeat) {
        let heartbeat = &mut self.heartbeat;
        set_span(&mut heartbeat.each, raw.each);
        set_span(&mut heartbeat.total, raw.total);
        set_size(&mut heartbeat.n_plugins, raw.n_plugins);
        set_size(&mut heartbeat.n_parallel, raw.n_parallel);
        set_size(&mut heartbeat.n_recovered, raw.n_recovered);
    }

    pub(super) fn lay_programs_over(
        &mut self,
        runner: Option<RawProgram>,
        destinations: RawDestinations,
        base: &Path,
    ) {
        if let Some(runner) = runner {
            self.runner = Some(runner.ready(base, RUN_TIMEOUT));
        }
        let commands = destinations.command.into_iter();
        self.commands
            .extend(commands.map(|(name, raw)| (name, raw.ready(base, DELIVERY_TIMEOUT))));
        if let Some(files) = destinations.file {
            self.files = Some(base.join(files.folder));
        }
        if let Some(webhook) = destinations.webhook {
            self.webhook = Some(Webhook {
                hosts: webhook.hosts.into_iter().map(|Host(host)| host).collect(),
                timeout: webhook.timeout.map(|Span(timeout)| timeout),
            });
        }
    }
}

impl Serve {
    pub(super) fn lay_over(&mut self, raw: RawServe, every: Option<Span>, base: &Path) {
        self.http = raw.http.map(|Address(address)| address).or(self.http);
        self.socket = raw
            .socket
            .map(|socket| base.join(socket))
            .or(self.socket.take());
        set_span(&mut self.grace, raw.grace);
        set_span(&mut self.beat, every);
        self.log_format = raw.log_format.unwrap_or(self.log_format);
    }
}

impl RawHeartbeat {
    pub(super) fn every(&self) -> Option<Span> {
        self.every
    }
}

impl RawProgram {
    fn ready(self, base: &Path, timeout: Duration) -> Program {
        let Words(words) = self.command;
        let mut words = words.into_iter();
        let program = PathBuf::from(words.next().unwrap_or_default());
        let is_bare = program.components().count() == 1 && program.is_relative();
        let is_bare = is_bare && !program.starts_with(".");
        Program {
            program: if is_bare { program } else { base.join(program) },
            args: words.collect(),
            timeout: self.timeout.map_or(timeout, |Span(timeout)| timeout),
            env: self.env,
            pass_env: self.pass_env,
            cwd: self.cwd.map_or(base.to_owned(), |cwd| base.join(cwd)),
        }
    }
}
