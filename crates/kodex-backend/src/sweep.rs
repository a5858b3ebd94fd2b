//! Finding and killing what a process tree left behind, by the mark in its environment.
//!
//! A grandchild that called `setsid` is in no group of ours any more, and once its parent is gone
//! it is nobody's child. What it cannot shed without starting a new program is the environment it
//! was started with. A process that was started with an empty environment escapes this sweep; only
//! a process namespace (the sandbox's business) holds those.

use std::{fs, io};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::supervise::MARK;

/// A tree that forks while it is swept can outrun one pass; this many passes it cannot.
const MAX_PASSES: usize = 16;

/// Kills every process whose environment carries the mark. Returns how many were killed.
pub(crate) fn kill_marked(mark: &str) -> usize {
    let mut n_killed = 0;
    for _ in 0..MAX_PASSES {
        let found = marked(mark);
        let n_hit = found.into_iter().filter(|pid| kill(*pid, mark)).count();
        n_killed += n_hit;
        if n_hit == 0 {
            break;
        }
    }
    n_killed
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

fn kill(pid: u32, mark: &str) -> bool {
    let signal = || {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid_at = raw.ok_or_else(|| io::Error::other("no process id"))?;
        let fd = pidfd_open(pid_at, PidfdFlags::empty())?;
        // The number may have passed to a stranger between the listing and the opening; the
        // descriptor is fixed to one process, so looking again after opening it is enough.
        if carries(pid, mark) {
            pidfd_send_signal(&fd, Signal::KILL)?;
            return Ok(true);
        }
        Ok::<_, io::Error>(false)
    };
    signal().unwrap_or(false)
}
