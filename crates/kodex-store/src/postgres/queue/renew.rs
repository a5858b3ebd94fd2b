//! Renewing leases, many in one statement.

use std::collections::HashMap;

use super::{
    PgQueue, row,
    tables::{RUNS, TIME},
};
use crate::{
    StoreError,
    postgres::pool::Arg,
    queue::{JobLease, Renewed, lease_of},
};

/// Parameters: now, ids, tokens, length.
pub(super) fn text() -> String {
    format!(
        "WITH {TIME},
         l AS (SELECT * FROM unnest($2::text[], $3::bigint[]) AS l (id, token))
         UPDATE kodex.jobs j SET until_ms = t.now + $4::bigint FROM l, t
         WHERE j.id = l.id AND j.token = l.token AND {RUNS} AND j.until_ms > t.now
         RETURNING j.id, j.token, j.until_ms, j.cancel"
    )
}

pub(super) async fn renew(
    queue: &PgQueue,
    leases: &[JobLease],
    lease_ms: u64,
) -> Result<Vec<Renewed>, StoreError> {
    // In one order, so that a renewal and an end of the same jobs wait for each other and never in a circle.
    let somewhere = leases.iter().filter(|lease| !row::is_nowhere(&lease.id));
    let mut sorted: Vec<&JobLease> = somewhere.collect();
    sorted.sort_unstable_by(|a, b| (&a.id, a.token).cmp(&(&b.id, b.token)));
    sorted.dedup();
    if sorted.is_empty() {
        return Ok(vec![Renewed::Lost; leases.len()]);
    }
    let ids: Vec<&str> = sorted.iter().map(|lease| lease.id.as_str()).collect();
    let tokens: Vec<i64> = sorted.iter().map(|lease| row::token(lease.token)).collect();
    let args = [
        queue.now(),
        Arg::Texts(&ids),
        Arg::Numbers(&tokens),
        Arg::Number(row::ms(lease_of(lease_ms))),
    ];
    let rows = queue
        .rows(&queue.texts.renew, &args, "renewing leases")
        .await?;
    let held: HashMap<(&str, u64), Renewed> = rows
        .iter()
        .map(|row| {
            let renewed = Renewed::Held {
                until_ms: row::natural(row.get(2)),
                cancel: row.get(3),
            };
            ((row.get(0), row::natural(row.get(1))), renewed)
        })
        .collect();
    let answer = |lease: &JobLease| {
        let held = held.get(&(lease.id.as_str(), lease.token));
        held.copied().unwrap_or(Renewed::Lost)
    };
    Ok(leases.iter().map(answer).collect())
}
