//! What people and the runtime ask about jobs without changing them.

use kodex_plugin::PluginName;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    row::{COLUMNS, Cell, read},
    signed, unsigned,
};
use crate::{
    StoreError,
    queue::{Count, Filter, Job, JobState, N_TOGETHER, Priority},
    sqlite::open::Conn,
};

const N_LIVING: &str = "SELECT count(*) FROM
    (SELECT 1 FROM jobs WHERE living = 1 AND queue = ?1 AND plugin = ?2 LIMIT ?3)";
const NEXT_OWNER: &str =
    "SELECT queue, plugin FROM jobs INDEXED BY jobs_added WHERE (queue, plugin) > (?1, ?2)
    ORDER BY queue, plugin LIMIT 1";
const NEXT_DUE: &str = "SELECT min(due_at_ms) FROM jobs INDEXED BY jobs_pending
    WHERE state = 'pending' AND queue = ?1 AND rank = ?2 AND due_at_ms > ?3";
const NEXT_END: &str = "SELECT min(until_ms) FROM jobs INDEXED BY jobs_running
    WHERE state = 'running' AND queue = ?1";
/// Each part is read from an index that has nothing else.
const COUNTS: &str = "
    SELECT queue, plugin, state, count(*) FROM jobs INDEXED BY jobs_ended WHERE ended_at_ms IS NOT NULL
        GROUP BY queue, plugin, state
    UNION ALL SELECT queue, plugin, 'running', count(*) FROM jobs INDEXED BY jobs_running WHERE state = 'running'
        GROUP BY queue, plugin
    UNION ALL SELECT queue, plugin, 'pending', sum(state = 'pending') FROM jobs INDEXED BY jobs_living
        WHERE living = 1 GROUP BY queue, plugin HAVING sum(state = 'pending') > 0";

/// See [`crate::Queue::find`].
pub(super) fn find(conn: &Conn, id: &str) -> Result<Option<Job>, StoreError> {
    let found = conn.own(|db| {
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?
            .query_row([id], |row| Ok(read(row)))
            .optional()
    })?;
    match found {
        None => Ok(None),
        Some(Ok(job)) => Ok(Some(job)),
        Some(Err(problem)) => Err(StoreError::Damaged {
            what: format!("job {id:?}"),
            problem: format!("its {} cannot be read", problem.0),
        }),
    }
}

/// A [`Filter`] that has its own texts, to go to a thread.
pub(super) struct Wanted {
    queue: Option<String>,
    plugin: Option<String>,
    states: Vec<JobState>,
    after: Option<(u64, String)>,
    limit: usize,
}

impl Wanted {
    pub(super) fn new(filter: &Filter<'_>) -> Self {
        Self {
            queue: filter.queue.map(str::to_owned),
            plugin: filter.plugin.map(|plugin| plugin.as_str().to_owned()),
            states: filter.states.to_vec(),
            after: filter.after.map(|(at_ms, id)| (at_ms, id.to_owned())),
            limit: filter.limit.min(N_TOGETHER),
        }
    }

    /// The owners of jobs that this is about, each found with one look into the index.
    fn owners(&self, db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = db.prepare_cached(NEXT_OWNER)?;
        let mut owners = Vec::new();
        let mut last = (String::new(), String::new());
        while let Some(owner) = statement
            .query_row(params![last.0, last.1], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?
        {
            last = owner;
            let (queue, plugin) = (&last.0, &last.1);
            if self.queue.as_ref().is_none_or(|wanted| wanted == queue)
                && self.plugin.as_ref().is_none_or(|wanted| wanted == plugin)
            {
                owners.push(last.clone());
            }
        }
        Ok(owners)
    }

    /// The jobs of one owner.
    fn sql(&self) -> String {
        let mut sql = format!(
            "SELECT {COLUMNS} FROM jobs INDEXED BY jobs_added WHERE queue = ?1 AND plugin = ?2
                 AND added_at_ms <= coalesce(?3, {}) AND (?3 IS NULL OR (added_at_ms, id) < (?3, ?4))",
            i64::MAX
        );
        if !self.states.is_empty() {
            let words: Vec<_> = self
                .states
                .iter()
                .map(|state| format!("'{}'", state.as_str()))
                .collect();
            sql += &format!(" AND state IN ({})", words.join(", "));
        }
        sql + " ORDER BY added_at_ms DESC, id DESC"
    }
}

/// See [`crate::Queue::list`].
pub(super) fn list(conn: &Conn, wanted: &Wanted) -> Result<Vec<Job>, StoreError> {
    conn.own(|db| {
        let mut jobs = Vec::new();
        let mut statement = db.prepare_cached(&wanted.sql())?;
        let after = wanted.after.as_ref();
        let (at_ms, id) = (
            after.map(|(at_ms, _)| signed(*at_ms)),
            after.map(|(_, id)| id),
        );
        for (queue, plugin) in wanted.owners(db)? {
            let mut rows = statement.query(params![queue, plugin, at_ms, id])?;
            let n_before = jobs.len();
            while jobs.len() - n_before < wanted.limit
                && let Some(row) = rows.next()?
            {
                match read(row) {
                    Ok(job) => jobs.push(job),
                    Err(problem) => {
                        let seq: i64 = row.get(0)?;
                        tracing::warn!(job = seq, column = problem.0, "a job cannot be read");
                    }
                }
            }
        }
        jobs.sort_unstable_by(|a: &Job, b| (b.added_at_ms, &b.id).cmp(&(a.added_at_ms, &a.id)));
        jobs.truncate(wanted.limit);
        Ok(jobs)
    })
}

/// See [`crate::Queue::counts`].
pub(super) fn counts(conn: &Conn) -> Result<Vec<Count>, StoreError> {
    conn.own(|db| {
        let mut statement = db.prepare_cached(COUNTS)?;
        let mut rows = statement.query([])?;
        let mut counts = Vec::new();
        while let Some(row) = rows.next()? {
            let cell = Cell(row);
            let state = cell
                .text(2, "state")
                .ok()
                .and_then(|word| JobState::of(&word));
            // What belongs to nobody is a finding of the check, not a number here.
            if let (Ok(queue), Ok(plugin), Some(state)) =
                (cell.text(0, "queue"), cell.plugin(1), state)
            {
                counts.push(Count {
                    queue,
                    plugin,
                    state,
                    n: unsigned(row.get(3)?),
                });
            }
        }
        counts.sort_unstable_by(|one, other| {
            (&one.queue, &one.plugin, one.state).cmp(&(&other.queue, &other.plugin, other.state))
        });
        Ok(counts)
    })
}

/// See [`crate::Queue::n_living`].
pub(super) fn n_living(
    conn: &Conn,
    queue: &str,
    plugin: &PluginName,
    limit: u64,
) -> Result<u64, StoreError> {
    conn.own(|db| {
        db.prepare_cached(N_LIVING)?
            .query_row(params![queue, plugin.as_str(), signed(limit)], |row| {
                row.get(0)
            })
            .map(unsigned)
    })
}

/// See [`crate::Queue::next_at`].
pub(super) fn next_at(conn: &Conn, queue: &str) -> Result<Option<u64>, StoreError> {
    let now_ms = signed(conn.site.options.clock.unix_ms());
    conn.own(|db| {
        let mut next: Option<i64> = next_end(db, queue)?;
        for priority in Priority::ALL {
            let due_at_ms: Option<i64> = db
                .prepare_cached(NEXT_DUE)?
                .query_row(params![queue, priority.rank(), now_ms], |row| row.get(0))?;
            next = match (next, due_at_ms) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        Ok(next.map(unsigned))
    })
}

fn next_end(db: &Connection, queue: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(NEXT_END)?
        .query_row([queue], |row| row.get(0))
}
