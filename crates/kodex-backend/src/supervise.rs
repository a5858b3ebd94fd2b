//! Starting a child process in a process group of its own, and ending it for good.
//!
//! A child gets exactly the environment it is given, pipes for its three streams, and a mark by
//! which everything it ever starts can be found again: a grandchild that leaves the group with
//! `setsid` still carries `KODEX_WORKER` in its environment.
//!
//! It runs no code between fork and exec (no `pre_exec`), so the standard library can use
//! `posix_spawn` and a host with much memory pays nothing extra. It does not decide *when* a child
//! is ended, reads no protocol and confines nothing; those are the worker's and the sandbox's.

use std::{
    ffi::OsString,
    fmt, io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::unix::pipe,
    task::spawn_blocking,
    time::timeout,
};

use crate::{orphans::House, sweep};

/// The variable that carries the mark of a process tree.
pub const MARK: &str = "KODEX_WORKER";

/// How long a caller that cannot wait asynchronously (a drop) waits for a killed process to be gone.
const REAP_AT_ONCE: Duration = Duration::from_millis(500);

/// What to start. The environment of the child is `env` plus the mark, nothing else.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The program: an absolute path. Nothing is looked up.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment, apart from the mark.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// The mark of its process tree, see [`mark`].
    pub mark: String,
}

/// A started child: the group that it leads and the host's ends of its pipes, all non-blocking.
#[derive(Debug)]
pub struct Running {
    /// The process group.
    pub group: Group,
    /// To the child.
    pub stdin: pipe::Sender,
    /// From the child.
    pub stdout: pipe::Receiver,
    /// The child's log.
    pub stderr: pipe::Receiver,
}

/// A new mark: this process, see [`House`], and 128 random bits as text.
#[must_use]
pub fn mark() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library seeds hashers from the system's random source.
    let half = || RandomState::new().build_hasher().finish();
    format!("{}.{:016x}{:016x}", House::own(), half(), half())
}

/// Starts a child. Must be called inside a tokio runtime with I/O enabled.
///
/// # Errors
/// Whatever the system says, for example that there is no such program.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that starts child processes"
)]
pub fn spawn(spec: &Spec) -> io::Result<Running> {
    let mut child = Command::new(&spec.program)
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .env(MARK, &spec.mark)
        .current_dir(&spec.cwd)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let group = Group::adopt(child, spec.mark.clone())?;
    // From here on an early return drops the group, which ends the child.
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("the child has no pipes"));
    };
    Ok(Running {
        group,
        stdin: pipe::Sender::from_owned_fd(stdin.into())?,
        stdout: pipe::Receiver::from_owned_fd(stdout.into())?,
        stderr: pipe::Receiver::from_owned_fd(stderr.into())?,
    })
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with a status.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It is gone, but the system could not say how, or it could not be waited for in time.
    Unknown,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was ended by signal {signal} ({name})"),
                None => write!(f, "was ended by signal {signal}"),
            },
            Self::Unknown => f.write_str("ended"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// A process group led by a child of ours. Dropping it kills the group and everything with its mark.
pub struct Group {
    pid: Pid,
    mark: String,
    /// Readable once the leader has ended; the leader stays a zombie until [`Group::reap`], so its
    /// number, and with it the group's, cannot be given to a stranger in between.
    ended: AsyncFd<OwnedFd>,
    child: Mutex<Reaping>,
}

struct Reaping {
    child: Child,
    exit: Option<Exit>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

impl Group {
    fn adopt(mut child: Child, mark: String) -> io::Result<Self> {
        let opened = || {
            let raw = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let pid = raw.ok_or_else(|| io::Error::other("the child has no process id"))?;
            let fd = pidfd_open(pid, PidfdFlags::empty())?;
            Ok::<_, io::Error>((pid, watch(fd)?))
        };
        match opened() {
            Ok((pid, ended)) => Ok(Self {
                pid,
                mark,
                ended,
                child: Mutex::new(Reaping { child, exit: None }),
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The number of the group and of the process that leads it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The mark that every process of the tree carries.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Waits until the leader has ended. May be dropped and called again at any time.
    pub async fn ended(&self) {
        // An error means that the runtime is shutting down; nobody waits for an answer then.
        let _ = self.ended.readable().await;
    }

    /// Whether the leader has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lock().exit.is_some() || self.wait_blocking(Duration::ZERO)
    }

    /// Ends the whole tree: SIGTERM to the group, `grace` for it to go, SIGKILL to what is left of
    /// the group and to the leader's descendants, then to every process with the mark wherever it
    /// went. Reaps the leader.
    ///
    /// A group whose leader has ended already gets no grace.
    pub async fn end(&self, grace: Duration) -> Exit {
        let mut descendants = Vec::new();
        if !self.is_over() {
            let pid = self.pid();
            // Looking through all processes takes milliseconds on a big machine.
            descendants = spawn_blocking(move || sweep::descendants(pid))
                .await
                .unwrap_or_default();
            let _ = kill_process_group(self.pid, Signal::TERM);
            let _ = timeout(grace, self.ended()).await;
        }
        if self.lock().exit.is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            // A process in an uninterruptible wait can outlive SIGKILL; nothing waits for it forever.
            let _ = timeout(REAP_AT_ONCE, self.ended()).await;
        }
        let mark = self.mark.clone();
        let swept = spawn_blocking(move || {
            sweep::kill_all(&descendants);
            sweep::kill_marked(&mark)
        });
        if swept.await.is_err() {
            // The runtime is going away and starts nothing any more.
            sweep::kill_marked(&self.mark);
        }
        self.reap()
    }

    /// Like [`Group::end`] without grace and without waiting longer than a moment.
    pub fn end_now(&self) -> Exit {
        if !self.is_over() {
            sweep::kill_all(&sweep::descendants(self.pid()));
        }
        if self.lock().exit.is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            self.wait_blocking(REAP_AT_ONCE);
        }
        sweep::kill_marked(&self.mark);
        self.reap()
    }

    fn reap(&self) -> Exit {
        let mut reaping = self.lock();
        if reaping.exit.is_none()
            && let Ok(Some(status)) = reaping.child.try_wait()
        {
            reaping.exit = Some(status.into());
        }
        reaping.exit.unwrap_or(Exit::Unknown)
    }

    fn wait_blocking(&self, span: Duration) -> bool {
        sweep::has_ended(self.ended.get_ref(), span)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reaping> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    deprecated,
    reason = "the replacement is unsafe code for the sake of descriptors that are not owned; this one is"
)]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.lock().exit.is_none() {
            self.end_now();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "processes live in real time")]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Running {
        spawn(&Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/".into(),
            mark: mark(),
        })
        .expect("a shell starts")
    }

    async fn line(running: &Running) -> String {
        let mut buffer = [0; 256];
        let reading = async {
            loop {
                running.stdout.readable().await.expect("a pipe");
                if let Ok(n) = running.stdout.try_read(&mut buffer) {
                    return String::from_utf8_lossy(&buffer[..n]).trim().to_owned();
                }
            }
        };
        timeout(Duration::from_secs(10), reading)
            .await
            .expect("the shell writes a line")
    }

    #[tokio::test]
    async fn a_group_ends_with_everything_it_started() {
        let setsid = "setsid sh -c 'echo up; exec sleep 100' & wait";
        let bare = "setsid env -i sh -c 'echo up; exec sleep 100' & wait";
        for (script, want) in [
            (bare, Exit::Signal(15)),
            ("echo up; exec sleep 100", Exit::Signal(15)),
            (
                "trap '' TERM; echo up; while :; do sleep 100; done",
                Exit::Signal(9),
            ),
            (
                "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done",
                Exit::Code(7),
            ),
            (setsid, Exit::Signal(15)),
        ] {
            let running = shell(script);
            assert_eq!(line(&running).await, "up", "{script}");
            let tree = sweep::descendants(running.group.pid());
            let exit = running.group.end(Duration::from_millis(300)).await;
            assert_eq!(exit, want, "{script}");
            let gone = |pidfd| sweep::has_ended(pidfd, Duration::ZERO);
            assert!(tree.iter().all(gone), "{script}");
            assert_eq!(sweep::marked(running.group.mark()), [0; 0], "{script}");
        }
    }

    #[tokio::test]
    async fn a_dropped_group_is_gone() {
        let running = shell("trap '' TERM; echo up; setsid sleep 100 & sleep 100");
        assert_eq!(line(&running).await, "up");
        let mark = running.group.mark().to_owned();
        let started_at = Instant::now();
        drop(running);
        assert_eq!(sweep::marked(&mark), [0; 0]);
        assert!(started_at.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn the_environment_is_what_was_given_and_the_mark() {
        // The shell adds a variable of its own.
        let running = shell("unset PWD; exec /usr/bin/env | sort | tr '\\n' ' '");
        let want = format!("KODEX_WORKER={} PATH=/usr/bin:/bin", running.group.mark());
        assert_eq!(line(&running).await, want);
        running.group.ended().await;
        assert!(running.group.is_over());
        assert_eq!(running.group.end(Duration::ZERO).await, Exit::Code(0));
    }
}
