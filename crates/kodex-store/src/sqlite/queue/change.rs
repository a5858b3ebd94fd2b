//! What people do to a job: ask for its end, give it another chance.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Told,
    end::{ASKED, finish},
    told,
};
use crate::{
    queue::{CANCELLED, Cancelled, JobState},
    sqlite::group::Outcome,
};

const LOOK: &str =
    "SELECT seq, state, coalesce(until_ms > ?2, 0), lane IS NOT NULL FROM jobs WHERE id = ?1";
const ASK: &str = "UPDATE jobs SET cancel = 1 WHERE seq = ?1";
/// Nothing happens where a living job has the unique key.
const REVIVE: &str = "UPDATE OR IGNORE jobs SET state = 'pending', living = 1, due_at_ms = ?2,
    expires_at_ms = ?2 + max_age_ms, ended_at_ms = NULL, attempt = 0, n_crashes = 0, n_slices = 0,
    generation = generation + 1, reason_code = NULL, reason = NULL, result = NULL WHERE seq = ?1";

struct Found {
    seq: i64,
    state: Option<JobState>,
    held: bool,
    in_lane: bool,
}

fn look(db: &Connection, id: &str, now_ms: i64) -> rusqlite::Result<Option<Found>> {
    db.prepare_cached(LOOK)?
        .query_row(params![id, now_ms], |row| {
            Ok(Found {
                seq: row.get(0)?,
                state: JobState::of(&row.get::<_, String>(1)?),
                held: row.get(2)?,
                in_lane: row.get(3)?,
            })
        })
        .optional()
}

/// See [`crate::Queue::cancel`].
pub(super) fn cancel(db: &Connection, id: &str, now_ms: i64) -> Outcome<Told<Cancelled>> {
    let Some(found) = look(db, id, now_ms)? else {
        return told(Cancelled::Unknown, false);
    };
    match found.state {
        Some(state) if state.is_over() => told(Cancelled::Over(state), false),
        Some(JobState::Running) if found.held => {
            db.prepare_cached(ASK)?.execute([found.seq])?;
            told(Cancelled::Asked, false)
        }
        state => {
            let crashed = state == Some(JobState::Running);
            let reason = Some((CANCELLED, ASKED));
            let crashes = i64::from(crashed);
            finish(
                db,
                found.seq,
                JobState::Cancelled,
                reason,
                None,
                crashes,
                now_ms,
            )?;
            told(Cancelled::Done, crashed && found.in_lane)
        }
    }
}

/// See [`crate::Queue::revive`].
pub(super) fn revive(db: &Connection, id: &str, now_ms: i64) -> Outcome<Told<Option<bool>>> {
    let Some(found) = look(db, id, now_ms)? else {
        return told(None, false);
    };
    if matches!(found.state, Some(JobState::Pending | JobState::Running)) {
        return told(Some(false), false);
    }
    let n_revived = db
        .prepare_cached(REVIVE)?
        .execute(params![found.seq, now_ms])?;
    told(Some(n_revived == 1), n_revived == 1)
}
