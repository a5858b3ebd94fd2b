//! Taking due jobs.

use std::collections::{HashMap, HashSet};

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
    /// Lanes in which one is running.
    busy: HashSet<String>,
}

impl Wish {
    pub(super) fn new(claim: &Claim<'_>) -> Self {
        let name = |plugin: &kodex_plugin::PluginName| plugin.as_str().to_owned();
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
        let mut statement = db.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM jobs INDEXED BY jobs_pending
             WHERE state = 'pending' AND queue = ?1 AND rank = ?2 AND due_at_ms <= ?3
                 AND (expires_at_ms IS NULL OR expires_at_ms > ?3)
             ORDER BY due_at_ms, id"
        ))?;
        let mut rows = statement.query(params![self.wish.queue, priority.rank(), self.now_ms])?;
        while self.n_sound < self.wish.n
            && self.chosen.len() < N_TOGETHER
            && let Some(row) = rows.next()?
        {
            let seq = row.get(0)?;
            match read(row) {
                Ok(job) => {
                    if self.may(&job)? {
                        self.n_sound += 1;
                        self.chosen.push((seq, Ok(job)));
                    }
                }
                Err(problem) => self.chosen.push((seq, Err(problem))),
            }
        }
        Ok(())
    }

    /// Whether nothing is in the way of a job. What says yes counts it.
    fn may(&mut self, job: &Job) -> rusqlite::Result<bool> {
        let plugin = job.plugin.as_str();
        if let Some(plugins) = &self.wish.plugins
            && !plugins.contains(plugin)
        {
            return Ok(false);
        }
        let left = self.left(plugin)?;
        if left == Some(0) || !self.enter(job.lane.as_deref())? {
            return Ok(false);
        }
        if let Some(left) = left {
            self.left.insert(plugin.to_owned(), left - 1);
        }
        Ok(true)
    }

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

    /// Whether a lane is free; from now on it is not.
    fn enter(&mut self, lane: Option<&str>) -> rusqlite::Result<bool> {
        let Some(lane) = lane else { return Ok(true) };
        if !self.busy.insert(lane.to_owned()) {
            return Ok(false);
        }
        Ok(!self.db.prepare_cached(LANE)?.exists([lane])?)
    }
}
