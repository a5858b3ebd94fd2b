//! Durable work on Postgres.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kodex::{
    PluginName,
    store::{
        Store as _,
        postgres::{PgOptions, PgStore},
        queue::{Claim, Claimed, End, Ending, NewJob},
    },
};
use serde_json::value::RawValue;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{
    BENCH, PAYLOAD,
    peer::Peers,
    raw::{Raw, connect},
};
use crate::{
    programs::Programs,
    report::{Figure, Report},
    samples::{Samples, ms},
    size::Size,
    stored::{Database, Server},
};

const QUEUE: &str = "bench";
/// Jobs of a claim, of an end and of their like written by hand.
const BATCH: usize = 100;
/// Jobs of an add.
const TOGETHER: usize = 1_000;
/// As many as the most workers.
const N_CONNECTIONS: usize = 16;
/// Between two jobs whose start is waited for.
const GAP: Duration = Duration::from_millis(5);

/// Workers, jobs of a turn, one at a time.
const SINGLE: &[(usize, usize)] = &[(1, 300), (4, 800), (16, 1_200)];
const N_BATCHED: usize = 10_000;

/// Runs what there is to measure where a server is.
pub(super) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let Some(server) = Server::find() else {
        return Ok(());
    };
    let mut world = World::new(&server)?;
    let mut peers = Peers::start(programs, &server, size)?;
    for (n_workers, n) in SINGLE {
        one_at_a_time(report, size, &mut world, &mut peers, *n_workers, *n)?;
    }
    batches(report, size, &mut world, &mut peers)?;
    started(report, size, &mut world, &mut peers)?;
    drop((peers, world));
    history(report, size, &server)
}

/// A store, the table written by hand beside it, and a runtime for both.
struct World {
    tokio: Runtime,
    store: Arc<PgStore>,
    raw: Raw,
    url: String,
    n_added: usize,
    /// Dropped last.
    _database: Database,
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).enable_all().build()?)
}

async fn open(url: &str) -> Result<PgStore> {
    let mut options = PgOptions::new(url);
    options.n_connections = N_CONNECTIONS;
    Ok(PgStore::open(options).await?)
}

impl World {
    fn new(server: &Server) -> Result<Self> {
        let tokio = runtime()?;
        let database = server.database("work")?;
        let url = database.url.clone();
        let (store, raw) =
            tokio.block_on(async { anyhow::Ok((open(&url).await?, Raw::new(&url).await?)) })?;
        Ok(Self {
            tokio,
            store: Arc::new(store),
            raw,
            url,
            n_added: 0,
            _database: database,
        })
    }

    fn empty(&self) -> Result<()> {
        self.tokio.block_on(async {
            self.raw.empty().await?;
            let client = connect(&self.url).await?;
            Ok(client.batch_execute("TRUNCATE kodex.jobs").await?)
        })
    }

    /// Jobs added in a second, by hand and by Kodex.
    fn add(&mut self, n: usize) -> Result<(f64, f64)> {
        let by_hand = self.tokio.block_on(async {
            let started_at = Instant::now();
            self.raw.add(n, TOGETHER).await?;
            anyhow::Ok(n as f64 / started_at.elapsed().as_secs_f64())
        })?;
        let from = self.n_added;
        self.n_added += n;
        let kodex = self.tokio.block_on(async {
            let started_at = Instant::now();
            add(&self.store, from, n).await?;
            anyhow::Ok(n as f64 / started_at.elapsed().as_secs_f64())
        })?;
        Ok((by_hand, kodex))
    }

    /// Jobs done in a second, by hand and by Kodex, after adding them.
    fn turn(&mut self, n_workers: usize, n: usize, together: usize) -> Result<Turn> {
        self.empty()?;
        let (added_by_hand, added) = self.add(n)?;
        let started_at = Instant::now();
        let done = self.raw.drain(n_workers, together);
        let n_done = self.tokio.block_on(done)?;
        let by_hand = n_done as f64 / started_at.elapsed().as_secs_f64();
        ensure!(n_done == n, "{n_done} of {n} jobs were done by hand");
        let done = self
            .tokio
            .block_on(drain(&self.store, n_workers, n, together))?;
        Ok(Turn {
            by_hand,
            done,
            added_by_hand,
            added,
        })
    }
}

struct Turn {
    by_hand: f64,
    done: f64,
    added_by_hand: f64,
    added: f64,
}

async fn add(store: &PgStore, from: usize, n: usize) -> Result<()> {
    let plugin = PluginName::new("bench")?;
    let payload = RawValue::from_string(PAYLOAD.to_owned())?;
    for at in (0..n).step_by(TOGETHER) {
        let ids: Vec<String> = (at..n.min(at + TOGETHER))
            .map(|number| format!("{:020}", from + number))
            .collect();
        let job = |id| NewJob {
            max_attempts: 3,
            ..NewJob::new(id, QUEUE, &plugin, "noop", &payload)
        };
        let jobs: Vec<NewJob<'_>> = ids.iter().map(|id| job(id)).collect();
        store.queue().add(&jobs).await?;
    }
    Ok(())
}

fn wish(n: usize) -> Claim<'static> {
    Claim {
        queue: QUEUE,
        holder: "bench",
        n,
        lease_ms: 60_000,
        caps: &[],
        plugins: None,
    }
}

async fn end(store: &PgStore, claimed: &[Claimed]) -> Result<()> {
    let ends: Vec<End<'_>> = claimed
        .iter()
        .map(|claimed| End {
            lease: &claimed.lease,
            how: Ending::Complete { result: None },
        })
        .collect();
    let ended = store.queue().end(&ends).await?;
    ensure!(ended.iter().all(|ended| *ended), "a lease was lost");
    Ok(())
}

/// Jobs done in a second.
async fn drain(store: &Arc<PgStore>, n_workers: usize, n: usize, together: usize) -> Result<f64> {
    let started_at = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..n_workers {
        let store = Arc::clone(store);
        running.spawn(async move {
            let mut n_done = 0;
            loop {
                let claimed = store.queue().claim(&wish(together)).await?;
                if claimed.is_empty() {
                    return anyhow::Ok(n_done);
                }
                end(&store, &claimed).await?;
                n_done += claimed.len();
            }
        });
    }
    let mut n_done = 0;
    while let Some(ended) = running.join_next().await {
        n_done += ended??;
    }
    let took = started_at.elapsed().as_secs_f64();
    ensure!(n_done == n, "{n_done} of {n} jobs were done");
    Ok(n as f64 / took)
}

/// A peer's jobs of a turn: enough that its start does not count.
fn of_peer(size: Size, n: usize) -> usize {
    size.count(if size == Size::Full { 4 * n } else { 2 * n })
}

fn one_at_a_time(
    report: &mut Report,
    size: Size,
    world: &mut World,
    peers: &mut Peers,
    n_workers: usize,
    n: usize,
) -> Result<()> {
    let n = size.count(n);
    let mut done = Samples::default();
    let mut by_hand = Samples::default();
    world.turn(n_workers, n, 1)?;
    for _ in size.rounds(9, 0.12) {
        let turn = world.turn(n_workers, n, 1)?;
        done.push(turn.done);
        by_hand.push(turn.by_hand);
    }
    let case = format!("postgres_{n_workers}");
    for place in ["graphile-worker", "pg-boss", "procrastinate"] {
        let mut others = Samples::default();
        let turn = peers.turn(place, n_workers, false, of_peer(size, n))?;
        others.extend(turn.map(|(done, _)| done));
        let name = peers.name(place);
        let is_first = place == "graphile-worker";
        if others.is_empty() && !is_first && size != Size::Tiny {
            continue;
        }
        let figure = if is_first {
            // 0.85 of the limit.
            Figure::higher(BENCH, &case, "1/s", &done)
                .limit("a claim and its end by hand, two commits", &by_hand)
                .target("ratio_limit<=1.176")
        } else {
            let case = format!("{case}_{}", place.replace('-', "_"));
            Figure::higher(BENCH, &case, "1/s", &done)
        };
        report.add(&figure.peer(&name, &others));
    }
    Ok(())
}

fn batches(report: &mut Report, size: Size, world: &mut World, peers: &mut Peers) -> Result<()> {
    let n = size.count(N_BATCHED);
    let (mut done, mut by_hand) = (Samples::default(), Samples::default());
    let (mut added, mut added_by_hand) = (Samples::default(), Samples::default());
    for _ in size.rounds(9, 0.15) {
        let turn = world.turn(4, n, BATCH)?;
        done.push(turn.done);
        by_hand.push(turn.by_hand);
        added.push(turn.added);
        added_by_hand.push(turn.added_by_hand);
    }
    let (mut others, mut others_added) = (Samples::default(), Samples::default());
    if let Some((done, added)) = peers.turn("graphile-worker", 4, true, of_peer(size, n))? {
        others.push(done);
        others_added.push(added);
    }
    let name = peers.name("graphile-worker");
    report.add(
        &Figure::higher(BENCH, "postgres_4_batched", "1/s", &done)
            .limit("batches of a hundred by hand", &by_hand)
            .peer(&format!("{name} with its local queue"), &others)
            .target("ratio_peer>=1 and value>=50000 or ratio_limit<=1.2"),
    );
    report.add(
        &Figure::higher(BENCH, "postgres_add", "1/s", &added)
            .limit("a thousand in one insert by hand", &added_by_hand)
            .peer(&name, &others_added)
            .target("ratio_peer>=1 and value>=90000 or ratio_limit<=1.33"),
    );
    Ok(())
}

/// From before a job is added on one node to its claim on another.
fn started(report: &mut Report, size: Size, world: &mut World, peers: &mut Peers) -> Result<()> {
    let n = size.count(200);
    world.empty()?;
    let from = world.n_added;
    world.n_added += n + 1;
    let (waits, limits) = world.tokio.block_on(async {
        let mut limits = Vec::new();
        for _ in 0..n {
            let started_at = Instant::now();
            world.raw.add(1, 1).await?;
            world.raw.drain_one().await?;
            limits.push(ms(started_at.elapsed()));
        }
        let other = open(&world.url).await?;
        let waits = waits(&world.store, &other, from, n).await?;
        other.close().await?;
        anyhow::Ok((Samples::from(waits), Samples::from(limits)))
    })?;
    let peer = peers.started("graphile-worker", n)?;
    let name = peers.name("graphile-worker");
    for (case, share, target) in [
        ("postgres_started_p50", 0.5, "value<=1.5 or ratio_limit<=3"),
        ("postgres_started_p99", 0.99, "value<=4 or ratio_limit<=3"),
    ] {
        let one = |samples: &Samples| Samples::from(vec![samples.quantile(share)]);
        let others = peer.map(|(p50, p99)| if share == 0.5 { p50 } else { p99 });
        let mut theirs = Samples::default();
        theirs.extend(others);
        report.add(
            &Figure::lower(BENCH, case, "ms", &one(&waits))
                .limit("an insert and a claim by hand", &one(&limits))
                .peer(&name, &theirs)
                .target(target),
        );
    }
    Ok(())
}

async fn waits(worker: &Arc<PgStore>, adder: &PgStore, from: usize, n: usize) -> Result<Vec<f64>> {
    let (sender, mut claims) = tokio::sync::mpsc::channel(1);
    let store = Arc::clone(worker);
    let mut hints = store.queue().hints().await?;
    let mut running = JoinSet::new();
    running.spawn(async move {
        loop {
            hints.mark_unchanged();
            let claimed = store.queue().claim(&wish(1)).await?;
            if claimed.is_empty() {
                // Hints may be missing, as everywhere.
                let _ = tokio::time::timeout(Duration::from_millis(500), hints.changed()).await;
                continue;
            }
            let at = Instant::now();
            end(&store, &claimed).await?;
            if sender.send(at).await.is_err() {
                return anyhow::Ok(());
            }
        }
    });
    let mut waits = Vec::with_capacity(n);
    // The first one is for making connections.
    for number in 0..=n {
        tokio::time::sleep(GAP).await;
        let started_at = Instant::now();
        add(adder, from + number, 1).await?;
        let at = claims.recv().await.context("the worker ended")?;
        if number > 0 {
            waits.push(ms(at.saturating_duration_since(started_at)));
        }
    }
    running.shutdown().await;
    Ok(waits)
}

/// Jobs beside a long history, against the same beside a short one.
fn history(report: &mut Report, size: Size, server: &Server) -> Result<()> {
    let n_long = match size {
        Size::Tiny => 100,
        Size::Quick => 200_000,
        Size::Full => 1_000_000,
    };
    let short = Past::new(server, "work_short", size.count(10_000))?;
    let long = Past::new(server, "work_long", n_long)?;
    let n = size.count(1_000);
    let (mut with_long, mut with_short) = (Samples::default(), Samples::default());
    for round in size.rounds(7, 0.12) {
        with_short.push(short.turn(round, n)?);
        with_long.push(long.turn(round, n)?);
    }
    report.add(
        &Figure::higher(BENCH, "postgres_history", "1/s", &with_long)
            .limit("beside 10,000 finished jobs", &with_short)
            .target("ratio_limit<=1.05"),
    );
    Ok(())
}

/// A store with finished jobs.
struct Past {
    tokio: Runtime,
    store: Arc<PgStore>,
    _database: Database,
}

impl Past {
    fn new(server: &Server, name: &str, n: usize) -> Result<Self> {
        let tokio = runtime()?;
        let database = server.database(name)?;
        let url = database.url.clone();
        let fill = format!(
            "INSERT INTO kodex.jobs (id, queue, plugin, name, priority, state, payload, added_at_ms, due_at_ms,
                 started_at_ms, ended_at_ms, attempt, max_attempts, token)
             SELECT 'old ' || i, '{QUEUE}', 'bench', 'noop', 1, 'completed', '{PAYLOAD}', i, i, i, i, 1, 3, 1
             FROM generate_series(1, {n}) i"
        );
        let store = tokio.block_on(async {
            let store = open(&url).await?;
            let client = connect(&url).await?;
            client.batch_execute(&fill).await?;
            client.batch_execute("VACUUM ANALYZE kodex.jobs").await?;
            anyhow::Ok(store)
        })?;
        Ok(Self {
            tokio,
            store: Arc::new(store),
            _database: database,
        })
    }

    fn turn(&self, round: usize, n: usize) -> Result<f64> {
        self.tokio.block_on(async {
            add(&self.store, round * n, n).await?;
            drain(&self.store, 4, n, 1).await
        })
    }
}
