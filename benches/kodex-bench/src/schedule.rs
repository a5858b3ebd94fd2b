//! Scheduled tasks: one beat of the scheduler beside many tasks that are not due, and how long it takes to
//! reckon the next occurrence.
//!
//! A beat starts at most as many agent runs as one plugin may ask for at a time, so the figure of a whole
//! backlog stands beside the figure of one beat.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use kodex::{
    HeartbeatSettings, Json, PluginName, PluginSettings, PulseOutcome, Runtime, SystemClock,
    UpgradeOptions,
    contract::wire::work::{Destination, Visibility, bounds::N_DISPATCHES},
    store::{
        Access, Bounds, Engine, Statement, Store, Value,
        postgres::{PgOptions, PgStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use kodex_scheduler::{
    NAME, SchedulerPlugin,
    cadence::{Cadence, Intent, Terms, data_version},
    moment::Ms,
    passed::Trace,
    record,
    task::{CatchUp, Credentials, Overlap, Task, TaskStatus},
};
use serde_json::json;

use crate::{
    peer::Peer,
    programs::{Programs, command, script},
    report::{Figure, Report},
    samples::{Samples, ms, us},
    size::Size,
    stored::{self, Database, Server},
};

const BENCH: &str = "schedule";
const N_TASKS: usize = 100_000;
const N_DUE: usize = 1_000;
/// Rows of one statement, nine parameters each.
const TOGETHER: usize = 100;
/// Occurrences of one sample.
const N_NEXT: u32 = 1_000;
/// From when occurrences are reckoned: a year has both transitions.
const FROM: &str = "2026-01-01T00:00:00Z";

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    next(report, size, programs)?;
    let server = Server::find();
    for engine in stored::engines(server.as_ref()) {
        beats(report, size, engine, server.as_ref(), programs)?;
    }
    Ok(())
}

/// How long the next occurrence takes.
fn next(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let mut peer = match &programs.python_of_peers {
        Some(python) => Some(Peer::start(command(python).arg(script("occurrences.py")))?),
        None => None,
    };
    let calendar = |frequency: &str, more: serde_json::Value| {
        let mut intent = json!({"kind": "recurring", "frequency": frequency, "time": "09:00",
            "timezone": "Europe/Paris"});
        if let (Some(intent), Some(more)) = (intent.as_object_mut(), more.as_object()) {
            intent.extend(more.clone());
        }
        intent
    };
    let weekdays = ["monday", "tuesday", "wednesday", "thursday", "friday"];
    let cases = [
        ("daily", "python-dateutil", calendar("daily", json!({}))),
        (
            "weekdays",
            "python-dateutil",
            calendar("weekly", json!({"weekdays": weekdays})),
        ),
        (
            "cron",
            "croniter",
            json!({"kind": "cron", "expression": "30 9,17 * * 1-5", "timezone": "Europe/Paris"}),
        ),
    ];
    for (case, package, intent) in cases {
        let cadence = compile(&intent)?;
        let n = u32::try_from(size.count(N_NEXT as usize))?;
        let mut peer = peer.as_mut().filter(|peer| peer.version(package).is_some());
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in size.rounds(21, 0.05) {
            ours.push(walk(&cadence, n)?);
            if let Some(peer) = &mut peer {
                let answer = peer.ask(&json!({"asked": case, "n": n}))?;
                theirs.extend(answer["us"].as_f64());
            }
        }
        let name = peer.and_then(|peer| peer.version(package));
        report.add(
            &Figure::lower(BENCH, &format!("next_{case}"), "us", &ours)
                .peer(name.as_deref().unwrap_or(package), &theirs)
                .target("ratio_peer>=1"),
        );
    }
    Ok(())
}

fn compile(intent: &serde_json::Value) -> Result<Cadence> {
    let intent = Intent::read(intent).context("an intent")?;
    let from = FROM.parse().context("a moment")?;
    let terms = Terms {
        min_distance: jiff::SignedDuration::from_mins(1),
        ..Terms::default()
    };
    intent.compile(from, &terms).context("a cadence")
}

/// Microseconds for each of so many occurrences, one after the other.
fn walk(cadence: &Cadence, n: u32) -> Result<f64> {
    let mut at = FROM.parse()?;
    let started_at = Instant::now();
    for _ in 0..n {
        at = cadence.next_after(at).context("an occurrence")?;
    }
    Ok(us(started_at.elapsed()) / f64::from(n))
}

/// Beats beside many tasks that are not due, and beside those that are due alone.
fn beats(
    report: &mut Report,
    size: Size,
    engine: Engine,
    server: Option<&Server>,
    programs: &Programs,
) -> Result<()> {
    let n_due = size.count(N_DUE);
    let n_tasks = match size {
        Size::Tiny => 2 * n_due,
        Size::Quick | Size::Full => N_TASKS,
    };
    let few = World::new(engine, "few", server, programs, n_due, n_due)?;
    let many = World::new(engine, "many", server, programs, n_tasks, n_due)?;
    let [mut beats, mut beats_of_few] = <[Samples; 2]>::default();
    let mut whole = 0.0;
    let mut n_started = 0;
    while n_started < n_due {
        few.beat(&mut beats_of_few)?;
        let n = many.beat(&mut beats)?;
        ensure!(
            n > 0,
            "a beat started nothing while {} are due",
            n_due - n_started
        );
        n_started += n;
    }
    whole += beats.total();
    let word = engine.as_str();
    let target = match engine {
        Engine::Sqlite => "value<=60",
        Engine::Postgres => "value<=250",
    };
    let others = format!("beside no others instead of {}", n_tasks - n_due);
    report.add(
        &Figure::lower(BENCH, &format!("{word}_beat"), "ms", &beats)
            .limit(&others, &beats_of_few)
            .target(&format!("{target} and ratio_limit<=1.5")),
    );
    let whole = Samples::from(vec![whole]);
    report.add(&Figure::lower(
        BENCH,
        &format!("{word}_backlog"),
        "ms",
        &whole,
    ));
    Ok(())
}

/// A runtime with the scheduler over a store full of tasks. Nothing executes the runs.
struct World {
    tokio: tokio::runtime::Runtime,
    runtime: Runtime,
    store: Arc<dyn Store>,
    /// Dropped last.
    _database: Option<Database>,
}

impl World {
    fn new(
        engine: Engine,
        name: &str,
        server: Option<&Server>,
        programs: &Programs,
        n_tasks: usize,
        n_due: usize,
    ) -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let name = format!("schedule_{name}");
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(server.context("a server")?.database(&name)?),
        };
        let store: Arc<dyn Store> = match &database {
            None => {
                let folder = programs.scratch.path().join(&name);
                let options = SqliteOptions::new(folder, Arc::new(SystemClock));
                Arc::new(tokio.block_on(SqliteStore::open(options))?)
            }
            Some(database) => {
                Arc::new(tokio.block_on(PgStore::open(PgOptions::new(&database.url)))?)
            }
        };
        let settings = PluginSettings {
            context: Json::from(json!({"runs_per_heartbeat": N_DISPATCHES})),
            ..PluginSettings::default()
        };
        let runtime = tokio.block_on(async {
            let runtime = Runtime::builder()
                .strict(true)
                .store(store.clone())
                .native(Arc::new(SchedulerPlugin::new()?))
                .plugin_settings(NAME, settings)
                .build()
                .await?;
            runtime.upgrade(&UpgradeOptions::default(), &|_| {}).await?;
            fill(&*store, n_tasks, n_due).await?;
            anyhow::Ok(runtime)
        })?;
        Ok(Self {
            tokio,
            runtime,
            store,
            _database: database,
        })
    }

    /// One beat: adds its milliseconds, gives the agent runs that it started.
    fn beat(&self, samples: &mut Samples) -> Result<usize> {
        let settings = HeartbeatSettings::default();
        let started_at = Instant::now();
        let pulse = self.tokio.block_on(self.runtime.heartbeat(&settings))?;
        samples.push(ms(started_at.elapsed()));
        let plugin = pulse.plugins.first().context("the scheduler had no beat")?;
        ensure!(plugin.outcome == PulseOutcome::Done, "{plugin:?}");
        Ok(usize::try_from(plugin.n_started)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tokio.block_on(async {
            self.runtime.shutdown().await;
            // Its folder or database is gone next.
            let _ = self.store.close().await;
        });
    }
}

/// Tasks as the plugin keeps them; the first ones are due.
async fn fill(store: &dyn Store, n_tasks: usize, n_due: usize) -> Result<()> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let intent = json!({"kind": "recurring", "frequency": "daily", "time": "09:00"});
    let cadence = compile(&intent)?;
    let plugin = PluginName::new(NAME)?;
    let tables = store.namespace(&plugin, Access::Write).await?;
    let bounds = Bounds {
        // All of it is one transaction.
        timeout: Duration::from_secs(300),
        text_bytes: 1 << 20,
        ..Bounds::default()
    };
    let mut tx = tables.begin(&bounds).await?;
    for first in (0..n_tasks).step_by(TOGETHER) {
        let mut sql = "INSERT INTO tasks (id, destination, status, attend_at_ms, created_at_ms, fingerprint, \
                       zone_data, revision, record) VALUES "
            .to_owned();
        let mut params = Vec::new();
        for number in first..n_tasks.min(first + TOGETHER) {
            let distance = if number < n_due { -60_000 } else { 3_600_000 };
            let task = task(number, &cadence, now_ms, now_ms + distance);
            let comma = if number == first { "" } else { ", " };
            write!(sql, "{comma}(?, ?, ?, ?, ?, ?, ?, 1, ?)")?;
            let place = json!([task.destination.kind, task.destination.address]);
            params.extend([
                Value::Text(task.id.clone()),
                Value::Text(place.to_string()),
                Value::Text(task.status.as_str().to_owned()),
                task.attend_at_ms().map_or(Value::Null, Value::Integer),
                Value::Integer(task.created_at_ms),
                Value::Text(task.fingerprint()),
                Value::Text(task.zone_data.clone()),
                Value::Text(record::write(&task)),
            ]);
        }
        tx.run(&Statement::with(sql, params), &bounds).await?;
    }
    tx.commit().await?;
    // As the server would do by itself after so many rows.
    if store.engine() == Engine::Postgres {
        let migrate = store.namespace(&plugin, Access::Migrate).await?;
        migrate
            .run(&Statement::new("ANALYZE tasks"), &bounds)
            .await?;
    }
    Ok(())
}

fn task(number: usize, cadence: &Cadence, now_ms: Ms, next_ms: Ms) -> Task {
    Task {
        id: format!("sched_{number:032x}"),
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        created_by: None,
        destination: Destination {
            kind: "session".to_owned(),
            address: format!("conversation {}", number % 100),
        },
        visibility: Visibility::default(),
        text: format!("Look at what number {number} has to say."),
        cadence: cadence.clone(),
        status: TaskStatus::Active,
        reason: None,
        next_run_at_ms: Some(next_ms),
        run_now_at_ms: None,
        last_run_at_ms: None,
        blocked_at_ms: None,
        untold_from_ms: None,
        generation: 0,
        catch_up: CatchUp::default(),
        overlap: Overlap::default(),
        credentials: Credentials::default(),
        zone_data: data_version().to_owned(),
        trace: Trace::default(),
    }
}
