//! Taking due jobs: one statement, and for capped plugins one transaction.
//!
//! Most jobs are in no lane, and looking at lanes costs a statement that finds none a good part of its time.
//! So a claim begins with a short one that knows no lanes: it looks at the first jobs whatever they are, takes
//! those that are in none, and leaves its place to the full one when that gave fewer than were wanted. Where
//! jobs in lanes were taken lately, the full one comes first.
//!
//! Each priority is looked at by itself, so that jobs of a later time in one do not stand before due ones
//! of the next. A job in a lane is taken when it is the first of its lane and none of the lane runs; two
//! claims that see it differently meet at the constraint, and one of them looks again. A cap is counted
//! while the plugin's row in `kodex.job_caps` is locked, after the lock was had.

use std::sync::atomic::{AtomicU32, Ordering};

use kodex_plugin::PluginName;
use tokio_postgres::Row;

use super::{
    PgQueue, is_interference, row,
    row::Malformed,
    tables::{COLUMNS, NOW, TIME},
};
use crate::{
    StoreError,
    postgres::{
        error,
        pool::{Arg, Line, Trouble},
    },
    queue::{Claim, Claimed, End, Ending, JobLease, MALFORMED, N_TOGETHER, Reason, lease_of},
};

pub(super) struct Texts {
    one: String,
    many: String,
    plain: String,
    capped: String,
}

/// How many claims look at lanes at once, counted from the last that took a job in one.
const N_BESIDE_LANES: u32 = 64;

/// Whether jobs in lanes were taken lately.
#[derive(Default)]
pub(super) struct Lanes(AtomicU32);

impl Lanes {
    fn are_near(&self) -> bool {
        let less = |n: u32| n.checked_sub(1);
        let left = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        left.is_ok()
    }

    fn see(&self, claimed: &[Claimed]) {
        if claimed.iter().any(|claimed| claimed.job.lane.is_some()) {
            self.0.store(N_BESIDE_LANES, Ordering::Relaxed);
        }
    }
}

const CAPS: &str =
    "SELECT plugin FROM kodex.job_caps WHERE plugin = ANY ($1) ORDER BY plugin FOR UPDATE";
const NEW_CAPS: &str =
    "INSERT INTO kodex.job_caps (plugin) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING";

/// What may be taken, in order, locked. Parameters: now, queue, how many, plugins.
fn candidates(is_capped: bool) -> String {
    let may = |job: &str| {
        let capped = if is_capped {
            format!(
                "AND NOT EXISTS (SELECT 1 FROM k WHERE k.plugin = {job}.plugin AND k.room <= 0)"
            )
        } else {
            String::new()
        };
        format!(
            "{job}.state = 'pending' AND {job}.queue = $2 AND {job}.due_at_ms <= t.now
             AND ({job}.expires_at_ms IS NULL OR {job}.expires_at_ms > t.now)
             AND ($4::text[] IS NULL OR {job}.plugin = ANY ($4)) {capped}"
        )
    };
    let (here, head) = (may("j"), may("h"));
    format!(
        "c AS (SELECT p.* FROM t, (VALUES (0::smallint), (1::smallint), (2::smallint)) AS r (rank),
               LATERAL (SELECT j.id, j.plugin, j.priority, j.due_at_ms FROM kodex.jobs j
                        WHERE {here} AND j.priority = r.rank
                          AND (j.lane IS NULL OR (
                              (SELECT true FROM kodex.jobs o WHERE o.state = 'running' AND o.lane IS NOT NULL
                                   AND o.lane = j.lane LIMIT 1) IS NULL
                              AND j.id = (SELECT h.id FROM kodex.jobs h
                                   WHERE {head} AND h.lane IS NOT NULL AND h.lane = j.lane
                                   ORDER BY h.priority, h.due_at_ms, h.id LIMIT 1)))
                        ORDER BY j.due_at_ms, j.id LIMIT $3 FOR UPDATE OF j SKIP LOCKED) p
               LIMIT $3)"
    )
}

/// The first of those that are due, locked, in lanes or not. Parameters as those of `candidates`.
fn first(limit: &str) -> String {
    format!(
        "SELECT p.id FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) AS r (rank),
               LATERAL (SELECT j.id FROM kodex.jobs j
                        WHERE j.state = 'pending' AND j.queue = $2 AND j.priority = r.rank AND j.due_at_ms <= {NOW}
                          AND (j.expires_at_ms IS NULL OR j.expires_at_ms > {NOW})
                          AND ($4::text[] IS NULL OR j.plugin = ANY ($4))
                        ORDER BY j.due_at_ms, j.id LIMIT {limit} FOR UPDATE OF j SKIP LOCKED) p
               LIMIT {limit}"
    )
}

/// Those of the first that are in no lane. Parameters: holder, length at the fifth and sixth.
fn take_first(from: &str, is_it: &str) -> String {
    format!(
        "UPDATE kodex.jobs j SET state = 'running', attempt = j.attempt + 1, token = j.token + 1, holder = $5,
             until_ms = {NOW} + $6::bigint, started_at_ms = {NOW}
         {from} WHERE {is_it} AND j.lane IS NULL
         RETURNING {COLUMNS}"
    )
}

/// Parameters: holder, length at the fifth and sixth.
fn take(from: &str) -> String {
    format!(
        "UPDATE kodex.jobs j SET state = 'running', attempt = j.attempt + 1, token = j.token + 1, holder = $5,
             until_ms = t.now + $6::bigint, started_at_ms = t.now
         FROM {from} c, t WHERE j.id = c.id
         RETURNING {COLUMNS}"
    )
}

impl Texts {
    pub(super) fn new() -> Self {
        let (plain, take_plain) = (candidates(false), take("c"));
        let (capped, take_capped) = (candidates(true), take("w"));
        Self {
            // The third parameter is always 1.
            one: take_first("", &format!("j.id = ({})", first("$3::bigint"))),
            many: format!(
                "WITH c AS ({}) {}",
                first("$3"),
                take_first("FROM c", "j.id = c.id")
            ),
            plain: format!("WITH {TIME}, {plain} {take_plain}"),
            // Parameters: plugins and caps at the seventh and eighth.
            capped: format!(
                "WITH {TIME},
                 k AS (SELECT k.plugin, k.n - (SELECT count(*) FROM kodex.jobs r
                                               WHERE r.state = 'running' AND r.plugin = k.plugin) AS room
                       FROM unnest($7::text[], $8::bigint[]) AS k (plugin, n)),
                 {capped},
                 w AS (SELECT n.id FROM (
                           SELECT c.id, c.plugin, row_number() OVER (
                               PARTITION BY c.plugin ORDER BY c.priority, c.due_at_ms, c.id) AS n
                           FROM c) n
                       LEFT JOIN k ON k.plugin = n.plugin WHERE k.room IS NULL OR n.n <= k.room),
                 u AS ({take_capped})
                 SELECT u.*, (SELECT count(*) FROM c) AS n_seen FROM (SELECT 1) one LEFT JOIN u ON true"
            ),
        }
    }
}

pub(super) async fn claim(queue: &PgQueue, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
    let n = claim.n.min(N_TOGETHER);
    let mut taken: Vec<Claimed> = Vec::new();
    if row::is_nowhere(claim.queue) || claim.plugins.is_some_and(<[_]>::is_empty) {
        return Ok(taken);
    }
    let mut is_short = claim.caps.is_empty() && !queue.lanes.are_near();
    // As often as something was found that could not be given.
    while taken.len() < n {
        let wanted = n - taken.len();
        let texts = &queue.texts.claim;
        let found = match (is_short, wanted) {
            (true, 1) => plain(queue, &texts.one, claim, wanted).await?,
            (true, _) => plain(queue, &texts.many, claim, wanted).await?,
            (false, _) if claim.caps.is_empty() => {
                plain(queue, &texts.plain, claim, wanted).await?
            }
            (false, _) => capped(queue, claim, wanted).await?,
        };
        let was_cut = is_short || found.was_cut || !found.malformed.is_empty();
        is_short = false;
        queue.lanes.see(&found.claimed);
        bury(queue, &found.malformed).await?;
        taken.extend(found.claimed);
        if !was_cut {
            break;
        }
    }
    taken.sort_by(|a, b| {
        let key = |claimed: &'_ Claimed| (claimed.job.priority, claimed.job.due_at_ms);
        key(a).cmp(&key(b)).then_with(|| a.job.id.cmp(&b.job.id))
    });
    Ok(taken)
}

/// What one statement found.
struct Found {
    claimed: Vec<Claimed>,
    malformed: Vec<(JobLease, Malformed)>,
    /// There may be more behind what was found.
    was_cut: bool,
}

/// What all claims have as parameters.
fn args<'a>(
    queue: &PgQueue,
    claim: &Claim<'a>,
    wanted: usize,
    plugins: Option<&'a [&'a str]>,
) -> Vec<Arg<'a>> {
    vec![
        queue.now(),
        Arg::Text(claim.queue),
        Arg::Number(row::count(wanted)),
        plugins.map_or(Arg::NoTexts, Arg::Texts),
        Arg::Text(claim.holder),
        Arg::Number(row::ms(lease_of(claim.lease_ms))),
    ]
}

fn names(plugins: Option<&[PluginName]>) -> Option<Vec<&str>> {
    plugins.map(|plugins| plugins.iter().map(PluginName::as_str).collect())
}

async fn plain(
    queue: &PgQueue,
    sql: &str,
    claim: &Claim<'_>,
    wanted: usize,
) -> Result<Found, StoreError> {
    let plugins = names(claim.plugins);
    let args = args(queue, claim, wanted, plugins.as_deref());
    let mut n_tries = 0;
    loop {
        let mut line = queue.line().await?;
        match line.rows(sql, &args).await {
            Ok(rows) => return Ok(read(&rows, claim)),
            Err(trouble) => again(queue, trouble, &mut n_tries)?,
        }
    }
}

async fn capped(queue: &PgQueue, claim: &Claim<'_>, wanted: usize) -> Result<Found, StoreError> {
    let plugins = names(claim.plugins);
    let mut args = args(queue, claim, wanted, plugins.as_deref());
    let mut caps: Vec<(&str, i64)> = claim
        .caps
        .iter()
        .map(|(plugin, n)| (plugin.as_str(), row::count(*n)))
        .collect();
    caps.sort_unstable();
    // The smallest of several.
    caps.dedup_by_key(|(plugin, _)| *plugin);
    let (capped, numbers): (Vec<&str>, Vec<i64>) = caps.into_iter().unzip();
    args.push(Arg::Texts(&capped));
    args.push(Arg::Numbers(&numbers));
    let mut n_tries = 0;
    loop {
        let mut line = queue.line().await?;
        let rows = under_caps(&mut line, &queue.texts.claim.capped, &args, &capped).await;
        drop(line);
        match rows {
            Ok(rows) => {
                let n_seen = rows.first().map_or(0, |row| row.get("n_seen"));
                let taken: Vec<Row> = rows
                    .into_iter()
                    .filter(|row| row.get::<_, Option<&str>>(0).is_some())
                    .collect();
                let mut found = read(&taken, claim);
                found.was_cut = row::count(taken.len()) < n_seen;
                return Ok(found);
            }
            Err(trouble) => again(queue, trouble, &mut n_tries)?,
        }
    }
}

/// Locks the rows of the plugins, then counts and claims.
async fn under_caps(
    line: &mut Line,
    sql: &str,
    args: &[Arg<'_>],
    capped: &[&str],
) -> Result<Vec<Row>, Trouble> {
    let names = [Arg::Texts(capped)];
    line.begin().await?;
    let locked = line.rows(CAPS, &names).await?;
    if locked.len() < capped.len() {
        line.rows(NEW_CAPS, &names).await?;
        line.rows(CAPS, &names).await?;
    }
    let rows = line.rows(sql, args).await?;
    line.commit().await?;
    Ok(rows)
}

/// Somebody else took the lane, or the two ran into each other.
fn again(queue: &PgQueue, trouble: Trouble, n_tries: &mut usize) -> Result<(), StoreError> {
    let is_lane = trouble.code() == "23505";
    if *n_tries < super::N_TRIES && (is_lane || is_interference(trouble.code())) {
        *n_tries += 1;
        return Ok(());
    }
    if is_lane {
        return Err(StoreError::Busy {
            what: "a lane of jobs".to_owned(),
        });
    }
    Err(error::own(queue.inner.place(), trouble, "claiming jobs"))
}

fn read(rows: &[Row], claim: &Claim<'_>) -> Found {
    let mut found = Found {
        claimed: Vec::with_capacity(rows.len()),
        malformed: Vec::new(),
        was_cut: false,
    };
    for row in rows {
        let lease = JobLease {
            id: row.get(0),
            token: row::natural(row.get(23)),
        };
        match row::job(row) {
            Ok(job) => found.claimed.push(Claimed {
                until_ms: job.until_ms.unwrap_or(0),
                job,
                lease,
                lease_ms: lease_of(claim.lease_ms),
            }),
            Err(malformed) => found.malformed.push((lease, malformed)),
        }
    }
    found
}

/// Ends what cannot be read under the lease that this claim has just got.
async fn bury(queue: &PgQueue, rows: &[(JobLease, Malformed)]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = rows
        .iter()
        .map(|(_, malformed)| malformed.reason())
        .collect();
    let ends = rows.iter().zip(&words).map(|((lease, _), text)| {
        tracing::warn!(job = lease.id, problem = text, "a job cannot be read");
        let code = MALFORMED;
        End {
            lease,
            how: Ending::Bury(Reason { code, text }),
        }
    });
    let ends: Vec<End<'_>> = ends.collect();
    super::end::end(queue, &ends).await.map(drop)
}
