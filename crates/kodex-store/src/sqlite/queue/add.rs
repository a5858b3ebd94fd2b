//! New jobs.

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::{Told, signed, told};
use crate::{
    queue::{Added, NewJob, Unique},
    sqlite::group::Outcome,
};

const INSERT: &str = "INSERT INTO jobs (id, queue, plugin, name, lane, unique_key, rank, state, living, added_at_ms,
        due_at_ms, expires_at_ms, max_age_ms, max_attempts, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', 1, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING";
const WITH_ID: &str = "SELECT 1 FROM jobs WHERE id = ?1";
const WITH_KEY: &str = "SELECT seq, id, state = 'pending', added_at_ms, due_at_ms, payload
    FROM jobs WHERE living = 1 AND unique_key IS NOT NULL AND queue = ?1 AND plugin = ?2 AND unique_key = ?3";
const REPLACE: &str = "UPDATE jobs SET due_at_ms = ?2, payload = ?3 WHERE seq = ?1";
const MOVE: &str = "UPDATE jobs SET due_at_ms = ?2 WHERE seq = ?1";

/// A [`NewJob`] that has its own texts, to go to a thread.
pub(super) struct Given {
    id: String,
    queue: String,
    plugin: kodex_plugin::PluginName,
    name: String,
    lane: Option<String>,
    unique_key: Option<String>,
    unique: Unique,
    rank: i16,
    payload: String,
    delay_ms: u64,
    due_at_ms: Option<u64>,
    max_age_ms: Option<u64>,
    max_attempts: u32,
}

/// A living job with the unique key of a new one.
struct Living {
    seq: i64,
    id: String,
    pending: bool,
    added_at_ms: i64,
    due_at_ms: i64,
    payload: String,
}

impl Given {
    pub(super) fn new(job: &NewJob<'_>) -> Self {
        Self {
            id: job.id.to_owned(),
            queue: job.queue.to_owned(),
            plugin: job.plugin.clone(),
            name: job.name.to_owned(),
            lane: job.lane.map(str::to_owned),
            unique_key: job.unique_key.map(str::to_owned),
            unique: job.unique,
            rank: job.priority.rank(),
            payload: job.payload.get().to_owned(),
            delay_ms: job.delay_ms,
            due_at_ms: job.due_at_ms,
            max_age_ms: job.max_age_ms,
            max_attempts: job.max_attempts,
        }
    }

    fn due(&self, now_ms: i64) -> i64 {
        let due_at_ms = now_ms.saturating_add(signed(self.delay_ms));
        due_at_ms.max(self.due_at_ms.map_or(0, signed))
    }

    fn add(
        &self,
        db: &Connection,
        insert: &mut Statement<'_>,
        now_ms: i64,
    ) -> rusqlite::Result<Added> {
        let max_age_ms = self.max_age_ms.map(signed);
        let n_added = insert.execute(params![
            self.id,
            self.queue,
            self.plugin.as_str(),
            self.name,
            self.lane,
            self.unique_key,
            self.rank,
            now_ms,
            self.due(now_ms),
            max_age_ms.map(|max_age_ms| now_ms.saturating_add(max_age_ms)),
            max_age_ms,
            self.max_attempts,
            self.payload,
        ])?;
        if n_added == 1 {
            return Ok(Added::Created);
        }
        if db.prepare_cached(WITH_ID)?.exists([&self.id])? {
            return Ok(Added::Existing {
                id: self.id.clone(),
                changed: false,
            });
        }
        let living = db
            .prepare_cached(WITH_KEY)?
            .query_row(
                params![self.queue, self.plugin.as_str(), self.unique_key],
                |row| {
                    Ok(Living {
                        seq: row.get(0)?,
                        id: row.get(1)?,
                        pending: row.get(2)?,
                        added_at_ms: row.get(3)?,
                        due_at_ms: row.get(4)?,
                        payload: row.get(5)?,
                    })
                },
            )
            .optional()?
            .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let changed = living.pending && self.merge(db, &living, now_ms)?;
        Ok(Added::Existing {
            id: living.id,
            changed,
        })
    }

    /// Does to a pending job what [`Unique`] says; whether that changed it.
    fn merge(&self, db: &Connection, living: &Living, now_ms: i64) -> rusqlite::Result<bool> {
        let due_at_ms = self.due(now_ms);
        match self.unique {
            Unique::Keep => Ok(false),
            Unique::Replace => {
                db.prepare_cached(REPLACE)?.execute(params![
                    living.seq,
                    due_at_ms,
                    self.payload
                ])?;
                Ok(due_at_ms != living.due_at_ms || self.payload != living.payload)
            }
            Unique::Debounce { max_wait_ms } => {
                let last_ms = living.added_at_ms.saturating_add(signed(max_wait_ms));
                let due_at_ms = due_at_ms.min(last_ms);
                db.prepare_cached(MOVE)?
                    .execute(params![living.seq, due_at_ms])?;
                Ok(due_at_ms != living.due_at_ms)
            }
        }
    }
}

/// See [`crate::Queue::add`].
pub(super) fn all(db: &Connection, jobs: &[Given], now_ms: i64) -> Outcome<Told<Vec<Added>>> {
    let mut added = Vec::with_capacity(jobs.len());
    let mut hint = false;
    let mut insert = db.prepare_cached(INSERT)?;
    for job in jobs {
        added.push(job.add(db, &mut insert, now_ms)?);
        hint |= job.due(now_ms) <= now_ms;
    }
    told(added, hint)
}
