//! A task: what to ask an agent, when, and where the answer goes; and what may become of it.
//!
//! Every change of a task is one function here, so that tools, people and the heartbeat cannot disagree
//! about what pausing or finishing means. All of them are pure: they take the moment and change a value.
//! What a change leaves behind without a run stands in the task's [`Trace`], which is stored with it.
//!
//! | from | event | to |
//! |---|---|---|
//! | - | created | active, next run set |
//! | active | pause | paused, manual run dropped |
//! | active | its run is blocked | blocked with the reason, no next run |
//! | paused, blocked | resume | active with a next run |
//! | any | delete | deleted: hidden, never claimed |
//! | active | its run completed or failed | active at its next occurrence; paused when there is none |
//! | active | an occurrence is too late | active at its next occurrence; paused when there is none |
//! | other, or rescheduled since | a run ended | only `last_run_at_ms` |

use kodex_plugin::wire::work::{Destination, Visibility};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    cadence::{self, Cadence},
    moment::{DAY, Ms, timestamp},
    passed::{Back, Trace, Why},
    run::{Run, RunState},
};

/// Longest text of a task, in characters.
pub const TEXT_CHARS: usize = 4_000;

/// A stored instruction to do something on a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// `sched_` and 32 hex digits.
    pub id: String,
    /// When it was made.
    pub created_at_ms: Ms,
    /// When it was last changed by anybody.
    pub updated_at_ms: Ms,
    /// Who made it. For the record alone: a task runs as the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Creator>,
    /// Where answers go: the conversation in which it was made.
    pub destination: Destination,
    /// Who may see what is said there.
    pub visibility: Visibility,
    /// What the agent is asked.
    pub text: String,
    /// When.
    pub cadence: Cadence,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// Why it is paused or blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its next occurrence by the cadence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run_at_ms: Option<Ms>,
    /// An occurrence that somebody asked for by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_now_at_ms: Option<Ms>,
    /// When its last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_at_ms: Option<Ms>,
    /// The occurrence whose run was blocked, for one that is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_at_ms: Option<Ms>,
    /// Where the occurrences begin of which nothing is said yet, while it is blocked and has no next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold_from_ms: Option<Ms>,
    /// Rises each time that it leaves `blocked`, so that the blocked occurrence may run once more.
    pub generation: u32,
    /// What happens to occurrences that nobody was there for.
    pub catch_up: CatchUp,
    /// What happens to occurrences that come due while a run goes on.
    pub overlap: Overlap,
    /// Whose credentials its runs may use.
    pub credentials: Credentials,
    /// The release of the zone data that its next run was reckoned with.
    pub zone_data: String,
    /// What changes since it was read say about occurrences.
    #[serde(skip)]
    pub trace: Trace,
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// Its occurrences run.
    Active,
    /// Nothing runs until somebody resumes it.
    Paused,
    /// A run could not go on; nothing runs until somebody changes something.
    Blocked,
    /// Gone, kept for its runs.
    Deleted,
}

impl TaskStatus {
    /// The word in records and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Blocked => "blocked",
            Self::Deleted => "deleted",
        }
    }
}

/// Who made a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Creator {
    /// What tells them from others.
    pub id: String,
    /// What people call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What happens to occurrences that nobody was there for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The oldest one runs unless it is more than a day late; then the next future one.
    #[default]
    SkipLate,
    /// The latest one runs, however late; then the next future one.
    One,
    /// Each one of the last seven days runs, one after the other.
    All,
}

impl CatchUp {
    /// The choices and their words.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("skip_late", Self::SkipLate),
        ("one", Self::One),
        ("all", Self::All),
    ];

    /// How late an occurrence may run.
    #[must_use]
    pub fn bound_ms(self) -> Ms {
        match self {
            Self::SkipLate => DAY,
            Self::One => Ms::MAX,
            Self::All => 7 * DAY,
        }
    }
}

/// What happens to occurrences that come due while a run of the task goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// They are passed over.
    #[default]
    Skip,
    /// The latest of them runs when the run has ended.
    Queue,
    /// They run beside it.
    Allow,
}

impl Overlap {
    /// The choices and their words.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("skip", Self::Skip),
        ("queue", Self::Queue),
        ("allow", Self::Allow),
    ];
}

/// Whose stored credentials the runs of a task may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// The system's own.
    #[default]
    System,
    /// Those of the creator, who agreed to it for this task.
    Creator,
}

impl Credentials {
    /// The choices and their words.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("system", Self::System), ("creator", Self::Creator)];
}

impl Task {
    /// When the task wants to be looked at next.
    #[must_use]
    pub fn attend_at_ms(&self) -> Option<Ms> {
        match self.status {
            TaskStatus::Active => match (self.run_now_at_ms, self.next_run_at_ms) {
                (Some(now), Some(next)) => Some(now.min(next)),
                (now, next) => now.or(next),
            },
            TaskStatus::Paused | TaskStatus::Blocked | TaskStatus::Deleted => None,
        }
    }

    /// The occurrence that is due, one asked for by hand before that of the cadence.
    #[must_use]
    pub fn due(&self, now_ms: Ms) -> Option<Ms> {
        let is_due = |at: &Ms| *at <= now_ms;
        let by_hand = self.run_now_at_ms.filter(is_due);
        by_hand.or_else(|| self.next_run_at_ms.filter(is_due))
    }

    /// Whether an occurrence is one that the task stands at.
    #[must_use]
    pub fn stands_at(&self, occurrence_ms: Ms) -> bool {
        self.next_run_at_ms == Some(occurrence_ms) || self.run_now_at_ms == Some(occurrence_ms)
    }

    /// Stops it until somebody resumes it.
    pub fn pause(&mut self, reason: Option<String>, now_ms: Ms) {
        self.status = TaskStatus::Paused;
        self.reason = reason;
        self.run_now_at_ms = None;
        self.updated_at_ms = now_ms;
    }

    /// Stops it because a run could not go on.
    pub fn block(&mut self, occurrence_ms: Ms, reason: &str, now_ms: Ms) {
        self.status = TaskStatus::Blocked;
        self.reason = Some(reason.to_owned());
        self.blocked_at_ms = Some(occurrence_ms);
        let next = self.next_run_at_ms.take();
        self.untold_from_ms = next.map(|next| match next == occurrence_ms {
            true => next.saturating_add(1),
            false => next,
        });
        self.run_now_at_ms = None;
        self.updated_at_ms = now_ms;
    }

    /// Lets it run again. A recurring task goes on with its next future occurrence; a one-off with the
    /// occurrence that was blocked, or with its own if that is still to come.
    ///
    /// # Errors
    /// There is no next run; the task needs a new schedule.
    pub fn resume(&mut self, now_ms: Ms) -> Result<(), NoNextRun> {
        let before = self.cadence.clone();
        if let Some(cadence) = self.cadence.refreshed() {
            self.cadence = cadence;
        }
        let future = || {
            self.cadence
                .next_after(timestamp(now_ms))
                .map(|at| at.as_millisecond())
        };
        let next = if self.cadence.is_recurring() {
            future()
        } else {
            // The blocked one again while it is not too late for it, otherwise now.
            let retried = self.blocked_at_ms.map(|at| match self.is_late(at, now_ms) {
                true => now_ms,
                false => at,
            });
            retried.or_else(future)
        };
        let next = next.ok_or(NoNextRun)?;
        if before.is_recurring() {
            self.leave_rest(&before, next, now_ms);
        }
        self.activate_at(next, now_ms);
        Ok(())
    }

    /// Gives it another cadence. It becomes active unless it was paused.
    ///
    /// # Errors
    /// The cadence has no occurrence.
    pub fn reschedule(&mut self, cadence: Cadence, now_ms: Ms) -> Result<(), NoNextRun> {
        let next = cadence.next_after(timestamp(now_ms)).ok_or(NoNextRun)?;
        let before = std::mem::replace(&mut self.cadence, cadence);
        self.leave_rest(&before, next.as_millisecond(), now_ms);
        self.run_now_at_ms = None;
        self.zone_data = cadence::data_version().to_owned();
        if self.status == TaskStatus::Paused {
            self.next_run_at_ms = Some(next.as_millisecond());
            self.updated_at_ms = now_ms;
        } else {
            self.activate_at(next.as_millisecond(), now_ms);
        }
        Ok(())
    }

    fn activate_at(&mut self, next_ms: Ms, now_ms: Ms) {
        if self.status == TaskStatus::Blocked {
            self.generation = self.generation.saturating_add(1);
        }
        self.status = TaskStatus::Active;
        self.reason = None;
        self.blocked_at_ms = None;
        self.untold_from_ms = None;
        self.next_run_at_ms = Some(next_ms);
        self.updated_at_ms = now_ms;
    }

    /// Ends it for good.
    pub fn delete(&mut self, now_ms: Ms) {
        let cadence = self.cadence.clone();
        self.leave_rest(&cadence, Ms::MAX, now_ms);
        self.untold_from_ms = None;
        self.status = TaskStatus::Deleted;
        self.reason = None;
        self.next_run_at_ms = None;
        self.run_now_at_ms = None;
        self.updated_at_ms = now_ms;
    }

    /// Asks for a run at once, beside those of the cadence. One that was asked for already stays.
    ///
    /// # Errors
    /// Only an active task runs; this does not resume it.
    pub fn run_now(&mut self, now_ms: Ms) -> Result<(), Inactive> {
        if self.status != TaskStatus::Active {
            return Err(Inactive(self.status));
        }
        if self.run_now_at_ms.is_none() {
            self.run_now_at_ms = Some(now_ms);
            self.updated_at_ms = now_ms;
        }
        Ok(())
    }

    /// What the end of a run means for its task. A task that was rescheduled or stopped meanwhile keeps
    /// what it was told; only the time of the last run is its own.
    pub fn finish(&mut self, run: &Run, now_ms: Ms) {
        self.last_run_at_ms = Some(now_ms);
        // When it was deleted stays to be seen.
        if self.status == TaskStatus::Deleted {
            return;
        }
        self.updated_at_ms = now_ms;
        if self.status != TaskStatus::Active {
            return;
        }
        let occurrence = run.scheduled_for_ms;
        match run.state {
            RunState::Blocked if self.stands_at(occurrence) || self.overlap == Overlap::Allow => {
                let reason = run.error.as_deref().unwrap_or("the run is blocked");
                self.block(occurrence, reason, now_ms);
            }
            _ if self.stands_at(occurrence) => {
                self.consume(occurrence, run.claimed_at_ms, now_ms);
            }
            _ => {}
        }
    }

    /// Leaves an occurrence that is too late behind. The last run stays what it was.
    pub fn skip_late(&mut self, occurrence_ms: Ms, reason: &str, now_ms: Ms) {
        self.updated_at_ms = now_ms;
        if self.run_now_at_ms == Some(occurrence_ms) && self.next_run_at_ms != Some(occurrence_ms) {
            self.run_now_at_ms = None;
            return;
        }
        self.consume(occurrence_ms, now_ms, now_ms);
        if self.status == TaskStatus::Paused {
            self.reason = Some(reason.to_owned());
        }
    }

    /// Goes on behind an occurrence that has had its run. One of the cadence that was due already when a
    /// run was asked for by hand has had that run. Others that came due since the claim came due while the
    /// run went on.
    pub fn consume(&mut self, occurrence_ms: Ms, claimed_at_ms: Ms, now_ms: Ms) {
        if self.run_now_at_ms == Some(occurrence_ms) {
            self.run_now_at_ms = None;
        }
        if let Some(next) = self.next_run_at_ms.filter(|next| *next <= occurrence_ms) {
            let following = self.following(next, now_ms);
            if next < occurrence_ms {
                self.pass(next, next, Why::ByHand, now_ms);
            }
            let to_ms = following.map_or(now_ms, |following| following.saturating_sub(1));
            let is_busy = self.catch_up != CatchUp::All;
            let late_to_ms = if is_busy {
                to_ms.min(claimed_at_ms)
            } else {
                to_ms
            };
            let behind = next.saturating_add(1);
            self.pass(behind, late_to_ms, Why::Late, now_ms);
            let busy_from_ms = behind.max(late_to_ms.saturating_add(1));
            self.pass(busy_from_ms, to_ms, Why::Overlap, now_ms);
            self.next_run_at_ms = following;
        }
        self.zone_data = cadence::data_version().to_owned();
        if self.attend_at_ms().is_none() && self.status == TaskStatus::Active {
            self.pause(None, now_ms);
        }
    }

    /// Leaves occurrences of the cadence behind that have no run.
    pub(crate) fn pass(&mut self, from_ms: Ms, to_ms: Ms, why: Why, now_ms: Ms) {
        self.trace.pass(&self.cadence, from_ms, to_ms, why, now_ms);
    }

    /// Leaves everything behind of which nothing is said yet and which is over, before the task goes on at
    /// another occurrence.
    fn leave_rest(&mut self, cadence: &Cadence, next_ms: Ms, now_ms: Ms) {
        let after_blocked = || self.blocked_at_ms.map(|at| at.saturating_add(1));
        let untold_from_ms = self.next_run_at_ms.or(self.untold_from_ms);
        let Some(from_ms) = untold_from_ms.or_else(after_blocked) else {
            return;
        };
        let why = match self.status {
            TaskStatus::Paused => Why::Paused,
            TaskStatus::Blocked => Why::Blocked,
            TaskStatus::Active if next_ms == Ms::MAX => Why::Deleted,
            TaskStatus::Active | TaskStatus::Deleted => Why::Rescheduled,
        };
        self.trace.pass(cadence, from_ms, now_ms, why, now_ms);
        if next_ms < from_ms {
            self.trace.back = Some(Back {
                cadence: cadence.clone(),
                from_ms: next_ms,
            });
        }
    }

    /// The occurrence of the cadence to go on with behind one.
    fn following(&self, occurrence_ms: Ms, now_ms: Ms) -> Option<Ms> {
        let (behind, now) = (timestamp(occurrence_ms), timestamp(now_ms));
        let next = |after| self.cadence.next_after(after);
        let at = match (self.catch_up, self.overlap) {
            (CatchUp::All, _) => {
                let bound = timestamp(now_ms.saturating_sub(CatchUp::All.bound_ms()));
                next(behind.max(bound))
            }
            (CatchUp::SkipLate | CatchUp::One, Overlap::Skip) => next(behind.max(now)),
            (CatchUp::SkipLate | CatchUp::One, Overlap::Queue | Overlap::Allow) => self
                .cadence
                .latest_in(behind, now)
                .or_else(|| next(behind.max(now))),
        };
        at.map(|at| at.as_millisecond())
    }

    /// Whether an occurrence is too late to run.
    #[must_use]
    pub fn is_late(&self, occurrence_ms: Ms, now_ms: Ms) -> bool {
        now_ms.saturating_sub(occurrence_ms) > self.catch_up.bound_ms()
    }

    /// What makes two tasks the same: who gets which answer when, not how it is spelled.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let words: Vec<_> = self
            .text
            .split_whitespace()
            .map(str::to_lowercase)
            .collect();
        let creator = match self.credentials {
            Credentials::System => "",
            Credentials::Creator => self.created_by.as_ref().map_or("", |by| by.id.as_str()),
        };
        let cadence = serde_json::to_string(&self.cadence).unwrap_or_default();
        digest(&[
            &self.destination.kind,
            &self.destination.address,
            &words.join(" "),
            &cadence,
            creator,
        ])
    }
}

/// 32 hex digits over texts, none of which can run into the next.
#[must_use]
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let bytes = hash.finalize();
    bytes[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A task cannot become active without a next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task has no next run; give it a new schedule")]
pub struct NoNextRun;

/// A task does not run because it is not active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task is {}; only an active task can run now, so resume it first", .0.as_str())]
pub struct Inactive(pub TaskStatus);
