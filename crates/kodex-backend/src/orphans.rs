//! What a host left behind that could not end its children: one that was killed, or ran out of memory.
//!
//! Every mark begins with the process that gave it, by its number and the time of its start. So whose children
//! are nobody's any more can be read off the children themselves, long after: nothing has to be written down
//! when they start, and nothing that was written down can be out of date. A number that has passed on to another
//! process is no living host, because the times differ; and what is ended is what carries the mark, through a
//! descriptor that was opened before it was read a second time.
//!
//! Two uses: a small process beside the host that waits for its end ([`wait_and_end`]), and a look at the next
//! start ([`end`]), for when both were killed. Processes in other process namespaces are left alone: there the
//! numbers mean something else.

use std::{fs, os::fd::OwnedFd, time::Duration};

use crate::sweep::{self, GONE_WITHIN, MAX_PASSES};

/// How long one wait for the end of a host is; then it waits again.
const AT_A_TIME: Duration = Duration::from_secs(3_600);

/// A process that starts others, as marks name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct House {
    pid: u32,
    /// When it started, in the system's own count.
    started: u64,
}

impl House {
    /// This process. Where the system does not tell about processes, one that nothing is concluded about.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: started(pid).unwrap_or(0),
        }
    }

    /// The beginning of a mark.
    #[must_use]
    pub fn read(mark: &str) -> Option<Self> {
        let mut parts = mark.split('.');
        let (pid, started) = (parts.next()?, parts.next()?);
        let house = Self {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        };
        (house.started > 0).then_some(house)
    }

    /// Whether the process is there and has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

impl std::fmt::Display for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.pid, self.started)
    }
}

/// When a process started; none for one that has ended, also while nobody has asked how.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second place may hold blanks and brackets; the last bracket ends it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    // The 22nd field; the state is the third.
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then_some(started)
}

/// Ends every process that a host of this user started which is not there any more, and what those started.
/// Returns how many carried a mark. Takes milliseconds: it looks at every process of the machine.
pub fn end() -> usize {
    let mut n_ended = 0;
    for _ in 0..MAX_PASSES {
        let ended: Vec<OwnedFd> = sweep::processes().filter_map(end_one).collect();
        if ended.is_empty() {
            break;
        }
        n_ended += ended.len();
        if !ended
            .iter()
            .all(|pidfd| sweep::has_ended(pidfd, GONE_WITHIN))
        {
            break;
        }
    }
    n_ended
}

/// Waits until a host is gone, however it went, and ends what it left. Blocks for as long as it lives.
pub fn wait_and_end(house: &House) -> usize {
    if let Some(pidfd) = sweep::open(house.pid)
        // Looked at after it was opened: from here on it is this process, whatever becomes of its number.
        && house.is_alive()
    {
        while !sweep::has_ended(&pidfd, AT_A_TIME) {}
    }
    end()
}

/// Ends one process if it is an orphan.
fn end_one(pid: u32) -> Option<OwnedFd> {
    if pid == std::process::id() || !is_orphan(pid) {
        return None;
    }
    let pidfd = sweep::open(pid)?;
    if !is_orphan(pid) {
        return None;
    }
    // Children that were started without the mark are known by their parent while it lives.
    let children = sweep::descendants(pid);
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).ok()?;
    sweep::kill_all(&children);
    Some(pidfd)
}

fn is_orphan(pid: u32) -> bool {
    let house = sweep::mark_of(pid).and_then(|mark| House::read(&mark));
    house.is_some_and(|house| !house.is_alive()) && is_at_home(pid)
}

/// Whether numbers of processes mean the same to a process as to us.
fn is_at_home(pid: u32) -> bool {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/pid")).ok();
    let own = namespace("self");
    own.is_some() && own == namespace(&pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::{Spec, mark, spawn};

    #[test]
    fn a_house_is_known_by_its_number_and_its_start() {
        let own = House::own();
        assert!(own.is_alive());
        assert_eq!(House::read(&mark()), Some(own.clone()));
        let later = House {
            started: own.started + 1,
            ..own.clone()
        };
        assert!(!later.is_alive(), "the number has passed on");
        for text in [
            "",
            "1",
            "1.",
            ".1",
            "x.1",
            "1.0.aa",
            "1.-1.aa",
            "0123456789abcdef",
        ] {
            assert_eq!(House::read(text), None, "{text:?}");
        }
    }

    /// A shell with a child without a mark, under this mark, and whether both are gone after a look.
    async fn check(mark: String, want: bool) {
        let script = "env -i sleep 600 & sleep 600 & echo up; wait";
        let running = spawn(&Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/".into(),
            mark: mark.clone(),
        })
        .expect("a shell starts");
        running.stdout.readable().await.expect("a pipe");
        let tree = sweep::descendants(running.group.pid());
        assert_eq!(tree.len(), 2, "{mark}");
        tokio::task::spawn_blocking(end).await.expect("a look");
        let within = Duration::from_millis(if want { 5_000 } else { 0 });
        for pidfd in &tree {
            assert_eq!(sweep::has_ended(pidfd, within), want, "{mark}");
        }
        assert_eq!(running.group.is_over(), want, "{mark}");
    }

    #[tokio::test]
    async fn only_what_nobody_has_any_more_is_ended() {
        let own = House::own();
        check(mark(), false).await;
        check("0123456789abcdef0123456789abcdef".to_owned(), false).await;
        check(format!("{}.{}.aa", own.pid, own.started + 1), true).await;
    }

    #[tokio::test]
    async fn the_end_of_a_house_is_waited_for() {
        let house = spawn(&Spec {
            program: "/bin/sleep".into(),
            args: vec!["600".into()],
            env: Vec::new(),
            cwd: "/".into(),
            mark: mark(),
        })
        .expect("it starts");
        let pid = house.group.pid();
        let of = House {
            pid,
            started: started(pid).expect("it is there"),
        };
        let waiting = tokio::task::spawn_blocking(move || wait_and_end(&of));
        let left = left_by(pid);
        assert!(!waiting.is_finished());
        house.group.end(Duration::ZERO).await;
        waiting.await.expect("a wait");
        assert!(left.group.is_over());
    }

    fn left_by(pid: u32) -> crate::supervise::Running {
        spawn(&Spec {
            program: "/bin/sleep".into(),
            args: vec!["600".into()],
            env: Vec::new(),
            cwd: "/".into(),
            mark: format!("{pid}.{}.aa", started(pid).expect("it is there")),
        })
        .expect("it starts")
    }
}
