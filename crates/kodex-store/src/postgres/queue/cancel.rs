//! What people ask for: the end of a job, and another life.

use super::{
    PgQueue, row,
    tables::{ASKED, OVER, TIME},
};
use crate::{
    StoreError,
    postgres::{error, pool::Arg},
    queue::{CANCELLED, Cancelled, JobState},
};

pub(super) struct Texts {
    cancel: String,
    revive: String,
}

/// Somebody holds the job.
const HELD: &str = "(j.state = 'running' AND j.until_ms > t.now)";

impl Texts {
    pub(super) fn new() -> Self {
        Self {
            cancel: format!(
                "WITH {TIME},
                 u AS (UPDATE kodex.jobs j SET
                           state = CASE WHEN {HELD} THEN j.state ELSE 'cancelled' END,
                           cancel = {HELD},
                           ended_at_ms = CASE WHEN {HELD} THEN j.ended_at_ms ELSE t.now END,
                           reason_code = CASE WHEN {HELD} THEN j.reason_code ELSE '{CANCELLED}' END,
                           reason = CASE WHEN {HELD} THEN j.reason ELSE '{ASKED}' END,
                           n_crashes = j.n_crashes + CASE WHEN j.until_ms <= t.now THEN 1 ELSE 0 END,
                           holder = CASE WHEN {HELD} THEN j.holder END,
                           until_ms = CASE WHEN {HELD} THEN j.until_ms END
                       FROM t WHERE j.id = $2 AND j.state IN ('pending', 'blocked', 'running')
                       RETURNING j.state, j.lane IS NOT NULL AND j.state <> 'running' AS may_free)
                 SELECT (SELECT state FROM u), (SELECT state FROM kodex.jobs WHERE id = $2),
                        coalesce((SELECT may_free FROM u), false)"
            ),
            revive: format!(
                "WITH {TIME},
                 u AS (UPDATE kodex.jobs j SET state = 'pending', generation = j.generation + 1,
                           attempt = 0, n_crashes = 0, n_slices = 0, due_at_ms = t.now,
                           expires_at_ms = t.now + j.max_age_ms, ended_at_ms = NULL, result = NULL,
                           reason_code = NULL, reason = NULL, holder = NULL, until_ms = NULL, cancel = false
                       FROM t
                       WHERE j.id = $2 AND (j.state = 'blocked' OR j.{OVER})
                         AND NOT EXISTS (SELECT 1 FROM kodex.jobs o
                             WHERE o.state IN ('pending', 'running') AND o.unique_key IS NOT NULL
                               AND o.plugin = j.plugin AND o.queue = j.queue AND o.unique_key = j.unique_key)
                       RETURNING 1)
                 SELECT EXISTS (SELECT 1 FROM u), EXISTS (SELECT 1 FROM kodex.jobs WHERE id = $2)"
            ),
        }
    }
}

pub(super) async fn cancel(queue: &PgQueue, id: &str) -> Result<Cancelled, StoreError> {
    if row::is_nowhere(id) {
        return Ok(Cancelled::Unknown);
    }
    for _ in 0..super::N_TRIES {
        let args = [queue.now(), Arg::Text(id)];
        let rows = queue
            .rows(&queue.texts.cancel.cancel, &args, "cancelling a job")
            .await?;
        let (done, seen): (Option<&str>, Option<&str>) = match rows.first() {
            Some(row) => (row.get(0), row.get(1)),
            None => (None, None),
        };
        match (done, seen.map(JobState::of)) {
            (Some("running"), _) => return Ok(Cancelled::Asked),
            (Some(_), _) => {
                if rows.first().is_some_and(|row| row.get(2)) {
                    queue.ring();
                }
                return Ok(Cancelled::Done);
            }
            (None, None) => return Ok(Cancelled::Unknown),
            (None, Some(Some(state))) if state.is_over() => return Ok(Cancelled::Over(state)),
            // It changed between the two looks.
            (None, Some(_)) => {}
        }
    }
    Err(StoreError::Busy {
        what: format!("job {id:?}"),
    })
}

pub(super) async fn revive(queue: &PgQueue, id: &str) -> Result<Option<bool>, StoreError> {
    if row::is_nowhere(id) {
        return Ok(None);
    }
    let args = [queue.now(), Arg::Text(id)];
    let mut n_tries = 0;
    let rows = loop {
        let mut line = queue.line().await?;
        match line.rows(&queue.texts.cancel.revive, &args).await {
            Ok(rows) => break rows,
            // Another job with the unique key came at the same time.
            Err(trouble) if trouble.code() == "23505" => return Ok(Some(false)),
            Err(trouble) if n_tries < super::N_TRIES && super::is_interference(trouble.code()) => {
                n_tries += 1;
            }
            Err(trouble) => {
                return Err(error::own(queue.inner.place(), trouble, "reviving a job"));
            }
        }
    };
    let (done, is_there) = rows
        .first()
        .map_or((false, false), |row| (row.get(0), row.get(1)));
    if done {
        queue.ring();
    }
    Ok(is_there.then_some(done))
}
