//! Adding jobs: one statement in the usual case, one transaction when unique keys meet.
//!
//! Several jobs without unique keys are most often all new. They are inserted without an answer for each, and
//! only if none of their ids is there; a count of all says that it was so. Where not, nothing has happened yet,
//! and they go the way of the others:
//!
//! The constraints of the table decide what is new. What they refuse is looked at afterwards: a job that
//! has the id, or the living one that has the unique key, which is changed as asked. It may end between
//! the two looks; then the insert is tried again.

use std::collections::HashSet;

use tokio_postgres::Row;

use super::{PgQueue, is_interference, row, tables::TIME};
use crate::{
    StoreError,
    postgres::{
        error,
        pool::{Arg, Line, Trouble},
    },
    queue::{Added, NewJob, Unique, check_many},
};

pub(super) struct Texts {
    insert: String,
    /// All new; and all of one kind, which has to be said once.
    all_new: String,
    all_alike: String,
    settle: String,
}

impl Texts {
    pub(super) fn new() -> Self {
        Self {
            // Parameters: now, ids, queues, plugins, names, lanes, unique keys, priorities, payloads, delays,
            // due times, ages, attempts.
            insert: format!(
                "WITH {TIME}
                 INSERT INTO kodex.jobs (id, queue, plugin, name, lane, unique_key, priority, state, payload,
                     added_at_ms, due_at_ms, max_age_ms, expires_at_ms, max_attempts)
                 SELECT a.id, a.queue, a.plugin, a.name, a.lane, a.unique_key, a.priority::smallint, 'pending', a.payload,
                     t.now, greatest(t.now + a.delay_ms, a.due_at_ms), a.max_age_ms, t.now + a.max_age_ms, a.max_attempts
                 FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
                     $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
                     AS a (id, queue, plugin, name, lane, unique_key, priority, payload, delay_ms, due_at_ms,
                           max_age_ms, max_attempts), t
                 ON CONFLICT DO NOTHING
                 RETURNING id, due_at_ms <= added_at_ms"
            ),
            all_new: all_new(
                "a.queue, a.plugin, a.name, a.lane, a.priority::smallint, 'pending', a.payload, t.now,
                 t.now + a.delay_ms, a.max_age_ms, t.now + a.max_age_ms, a.max_attempts",
                "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
                     $9::bigint[], $10::bigint[], $11::bigint[])
                     AS a (id, payload, queue, plugin, name, lane, priority, delay_ms, max_age_ms, max_attempts)",
            ),
            all_alike: all_new(
                "$4::text, $5::text, $6::text, $7::text, $8::bigint::smallint, 'pending', a.payload, t.now,
                 t.now + $9::bigint, $10::bigint, t.now + $10::bigint, $11::bigint",
                "unnest($2::text[], $3::text[]) AS a (id, payload)",
            ),
            settle: settle(),
        }
    }
}

/// Inserts all or none. Parameters: now, ids, payloads, queues, plugins, names, lanes, priorities, delays, ages,
/// attempts; those behind the payloads of each job or of all.
fn all_new(values: &str, from: &str) -> String {
    format!(
        "WITH {TIME}
         INSERT INTO kodex.jobs (id, queue, plugin, name, lane, priority, state, payload,
             added_at_ms, due_at_ms, max_age_ms, expires_at_ms, max_attempts)
         SELECT a.id, {values} FROM {from}, t
         WHERE NOT EXISTS (SELECT 1 FROM kodex.jobs o WHERE o.id = ANY ($2))"
    )
}

/// What became of jobs that are not new; each unique key comes once. Parameters: now, ids, queues, plugins,
/// unique keys, payloads of those that replace, longest waits of those that debounce, whether to change
/// anything, delays, due times.
fn settle() -> String {
    let due = "greatest(t.now + a.delay_ms, a.due_at_ms)";
    let moved = format!(
        "CASE WHEN a.payload IS NOT NULL THEN {due} ELSE least({due}, j.added_at_ms + a.wait_ms) END"
    );
    let living = "j.unique_key IS NOT NULL AND j.plugin = a.plugin AND j.queue = a.queue AND j.unique_key = a.unique_key";
    format!(
        "WITH {TIME},
         a AS (SELECT a.*, EXISTS (SELECT 1 FROM kodex.jobs j WHERE j.id = a.id) AS is_same
               FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
                           $9::bigint[]) WITH ORDINALITY
                   AS a (id, queue, plugin, unique_key, payload, wait_ms, delay_ms, due_at_ms, place)),
         u AS (UPDATE kodex.jobs j SET payload = coalesce(a.payload, j.payload), due_at_ms = {moved}
               FROM a, t
               WHERE NOT a.is_same AND (a.payload IS NOT NULL OR a.wait_ms IS NOT NULL)
                 AND j.state IN ('pending', 'running') AND {living} AND j.state = 'pending'
                 AND (j.due_at_ms <> {moved} OR j.payload <> coalesce(a.payload, j.payload))
               RETURNING a.place, j.due_at_ms <= t.now AS is_due)
         SELECT a.is_same, (SELECT j.id FROM kodex.jobs j WHERE j.state IN ('pending', 'running') AND {living}),
                u.place IS NOT NULL, coalesce(u.is_due, false)
         FROM a LEFT JOIN u ON u.place = a.place ORDER BY a.place"
    )
}

/// What became of the jobs so far, by their places.
struct Progress {
    added: Vec<Option<Added>>,
    is_due: bool,
}

pub(super) async fn add(queue: &PgQueue, jobs: &[NewJob<'_>]) -> Result<Vec<Added>, StoreError> {
    check_many(jobs)?;
    let mut n_tries = 0;
    loop {
        let mut progress = Progress {
            added: vec![None; jobs.len()],
            is_due: false,
        };
        let mut line = queue.line().await?;
        let done = attempt(queue, &mut line, jobs, &mut progress).await;
        drop(line);
        match done {
            Ok(()) => {
                if progress.is_due {
                    queue.ring();
                }
                let added: Option<Vec<Added>> = progress.added.into_iter().collect();
                return added.ok_or_else(|| StoreError::Busy {
                    what: "a unique key of jobs".to_owned(),
                });
            }
            Err(trouble) if n_tries < super::N_TRIES && is_interference(trouble.code()) => {
                n_tries += 1;
            }
            Err(trouble) => return Err(error::own(queue.inner.place(), trouble, "adding jobs")),
        }
    }
}

async fn attempt(
    queue: &PgQueue,
    line: &mut Line,
    jobs: &[NewJob<'_>],
    progress: &mut Progress,
) -> Result<(), Trouble> {
    let all: Vec<usize> = (0..jobs.len()).collect();
    if all.is_empty() {
        return Ok(());
    }
    if insert_new(queue, line, jobs, progress).await? {
        return Ok(());
    }
    let is_keyed = jobs.iter().any(|job| job.unique_key.is_some());
    // Without unique keys, and for a single job, nothing is half done after the first statement.
    if jobs.len() == 1 || !is_keyed {
        insert(queue, line, jobs, &all, progress).await?;
        if !is_keyed {
            refuse_ids(jobs, progress);
        }
        if progress.added.iter().all(Option::is_some) {
            return Ok(());
        }
    }
    line.begin().await?;
    let mut left = missing(progress, &all);
    while !left.is_empty() {
        // In order: of several with one id, each finds what those before it left.
        let mut ids = HashSet::new();
        let (now, later): (Vec<usize>, Vec<usize>) =
            left.into_iter().partition(|at| ids.insert(jobs[*at].id));
        if !add_some(queue, line, jobs, &now, progress).await? {
            // Whoever drops the line rolls back.
            return Ok(());
        }
        left = later;
    }
    line.commit().await
}

/// Adds jobs with different ids; false when others were in the way again and again.
async fn add_some(
    queue: &PgQueue,
    line: &mut Line,
    jobs: &[NewJob<'_>],
    some: &[usize],
    progress: &mut Progress,
) -> Result<bool, Trouble> {
    let mut open = some.to_vec();
    for _ in 0..super::N_TRIES {
        insert(queue, line, jobs, &open, progress).await?;
        let mut left = missing(progress, &open);
        // In order, as the ids.
        while !left.is_empty() {
            let mut keys = HashSet::new();
            let key = |at: &usize| (jobs[*at].plugin, jobs[*at].queue, jobs[*at].unique_key);
            let (now, later): (Vec<usize>, Vec<usize>) =
                left.into_iter().partition(|at| keys.insert(key(at)));
            settle_some(queue, line, jobs, &now, progress).await?;
            left = later;
        }
        open = missing(progress, &open);
        if open.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn missing(progress: &Progress, of: &[usize]) -> Vec<usize> {
    let is_open = |at: &usize| progress.added[*at].is_none();
    of.iter().copied().filter(is_open).collect()
}

/// Nothing but its id can refuse a job without a unique key.
fn refuse_ids(jobs: &[NewJob<'_>], progress: &mut Progress) {
    for (job, added) in jobs.iter().zip(&mut progress.added) {
        added.get_or_insert_with(|| Added::Existing {
            id: job.id.to_owned(),
            changed: false,
        });
    }
}

/// Whether these may be inserted without an answer for each: several, with different ids and without unique
/// keys. When they become due is known here where no time of the server's clock is compared.
fn are_simple(jobs: &[NewJob<'_>]) -> bool {
    let mut ids = HashSet::with_capacity(jobs.len());
    jobs.len() > 1
        && jobs
            .iter()
            .all(|job| job.unique_key.is_none() && job.due_at_ms.is_none() && ids.insert(job.id))
}

/// What two jobs may differ in and still be of one kind is their id and payload.
fn are_alike(a: &NewJob<'_>, b: &NewJob<'_>) -> bool {
    let kind = |job: &NewJob<'_>| (job.priority, job.delay_ms, job.max_age_ms, job.max_attempts);
    a.queue == b.queue
        && a.plugin == b.plugin
        && a.name == b.name
        && a.lane == b.lane
        && kind(a) == kind(b)
}

/// False when nothing was done, because an id is there or these are no simple ones.
async fn insert_new(
    queue: &PgQueue,
    line: &mut Line,
    jobs: &[NewJob<'_>],
    progress: &mut Progress,
) -> Result<bool, Trouble> {
    let [kind, others @ ..] = jobs else {
        return Ok(true);
    };
    if !are_simple(jobs) {
        return Ok(false);
    }
    let done = if others.iter().all(|job| are_alike(kind, job)) {
        insert_alike(queue, line, jobs, kind).await
    } else {
        insert_mixed(queue, line, jobs).await
    };
    match done {
        Ok(0) => Ok(false),
        Ok(_) => {
            progress.added.fill(Some(Added::Created));
            progress.is_due |= jobs.iter().any(|job| job.delay_ms == 0);
            Ok(true)
        }
        // Somebody added one of them at the same time.
        Err(trouble) if trouble.code() == "23505" => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

async fn insert_alike(
    queue: &PgQueue,
    line: &mut Line,
    jobs: &[NewJob<'_>],
    kind: &NewJob<'_>,
) -> Result<u64, Trouble> {
    let ids: Vec<&str> = jobs.iter().map(|job| job.id).collect();
    let payloads: Vec<&str> = jobs.iter().map(|job| job.payload.get()).collect();
    let args = [
        queue.now(),
        Arg::Texts(&ids),
        Arg::Texts(&payloads),
        Arg::Text(kind.queue),
        Arg::Text(kind.plugin.as_str()),
        Arg::Text(kind.name),
        Arg::MaybeText(kind.lane),
        Arg::Number(kind.priority.rank().into()),
        Arg::Number(row::ms(kind.delay_ms)),
        Arg::MaybeNumber(kind.max_age_ms.map(row::ms)),
        Arg::Number(kind.max_attempts.into()),
    ];
    line.changes(&queue.texts.add.all_alike, &args).await
}

async fn insert_mixed(
    queue: &PgQueue,
    line: &mut Line,
    jobs: &[NewJob<'_>],
) -> Result<u64, Trouble> {
    let each = || jobs.iter();
    let ids: Vec<&str> = each().map(|job| job.id).collect();
    let payloads: Vec<&str> = each().map(|job| job.payload.get()).collect();
    let queues: Vec<&str> = each().map(|job| job.queue).collect();
    let plugins: Vec<&str> = each().map(|job| job.plugin.as_str()).collect();
    let names: Vec<&str> = each().map(|job| job.name).collect();
    let lanes: Vec<Option<&str>> = each().map(|job| job.lane).collect();
    let priorities: Vec<i64> = each().map(|job| job.priority.rank().into()).collect();
    let delays: Vec<i64> = each().map(|job| row::ms(job.delay_ms)).collect();
    let ages: Vec<Option<i64>> = each().map(|job| job.max_age_ms.map(row::ms)).collect();
    let attempts: Vec<i64> = each().map(|job| job.max_attempts.into()).collect();
    let args = [
        queue.now(),
        Arg::Texts(&ids),
        Arg::Texts(&payloads),
        Arg::Texts(&queues),
        Arg::Texts(&plugins),
        Arg::Texts(&names),
        Arg::MaybeTexts(&lanes),
        Arg::Numbers(&priorities),
        Arg::Numbers(&delays),
        Arg::MaybeNumbers(&ages),
        Arg::Numbers(&attempts),
    ];
    line.changes(&queue.texts.add.all_new, &args).await
}

async fn insert(
    queue: &PgQueue,
    line: &mut Line,
    jobs: &[NewJob<'_>],
    at: &[usize],
    progress: &mut Progress,
) -> Result<(), Trouble> {
    let each = || at.iter().map(|at| &jobs[*at]);
    let ids: Vec<&str> = each().map(|job| job.id).collect();
    let queues: Vec<&str> = each().map(|job| job.queue).collect();
    let plugins: Vec<&str> = each().map(|job| job.plugin.as_str()).collect();
    let names: Vec<&str> = each().map(|job| job.name).collect();
    let lanes: Vec<Option<&str>> = each().map(|job| job.lane).collect();
    let keys: Vec<Option<&str>> = each().map(|job| job.unique_key).collect();
    let priorities: Vec<i64> = each().map(|job| job.priority.rank().into()).collect();
    let payloads: Vec<&str> = each().map(|job| job.payload.get()).collect();
    let delays: Vec<i64> = each().map(|job| row::ms(job.delay_ms)).collect();
    let dues: Vec<Option<i64>> = each().map(|job| job.due_at_ms.map(row::ms)).collect();
    let ages: Vec<Option<i64>> = each().map(|job| job.max_age_ms.map(row::ms)).collect();
    let attempts: Vec<i64> = each().map(|job| job.max_attempts.into()).collect();
    let args = [
        queue.now(),
        Arg::Texts(&ids),
        Arg::Texts(&queues),
        Arg::Texts(&plugins),
        Arg::Texts(&names),
        Arg::MaybeTexts(&lanes),
        Arg::MaybeTexts(&keys),
        Arg::Numbers(&priorities),
        Arg::Texts(&payloads),
        Arg::Numbers(&delays),
        Arg::MaybeNumbers(&dues),
        Arg::MaybeNumbers(&ages),
        Arg::Numbers(&attempts),
    ];
    let rows = line.rows(&queue.texts.add.insert, &args).await?;
    progress.is_due |= rows.iter().any(|row| row.get(1));
    // Of several with one id, the first is the one that is there.
    let mut created: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
    for at in at {
        if created.remove(jobs[*at].id) {
            progress.added[*at] = Some(Added::Created);
        }
    }
    Ok(())
}

async fn settle_some(
    queue: &PgQueue,
    line: &mut Line,
    jobs: &[NewJob<'_>],
    at: &[usize],
    progress: &mut Progress,
) -> Result<(), Trouble> {
    let each = || at.iter().map(|at| &jobs[*at]);
    let ids: Vec<&str> = each().map(|job| job.id).collect();
    let queues: Vec<&str> = each().map(|job| job.queue).collect();
    let plugins: Vec<&str> = each().map(|job| job.plugin.as_str()).collect();
    let keys: Vec<Option<&str>> = each().map(|job| job.unique_key).collect();
    let payloads: Vec<Option<&str>> = each()
        .map(|job| (job.unique == Unique::Replace).then(|| job.payload.get()))
        .collect();
    let wait = |job: &NewJob<'_>| match job.unique {
        Unique::Debounce { max_wait_ms } => Some(row::ms(max_wait_ms)),
        Unique::Keep | Unique::Replace => None,
    };
    let waits: Vec<Option<i64>> = each().map(wait).collect();
    let delays: Vec<i64> = each().map(|job| row::ms(job.delay_ms)).collect();
    let dues: Vec<Option<i64>> = each().map(|job| job.due_at_ms.map(row::ms)).collect();
    let args = [
        queue.now(),
        Arg::Texts(&ids),
        Arg::Texts(&queues),
        Arg::Texts(&plugins),
        Arg::MaybeTexts(&keys),
        Arg::MaybeTexts(&payloads),
        Arg::MaybeNumbers(&waits),
        Arg::Numbers(&delays),
        Arg::MaybeNumbers(&dues),
    ];
    let rows = line.rows(&queue.texts.add.settle, &args).await?;
    progress.is_due |= rows.iter().any(|row| row.get(3));
    for (at, row) in at.iter().zip(&rows) {
        progress.added[*at] = existing(row, jobs[*at].id);
    }
    Ok(())
}

/// None when what refused the job is gone.
fn existing(row: &Row, id: &str) -> Option<Added> {
    let living: Option<String> = row.get(1);
    let id = if row.get(0) { id.to_owned() } else { living? };
    Some(Added::Existing {
        id,
        changed: row.get(2),
    })
}
