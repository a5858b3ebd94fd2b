//! Whether an occurrence may run now: the heart of the heartbeat, as a pure function.
//!
//! An occurrence exists as soon as a row has its key, whatever the row says: one that does not read
//! counts, or the occurrence would run twice. What is due is found by its time, so the longest-due comes
//! first; a task has one claim in a heartbeat, and one that catches up queues behind others, so that no
//! task with many occurrences keeps the rest waiting.

use crate::{
    moment::{HOUR, MINUTE, Ms, timestamp},
    passed::Why,
    run::{Run, RunState, STALE_MS},
    task::{CatchUp, Overlap, Task, TaskStatus},
};

/// How long a task with a run that goes on is left alone. The end of the run brings it back at once; this
/// is for when that gets lost.
const BUSY_MS: Ms = 5 * MINUTE;

/// A row of the runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub id: String,
    /// Its occurrence.
    pub scheduled_for_ms: Ms,
    /// What it says; none when that is malformed.
    pub run: Option<Run>,
}

/// What a look at a task leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The occurrence is claimed; older claims that nobody finished end with it.
    Claim {
        /// The new run.
        run: Run,
        /// The task, where the claim changes it.
        task: Box<Task>,
        /// Stale claims of other occurrences.
        superseded: Vec<Run>,
        /// When to look at the task again.
        attend_at_ms: Option<Ms>,
    },
    /// A stale claim on the occurrence is taken over, or ends if it may no longer be tried.
    Reclaim {
        /// What the claim was.
        from: Run,
        /// What it becomes.
        to: Run,
    },
    /// The occurrence is too late.
    Late {
        /// The record of that.
        run: Run,
        /// The task behind it.
        task: Box<Task>,
    },
    /// The occurrence has had its run; the task goes on.
    Past {
        /// The task behind it.
        task: Box<Task>,
        /// The row that stands for it, where it is malformed.
        malformed: Option<String>,
    },
    /// Not now.
    Later {
        /// When to look again.
        attend_at_ms: Option<Ms>,
    },
}

/// Looks at one task. `rows` holds its runs that are not over and every row of the occurrence that is due;
/// `twin` names an older active task that is the same.
#[must_use]
pub fn decide(task: &Task, rows: &[Row], twin: Option<&str>, now_ms: Ms) -> Decision {
    let Some((task, occurrence)) = due(task, now_ms) else {
        return Decision::Later {
            attend_at_ms: task.attend_at_ms(),
        };
    };
    if let Some(decision) = at_occurrence(&task, occurrence, rows, now_ms) {
        return decision;
    }
    let others = rows.iter().filter(|row| row.scheduled_for_ms != occurrence);
    let open = others
        .filter_map(|row| row.run.as_ref())
        .filter(|run| !run.state.is_over());
    let (stale, busy): (Vec<_>, Vec<_>) = open.partition(|run| run.is_stale(now_ms));
    if task.overlap != Overlap::Allow
        && let Some(attend_at) = busy.iter().map(|run| look_again(run, now_ms)).max()
    {
        return Decision::Later {
            attend_at_ms: Some(attend_at),
        };
    }
    if task.is_late(occurrence, now_ms) {
        return late(task, occurrence, twin, now_ms);
    }
    let superseded = match task.overlap {
        Overlap::Allow => Vec::new(),
        Overlap::Skip | Overlap::Queue => stale
            .into_iter()
            .filter_map(|run| {
                let reason = "superseded by a later occurrence";
                run.refused(run.token(), RunState::Skipped, reason, now_ms)
            })
            .collect(),
    };
    claim(task, occurrence, superseded, now_ms)
}

/// The occurrence of a task that is due, as [`decide`] sees it.
#[must_use]
pub fn occurrence(task: &Task, now_ms: Ms) -> Option<Ms> {
    due(task, now_ms).map(|(_, occurrence)| occurrence)
}

/// The occurrence that is due, and the task as it stands there: one that wants only the latest of what it
/// missed has left the others behind.
fn due(task: &Task, now_ms: Ms) -> Option<(Task, Ms)> {
    if task.status != TaskStatus::Active {
        return None;
    }
    let mut task = task.clone();
    let occurrence = task.due(now_ms)?;
    let is_ordinary = task.run_now_at_ms != Some(occurrence);
    if is_ordinary && task.catch_up == CatchUp::One {
        let latest = task
            .cadence
            .latest_in(timestamp(occurrence), timestamp(now_ms));
        if let Some(latest) = latest.map(|at| at.as_millisecond()) {
            task.pass(occurrence, latest.saturating_sub(1), Why::Late, now_ms);
            task.next_run_at_ms = Some(latest);
            return Some((task, latest));
        }
    }
    Some((task, occurrence))
}

/// What the rows of the occurrence itself say; none when it may be claimed.
fn at_occurrence(task: &Task, occurrence: Ms, rows: &[Row], now_ms: Ms) -> Option<Decision> {
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.scheduled_for_ms == occurrence)
        .collect();
    let past = |malformed: Option<String>| {
        let mut task = task.clone();
        task.consume(occurrence, now_ms, now_ms);
        Some(Decision::Past {
            task: Box::new(task),
            malformed,
        })
    };
    if let Some(row) = rows.iter().find(|row| row.run.is_none()) {
        return past(Some(row.id.clone()));
    }
    let runs: Vec<_> = rows.iter().filter_map(|row| row.run.as_ref()).collect();
    if let Some(open) = runs.iter().find(|run| !run.state.is_over()) {
        return Some(match open.reclaimed(now_ms) {
            Some(to) => Decision::Reclaim {
                from: (*open).clone(),
                to,
            },
            None => Decision::Later {
                attend_at_ms: Some(look_again(open, now_ms)),
            },
        });
    }
    let is_spent = |run: &&&Run| match run.state {
        // A task that left `blocked` may try the occurrence once more, under a key of its own.
        RunState::Blocked => run.generation >= task.generation,
        _ => true,
    };
    runs.iter().find(is_spent).and_then(|_| past(None))
}

fn look_again(run: &Run, now_ms: Ms) -> Ms {
    match run.state {
        RunState::Pending => run.claimed_at_ms.saturating_add(STALE_MS),
        _ => now_ms.saturating_add(BUSY_MS),
    }
    // A clock that went back must not put the task off for as long.
    .clamp(now_ms, now_ms.saturating_add(BUSY_MS))
}

fn late(mut task: Task, occurrence: Ms, twin: Option<&str>, now_ms: Ms) -> Decision {
    let hours = now_ms.saturating_sub(occurrence) / HOUR;
    let mut reason = format!("skipped: {hours} hours late");
    task.skip_late(occurrence, &reason, now_ms);
    if let Some(twin) = twin {
        reason = format!("paused: {twin} is the same task and older");
        task.pause(Some(reason.clone()), now_ms);
    }
    Decision::Late {
        run: Run::late(&task.id, occurrence, task.generation, &reason, now_ms),
        task: Box::new(task),
    }
}

fn claim(mut task: Task, occurrence: Ms, superseded: Vec<Run>, now_ms: Ms) -> Decision {
    let run = Run::claimed(&task.id, occurrence, task.generation, now_ms);
    // Beside a run that goes on, the task stands at its next occurrence at once.
    let attend_at_ms = if task.overlap == Overlap::Allow {
        task.consume_beside(occurrence, now_ms);
        task.attend_after(now_ms)
    } else {
        Some(now_ms.saturating_add(STALE_MS))
    };
    Decision::Claim {
        run,
        task: Box::new(task),
        superseded,
        attend_at_ms,
    }
}

impl Task {
    /// Leaves an occurrence behind while its run goes on. A one-off then waits for the end of the run.
    fn consume_beside(&mut self, occurrence_ms: Ms, now_ms: Ms) {
        if self.cadence.is_recurring() || self.run_now_at_ms == Some(occurrence_ms) {
            let updated_at_ms = self.updated_at_ms;
            self.consume(occurrence_ms, now_ms, now_ms);
            self.updated_at_ms = updated_at_ms;
        }
    }

    /// When to look at the task again, in its turn: one that is behind queues behind those that wait
    /// already.
    #[must_use]
    pub fn attend_after(&self, now_ms: Ms) -> Option<Ms> {
        self.attend_at_ms().map(|at| at.max(now_ms))
    }
}
