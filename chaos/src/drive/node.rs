//! One node: `kodex serve` as a process that is signalled, limited, ended and started again.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::{
    clock::{WallClock, sweep},
    door::Door,
    pace,
    place::Place,
    world::World,
};

/// A node, running or not. Dropping it kills it.
pub(super) struct Node {
    pub(super) name: String,
    store: String,
    socket: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    started_at: Instant,
    /// How the last process ended that nobody waited for.
    status: Option<ExitStatus>,
    /// Its way to the server, where there is one.
    pub(super) door: Option<Door>,
    /// Its wall clock, where that can be moved.
    pub(super) clock: Option<WallClock>,
    /// Limits that it had before they were made small.
    limits: Vec<(Resource, Rlimit)>,
}

impl Node {
    pub(super) fn new(
        world: &World,
        name: &str,
        place: &Place,
        library: Option<&Path>,
    ) -> Result<Self> {
        let (door, store) = match place.door()? {
            Some((door, url)) => (Some(door), url),
            None => (None, place.url()),
        };
        let clock = library.map(|library| WallClock::new(world.root(), name, library));
        Ok(Self {
            name: name.to_owned(),
            store,
            socket: world.root().join(format!("run-{name}")).join("k.sock"),
            log: world.root().join(format!("{name}.log")),
            child: None,
            started_at: Instant::now(),
            status: None,
            door,
            clock: clock.transpose()?,
            limits: Vec::new(),
        })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Starts it; what it says goes behind what it said before.
    pub(super) fn start(&mut self, world: &World) -> Result<()> {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.log)?;
        let mut command = world.command(&self.store);
        command
            .args([
                "-v", "serve", "--beat", "250ms", "--grace", "1s", "--socket",
            ])
            .arg(&self.socket)
            .envs(self.clock.iter().flat_map(WallClock::env))
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("starting node {}", self.name))?;
        self.child = Some(child);
        self.started_at = Instant::now();
        self.limits.clear();
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // It may have ended by itself, and is a zombie of ours until it is waited for.
            let _ = kill_process(pid, signal);
        }
    }

    /// How its last process ended, with the last error in its log.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut errors = log.lines().filter(|line| line.starts_with("error"));
        let error = errors.next_back().unwrap_or("no error in its log");
        let status = self.status.map(|status| status.to_string());
        let (name, status) = (&self.name, status.unwrap_or_default());
        format!("node {name}: {status}: {error}")
    }

    /// How long its process has been there.
    pub(super) fn age(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let pid = self.pid();
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        self.status = Some(status);
        pid.into_iter().for_each(sweep);
        Some(status)
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.ended();
        self.child.is_some()
    }

    /// Waits for its end; kills it when that takes too long, and says whether it did not have to.
    pub(super) fn end(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= deadline {
                self.kill();
                return false;
            }
            pace();
        }
        true
    }

    pub(super) fn kill(&mut self) {
        let pid = self.pid();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            pid.into_iter().for_each(sweep);
        }
    }

    /// Makes a limit of the running process small. Where that fails, it has ended.
    pub(super) fn limit(&mut self, what: Resource, to: u64) {
        // It has this program's, which nobody changes.
        let usual = getrlimit(what);
        let small = Rlimit {
            current: Some(to),
            maximum: usual.maximum,
        };
        if self
            .pid()
            .is_some_and(|pid| prlimit(Some(pid), what, small).is_ok())
        {
            self.limits.push((what, usual));
        }
    }

    /// Gives it its limits back.
    pub(super) fn unlimit(&mut self) {
        let Some(pid) = self.pid() else { return };
        for (what, usual) in self.limits.split_off(0) {
            // What it started meanwhile has them too.
            for pid in children(pid).into_iter().chain([pid]) {
                let _ = prlimit(Some(pid), what, usual);
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes that a process started and that are there.
fn children(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The program's name may hold anything, brackets too.
            let (_, rest) = stat.rsplit_once(')')?;
            let above: i32 = rest.split_whitespace().nth(1)?.parse().ok()?;
            (above == parent.as_raw_nonzero().get()).then(|| Pid::from_raw(pid))?
        })
        .collect()
}
