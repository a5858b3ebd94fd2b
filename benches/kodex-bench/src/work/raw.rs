//! Claims written by hand over the bare driver: a lease, then done, each in a commit of its own. Whatever is
//! crash-safe needs two.

use anyhow::Result;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls, Statement};

use super::PAYLOAD;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS raw_jobs (
        id bigserial PRIMARY KEY, plugin text NOT NULL, state smallint NOT NULL DEFAULT 0, due timestamptz NOT NULL,
        lease timestamptz, attempts int NOT NULL DEFAULT 0, payload jsonb NOT NULL);
    CREATE INDEX IF NOT EXISTS raw_jobs_due ON raw_jobs (due) WHERE state = 0;
    CREATE INDEX IF NOT EXISTS raw_jobs_lease ON raw_jobs (lease) WHERE state = 1;";
const ADD: &str = "INSERT INTO raw_jobs (plugin, due, payload) SELECT 'bench', now(), p::jsonb FROM unnest($1::text[]) p";
const CLAIM: &str = "UPDATE raw_jobs SET state = 1, lease = now() + interval '60 s', attempts = attempts + 1
    WHERE id = (SELECT id FROM raw_jobs WHERE state = 0 AND due <= now() ORDER BY due FOR UPDATE SKIP LOCKED LIMIT 1)
    RETURNING id";
const CLAIM_MANY: &str =
    "WITH c AS (SELECT id FROM raw_jobs WHERE state = 0 AND due <= now() ORDER BY due
        FOR UPDATE SKIP LOCKED LIMIT $1)
    UPDATE raw_jobs j SET state = 1, lease = now() + interval '60 s', attempts = attempts + 1 FROM c
    WHERE j.id = c.id RETURNING j.id, j.payload::text";
const DONE: &str =
    "UPDATE raw_jobs SET state = 2, lease = NULL WHERE id = ANY ($1::bigint[]) AND state = 1";
const DONE_ONE: &str = "UPDATE raw_jobs SET state = 2, lease = NULL WHERE id = $1 AND state = 1";

/// Connects; the connection is driven until the client is dropped.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// A worker of its own connection.
struct Worker {
    client: Client,
    claim: Statement,
    claim_many: Statement,
    done: Statement,
    done_one: Statement,
}

impl Worker {
    async fn new(url: &str) -> Result<Self> {
        let client = connect(url).await?;
        Ok(Self {
            claim: client.prepare(CLAIM).await?,
            claim_many: client.prepare(CLAIM_MANY).await?,
            done: client.prepare(DONE).await?,
            done_one: client.prepare(DONE_ONE).await?,
            client,
        })
    }

    async fn turn(&self, together: usize) -> Result<usize> {
        if together == 1 {
            let Some(row) = self.client.query_opt(&self.claim, &[]).await? else {
                return Ok(0);
            };
            let id: i64 = row.get(0);
            self.client.execute(&self.done_one, &[&id]).await?;
            return Ok(1);
        }
        let together = i64::try_from(together)?;
        let rows = self.client.query(&self.claim_many, &[&together]).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if !ids.is_empty() {
            self.client.execute(&self.done, &[&ids]).await?;
        }
        Ok(ids.len())
    }
}

/// The table and its workers.
pub(super) struct Raw {
    url: String,
    client: Client,
    add: Statement,
    workers: Vec<Worker>,
}

impl Raw {
    pub(super) async fn new(url: &str) -> Result<Self> {
        let client = connect(url).await?;
        client.batch_execute(TABLE).await?;
        Ok(Self {
            url: url.to_owned(),
            add: client.prepare(ADD).await?,
            client,
            workers: Vec::new(),
        })
    }

    pub(super) async fn empty(&self) -> Result<()> {
        Ok(self.client.batch_execute("TRUNCATE raw_jobs").await?)
    }

    /// Adds jobs, so many in one statement.
    pub(super) async fn add(&self, n: usize, together: usize) -> Result<()> {
        for at in (0..n).step_by(together) {
            let payloads = vec![PAYLOAD; together.min(n - at)];
            self.client.execute(&self.add, &[&payloads]).await?;
        }
        Ok(())
    }

    /// Does all jobs; says how many there were.
    pub(super) async fn drain(&mut self, n_workers: usize, together: usize) -> Result<usize> {
        while self.workers.len() < n_workers {
            self.workers.push(Worker::new(&self.url).await?);
        }
        let mut running = JoinSet::new();
        for worker in self.workers.drain(..n_workers) {
            running.spawn(async move {
                let mut n_done = 0;
                loop {
                    match worker.turn(together).await? {
                        0 => return anyhow::Ok((n_done, worker)),
                        n => n_done += n,
                    }
                }
            });
        }
        let mut n_done = 0;
        while let Some(ended) = running.join_next().await {
            let (n, worker) = ended??;
            n_done += n;
            self.workers.push(worker);
        }
        Ok(n_done)
    }

    /// Does one job.
    pub(super) async fn drain_one(&mut self) -> Result<()> {
        if self.workers.is_empty() {
            self.workers.push(Worker::new(&self.url).await?);
        }
        self.workers[0].turn(1).await.map(drop)
    }
}
