//! Taking due jobs.

use std::collections::{HashMap, HashSet};

use kodex_plugin::PluginName;
use rusqlite::{Connection, Statement, params};

use super::{
    Told, quiet,
    row::{COLUMNS, Malformed, bury, read},
    signed, unsigned,
};
use crate::{
    queue::{Claim, Claimed, Job, JobLease, JobState, N_TOGETHER, Priority, lease_of},
    sqlite::group::Outcome,
};

/// What is due, and what decides whether it may be taken: all from the index.
const WALK: &str = "SELECT seq, plugin, lane FROM jobs INDEXED BY jobs_pending
    WHERE state = 'pending' AND queue = ?1 AND rank = ?2 AND due_at_ms <= ?3
        AND (expires_at_ms IS NULL OR expires_at_ms > ?3)
    ORDER BY due_at_ms, id";
const LANE: &str = "SELECT 1 FROM jobs WHERE state = 'running' AND lane IS NOT NULL AND lane = ?1";
const N_RUNNING: &str = "SELECT count(*) FROM jobs WHERE state = 'running' AND plugin = ?1";
const TAKE: &str =
    "UPDATE jobs SET state = 'running', holder = ?2, until_ms = ?3, started_at_ms = ?4,
    attempt = attempt + 1, token = token + 1 WHERE seq = ?1";

/// A [`Claim`] that has its own texts, to go to a thread.
pub(super) struct Wish {
    queue: String,
    holder: String,
    n: usize,
    lease_ms: u64,
    caps: HashMap<String, usize>,
    plugins: Option<HashSet<String>>,
}

/// What was chosen so far, and why others were not.
struct Choice<'a> {
    db: &'a Connection,
    wish: &'a Wish,
    now_ms: i64,
    chosen: Vec<(i64, Result<Job, Malformed>)>,
    n_sound: usize,
    /// How many more of a capped plugin may run.
    left: HashMap<String, usize>,
    /// Lanes in which one is running or chosen.
    busy: HashSet<String>,
}

impl Wish {
    pub(super) fn new(claim: &Claim<'_>) -> Self {
        let name = |plugin: &PluginName| plugin.as_str().to_owned();
        Self {
            queue: claim.queue.to_owned(),
            holder: claim.holder.to_owned(),
            n: claim.n.min(N_TOGETHER),
            lease_ms: lease_of(claim.lease_ms),
            caps: claim
                .caps
                .iter()
                .map(|(plugin, cap)| (name(plugin), *cap))
                .collect(),
            plugins: claim
                .plugins
                .map(|plugins| plugins.iter().map(name).collect()),
        }
    }
}

/// See [`crate::Queue::claim`].
pub(super) fn take(db: &Connection, wish: &Wish, now_ms: i64) -> Outcome<Told<Vec<Claimed>>> {
    let mut choice = Choice {
        db,
        wish,
        now_ms,
        chosen: Vec::new(),
        n_sound: 0,
        left: HashMap::new(),
        busy: HashSet::new(),
    };
    for priority in Priority::ALL {
        choice.look(priority)?;
    }
    let mut claimed = Vec::with_capacity(choice.n_sound);
    let mut statement = db.prepare_cached(TAKE)?;
    for (seq, job) in choice.chosen {
        match job {
            Ok(job) => claimed.push(hold(&mut statement, wish, seq, job, now_ms)?),
            Err(problem) => bury(db, seq, &problem, now_ms)?,
        }
    }
    quiet(claimed)
}

fn hold(
    take: &mut Statement<'_>,
    wish: &Wish,
    seq: i64,
    mut job: Job,
    now_ms: i64,
) -> rusqlite::Result<Claimed> {
    let until_ms = now_ms.saturating_add(signed(wish.lease_ms));
    take.execute(params![seq, wish.holder, until_ms, now_ms])?;
    job.state = JobState::Running;
    job.attempt = job.attempt.saturating_add(1);
    job.token = job.token.saturating_add(1);
    job.started_at_ms = Some(unsigned(now_ms));
    job.until_ms = Some(unsigned(until_ms));
    job.holder = Some(wish.holder.clone());
    Ok(Claimed {
        lease: JobLease {
            id: job.id.clone(),
            token: job.token,
        },
        job,
        until_ms: unsigned(until_ms),
        lease_ms: wish.lease_ms,
    })
}

impl Choice<'_> {
    fn look(&mut self, priority: Priority) -> rusqlite::Result<()> {
        if self.n_sound >= self.wish.n {
            return Ok(());
        }
        let db = self.db;
        let mut walk = db.prepare_cached(WALK)?;
        let mut one = db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE seq = ?1"))?;
        let mut rows = walk.query(params![self.wish.queue, priority.rank(), self.now_ms])?;
        while self.n_sound < self.wish.n
            && self.chosen.len() < N_TOGETHER
            && let Some(row) = rows.next()?
        {
            let (plugin, lane) = (row.get_ref(1)?, row.get_ref(2)?);
            if self.is_in_the_way(plugin.as_str()?, lane.as_str_or_null()?)? {
                continue;
            }
            let seq = row.get(0)?;
            let job = one.query_row([seq], |row| Ok(read(row)))?;
            if let Ok(job) = &job {
                self.count(job);
            }
            self.chosen.push((seq, job));
        }
        Ok(())
    }

    /// Whether something speaks against taking a job that can be read. What cannot is taken, to be buried.
    fn is_in_the_way(&mut self, plugin: &str, lane: Option<&str>) -> rusqlite::Result<bool> {
        if let Some(plugins) = &self.wish.plugins
            && !plugins.contains(plugin)
        {
            return Ok(PluginName::lenient(plugin).is_ok());
        }
        Ok(self.left(plugin)? == Some(0) || self.is_busy(lane)?)
    }

    fn count(&mut self, job: &Job) {
        self.n_sound += 1;
        if let Some(left) = self.left.get_mut(job.plugin.as_str()) {
            *left -= 1;
        }
        if let Some(lane) = &job.lane {
            self.busy.insert(lane.clone());
        }
    }

    /// How many more jobs of a plugin may run; none for any number.
    fn left(&mut self, plugin: &str) -> rusqlite::Result<Option<usize>> {
        let Some(cap) = self.wish.caps.get(plugin) else {
            return Ok(None);
        };
        if let Some(left) = self.left.get(plugin) {
            return Ok(Some(*left));
        }
        let n_running: i64 = self
            .db
            .prepare_cached(N_RUNNING)?
            .query_row([plugin], |row| row.get(0))?;
        let n_running = usize::try_from(n_running).unwrap_or(usize::MAX);
        let left = cap.saturating_sub(n_running);
        self.left.insert(plugin.to_owned(), left);
        Ok(Some(left))
    }

    /// Whether one of a lane is running or was chosen.
    fn is_busy(&mut self, lane: Option<&str>) -> rusqlite::Result<bool> {
        let Some(lane) = lane else { return Ok(false) };
        if self.busy.contains(lane) {
            return Ok(true);
        }
        let is_running = self.db.prepare_cached(LANE)?.exists([lane])?;
        if is_running {
            self.busy.insert(lane.to_owned());
        }
        Ok(is_running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the engine does for a statement: operation, first and second operand.
    fn steps(db: &Connection, sql: &str) -> Vec<(String, i64, i64)> {
        let mut explain = db.prepare(&format!("EXPLAIN {sql}")).expect("compiles");
        let steps = explain
            .query_map(params![None::<i64>, None::<i64>, None::<i64>], |row| {
                Ok((row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .expect("explains");
        steps.collect::<Result<_, _>>().expect("explains")
    }

    #[test]
    fn no_constraint_costs_a_table_for_each_row() {
        let db = Connection::open_in_memory().expect("opens");
        db.execute_batch(super::super::TABLES)
            .expect("makes tables");
        let mut explain = db.prepare(&format!("EXPLAIN {TAKE}")).expect("compiles");
        let words = explain
            .query_map(params![1, "node", 2, 1], |row| row.get::<_, String>(1))
            .expect("explains");
        let words: Vec<_> = words.collect::<Result<_, _>>().expect("explains");
        assert!(words.contains(&"Insert".to_owned()), "{words:?}");
        assert!(!words.contains(&"OpenEphemeral".to_owned()), "{words:?}");
    }

    #[test]
    fn what_is_in_the_way_is_passed_over_without_its_row() {
        let db = Connection::open_in_memory().expect("opens");
        db.execute_batch(super::super::TABLES)
            .expect("makes tables");
        let table: i64 = db
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'",
                [],
                |row| row.get(0),
            )
            .expect("is there");
        let check = |sql: &str, reads_rows: bool| {
            let steps = steps(&db, sql);
            let cursor = steps
                .iter()
                .find(|(word, _, root)| word == "OpenRead" && *root == table)
                .map(|(_, cursor, _)| *cursor);
            let reads = steps
                .iter()
                .any(|(word, at, _)| word == "Column" && Some(*at) == cursor);
            assert_eq!(reads, reads_rows, "{sql}: {steps:?}");
        };
        check(WALK, false);
        check(&WALK.replace("plugin, lane", "plugin, name"), true);
    }
}
