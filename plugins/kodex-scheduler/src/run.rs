//! A run: the record of executing one occurrence, and the only ways in which it may change.
//!
//! | from | to | when |
//! |---|---|---|
//! | - | pending | claimed |
//! | pending | pending, next attempt | the claim is a minute old |
//! | pending | running | the agent run was accepted, and the claim is the caller's |
//! | pending | skipped | the task no longer stands at the occurrence |
//! | pending | blocked, failed | the agent run was refused, and the claim is the caller's |
//! | running | completed, failed, blocked | the agent run ended, and the start is the caller's |
//! | - | skipped | the occurrence was too late |
//!
//! What has ended never changes. A change whose condition does not hold gives nothing, and then nothing
//! else may be changed with it.

use kodex_plugin::wire::work::{Projection, RunStatus};
use serde::{Deserialize, Serialize};

use crate::moment::{DAY, MINUTE, Ms};

/// How old a claim must be before somebody else takes it over.
pub const STALE_MS: Ms = MINUTE;

/// How late the last attempt at starting a run may be.
pub const LAST_ATTEMPT_MS: Ms = DAY;

/// The record of executing one occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The task's id, the occurrence and, after the first, the generation. Also the key under which the
    /// agent run is asked for, so that asking twice starts one.
    pub id: String,
    /// The task.
    pub task_id: String,
    /// The occurrence.
    pub scheduled_for_ms: Ms,
    /// The task's generation at the claim.
    pub generation: u32,
    /// When it was claimed last.
    pub claimed_at_ms: Ms,
    /// Which attempt at starting it this is, from 1.
    pub attempt: u32,
    /// Where it is.
    pub state: RunState,
    /// When the agent run was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<Ms>,
    /// The agent run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_run_id: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at_ms: Option<Ms>,
    /// Why it failed, is blocked or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When its result was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_at_ms: Option<Ms>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Claimed, not yet started.
    Pending,
    /// An agent is at it.
    Running,
    /// Done.
    Completed,
    /// Ended without success.
    Failed,
    /// Could not go on.
    Blocked,
    /// Passed over.
    Skipped,
}

impl RunState {
    /// The word in records and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Skipped => "skipped",
        }
    }

    /// Whether it never changes again.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Failed | Self::Blocked | Self::Skipped => true,
        }
    }
}

/// The key of an occurrence's run.
#[must_use]
pub fn key(task_id: &str, occurrence_ms: Ms, generation: u32) -> String {
    match generation {
        0 => format!("{task_id}:{occurrence_ms}"),
        nth => format!("{task_id}:{occurrence_ms}:{nth}"),
    }
}

impl Run {
    /// A claim on an occurrence.
    #[must_use]
    pub fn claimed(task_id: &str, occurrence_ms: Ms, generation: u32, now_ms: Ms) -> Self {
        Self {
            id: key(task_id, occurrence_ms, generation),
            task_id: task_id.to_owned(),
            scheduled_for_ms: occurrence_ms,
            generation,
            claimed_at_ms: now_ms,
            attempt: 1,
            state: RunState::Pending,
            started_at_ms: None,
            agent_run_id: None,
            completed_at_ms: None,
            error: None,
            result_at_ms: None,
        }
    }

    /// The record of an occurrence that was too late.
    #[must_use]
    pub fn late(task_id: &str, at_ms: Ms, generation: u32, reason: &str, now_ms: Ms) -> Self {
        Self {
            state: RunState::Skipped,
            completed_at_ms: Some(now_ms),
            error: Some(reason.to_owned()),
            ..Self::claimed(task_id, at_ms, generation, now_ms)
        }
    }

    /// What a change must know of the run to be allowed: its claim while it is pending, its start while it
    /// is running. Two claims in one millisecond are told apart by their attempts.
    #[must_use]
    pub fn token(&self) -> Token {
        let at_ms = match self.state {
            RunState::Running => self.started_at_ms.unwrap_or(self.claimed_at_ms),
            _ => self.claimed_at_ms,
        };
        Token {
            at_ms,
            attempt: self.attempt,
        }
    }

    /// Whether the claim may be taken over. One that is to be made only in a minute stems from a clock that
    /// has gone back since; nobody waits until it is there again.
    #[must_use]
    pub fn is_stale(&self, now_ms: Ms) -> bool {
        let age_ms = now_ms.saturating_sub(self.claimed_at_ms);
        self.state == RunState::Pending && !(-STALE_MS..STALE_MS).contains(&age_ms)
    }

    /// Takes over a claim that is too old. An occurrence that could not be started for a day ends.
    #[must_use]
    pub fn reclaimed(&self, now_ms: Ms) -> Option<Self> {
        if !self.is_stale(now_ms) {
            return None;
        }
        let mut run = self.clone();
        let since = self.scheduled_for_ms.max(self.claimed_at_ms - STALE_MS);
        if self.attempt > 1 && now_ms.saturating_sub(since) > LAST_ATTEMPT_MS {
            return self.refused(
                self.token(),
                RunState::Failed,
                "it could not be started",
                now_ms,
            );
        }
        run.claimed_at_ms = now_ms;
        run.attempt = run.attempt.saturating_add(1);
        Some(run)
    }

    /// The agent run was accepted.
    #[must_use]
    pub fn started(&self, claim: Token, agent_run_id: &str, now_ms: Ms) -> Option<Self> {
        (self.state == RunState::Pending && self.token() == claim).then(|| Self {
            state: RunState::Running,
            started_at_ms: Some(now_ms),
            agent_run_id: Some(agent_run_id.to_owned()),
            ..self.clone()
        })
    }

    /// It was never started: refused, or its occurrence is gone.
    #[must_use]
    pub fn refused(&self, claim: Token, to: RunState, reason: &str, now_ms: Ms) -> Option<Self> {
        let is_end = matches!(to, RunState::Blocked | RunState::Failed | RunState::Skipped);
        let is_mine = self.state == RunState::Pending && self.token() == claim;
        (is_end && is_mine).then(|| Self {
            state: to,
            completed_at_ms: Some(now_ms),
            error: Some(reason.to_owned()),
            ..self.clone()
        })
    }

    /// What has become of the agent run. Nothing while it goes on.
    #[must_use]
    pub fn ended(&self, start: Token, found: Option<&Projection>, now_ms: Ms) -> Option<Self> {
        if self.state != RunState::Running || self.token() != start {
            return None;
        }
        let gone = "the agent run no longer exists";
        let (state, error) = match found.map(|found| (found.status, found.error.clone())) {
            None => (RunState::Failed, Some(gone.to_owned())),
            Some((Some(RunStatus::Completed), _)) => (RunState::Completed, None),
            Some((Some(RunStatus::Failed), error)) => (RunState::Failed, error),
            Some((Some(RunStatus::Cancelled), error)) => {
                let cancelled = error.unwrap_or_else(|| "it was cancelled".to_owned());
                (RunState::Failed, Some(cancelled))
            }
            Some((Some(RunStatus::Blocked), error)) => (RunState::Blocked, error),
            Some((
                None | Some(RunStatus::Pending | RunStatus::Running | RunStatus::AwaitingResume),
                _,
            )) => return None,
        };
        let result = found.and_then(|found| found.result_at_ms);
        Some(Self {
            state,
            completed_at_ms: Some(now_ms),
            error,
            result_at_ms: result.and_then(|at| Ms::try_from(at).ok()),
            ..self.clone()
        })
    }
}

/// What tells one claim or start of a run from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// When it was claimed or started.
    pub at_ms: Ms,
    /// Which attempt.
    pub attempt: u32,
}
