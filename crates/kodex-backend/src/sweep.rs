//! Finding and killing what a process tree left behind, by the mark in its environment.
//!
//! A grandchild that called `setsid` is in no group of ours any more, and once its parent is gone
//! it is nobody's child. What it cannot shed without starting a new program is the environment it
//! was started with. A process that was started with an empty environment escapes this sweep; only
//! a process namespace (the sandbox's business) holds those.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::supervise::MARK;

/// A tree that forks while it is swept can outrun one pass; this many passes it cannot.
const MAX_PASSES: usize = 16;
/// How long one pass waits for what it killed to be gone. A process in an uninterruptible wait can
/// take longer; nothing waits for it forever.
const GONE_WITHIN: Duration = Duration::from_millis(500);

/// Kills every process whose environment carries the mark, and waits until they are gone. Returns
/// how many were killed.
pub(crate) fn kill_marked(mark: &str) -> usize {
    let mut n_killed = 0;
    for _ in 0..MAX_PASSES {
        let killed: Vec<OwnedFd> = marked(mark)
            .into_iter()
            .filter_map(|pid| kill(pid, mark))
            .collect();
        if killed.is_empty() {
            break;
        }
        n_killed += killed.len();
        if !killed.iter().all(|pidfd| has_ended(pidfd, GONE_WITHIN)) {
            break;
        }
    }
    n_killed
}

/// Waits for a process to have ended, for at most this long.
pub(crate) fn has_ended(pidfd: impl AsFd, within: Duration) -> bool {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let span = Timespec {
        tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(within.subsec_nanos()),
    };
    matches!(poll(&mut fds, Some(&span)), Ok(1..))
}

/// The numbers of all living processes whose environment carries the mark.
#[must_use]
pub fn marked(mark: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| carries(*pid, mark))
        .collect()
}

fn carries(pid: u32, mark: &str) -> bool {
    // Unreadable means another user's process or one that is gone: not ours either way. The
    // environment of a zombie reads as empty.
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let mut pairs = environ.split(|byte| *byte == 0);
    pairs.any(|pair| {
        pair.strip_prefix(MARK.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            == Some(mark.as_bytes())
    })
}

fn kill(pid: u32, mark: &str) -> Option<OwnedFd> {
    let pid_at = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let pidfd = pidfd_open(pid_at, PidfdFlags::empty()).ok()?;
    // The number may have passed to a stranger between the listing and the opening; the descriptor
    // is fixed to one process, so looking again after opening it is enough.
    if !carries(pid, mark) {
        return None;
    }
    pidfd_send_signal(&pidfd, Signal::KILL).ok()?;
    Some(pidfd)
}
