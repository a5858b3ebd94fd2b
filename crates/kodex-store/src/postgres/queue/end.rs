//! Ending claims, many in one statement.

use std::collections::HashSet;

use kodex_plugin::PluginName;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::{
    PgQueue, look, row,
    tables::{ASKED, NOW, RUNS, TIME},
};
use crate::{
    StoreError,
    postgres::pool::Arg,
    queue::{ATTEMPTS_EXHAUSTED, CANCELLED, End, Ending, JobLease, check_payload, kept_reason},
};

pub(super) struct Texts {
    keep: String,
    /// All are done, and none has a result: what most jobs come to.
    complete: String,
    complete_one: String,
    any: String,
}

/// The lease is held.
fn held() -> String {
    format!("j.id = e.id AND j.token = e.token AND {RUNS} AND j.until_ms > t.now")
}

impl Texts {
    pub(super) fn new() -> Self {
        // Parameters: now, ids, tokens.
        let complete = |which: &str| {
            format!(
                "UPDATE kodex.jobs j SET state = 'completed', ended_at_ms = {NOW}, result = NULL,
                     reason_code = NULL, reason = NULL, holder = NULL, until_ms = NULL, cancel = false
                 WHERE {which} AND {RUNS} AND j.until_ms > {NOW}
                 RETURNING j.id, j.token, j.lane IS NOT NULL"
            )
        };
        // A table of the pairs is made once; a join would choose its order anew on each table's size.
        let each = "j.id = ANY ($2) AND ((j.id, j.token) IN (
                        SELECT e.id, e.token FROM unnest($2::text[], $3::bigint[]) AS e (id, token))) IS TRUE";
        // Parameters: now, job, token, checkpoint.
        let held = held();
        let keep = format!(
            "WITH {TIME}, e AS (SELECT $2::text AS id, $3::bigint AS token)
             UPDATE kodex.jobs j SET checkpoint = $4 FROM e, t WHERE {held} RETURNING 1"
        );
        Self {
            keep,
            complete: complete(each),
            complete_one: complete("j.id = $2::text AND j.token = $3::bigint"),
            any: any(),
        }
    }
}

/// Parameters: now, ids, tokens, ways, codes, reasons, values, waits.
fn any() -> String {
    // Where it goes; `stops` when somebody asked for its end and it would go on.
    let stops = "(j.cancel AND e.way IN ('pending', 'retry', 'on', 'blocked'))";
    let pauses = "(e.way IN ('pending', 'on') AND NOT j.cancel)";
    let fails = "(e.way = 'retry' AND j.attempt >= j.max_attempts)";
    let state = format!(
        "CASE WHEN {stops} THEN 'cancelled' WHEN {fails} THEN 'dead'
              WHEN e.way IN ('retry', 'on') THEN 'pending' ELSE e.way END"
    );
    let held = held();
    format!(
        "WITH {TIME},
         e AS (SELECT * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                                    $8::bigint[]) AS e (id, token, way, code, reason, value, wait_ms))
         UPDATE kodex.jobs j SET
             state = {state},
             ended_at_ms = CASE WHEN {state} = 'pending' THEN NULL ELSE t.now END,
             due_at_ms = CASE WHEN {state} = 'pending' THEN t.now + e.wait_ms ELSE j.due_at_ms END,
             attempt = j.attempt - CASE WHEN {pauses} THEN 1 ELSE 0 END,
             n_slices = j.n_slices + CASE WHEN {pauses} AND e.way = 'on' THEN 1 ELSE 0 END,
             checkpoint = CASE WHEN {pauses} THEN coalesce(e.value, j.checkpoint) ELSE j.checkpoint END,
             result = CASE WHEN e.way = 'completed' THEN e.value END,
             reason_code = CASE WHEN {stops} THEN '{CANCELLED}' WHEN {fails} THEN '{ATTEMPTS_EXHAUSTED}'
                                WHEN {pauses} THEN j.reason_code ELSE e.code END,
             reason = CASE WHEN {stops} THEN '{ASKED}' WHEN {pauses} THEN j.reason ELSE e.reason END,
             holder = NULL, until_ms = NULL, cancel = false
         FROM e, t WHERE {held}
         RETURNING j.id, j.token, j.lane IS NOT NULL OR (j.state = 'pending' AND e.wait_ms = 0)"
    )
}

/// One end in the words of the statement: where to, code, reason, value, wait.
type Parts<'a> = (
    &'static str,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    u64,
);

fn parts<'a>(ending: &Ending<'a>) -> Parts<'a> {
    let why = |way, reason: &crate::queue::Reason<'a>, wait| {
        (way, Some(reason.code), Some(reason.text), None, wait)
    };
    match ending {
        Ending::Complete { result } => (
            "completed",
            None,
            None,
            result.map(|result| result.get()),
            0,
        ),
        Ending::Fail(reason) => why("failed", reason, 0),
        Ending::Bury(reason) => why("dead", reason, 0),
        Ending::Block(reason) => why("blocked", reason, 0),
        Ending::Cancelled(reason) => why("cancelled", reason, 0),
        Ending::Retry { reason, after_ms } => why("retry", reason, *after_ms),
        Ending::GoOn {
            checkpoint,
            after_ms,
        } => {
            let value = checkpoint.map(|checkpoint| checkpoint.get());
            ("on", None, None, value, *after_ms)
        }
        Ending::Release { after_ms } => ("pending", None, None, None, *after_ms),
    }
}

pub(super) async fn end(queue: &PgQueue, ends: &[End<'_>]) -> Result<Vec<bool>, StoreError> {
    // The first word about a lease counts. In one order: see `renew`.
    let mut seen: HashSet<&JobLease> = HashSet::with_capacity(ends.len());
    let is_first: Vec<bool> = ends.iter().map(|end| seen.insert(end.lease)).collect();
    check(queue, ends).await?;
    let firsts = ends.iter().zip(&is_first);
    let firsts = firsts.filter(|(end, is_first)| **is_first && !row::is_nowhere(&end.lease.id));
    let mut sorted: Vec<&End<'_>> = firsts.map(|(end, _)| end).collect();
    sorted.sort_unstable_by(|a, b| a.lease.id.cmp(&b.lease.id));
    if sorted.is_empty() {
        return Ok(vec![false; ends.len()]);
    }
    let rows = run(queue, &sorted).await?;
    if rows.iter().any(|row| row.get(2)) {
        queue.ring();
    }
    if rows.len() == sorted.len() {
        return Ok(is_first);
    }
    let ended: HashSet<(&str, u64)> = rows
        .iter()
        .map(|row| (row.get(0), row::natural(row.get(1))))
        .collect();
    let answer = |(end, is_first): (&End<'_>, &bool)| {
        *is_first && ended.contains(&(end.lease.id.as_str(), end.lease.token))
    };
    Ok(ends.iter().zip(&is_first).map(answer).collect())
}

/// See [`crate::Queue::keep`].
pub(super) async fn keep(
    queue: &PgQueue,
    lease: &JobLease,
    checkpoint: &RawValue,
) -> Result<bool, StoreError> {
    let check = |plugin: &PluginName| check_payload(plugin, "checkpoint", checkpoint);
    if row::is_nowhere(&lease.id) || !look::fits(queue, lease, &check).await? {
        return Ok(false);
    }
    let args = [
        queue.now(),
        Arg::Text(&lease.id),
        Arg::Number(row::token(lease.token)),
        Arg::Text(checkpoint.get()),
    ];
    let sql = &queue.texts.end.keep;
    let rows = queue.rows(sql, &args, "keeping a checkpoint").await?;
    Ok(!rows.is_empty())
}

/// Refuses what is too large, before anything of the call is changed.
async fn check(queue: &PgQueue, ends: &[End<'_>]) -> Result<(), StoreError> {
    for end in ends {
        let (field, json) = match end.how {
            Ending::Complete { result } => ("result", result),
            Ending::GoOn { checkpoint, .. } => ("checkpoint", checkpoint),
            Ending::Fail(_)
            | Ending::Bury(_)
            | Ending::Block(_)
            | Ending::Cancelled(_)
            | Ending::Retry { .. }
            | Ending::Release { .. } => continue,
        };
        let Some(json) = json else { continue };
        look::fits(queue, end.lease, &|plugin| {
            check_payload(plugin, field, json)
        })
        .await?;
    }
    Ok(())
}

async fn run(queue: &PgQueue, sorted: &[&End<'_>]) -> Result<Vec<Row>, StoreError> {
    let ids: Vec<&str> = sorted.iter().map(|end| end.lease.id.as_str()).collect();
    let tokens: Vec<i64> = sorted
        .iter()
        .map(|end| row::token(end.lease.token))
        .collect();
    if let [end] = sorted
        && matches!(end.how, Ending::Complete { result: None })
    {
        let args = [
            queue.now(),
            Arg::Text(&end.lease.id),
            Arg::Number(row::token(end.lease.token)),
        ];
        let sql = &queue.texts.end.complete_one;
        return queue.rows(sql, &args, "ending a job").await;
    }
    let is_plain = |end: &&End<'_>| matches!(end.how, Ending::Complete { result: None });
    if sorted.iter().all(is_plain) {
        let args = [queue.now(), Arg::Texts(&ids), Arg::Numbers(&tokens)];
        return queue
            .rows(&queue.texts.end.complete, &args, "ending jobs")
            .await;
    }
    let parts: Vec<Parts<'_>> = sorted.iter().map(|end| parts(&end.how)).collect();
    let ways: Vec<&str> = parts.iter().map(|parts| parts.0).collect();
    let codes: Vec<_> = parts.iter().map(|parts| parts.1.map(kept_reason)).collect();
    let codes: Vec<Option<&str>> = codes.iter().map(Option::as_deref).collect();
    let reasons: Vec<_> = parts.iter().map(|parts| parts.2.map(kept_reason)).collect();
    let reasons: Vec<Option<&str>> = reasons.iter().map(Option::as_deref).collect();
    let values: Vec<Option<&str>> = parts.iter().map(|parts| parts.3).collect();
    let waits: Vec<i64> = parts.iter().map(|parts| row::ms(parts.4)).collect();
    let args = [
        queue.now(),
        Arg::Texts(&ids),
        Arg::Numbers(&tokens),
        Arg::Texts(&ways),
        Arg::MaybeTexts(&codes),
        Arg::MaybeTexts(&reasons),
        Arg::MaybeTexts(&values),
        Arg::Numbers(&waits),
    ];
    queue.rows(&queue.texts.end.any, &args, "ending jobs").await
}
