//! The jobs of a store on SQLite, asked through the seam that the runtime uses.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kodex::{
    PluginName, SystemClock,
    store::{
        Store,
        queue::{Claim, End, Ending, N_TOGETHER, NewJob},
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use serde_json::value::RawValue;
use tokio::{sync::mpsc, task::JoinSet};

use crate::samples::{Samples, ms};

const QUEUE: &str = "work";
/// Jobs that wait before a turn begins.
const N_WAITING: usize = 20_000;
/// How long a new job is not added while its worker waits.
const PAUSE: Duration = Duration::from_millis(2);

/// A store with a runtime of two threads.
pub(super) struct Engine {
    tokio: tokio::runtime::Runtime,
    shared: Arc<Shared>,
}

struct Shared {
    store: SqliteStore,
    plugin: PluginName,
    payload: Box<RawValue>,
    n_added: AtomicU64,
}

impl Engine {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let options = SqliteOptions::new(folder, Arc::new(SystemClock));
        let store = tokio.block_on(SqliteStore::open(options))?;
        let shared = Arc::new(Shared {
            store,
            plugin: PluginName::new("bench")?,
            payload: RawValue::from_string(super::super::PAYLOAD.to_owned())?,
            n_added: AtomicU64::new(0),
        });
        Ok(Self { tokio, shared })
    }

    /// How many jobs in a second are added, so many in a call.
    pub(super) fn add(&self, batch: usize, span: Duration) -> Result<f64> {
        self.tokio.block_on(async {
            let started_at = Instant::now();
            let mut n_added = 0.0;
            loop {
                self.shared.add(batch).await?;
                n_added += batch as f64;
                let took = started_at.elapsed();
                if took >= span {
                    return Ok(n_added / took.as_secs_f64());
                }
            }
        })
    }

    /// How many jobs in a second are taken and completed by so many workers, so many at a time each.
    pub(super) fn work(&self, n_workers: usize, batch: usize, span: Duration) -> Result<f64> {
        self.tokio.block_on(async {
            let n_waiting = self
                .shared
                .store
                .queue()
                .n_living(QUEUE, &self.shared.plugin, N_WAITING as u64)
                .await?;
            let mut n_missing = N_WAITING.saturating_sub(usize::try_from(n_waiting)?);
            while n_missing > 0 {
                let batch = n_missing.min(N_TOGETHER);
                self.shared.add(batch).await?;
                n_missing -= batch;
            }
            let started_at = Instant::now();
            let mut workers = JoinSet::new();
            for _ in 0..n_workers {
                let shared = self.shared.clone();
                workers.spawn(async move { shared.work(batch, started_at + span).await });
            }
            let mut n_done = 0.0;
            while let Some(done) = workers.join_next().await {
                n_done += done??;
            }
            Ok(n_done / started_at.elapsed().as_secs_f64())
        })
    }

    /// How many jobs end up completed, all of them.
    pub(super) fn fill(&self, n_jobs: usize) -> Result<()> {
        self.tokio.block_on(async {
            let mut n_left = n_jobs;
            while n_left > 0 {
                let batch = n_left.min(N_TOGETHER);
                self.shared.add(batch).await?;
                ensure!(self.shared.take(batch).await? == batch, "jobs are missing");
                n_left -= batch;
            }
            Ok(())
        })
    }

    /// How often in a second can be asked for jobs that are not there.
    pub(super) fn look(&self, span: Duration) -> Result<f64> {
        self.tokio.block_on(async {
            let started_at = Instant::now();
            let mut n_asked = 0.0;
            loop {
                let claim = Claim {
                    queue: "none",
                    ..claim(1)
                };
                self.shared.store.queue().claim(&claim).await?;
                n_asked += 1.0;
                let took = started_at.elapsed();
                if took >= span {
                    return Ok(n_asked / took.as_secs_f64());
                }
            }
        })
    }

    /// How long each of so many jobs waits for a worker that waits for hints, in milliseconds.
    pub(super) fn waits(&self, n_jobs: usize) -> Result<Samples> {
        self.tokio.block_on(async {
            while self.shared.take(N_TOGETHER).await? > 0 {}
            let (started, mut starts) = mpsc::channel(1);
            let shared = self.shared.clone();
            let mut worker = JoinSet::new();
            worker.spawn(async move { shared.wait(started).await });
            let mut waits = Samples::default();
            for _ in 0..n_jobs {
                tokio::time::sleep(PAUSE).await;
                let added_at = Instant::now();
                self.shared.add(1).await?;
                let Some(started_at) = starts.recv().await else {
                    break;
                };
                waits.push(ms(Instant::duration_since(&started_at, added_at)));
            }
            drop(starts);
            worker.shutdown().await;
            Ok(waits)
        })
    }
}

fn claim(n: usize) -> Claim<'static> {
    Claim {
        queue: QUEUE,
        holder: "bench",
        n,
        lease_ms: 30_000,
        caps: &[],
        plugins: None,
    }
}

impl Shared {
    async fn add(&self, batch: usize) -> Result<()> {
        // Ids that rise with time, as the runtime's do.
        let first = self.n_added.fetch_add(batch as u64, Ordering::Relaxed);
        let ids: Vec<_> = (first..first + batch as u64)
            .map(|at| format!("0192f0c1-{at:012x}-7a5b-9c3d"))
            .collect();
        let jobs: Vec<_> = ids.iter().map(|id| self.job(id)).collect();
        self.store.queue().add(&jobs).await?;
        Ok(())
    }

    fn job<'a>(&'a self, id: &'a str) -> NewJob<'a> {
        NewJob {
            max_attempts: 3,
            ..NewJob::new(id, QUEUE, &self.plugin, "bench", &self.payload)
        }
    }

    /// Takes and completes up to so many jobs; how many there were.
    async fn take(&self, batch: usize) -> Result<usize> {
        let queue = self.store.queue();
        let claimed = queue.claim(&claim(batch)).await?;
        let ends: Vec<_> = claimed
            .iter()
            .map(|claimed| End {
                lease: &claimed.lease,
                how: Ending::Complete { result: None },
            })
            .collect();
        if !ends.is_empty() {
            let ended = queue.end(&ends).await?;
            ensure!(ended.iter().all(|held| *held), "a lease was lost");
        }
        Ok(ends.len())
    }

    async fn work(&self, batch: usize, until: Instant) -> Result<f64> {
        let mut n_done = 0.0;
        loop {
            let n = self.take(batch).await?;
            n_done += n as f64;
            if n == 0 || Instant::now() >= until {
                return Ok(n_done);
            }
        }
    }

    /// Says when a job was taken, until nobody listens.
    async fn wait(&self, started: mpsc::Sender<Instant>) -> Result<()> {
        let queue = self.store.queue();
        let mut hints = queue.hints().await?;
        loop {
            hints.mark_unchanged();
            let claimed = queue.claim(&claim(1)).await?;
            let Some(claimed) = claimed.first() else {
                hints.changed().await?;
                continue;
            };
            if started.send(Instant::now()).await.is_err() {
                return Ok(());
            }
            let end = End {
                lease: &claimed.lease,
                how: Ending::Complete { result: None },
            };
            queue.end(&[end]).await?;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Its folder is gone next.
        let _ = self.tokio.block_on(self.shared.store.close());
    }
}
