//! The same driver without leases, tokens and lanes: a row is marked as taken in one transaction and as
//! done in another. Nobody who uses it can go faster.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use rusqlite::{Connection, params};

use super::super::PAYLOAD;

const N_WAITING: i64 = 20_000;

pub(super) struct Bare {
    connection: Connection,
    n_waiting: i64,
}

impl Bare {
    pub(super) fn new(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, plugin TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0,
                 due REAL NOT NULL, lease REAL, attempts INTEGER NOT NULL DEFAULT 0, payload TEXT NOT NULL);
             CREATE INDEX jobs_due ON jobs (due) WHERE state = 0;
             CREATE INDEX jobs_lease ON jobs (lease) WHERE state = 1;",
        )?;
        Ok(Self {
            connection,
            n_waiting: 0,
        })
    }

    fn insert(&self, n_rows: i64) -> Result<()> {
        self.connection.execute(
            "INSERT INTO jobs (plugin, due, payload)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             SELECT 'bench', i, ?2 FROM n WHERE ?1 > 0",
            params![n_rows, PAYLOAD],
        )?;
        Ok(())
    }

    /// How many rows in a second are added, so many in a transaction.
    pub(super) fn add(&self, batch: usize, span: Duration) -> Result<f64> {
        let started_at = Instant::now();
        let mut n_added = 0.0;
        loop {
            self.connection
                .prepare_cached("BEGIN IMMEDIATE")?
                .execute([])?;
            for _ in 0..batch {
                // Far in the future, so that the turns of work have their own.
                self.connection
                    .prepare_cached(
                        "INSERT INTO jobs (plugin, due, payload) VALUES ('bench', 9e12, ?1)",
                    )?
                    .execute([PAYLOAD])?;
            }
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            n_added += batch as f64;
            let took = started_at.elapsed();
            if took >= span {
                return Ok(n_added / took.as_secs_f64());
            }
        }
    }

    /// How many rows in a second are claimed and done, so many at a time.
    pub(super) fn work(&mut self, batch: usize, span: Duration) -> Result<f64> {
        self.insert(N_WAITING - self.n_waiting)?;
        self.n_waiting = N_WAITING;
        let started_at = Instant::now();
        let mut n_done = 0.0;
        loop {
            let ids = self.claim(i64::try_from(batch)?)?;
            self.done(&ids)?;
            n_done += ids.len() as f64;
            self.n_waiting -= i64::try_from(ids.len())?;
            let took = started_at.elapsed();
            if took >= span || ids.is_empty() {
                return Ok(n_done / took.as_secs_f64());
            }
        }
    }

    fn claim(&self, batch: i64) -> Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE jobs SET state = 1, lease = ?1, attempts = attempts + 1
             WHERE id IN (SELECT id FROM jobs WHERE state = 0 AND due <= ?1 ORDER BY due LIMIT ?2)
             RETURNING id, payload",
        )?;
        let rows = statement.query_map(params![1e9, batch], |row| {
            row.get::<_, String>(1)?;
            row.get(0)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn done(&self, ids: &[i64]) -> Result<()> {
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        for id in ids {
            self.connection
                .prepare_cached(
                    "UPDATE jobs SET state = 2, lease = NULL WHERE id = ?1 AND state = 1",
                )?
                .execute([id])?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}
