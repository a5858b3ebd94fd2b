//! What no holder does: jobs whose holder is gone or whose time is over, and jobs nobody needs any more.

use rusqlite::{Connection, params};

use super::{
    Told, bounded,
    end::{ASKED, finish, retry},
    row::{Cell, Malformed, bury},
    signed, told,
};
use crate::{
    queue::{
        ATTEMPTS_EXHAUSTED, CANCELLED, EXPIRED, JobState, LEASE_RAN_OUT, POISON, Recover, Recovered,
    },
    sqlite::group::Outcome,
};

const RAN_OUT: &str = "SELECT seq FROM jobs INDEXED BY jobs_running
    WHERE state = 'running' AND until_ms <= ?1 ORDER BY until_ms, seq LIMIT ?2";
const TOO_OLD: &str = "SELECT seq FROM jobs INDEXED BY jobs_expiry
    WHERE expires_at_ms <= ?1 AND state IN ('pending', 'blocked') ORDER BY expires_at_ms, seq LIMIT ?2";
const LOOK: &str = "SELECT id, queue, plugin, state = 'running', cancel, coalesce(expires_at_ms <= ?2, 0), n_crashes,
    attempt, max_attempts, lane IS NOT NULL FROM jobs WHERE seq = ?1";
const ENDED: &str = "SELECT seq FROM jobs INDEXED BY jobs_ended
    WHERE ended_at_ms <= ?1 AND state <> 'blocked' ORDER BY ended_at_ms LIMIT ?2";

/// A [`Recover`] that has its own numbers, to go to a thread.
pub(super) struct Rules {
    limit: i64,
    max_crashes: u32,
    pauses_ms: Vec<u64>,
}

struct Found {
    seq: i64,
    id: String,
    queue: String,
    plugin: kodex_plugin::PluginName,
    running: bool,
    cancel: bool,
    too_old: bool,
    /// The lease that just ran out included.
    n_crashes: u32,
    attempt: u32,
    max_attempts: u32,
    in_lane: bool,
}

/// What becomes of a job.
enum Fate {
    Ends(JobState, &'static str, String),
    GoesOn { after_ms: u64 },
}

impl Rules {
    pub(super) fn new(recover: &Recover<'_>) -> Self {
        Self {
            limit: bounded(recover.limit),
            max_crashes: recover.max_crashes,
            pauses_ms: recover.pauses_ms.to_vec(),
        }
    }

    fn fate(&self, found: &Found) -> Fate {
        let ends = |state, code, text: &str| Fate::Ends(state, code, text.to_owned());
        if found.cancel {
            return ends(JobState::Cancelled, CANCELLED, ASKED);
        }
        if found.too_old {
            return ends(JobState::Dead, EXPIRED, "it was not over in time");
        }
        let n_crashes = found.n_crashes;
        if n_crashes >= self.max_crashes {
            let text = format!("its lease ran out {n_crashes} times");
            return Fate::Ends(JobState::Dead, POISON, text);
        }
        if found.attempt >= found.max_attempts {
            let text = "its lease ran out in its last attempt";
            return ends(JobState::Dead, ATTEMPTS_EXHAUSTED, text);
        }
        let at = usize::try_from(n_crashes.saturating_sub(1)).unwrap_or(usize::MAX);
        let pause = self.pauses_ms.get(at).or(self.pauses_ms.last());
        Fate::GoesOn {
            after_ms: pause.copied().unwrap_or(0),
        }
    }

    /// Does to a job what is its fate; whether there may be something to claim after it.
    fn run(
        &self,
        db: &Connection,
        found: Found,
        now_ms: i64,
    ) -> rusqlite::Result<(Recovered, bool)> {
        let crashes = i64::from(found.running);
        let fate = self.fate(&found);
        let freed = found.running && found.in_lane;
        let (state, reason_code, hint) = match fate {
            Fate::Ends(state, code, text) => {
                finish(
                    db,
                    found.seq,
                    state,
                    Some((code, &text)),
                    None,
                    crashes,
                    now_ms,
                )?;
                (state, Some(code.to_owned()), freed)
            }
            Fate::GoesOn { after_ms } => {
                let due_at_ms = now_ms.saturating_add(signed(after_ms));
                let reason = (LEASE_RAN_OUT, "its lease ran out");
                retry(db, found.seq, due_at_ms, reason, crashes)?;
                (JobState::Pending, None, freed || after_ms == 0)
            }
        };
        let recovered = Recovered {
            id: found.id,
            queue: found.queue,
            plugin: found.plugin,
            state,
            reason_code,
        };
        Ok((recovered, hint))
    }
}

fn look(db: &Connection, seq: i64, now_ms: i64) -> rusqlite::Result<Result<Found, Malformed>> {
    db.prepare_cached(LOOK)?
        .query_row(params![seq, now_ms], |row| {
            let cell = Cell(row);
            let running: bool = row.get(3)?;
            let (cancel, too_old, in_lane) = (row.get(4)?, row.get(5)?, row.get(9)?);
            Ok((|| {
                Ok(Found {
                    seq,
                    id: cell.text(0, "id")?,
                    queue: cell.text(1, "queue")?,
                    plugin: cell.plugin(2)?,
                    running,
                    cancel,
                    too_old,
                    n_crashes: cell
                        .small(6, "n_crashes")?
                        .saturating_add(u32::from(running)),
                    attempt: cell.small(7, "attempt")?,
                    max_attempts: cell.small(8, "max_attempts")?,
                    in_lane,
                })
            })())
        })
}

fn rows(db: &Connection, sql: &str, at_ms: i64, limit: i64) -> rusqlite::Result<Vec<i64>> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(params![at_ms, limit], |row| row.get(0))?;
    rows.collect()
}

/// See [`crate::Queue::recover`].
pub(super) fn all(db: &Connection, rules: &Rules, now_ms: i64) -> Outcome<Told<Vec<Recovered>>> {
    let mut seqs = rows(db, RAN_OUT, now_ms, rules.limit)?;
    let left = rules.limit - i64::try_from(seqs.len()).unwrap_or(i64::MAX);
    if left > 0 {
        seqs.extend(rows(db, TOO_OLD, now_ms, left)?);
    }
    let mut all = Vec::with_capacity(seqs.len());
    let mut hint = false;
    for seq in seqs {
        match look(db, seq, now_ms)? {
            Ok(found) => {
                let (recovered, hints) = rules.run(db, found, now_ms)?;
                all.push(recovered);
                hint |= hints;
            }
            // Nobody can be told whose it was.
            Err(problem) => bury(db, seq, &problem, now_ms)?,
        }
    }
    told(all, hint)
}

/// See [`crate::Queue::prune`].
pub(super) fn prune(db: &Connection, ended_before_ms: u64, limit: usize) -> Outcome<Told<u64>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let seqs = rows(db, ENDED, signed(ended_before_ms), limit)?;
    for seq in &seqs {
        for sql in [
            "DELETE FROM job_lines WHERE job = ?1",
            "DELETE FROM job_logs WHERE job = ?1",
            "DELETE FROM job_effects WHERE job = ?1",
            "DELETE FROM jobs WHERE seq = ?1",
        ] {
            db.prepare_cached(sql)?.execute([seq])?;
        }
    }
    told(u64::try_from(seqs.len()).unwrap_or(u64::MAX), false)
}
