//! What people and the runtime ask about jobs without changing them.

use kodex_plugin::PluginName;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter, types::Value};

use super::{
    bounded,
    row::{COLUMNS, Cell, read},
    signed, unsigned,
};
use crate::{
    StoreError,
    queue::{Count, Filter, Job, JobState, Priority},
    sqlite::open::Conn,
};

const N_LIVING: &str = "SELECT count(*) FROM
    (SELECT 1 FROM jobs WHERE living = 1 AND queue = ?1 AND plugin = ?2 LIMIT ?3)";
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
    limit: i64,
}

impl Wanted {
    pub(super) fn new(filter: &Filter<'_>) -> Self {
        Self {
            queue: filter.queue.map(str::to_owned),
            plugin: filter.plugin.map(|plugin| plugin.as_str().to_owned()),
            states: filter.states.to_vec(),
            after: filter.after.map(|(at_ms, id)| (at_ms, id.to_owned())),
            limit: bounded(filter.limit),
        }
    }

    fn sql(&self) -> (String, Vec<Value>) {
        let mut sql = format!("SELECT {COLUMNS} FROM jobs WHERE 1");
        let mut params = Vec::new();
        let mut bind = |value: Value| {
            params.push(value);
            format!("?{}", params.len())
        };
        if let Some(queue) = &self.queue {
            sql += &format!(" AND queue = {}", bind(queue.clone().into()));
        }
        if let Some(plugin) = &self.plugin {
            sql += &format!(" AND plugin = {}", bind(plugin.clone().into()));
        }
        if !self.states.is_empty() {
            let words: Vec<_> = self
                .states
                .iter()
                .map(|state| format!("'{}'", state.as_str()))
                .collect();
            sql += &format!(" AND state IN ({})", words.join(", "));
        }
        if let Some((at_ms, id)) = &self.after {
            let (at_ms, id) = (bind(signed(*at_ms).into()), bind(id.clone().into()));
            sql += &format!(" AND (added_at_ms, id) < ({at_ms}, {id})");
        }
        sql += " ORDER BY added_at_ms DESC, id DESC";
        (sql, params)
    }
}

/// See [`crate::Queue::list`].
pub(super) fn list(conn: &Conn, wanted: &Wanted) -> Result<Vec<Job>, StoreError> {
    let (sql, params) = wanted.sql();
    conn.own(|db| {
        let mut statement = db.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(params))?;
        let limit = usize::try_from(wanted.limit).unwrap_or(0);
        let mut jobs = Vec::new();
        while jobs.len() < limit
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
