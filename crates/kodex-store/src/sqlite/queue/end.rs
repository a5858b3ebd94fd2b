//! What a holder says: that it goes on, and how it ends.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;

use super::{Told, quiet, row::Cell, signed, told, unsigned};
use crate::{
    StoreError,
    queue::{
        ATTEMPTS_EXHAUSTED, CANCELLED, End, Ending, JobLease, JobState, Reason, Renewed,
        check_payload, kept_reason,
    },
    sqlite::group::Outcome,
};

/// What is said about a job that was asked to end and did not say why it ended.
pub(super) const ASKED: &str = "somebody asked for its end";

const RENEW: &str = "UPDATE jobs SET until_ms = ?4
    WHERE id = ?1 AND token = ?2 AND state = 'running' AND until_ms > ?3 RETURNING cancel";
const HELD: &str = "SELECT seq, attempt, max_attempts, cancel, lane IS NOT NULL, plugin FROM jobs
    WHERE id = ?1 AND token = ?2 AND state = 'running' AND until_ms > ?3";
const FINISH: &str = "UPDATE jobs SET state = ?2, living = NULL, ended_at_ms = ?3, reason_code = ?4, reason = ?5,
    result = ?6, n_crashes = n_crashes + ?7, holder = NULL, until_ms = NULL, cancel = 0 WHERE seq = ?1";
/// What most jobs come to, in one look: nobody waits for its lane, and nothing came out.
const COMPLETE: &str =
    "UPDATE jobs SET state = 'completed', living = NULL, ended_at_ms = ?3, reason_code = NULL,
    reason = NULL, result = NULL, holder = NULL, until_ms = NULL, cancel = 0
    WHERE id = ?1 AND token = ?2 AND state = 'running' AND until_ms > ?3 AND lane IS NULL";
const RETRY: &str =
    "UPDATE jobs SET state = 'pending', due_at_ms = ?2, reason_code = ?3, reason = ?4,
    n_crashes = n_crashes + ?5, holder = NULL, until_ms = NULL WHERE seq = ?1";
const PAUSE: &str = "UPDATE jobs SET state = 'pending', due_at_ms = ?2, attempt = attempt - 1,
    n_slices = n_slices + ?3, checkpoint = coalesce(?4, checkpoint), holder = NULL, until_ms = NULL WHERE seq = ?1";

const KEEP: &str = "UPDATE jobs SET checkpoint = ?2 WHERE seq = ?1";

/// A row under a lease that is held.
pub(super) struct Held {
    pub(super) seq: i64,
    attempt: i64,
    max_attempts: i64,
    cancel: bool,
    in_lane: bool,
}

/// An [`End`] that has its own texts, to go to a thread.
pub(super) struct Given {
    lease: JobLease,
    how: How,
}

enum How {
    Finish {
        state: JobState,
        reason: Option<(String, String)>,
        result: Option<Box<RawValue>>,
    },
    Retry {
        code: String,
        text: String,
        after_ms: u64,
    },
    Pause {
        slice: bool,
        checkpoint: Option<Box<RawValue>>,
        after_ms: u64,
    },
}

impl Given {
    pub(super) fn new(end: &End<'_>) -> Self {
        let finish = |state, reason: Reason<'_>| How::Finish {
            state,
            reason: Some(kept(reason)),
            result: None,
        };
        let how = match end.how {
            Ending::Complete { result } => How::Finish {
                state: JobState::Completed,
                reason: None,
                result: result.map(ToOwned::to_owned),
            },
            Ending::Fail(reason) => finish(JobState::Failed, reason),
            Ending::Bury(reason) => finish(JobState::Dead, reason),
            Ending::Block(reason) => finish(JobState::Blocked, reason),
            Ending::Cancelled(reason) => finish(JobState::Cancelled, reason),
            Ending::Retry { reason, after_ms } => {
                let (code, text) = kept(reason);
                How::Retry {
                    code,
                    text,
                    after_ms,
                }
            }
            Ending::GoOn {
                checkpoint,
                after_ms,
            } => How::Pause {
                slice: true,
                checkpoint: checkpoint.map(ToOwned::to_owned),
                after_ms,
            },
            Ending::Release { after_ms } => How::Pause {
                slice: false,
                checkpoint: None,
                after_ms,
            },
        };
        Self {
            lease: end.lease.clone(),
            how,
        }
    }

    /// Refuses what is too large, before anything of the call is changed.
    fn check(&self, db: &Connection, now_ms: i64) -> Outcome<()> {
        let (field, json) = match &self.how {
            How::Finish { result, .. } => ("result", result),
            How::Pause { checkpoint, .. } => ("checkpoint", checkpoint),
            How::Retry { .. } => return Ok(Ok(())),
        };
        match json {
            Some(json) => check(db, &self.lease, field, json, now_ms),
            None => Ok(Ok(())),
        }
    }

    fn is_plain(&self) -> bool {
        matches!(
            self.how,
            How::Finish {
                state: JobState::Completed,
                result: None,
                ..
            }
        )
    }

    /// Ends one claim; whether there may be something to claim after it, none when it was not held.
    fn run(&self, db: &Connection, now_ms: i64) -> rusqlite::Result<Option<bool>> {
        let Some(held) = held(db, &self.lease, now_ms)? else {
            return Ok(None);
        };
        let goes_on = match &self.how {
            How::Finish { state, .. } => *state == JobState::Blocked,
            _ => true,
        };
        if held.cancel && goes_on {
            let reason = Some((CANCELLED, ASKED));
            finish(db, held.seq, JobState::Cancelled, reason, None, 0, now_ms)?;
            return Ok(Some(held.in_lane));
        }
        match &self.how {
            How::Finish {
                state,
                reason,
                result,
            } => {
                let reason = reason.as_ref().map(|(code, text)| (&**code, &**text));
                finish(db, held.seq, *state, reason, result.as_deref(), 0, now_ms)?;
                Ok(Some(held.in_lane))
            }
            How::Retry { text, .. } if held.attempt >= held.max_attempts => {
                let reason = Some((ATTEMPTS_EXHAUSTED, &**text));
                finish(db, held.seq, JobState::Dead, reason, None, 0, now_ms)?;
                Ok(Some(held.in_lane))
            }
            How::Retry {
                code,
                text,
                after_ms,
            } => {
                let due_at_ms = now_ms.saturating_add(signed(*after_ms));
                retry(db, held.seq, due_at_ms, (code, text), 0)?;
                Ok(Some(held.in_lane || *after_ms == 0))
            }
            How::Pause {
                slice,
                checkpoint,
                after_ms,
            } => {
                let due_at_ms = now_ms.saturating_add(signed(*after_ms));
                let checkpoint = checkpoint.as_ref().map(|json| json.get());
                db.prepare_cached(PAUSE)?
                    .execute(params![held.seq, due_at_ms, slice, checkpoint])?;
                Ok(Some(held.in_lane || *after_ms == 0))
            }
        }
    }
}

/// Refuses what is too large, in the name of whose job it is; where nobody holds it nobody is refused.
fn check(
    db: &Connection,
    lease: &JobLease,
    field: &'static str,
    json: &RawValue,
    now_ms: i64,
) -> Outcome<()> {
    let owner = |plugin| check_payload(&plugin, field, json);
    if owner(super::owner()).is_ok() {
        return Ok(Ok(()));
    }
    Ok(match plugin(db, lease, now_ms)? {
        Some(plugin) => owner(plugin),
        None => Ok(()),
    })
}

fn kept(reason: Reason<'_>) -> (String, String) {
    (
        kept_reason(reason.code).into_owned(),
        kept_reason(reason.text).into_owned(),
    )
}

/// Lets a job go on after a failed attempt.
pub(super) fn retry(
    db: &Connection,
    seq: i64,
    due_at_ms: i64,
    (code, text): (&str, &str),
    crashes: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached(RETRY)?
        .execute(params![seq, due_at_ms, code, text, crashes])
        .map(|_| ())
}

/// Ends or blocks a job.
pub(super) fn finish(
    db: &Connection,
    seq: i64,
    state: JobState,
    reason: Option<(&str, &str)>,
    result: Option<&RawValue>,
    crashes: i64,
    now_ms: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached(FINISH)?
        .execute(params![
            seq,
            state.as_str(),
            now_ms,
            reason.map(|(code, _)| code),
            reason.map(|(_, text)| text),
            result.map(RawValue::get),
            crashes,
        ])
        .map(|_| ())
}

/// The row of a lease, if it is held.
pub(super) fn held(
    db: &Connection,
    lease: &JobLease,
    now_ms: i64,
) -> rusqlite::Result<Option<Held>> {
    db.prepare_cached(HELD)?
        .query_row(params![lease.id, signed(lease.token), now_ms], |row| {
            Ok(Held {
                seq: row.get(0)?,
                attempt: row.get(1)?,
                max_attempts: row.get(2)?,
                cancel: row.get(3)?,
                in_lane: row.get(4)?,
            })
        })
        .optional()
}

/// Whose job a lease is about, if it is held.
pub(super) fn plugin(
    db: &Connection,
    lease: &JobLease,
    now_ms: i64,
) -> rusqlite::Result<Option<kodex_plugin::PluginName>> {
    let plugin = db
        .prepare_cached(HELD)?
        .query_row(params![lease.id, signed(lease.token), now_ms], |row| {
            Ok(Cell(row).plugin(5).unwrap_or_else(|_| super::owner()))
        })
        .optional()?;
    Ok(plugin)
}

/// See [`crate::Queue::end`].
pub(super) fn all(db: &Connection, ends: &[Given], now_ms: i64) -> Outcome<Told<Vec<bool>>> {
    for end in ends {
        if let Err(error) = end.check(db, now_ms)? {
            return Ok(Err::<_, StoreError>(error));
        }
    }
    let mut took_effect = Vec::with_capacity(ends.len());
    let mut hint = false;
    let mut complete = db.prepare_cached(COMPLETE)?;
    for end in ends {
        let (id, token) = (&end.lease.id, signed(end.lease.token));
        if end.is_plain() && complete.execute(params![id, token, now_ms])? == 1 {
            took_effect.push(true);
            continue;
        }
        let ended = end.run(db, now_ms)?;
        took_effect.push(ended.is_some());
        hint |= ended == Some(true);
    }
    told(took_effect, hint)
}

/// See [`crate::Queue::keep`].
pub(super) fn keep(
    db: &Connection,
    lease: &JobLease,
    checkpoint: &RawValue,
    now_ms: i64,
) -> Outcome<Told<bool>> {
    if let Err(error) = check(db, lease, "checkpoint", checkpoint, now_ms)? {
        return Ok(Err(error));
    }
    let Some(held) = held(db, lease, now_ms)? else {
        return quiet(false);
    };
    db.prepare_cached(KEEP)?
        .execute(params![held.seq, checkpoint.get()])?;
    quiet(true)
}

/// See [`crate::Queue::renew`].
pub(super) fn renew(
    db: &Connection,
    leases: &[JobLease],
    lease_ms: u64,
    now_ms: i64,
) -> Outcome<Told<Vec<Renewed>>> {
    let until_ms = now_ms.saturating_add(signed(lease_ms));
    let mut statement = db.prepare_cached(RENEW)?;
    let mut renewed = Vec::with_capacity(leases.len());
    for lease in leases {
        let token = signed(lease.token);
        let cancel: Option<bool> = statement
            .query_row(params![lease.id, token, now_ms, until_ms], |row| row.get(0))
            .optional()?;
        renewed.push(match cancel {
            Some(cancel) => Renewed::Held {
                until_ms: unsigned(until_ms),
                cancel,
            },
            None => Renewed::Lost,
        });
    }
    quiet(renewed)
}
