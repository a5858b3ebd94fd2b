//! The store's own log: triggers write every change of a job and everything that is written under a lease
//! into a table of their own, in the order in which the engine let them happen.
//!
//! Nothing of the nodes is in the way: what they would hide, by a wrong answer or a lost word, stands there.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result, bail};
use kodex_chaos::history::{By, Change, Mark, Row, Slot, Stand, Task, left_by};
use kodex_plugin::{PluginName, clock::Clock};
use kodex_store::{
    Access, Bounds, Statement, Store, Value,
    postgres::{PgOptions, PgStore},
    queue::{Filter, Job, JobState, N_TOGETHER},
    sqlite::{SqliteOptions, SqliteStore},
};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value as Tree, json};

/// A row in the log.
const ON_FILES: &str = "
CREATE TABLE IF NOT EXISTS chaos_log (n INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,
    job TEXT NOT NULL, before TEXT, after TEXT, key TEXT, value TEXT);
CREATE TRIGGER chaos_new AFTER INSERT ON jobs BEGIN
    INSERT INTO chaos_log (at_ms, kind, job, after) VALUES (NOW, 'job', NEW.id, STAND(NEW)); END;
CREATE TRIGGER chaos_change AFTER UPDATE ON jobs BEGIN
    INSERT INTO chaos_log (at_ms, kind, job, before, after) VALUES (NOW, 'job', NEW.id, STAND(OLD), STAND(NEW)); END;
CREATE TRIGGER chaos_gone AFTER DELETE ON jobs BEGIN
    INSERT INTO chaos_log (at_ms, kind, job, before) VALUES (NOW, 'job', OLD.id, STAND(OLD)); END;
CREATE TRIGGER chaos_effect AFTER INSERT ON job_effects BEGIN
    INSERT INTO chaos_log (at_ms, kind, job, after, key, value)
    SELECT NOW, 'effect', j.id, STAND(j), NEW.key, NEW.value FROM jobs j WHERE j.seq = NEW.job; END;
CREATE TRIGGER chaos_line AFTER INSERT ON job_lines WHEN NEW.stream = 'out' BEGIN
    INSERT INTO chaos_log (at_ms, kind, job, after, value)
    SELECT NOW, 'line', j.id, STAND(j), NEW.text FROM jobs j WHERE j.seq = NEW.job; END;
";
const ON_SERVER: &str = "
CREATE SCHEMA chaos;
CREATE TABLE chaos.log (n bigserial PRIMARY KEY, at_ms bigint NOT NULL, kind text NOT NULL, job text NOT NULL,
    before text, after text, key text, value text);
CREATE FUNCTION chaos.job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos.log (at_ms, kind, job, before, after) VALUES (NOW, 'job', coalesce(NEW.id, OLD.id),
        CASE WHEN OLD IS NOT NULL OR TG_OP <> 'INSERT' THEN STAND(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN STAND(NEW) END);
    RETURN NULL; END $$;
CREATE TRIGGER chaos_job AFTER INSERT OR UPDATE OR DELETE ON kodex.jobs FOR EACH ROW EXECUTE FUNCTION chaos.job();
CREATE FUNCTION chaos.effect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos.log (at_ms, kind, job, after, key, value)
    SELECT NOW, 'effect', j.id, STAND(j), NEW.key, NEW.value FROM kodex.jobs j WHERE j.id = NEW.job_id;
    RETURN NULL; END $$;
CREATE TRIGGER chaos_effect AFTER INSERT ON kodex.job_effects FOR EACH ROW EXECUTE FUNCTION chaos.effect();
CREATE FUNCTION chaos.line() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos.log (at_ms, kind, job, after, value)
    SELECT NOW, 'line', j.id, STAND(j), NEW.text FROM kodex.jobs j WHERE j.id = NEW.job_id;
    RETURN NULL; END $$;
CREATE TRIGGER chaos_line AFTER INSERT ON kodex.job_lines FOR EACH ROW WHEN (NEW.stream = 'out')
    EXECUTE FUNCTION chaos.line();
";
/// What a stand is made of.
const FIELDS: [&str; 11] = [
    "state",
    "token",
    "holder",
    "until_ms",
    "attempt",
    "generation",
    "n_slices",
    "n_crashes",
    "reason_code",
    "reason",
    "left",
];
const READ: &str = "SELECT n, at_ms, kind, job, before, after, key, value FROM";

/// The text of triggers with `NOW` and `STAND(row)` written out.
fn triggers(text: &str, now: &str, object: &str) -> String {
    let mut text = text.replace("NOW", now);
    for row in ["NEW", "OLD", "j"] {
        let fields: Vec<String> = FIELDS
            .iter()
            .map(|field| match *field {
                "left" => format!("'left', coalesce({row}.result, {row}.checkpoint)"),
                field => format!("'{field}', {row}.{field}"),
            })
            .collect();
        text = text.replace(
            &format!("STAND({row})"),
            &format!("{object}({})", fields.join(", ")),
        );
    }
    text
}

/// The store, for whoever looks at it from outside.
pub(super) enum Watch {
    Files(std::path::PathBuf),
    Server(String),
}

/// A line of the log as the engines give it.
struct Line {
    n: i64,
    at_ms: i64,
    kind: String,
    job: String,
    before: Option<String>,
    after: Option<String>,
    key: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
struct Stored {
    state: String,
    token: u64,
    holder: Option<String>,
    until_ms: Option<u64>,
    attempt: u32,
    generation: u32,
    n_slices: u32,
    n_crashes: u32,
    reason_code: Option<String>,
    reason: Option<String>,
    left: Option<String>,
}

impl Watch {
    pub(super) fn files(folder: &Path) -> Self {
        Self::Files(folder.to_owned())
    }

    /// Lays the triggers; the tables must be there.
    pub(super) async fn begin(&self) -> Result<()> {
        match self {
            Self::Files(folder) => {
                let now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
                let text = triggers(ON_FILES, now, "json_object");
                files(folder)?
                    .execute_batch(&text)
                    .context("laying triggers")
            }
            Self::Server(url) => {
                let now = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
                let text = triggers(ON_SERVER, now, "json_build_object");
                server(url)
                    .await?
                    .batch_execute(&text)
                    .await
                    .context("laying triggers")
            }
        }
    }

    /// The log so far.
    pub(super) async fn log(&self) -> Result<(Vec<Change>, Vec<Mark>)> {
        let (mut changes, mut marks) = (Vec::new(), Vec::new());
        for line in self.lines().await? {
            let n = u64::try_from(line.n).unwrap_or_default();
            let [before, after] =
                [&line.before, &line.after].map(|text| text.as_deref().map(stand).transpose());
            let (before, after) = (before?, after?);
            if line.kind == "job" {
                changes.push(Change {
                    n,
                    at_ms: u64::try_from(line.at_ms).unwrap_or_default(),
                    job: line.job,
                    before,
                    after,
                });
                continue;
            }
            // A line that is none of the stand-in's own is nobody's mark.
            let by: Option<By> = line.value.as_deref().and_then(left_by);
            if let (Some(by), Some(stand)) = (by, after) {
                marks.push(Mark {
                    n,
                    job: line.job,
                    effect: line.key,
                    by,
                    stand,
                });
            } else if let Some(key) = line.key {
                bail!(
                    "the effect {key:?} of job {} holds {:?}",
                    line.job,
                    line.value
                );
            }
        }
        Ok((changes, marks))
    }

    async fn lines(&self) -> Result<Vec<Line>> {
        match self {
            Self::Files(folder) => {
                let db = files(folder)?;
                let mut statement = db.prepare(&format!("{READ} chaos_log ORDER BY n"))?;
                let lines = statement.query_map([], |row| {
                    Ok(Line {
                        n: row.get(0)?,
                        at_ms: row.get(1)?,
                        kind: row.get(2)?,
                        job: row.get(3)?,
                        before: row.get(4)?,
                        after: row.get(5)?,
                        key: row.get(6)?,
                        value: row.get(7)?,
                    })
                })?;
                lines.collect::<Result<_, _>>().context("reading the log")
            }
            Self::Server(url) => {
                let client = server(url).await?;
                let rows = client
                    .query(&format!("{READ} chaos.log ORDER BY n"), &[])
                    .await?;
                let line = |row: &tokio_postgres::Row| Line {
                    n: row.get(0),
                    at_ms: row.get(1),
                    kind: row.get(2),
                    job: row.get(3),
                    before: row.get(4),
                    after: row.get(5),
                    key: row.get(6),
                    value: row.get(7),
                };
                Ok(rows.iter().map(line).collect())
            }
        }
    }

    /// The store as the runtime opens it.
    pub(super) async fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(match self {
            Self::Files(folder) => {
                let options = SqliteOptions::new(folder, Arc::new(Real));
                Arc::new(SqliteStore::open(options).await?)
            }
            Self::Server(url) => Arc::new(PgStore::open(PgOptions::new(url)).await?),
        })
    }
}

fn files(folder: &Path) -> Result<Connection> {
    let db = Connection::open(folder.join("kodex.db"))?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(db)
}

pub(super) async fn server(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    // It ends with the client.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one task that carries this connection"
    )]
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

fn stand(text: &str) -> Result<Stand> {
    let stored: Stored = serde_json::from_str(text).with_context(|| format!("a stand: {text}"))?;
    Ok(Stand {
        state: JobState::of(&stored.state).with_context(|| format!("a state: {}", stored.state))?,
        token: stored.token,
        holder: stored.holder,
        until_ms: stored.until_ms,
        attempt: stored.attempt,
        generation: stored.generation,
        n_slices: stored.n_slices,
        n_crashes: stored.n_crashes,
        reason: stored.reason_code,
        text: stored.reason,
        left: stored.left,
    })
}

/// This process' clocks, which nobody moves.
struct Real;

impl Clock for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }
}

/// Every job of the store, by the queue's own list.
pub(super) async fn rows(store: &dyn Store) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut last: Option<(u64, String)> = None;
    loop {
        let filter = Filter {
            queue: None,
            plugin: None,
            states: &[],
            after: last.as_ref().map(|(at, id)| (*at, id.as_str())),
            limit: N_TOGETHER,
        };
        let jobs = store.queue().list(&filter).await?;
        rows.extend(jobs.iter().map(row));
        match jobs.last() {
            Some(job) if jobs.len() == N_TOGETHER => last = Some((job.added_at_ms, job.id.clone())),
            _ => return Ok(rows),
        }
    }
}

fn row(job: &Job) -> Row {
    let is_run = job.queue == "run";
    let payload: Tree = serde_json::from_str(job.payload.get()).unwrap_or_default();
    let text = |at: &str| {
        payload
            .pointer(at)
            .and_then(Tree::as_str)
            .map(str::to_owned)
    };
    let item = match (is_run, job.plugin.as_str()) {
        (false, _) => text("/params/item"),
        (true, "chaos") => text("/input"),
        // As the scheduler names the occurrence.
        (true, _) => text("/metadata/occurrence")
            .and_then(|at| at.parse::<jiff::Timestamp>().ok())
            .zip(text("/metadata/task"))
            .map(|(at, task)| format!("{task}:{}", at.as_millisecond())),
    };
    let left = job.result.as_ref().or(job.checkpoint.as_ref());
    Row {
        id: job.id.clone(),
        is_run,
        item,
        stand: Stand {
            state: job.state,
            token: job.token,
            holder: job.holder.clone(),
            until_ms: job.until_ms,
            attempt: job.attempt,
            generation: job.generation,
            n_slices: job.n_slices,
            n_crashes: job.n_crashes,
            reason: job.reason_code.clone(),
            text: job.reason.clone(),
            left: left.map(|left| left.get().to_owned()),
        },
    }
}

/// The scheduler's tables: its tasks, as they stand at a time, and what became of their occurrences.
pub(super) async fn schedule(store: &dyn Store, now_ms: i64) -> Result<(Vec<Task>, Vec<Slot>)> {
    let plugin = PluginName::new("kodex-scheduler")?;
    let namespace = store.namespace(&plugin, Access::Read).await?;
    let read = async |text: &str| -> Result<Vec<Tree>> {
        let rows = namespace
            .run(&Statement::new(text), &Bounds::default())
            .await?;
        let record = |row: Vec<Value>| match row.into_iter().next() {
            Some(Value::Text(text)) => serde_json::from_str(&text).context("a record"),
            other => bail!("a record is {other:?}"),
        };
        rows.rows.into_iter().map(record).collect()
    };
    let number = |record: &Tree, at: &str| record.pointer(at).and_then(Tree::as_i64);
    let word =
        |record: &Tree, at: &str| record.pointer(at).and_then(Tree::as_str).map(str::to_owned);
    let mut tasks = Vec::new();
    for record in read("SELECT record FROM tasks ORDER BY id").await? {
        let fields = || {
            Some(Task {
                id: word(&record, "/id")?,
                anchor_ms: number(&record, "/cadence/rule/anchor_ms")?,
                every_ms: number(&record, "/cadence/rule/every_ms")?,
                next_ms: number(&record, "/next_run_at_ms")?,
                now_ms,
                is_strict: record["catch_up"] == json!("all"),
            })
        };
        tasks.push(fields().with_context(|| format!("a task: {record}"))?);
    }
    let mut slots = Vec::new();
    for record in read("SELECT record FROM runs ORDER BY id").await? {
        let fields = || {
            Some(Slot {
                id: word(&record, "/id")?,
                task: word(&record, "/task_id")?,
                at_ms: number(&record, "/scheduled_for_ms")?,
                state: word(&record, "/state")?,
                reason: word(&record, "/error"),
                run: word(&record, "/agent_run_id"),
            })
        };
        slots.push(fields().with_context(|| format!("an occurrence: {record}"))?);
    }
    Ok((tasks, slots))
}
