//! The tables of jobs in the store's file: one for the jobs themselves, with a partial index for each
//! question that is asked while work goes on, and one each for logs and effects.
//!
//! `living` is 1 while a job is pending or running. It stands beside the state so that a claim, which
//! changes only the state, leaves the indexes of living jobs alone.
//!
//! The index of what is pending says all that decides whether a job may be taken, so that those in the way, of a busy
//! lane or of a plugin that is not here, are passed over without a look at their rows.
//!
//! One index serves every list: whoever lists jobs goes through it for each plugin of each queue, of which there are
//! few, and takes the newest of all of them.
//!
//! No constraint has `IN` with a long list: the engine makes a table of the list for every row that is written,
//! which costs more than the row.

use rusqlite::Connection;

use super::super::open::Conn;
use crate::StoreError;

pub(in super::super) const TABLES: &str = "
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, plugin TEXT NOT NULL, name TEXT NOT NULL,
    lane TEXT, unique_key TEXT, rank INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 2),
    state TEXT NOT NULL CHECK (state = 'completed' OR state = 'running' OR state = 'pending' OR state = 'failed'
        OR state = 'dead' OR state = 'cancelled' OR state = 'blocked'),
    living INTEGER CHECK (living IS CASE WHEN state IN ('pending', 'running') THEN 1 END),
    added_at_ms INTEGER NOT NULL, due_at_ms INTEGER NOT NULL, expires_at_ms INTEGER, max_age_ms INTEGER,
    started_at_ms INTEGER, ended_at_ms INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0, max_attempts INTEGER NOT NULL, n_crashes INTEGER NOT NULL DEFAULT 0,
    n_slices INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0, token INTEGER NOT NULL DEFAULT 0,
    until_ms INTEGER, cancel INTEGER NOT NULL DEFAULT 0, holder TEXT,
    reason_code TEXT, reason TEXT, payload TEXT NOT NULL, checkpoint TEXT, result TEXT
) STRICT;
CREATE INDEX jobs_pending ON jobs (queue, rank, due_at_ms, id, plugin, lane, expires_at_ms)
    WHERE state = 'pending';
CREATE INDEX jobs_living ON jobs (queue, plugin) WHERE living = 1;
CREATE INDEX jobs_running ON jobs (plugin, until_ms, queue) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_lane ON jobs (lane) WHERE state = 'running' AND lane IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique ON jobs (queue, plugin, unique_key) WHERE living = 1 AND unique_key IS NOT NULL;
CREATE INDEX jobs_expiry ON jobs (expires_at_ms) WHERE expires_at_ms IS NOT NULL AND state IN ('pending', 'blocked');
CREATE INDEX jobs_ended ON jobs (ended_at_ms, queue, plugin, state) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX jobs_added ON jobs (queue, plugin, added_at_ms);
CREATE TABLE job_lines (
    job INTEGER NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL, stream TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID, STRICT;
CREATE TABLE job_logs (
    job INTEGER PRIMARY KEY, n_lines INTEGER NOT NULL, head_bytes INTEGER NOT NULL, tail_bytes INTEGER NOT NULL,
    tail_from INTEGER
) STRICT;
CREATE TABLE job_effects (job INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (job, key))
    WITHOUT ROWID, STRICT;
";

/// Whether a file has the tables. One that was made before there were any gets them from its next writer.
pub(super) fn are_there(conn: &Conn) -> Result<bool, StoreError> {
    if conn.has_jobs.get() {
        return Ok(true);
    }
    let there = conn.own(look)?;
    conn.has_jobs.set(there);
    Ok(there)
}

fn look(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'jobs')",
        [],
        |row| row.get(0),
    )
}
