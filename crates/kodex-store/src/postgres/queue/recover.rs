//! Taking back jobs whose lease ran out, giving up those that are too old, and removing what ended long ago.

use super::{
    PgQueue, row,
    tables::{ASKED, OVER, TIME},
};
use crate::{
    StoreError,
    postgres::pool::Arg,
    queue::{
        ATTEMPTS_EXHAUSTED, CANCELLED, EXPIRED, JobState, LEASE_RAN_OUT, POISON, Recover, Recovered,
    },
};

pub(super) struct Texts {
    recover: String,
    prune: String,
}

impl Texts {
    pub(super) fn new() -> Self {
        Self {
            recover: recover_text(),
            prune: format!(
                "WITH g AS (DELETE FROM kodex.jobs WHERE id IN (
                         SELECT id FROM kodex.jobs WHERE {OVER} AND ended_at_ms <= $1
                         ORDER BY ended_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)
                     RETURNING id),
                 e AS (DELETE FROM kodex.job_effects e USING g WHERE e.job_id = g.id),
                 l AS (DELETE FROM kodex.job_logs l USING g WHERE l.job_id = g.id),
                 n AS (DELETE FROM kodex.job_lines n USING g WHERE n.job_id = g.id)
                 SELECT count(*) FROM g"
            ),
        }
    }
}

/// Parameters: now, limit, crashes allowed, pauses.
fn recover_text() -> String {
    format!(
        // What is judged is the row as it is locked, not as the statement saw it before.
        "WITH {TIME},
         r AS (SELECT id, true AS crashed, cancel, expires_at_ms, n_crashes + 1 AS n_crashes, attempt, max_attempts
               FROM kodex.jobs, t WHERE state = 'running' AND until_ms <= t.now
               ORDER BY until_ms LIMIT $2 FOR UPDATE OF jobs SKIP LOCKED),
         x AS (SELECT id, false AS crashed, cancel, expires_at_ms, n_crashes, attempt, max_attempts
               FROM kodex.jobs, t
               WHERE state IN ('pending', 'blocked') AND expires_at_ms IS NOT NULL AND expires_at_ms <= t.now
               ORDER BY expires_at_ms LIMIT greatest($2 - (SELECT count(*) FROM r), 0)
               FOR UPDATE OF jobs SKIP LOCKED),
         b AS (SELECT o.id, o.crashed, o.n_crashes, CASE
                   WHEN o.cancel THEN '{CANCELLED}'
                   WHEN o.expires_at_ms <= t.now THEN '{EXPIRED}'
                   WHEN o.n_crashes >= $3::bigint THEN '{POISON}'
                   WHEN o.attempt >= o.max_attempts THEN '{ATTEMPTS_EXHAUSTED}'
                   ELSE '{LEASE_RAN_OUT}' END AS code
               FROM (SELECT * FROM r UNION ALL SELECT * FROM x) o, t)
         UPDATE kodex.jobs j SET
             state = CASE b.code WHEN '{CANCELLED}' THEN 'cancelled' WHEN '{LEASE_RAN_OUT}' THEN 'pending' ELSE 'dead' END,
             due_at_ms = CASE b.code WHEN '{LEASE_RAN_OUT}'
                 THEN t.now + coalesce(($4::bigint[])[least(b.n_crashes, cardinality($4))], 0)
                 ELSE j.due_at_ms END,
             ended_at_ms = CASE b.code WHEN '{LEASE_RAN_OUT}' THEN NULL ELSE t.now END,
             reason_code = b.code,
             reason = CASE b.code
                 WHEN '{CANCELLED}' THEN '{ASKED}'
                 WHEN '{EXPIRED}' THEN 'it was not over in time'
                 WHEN '{POISON}' THEN 'its lease ran out ' || b.n_crashes || ' times'
                 WHEN '{ATTEMPTS_EXHAUSTED}' THEN 'its lease ran out in its last attempt'
                 ELSE 'its lease ran out' END,
             n_crashes = b.n_crashes, holder = NULL, until_ms = NULL, cancel = false
         FROM b, t WHERE j.id = b.id
         RETURNING j.id, j.queue, j.plugin, j.state, j.reason_code, b.crashed,
                   (j.lane IS NOT NULL AND b.crashed) OR (j.state = 'pending' AND j.due_at_ms <= t.now)"
    )
}

pub(super) async fn recover(
    queue: &PgQueue,
    recover: &Recover<'_>,
) -> Result<Vec<Recovered>, StoreError> {
    let pauses: Vec<i64> = recover
        .pauses_ms
        .iter()
        .map(|pause| row::ms(*pause))
        .collect();
    let args = [
        queue.now(),
        Arg::Number(row::count(recover.limit)),
        Arg::Number(i64::from(recover.max_crashes)),
        Arg::Numbers(&pauses),
    ];
    let rows = queue
        .rows(&queue.texts.recover.recover, &args, "taking jobs back")
        .await?;
    if rows.iter().any(|row| row.get(6)) {
        queue.ring();
    }
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let state = JobState::of(row.get(3));
        let plugin = row::plugin(row, 2);
        // Nobody can be told whose it was; one that goes on is buried by whoever claims it.
        let (Some(state), Ok(plugin)) = (state, plugin) else {
            continue;
        };
        let reason_code: Option<String> = row.get(4);
        let recovered = Recovered {
            id: row.get(0),
            queue: row.get(1),
            plugin,
            state,
            reason_code: reason_code.filter(|_| state != JobState::Pending),
        };
        taken.push((!row.get::<_, bool>(5), recovered));
    }
    taken.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
    Ok(taken.into_iter().map(|(_, recovered)| recovered).collect())
}

pub(super) async fn prune(
    queue: &PgQueue,
    ended_before_ms: u64,
    limit: usize,
) -> Result<u64, StoreError> {
    let args = [
        Arg::Number(i64::try_from(ended_before_ms).unwrap_or(i64::MAX)),
        Arg::Number(row::count(limit)),
    ];
    let rows = queue
        .rows(&queue.texts.recover.prune, &args, "removing jobs")
        .await?;
    Ok(rows.first().map_or(0, |row| row::natural(row.get(0))))
}
