//! Looking at jobs: one, many, how many, and when there is something to do.

use kodex_plugin::PluginName;
use tokio_postgres::Row;

use super::{
    PgQueue, row,
    tables::{COLUMNS, TIME},
};
use crate::{
    StoreError,
    postgres::{error, pool::Arg},
    queue::{Count, Filter, Job, JobLease, JobState, N_TOGETHER},
};

pub(super) struct Texts {
    find: String,
    list: String,
    next: String,
    now: String,
    owner: String,
}

/// A plugin's jobs that wait or run in a queue; each part is counted in an index of its own, where the other
/// plugins' that wait are passed by without a look at their rows.
const LIVING: &str = "
    SELECT count(*) FROM (
        SELECT 1 FROM (SELECT 1 FROM kodex.jobs
                       WHERE state = 'running' AND plugin = $1 AND queue = $2 LIMIT $3) r
        UNION ALL
        SELECT 1 FROM (SELECT 1 FROM kodex.jobs
                       WHERE state = 'pending' AND plugin = $1 AND queue = $2 LIMIT $3) p
        LIMIT $3) l";

const COUNTS: &str = "SELECT queue, plugin, state, count(*) FROM kodex.jobs GROUP BY 1, 2, 3";

impl Texts {
    pub(super) fn new() -> Self {
        Self {
            find: format!("SELECT {COLUMNS} FROM kodex.jobs j WHERE j.id = $1"),
            list: format!(
                "SELECT {COLUMNS} FROM kodex.jobs j
                 WHERE ($1::text IS NULL OR j.queue = $1) AND ($2::text IS NULL OR j.plugin = $2)
                   AND (cardinality($3::text[]) = 0 OR j.state = ANY ($3))
                   AND ($4::bigint IS NULL OR (j.added_at_ms, j.id) < ($4, $5::text))
                 ORDER BY j.added_at_ms DESC, j.id DESC LIMIT $6"
            ),
            next: format!(
                "WITH {TIME}
                 SELECT least(
                     (SELECT min(d.due_at_ms) FROM t, (VALUES (0::smallint), (1::smallint), (2::smallint)) AS p (rank),
                      LATERAL (SELECT due_at_ms FROM kodex.jobs
                               WHERE state = 'pending' AND queue = $2 AND priority = p.rank AND due_at_ms > t.now
                               ORDER BY due_at_ms LIMIT 1) d),
                     (SELECT min(until_ms) FROM kodex.jobs WHERE state = 'running' AND queue = $2))"
            ),
            now: format!("WITH {TIME} SELECT now FROM t"),
            owner: format!(
                "WITH {TIME} SELECT j.plugin FROM kodex.jobs j, t
                 WHERE j.id = $2 AND j.token = $3 AND j.state = 'running' AND j.until_ms > t.now"
            ),
        }
    }
}

pub(super) async fn find(queue: &PgQueue, id: &str) -> Result<Option<Job>, StoreError> {
    if row::is_nowhere(id) {
        return Ok(None);
    }
    let args = [Arg::Text(id)];
    let rows = queue
        .rows(&queue.texts.look.find, &args, "looking for a job")
        .await?;
    let job = rows.first().map(row::job).transpose();
    job.map_err(|malformed| malformed.into_error(id))
}

/// Whether a value passes the check of its size; that of a lease which is not held is nobody's.
pub(super) async fn fits(
    queue: &PgQueue,
    lease: &JobLease,
    check: &(dyn Fn(&PluginName) -> Result<(), StoreError> + Sync),
) -> Result<bool, StoreError> {
    let anybody = PluginName::lenient("kodex");
    if anybody.is_ok_and(|plugin| check(&plugin).is_ok()) {
        return Ok(true);
    }
    if row::is_nowhere(&lease.id) {
        return Ok(false);
    }
    let args = [
        queue.now(),
        Arg::Text(&lease.id),
        Arg::Number(row::token(lease.token)),
    ];
    let sql = &queue.texts.look.owner;
    let rows = queue.rows(sql, &args, "looking for a job").await?;
    let plugin = rows.first().and_then(|row| row::plugin(row, 0).ok());
    plugin.map_or(Ok(false), |plugin| check(&plugin).map(|()| true))
}

pub(super) async fn list(queue: &PgQueue, filter: &Filter<'_>) -> Result<Vec<Job>, StoreError> {
    let limit = filter.limit.min(N_TOGETHER);
    if filter.queue.is_some_and(row::is_nowhere) {
        return Ok(Vec::new());
    }
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let mut after = filter
        .after
        // What stands behind a NUL stands behind everything that begins the same way.
        .map(|(at, id)| (row::ms(at), id.split('\0').next().unwrap_or(id).to_owned()));
    let mut jobs = Vec::new();
    while jobs.len() < limit {
        let wanted = limit - jobs.len();
        let args = [
            Arg::MaybeText(filter.queue),
            Arg::MaybeText(filter.plugin.map(PluginName::as_str)),
            Arg::Texts(&states),
            Arg::MaybeNumber(after.as_ref().map(|(at, _)| *at)),
            Arg::MaybeText(after.as_ref().map(|(_, id)| id.as_str())),
            Arg::Number(row::count(wanted)),
        ];
        let mut line = queue.inner.line().await?;
        let rows = line.rows(&queue.texts.look.list, &args).await;
        drop(line);
        let rows =
            rows.map_err(|trouble| error::own(queue.inner.place(), trouble, "listing jobs"))?;
        jobs.extend(rows.iter().filter_map(|row| row::job(row).ok()));
        if rows.len() < wanted {
            break;
        }
        // Rows that cannot be read are made up for by those behind them.
        after = rows.last().map(|row| (row.get(13), row.get(0)));
    }
    Ok(jobs)
}

pub(super) async fn counts(queue: &PgQueue) -> Result<Vec<Count>, StoreError> {
    let mut line = queue.inner.line().await?;
    let rows = line.rows(COUNTS, &[]).await;
    drop(line);
    let rows = rows.map_err(|trouble| error::own(queue.inner.place(), trouble, "counting jobs"))?;
    let count = |row: &Row| {
        Some(Count {
            queue: row.get(0),
            plugin: row::plugin(row, 1).ok()?,
            state: JobState::of(row.get(2))?,
            n: row::natural(row.get(3)),
        })
    };
    let mut counts: Vec<Count> = rows.iter().filter_map(count).collect();
    counts.sort_unstable_by(|a, b| {
        (&a.queue, &a.plugin, a.state).cmp(&(&b.queue, &b.plugin, b.state))
    });
    Ok(counts)
}

pub(super) async fn n_living(
    queue: &PgQueue,
    name: &str,
    plugin: &PluginName,
    limit: u64,
) -> Result<u64, StoreError> {
    if row::is_nowhere(name) {
        return Ok(0);
    }
    let args = [
        Arg::Text(plugin.as_str()),
        Arg::Text(name),
        Arg::Number(row::ms(limit)),
    ];
    let rows = queue.rows(LIVING, &args, "counting jobs").await?;
    Ok(rows.first().map_or(0, |row| row::natural(row.get(0))))
}

pub(super) async fn next_at(queue: &PgQueue, name: &str) -> Result<Option<u64>, StoreError> {
    if row::is_nowhere(name) {
        return Ok(None);
    }
    let args = [queue.now(), Arg::Text(name)];
    let rows = queue
        .rows(&queue.texts.look.next, &args, "looking ahead")
        .await?;
    let at: Option<i64> = rows.first().and_then(|row| row.get(0));
    Ok(at.map(row::natural))
}

pub(super) async fn now_ms(queue: &PgQueue) -> Result<u64, StoreError> {
    let rows = queue
        .rows(&queue.texts.look.now, &[queue.now()], "asking for the time")
        .await?;
    Ok(rows.first().map_or(0, |row| row::natural(row.get(0))))
}
