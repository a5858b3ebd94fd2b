//! The same drivers without anything around them: what nobody can go under.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use rusqlite::{Connection, OptionalExtension, params};
use tokio_postgres::NoTls;

use super::{Asked, FILL, Numbers, key, text, turn, value};

/// As many as the store has.
const N_CONNECTIONS: usize = 10;

/// rusqlite on the thread that asks, with the settings of the store: WAL, no flush for each commit.
pub(crate) struct Rusqlite {
    connection: Connection,
    numbers: Numbers,
}

impl Rusqlite {
    pub(super) fn new(folder: &Path, n_known: u64) -> Result<Self> {
        let connection = Connection::open(folder.join("bare.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.set_prepared_statement_cache_capacity(16);
        connection.execute_batch(
            "CREATE TABLE state (
                 plugin TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER,
                 value TEXT NOT NULL, PRIMARY KEY (plugin, key)
             ) WITHOUT ROWID, STRICT;
             CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
             BEGIN",
        )?;
        let bare = Self {
            connection,
            numbers: Numbers::new(1),
        };
        for number in 0..n_known {
            bare.ask(Asked::Set, number)?;
        }
        bare.connection.execute(FILL, [i64::try_from(n_known)?])?;
        bare.connection.execute_batch("COMMIT")?;
        Ok(bare)
    }

    fn ask(&self, asked: Asked, number: u64) -> Result<()> {
        let sql = match asked {
            Asked::Get => "SELECT version, expires_at_ms, value FROM state WHERE plugin = ?1 AND key = ?2",
            Asked::Set => {
                "INSERT INTO state (plugin, key, version, value) VALUES (?1, ?2, 1, ?3)
                 ON CONFLICT (plugin, key) DO UPDATE SET version = version + 1, value = excluded.value"
            }
            Asked::Read => "SELECT id, text FROM notes WHERE id = ?1",
            Asked::Insert => "INSERT INTO notes (text) VALUES (?1)",
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        match asked {
            Asked::Get => {
                let found = statement.query_row(params!["bench", key(number)], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, Option<i64>>(1)?,
                        row.get::<_, String>(2)?,
                    ))
                });
                found.optional()?.context("no such key").map(drop)
            }
            Asked::Set => Ok(statement
                .execute(params!["bench", key(number), value(number)])
                .map(drop)?),
            Asked::Read => {
                let found = statement.query_row([i64::try_from(number + 1)?], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                });
                found.optional()?.context("no such row").map(drop)
            }
            Asked::Insert => Ok(statement.execute([text(number)]).map(drop)?),
        }
    }

    /// How often it can be asked in a second.
    pub(crate) fn turn(&mut self, asked: Asked, n_known: u64, span: Duration) -> Result<f64> {
        let started_at = Instant::now();
        let mut n_asked = 0.0;
        loop {
            let number = self.numbers.below(n_known);
            self.ask(asked, number)?;
            n_asked += 1.0;
            let took = started_at.elapsed();
            if took >= span {
                return Ok(n_asked / took.as_secs_f64());
            }
        }
    }
}

/// tokio-postgres through its usual pool, with statements that are prepared once for each connection.
pub(crate) struct Pooled {
    pool: Pool,
}

impl Pooled {
    pub(super) async fn new(url: &str, n_known: u64) -> Result<Self> {
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(url.parse()?, NoTls, config);
        let pool = Pool::builder(manager).max_size(N_CONNECTIONS).build()?;
        let client = pool.get().await?;
        client
            .batch_execute(
                "CREATE TABLE state (
                     plugin text NOT NULL, key text NOT NULL, version bigint NOT NULL, expires_at_ms bigint,
                     value text NOT NULL, PRIMARY KEY (plugin, key)
                 );
                 CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL);
                 BEGIN",
            )
            .await?;
        let fill =
            "INSERT INTO state SELECT 'bench', 'bench:' || lpad(n::text, 24, '0'), 1, NULL, $2
                    FROM generate_series(0, $1::bigint - 1) n";
        let n_known = i64::try_from(n_known)?;
        client.execute(fill, &[&n_known, &value(0)]).await?;
        client
            .execute(&FILL.replace("?1", "$1::bigint"), &[&n_known])
            .await?;
        client.batch_execute("COMMIT; ANALYZE").await?;
        drop(client);
        Ok(Self { pool })
    }

    /// How often it can be asked in a second, by so many at a time.
    pub(crate) async fn turn(
        &self,
        asked: Asked,
        lanes: u64,
        n_known: u64,
        span: Duration,
    ) -> Result<f64> {
        let pool = self.pool.clone();
        turn(lanes, n_known, span, move |number| {
            ask(pool.clone(), asked, number)
        })
        .await
    }
}

async fn ask(pool: Pool, asked: Asked, number: u64) -> Result<()> {
    let client = pool.get().await?;
    let sql = match asked {
        Asked::Get => "SELECT version, expires_at_ms, value FROM state WHERE plugin = $1 AND key = $2",
        Asked::Set => {
            "INSERT INTO state (plugin, key, version, value) VALUES ($1, $2, 1, $3)
             ON CONFLICT (plugin, key) DO UPDATE SET version = state.version + 1, value = excluded.value"
        }
        Asked::Read => "SELECT id, text FROM notes WHERE id = $1",
        Asked::Insert => "INSERT INTO notes (text) VALUES ($1)",
    };
    let statement = client.prepare_cached(sql).await?;
    match asked {
        Asked::Get => {
            let row = client
                .query_one(&statement, &[&"bench", &key(number)])
                .await?;
            ensure!(row.try_get::<_, &str>(2)?.len() > 200, "another value");
        }
        Asked::Set => {
            client
                .execute(&statement, &[&"bench", &key(number), &value(number)])
                .await?;
        }
        Asked::Read => {
            let id = i64::try_from(number + 1)?;
            let row = client.query_one(&statement, &[&id]).await?;
            ensure!(row.try_get::<_, i64>(0)? == id, "another row");
        }
        Asked::Insert => {
            client.execute(&statement, &[&text(number)]).await?;
        }
    }
    Ok(())
}
