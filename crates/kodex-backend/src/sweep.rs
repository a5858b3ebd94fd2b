//! Finding and killing what a process tree left outside its group: by descent while the leader
//! lives, and by the mark in the environment at any time.
//!
//! A grandchild that called `setsid` is in no group of ours any more, and once its parent is gone
//! it is nobody's child; but it still has the environment it was started with. What was orphaned on
//! purpose *and* started with an empty environment escapes; only a process namespace (the sandbox's
//! business) holds that.

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
pub(crate) const MAX_PASSES: usize = 16;
/// How long one pass waits for what it killed to be gone. A process in an uninterruptible wait can
/// take longer; nothing waits for it forever.
pub(crate) const GONE_WITHIN: Duration = Duration::from_millis(500);

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

/// The living descendants of a process, as descriptors that stay theirs whatever becomes of their
/// numbers. To be called while the process lives: afterwards its children are nobody's.
pub(crate) fn descendants(root: u32) -> Vec<OwnedFd> {
    let parents: Vec<(u32, u32)> = processes()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut n_seen = 0;
    while n_seen < found.len() {
        let children = parents.iter().filter(|(_, of)| *of == found[n_seen]);
        let new: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        n_seen += 1;
        found.extend(new.into_iter().filter(|pid| *pid != root));
    }
    found[1..]
        .iter()
        .filter_map(|pid| {
            let pidfd = open(*pid)?;
            // Looked at again after it was opened: the number may have passed on in between.
            let known = parents.iter().find(|(child, _)| child == pid)?.1;
            (parent(*pid)? == known).then_some(pidfd)
        })
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second place may hold blanks and brackets; the last bracket ends it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Kills processes, each through its descriptor.
pub(crate) fn kill_all(pidfds: &[OwnedFd]) {
    for pidfd in pidfds {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
    for pidfd in pidfds {
        has_ended(pidfd, GONE_WITHIN);
    }
}

pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

pub(crate) fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
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
    processes().filter(|pid| carries(*pid, mark)).collect()
}

fn carries(pid: u32, mark: &str) -> bool {
    mark_of(pid).is_some_and(|found| found == mark)
}

/// The mark of a process.
pub(crate) fn mark_of(pid: u32) -> Option<String> {
    // Unreadable means another user's process or one that is gone: not ours either way. The
    // environment of a zombie reads as empty.
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut pairs = environ.split(|byte| *byte == 0);
    let mark = pairs.find_map(|pair| pair.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(mark.to_vec()).ok()
}

fn kill(pid: u32, mark: &str) -> Option<OwnedFd> {
    let pidfd = open(pid)?;
    // The number may have passed to a stranger between the listing and the opening; the descriptor
    // is fixed to one process, so looking again after opening it is enough.
    if !carries(pid, mark) {
        return None;
    }
    pidfd_send_signal(&pidfd, Signal::KILL).ok()?;
    Some(pidfd)
}
