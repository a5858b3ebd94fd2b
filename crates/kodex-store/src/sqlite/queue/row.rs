//! A row of the table of jobs, and what becomes of one that nobody can read.

use kodex_plugin::PluginName;
use rusqlite::{Connection, Row, params};
use serde_json::value::RawValue;

use super::unsigned;
use crate::queue::{Job, JobState, MALFORMED, Priority};

/// The columns that [`read`] needs, in its order. The number of the row comes first.
pub(super) const COLUMNS: &str = "seq, id, queue, plugin, name, lane, unique_key, rank, state, added_at_ms, due_at_ms,
    expires_at_ms, started_at_ms, ended_at_ms, attempt, max_attempts, n_crashes, n_slices, generation, token, until_ms,
    cancel, holder, reason_code, reason, payload, checkpoint, result";

const BURY: &str = "UPDATE jobs SET state = 'dead', living = NULL, ended_at_ms = ?2, reason_code = ?3, reason = ?4,
    holder = NULL, until_ms = NULL, cancel = 0 WHERE seq = ?1";

/// What is wrong with a row. Holds no value of it.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) &'static str);

/// A job from the columns of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> Result<Job, Malformed> {
    let cell = Cell(row);
    Ok(Job {
        id: cell.text(1, "id")?,
        queue: cell.text(2, "queue")?,
        plugin: cell.plugin(3)?,
        name: cell.text(4, "name")?,
        lane: cell.text_or_none(5, "lane")?,
        unique_key: cell.text_or_none(6, "unique_key")?,
        priority: i16::try_from(cell.number(7, "rank")?)
            .ok()
            .and_then(Priority::of_rank)
            .ok_or(Malformed("rank"))?,
        state: JobState::of(&cell.text(8, "state")?).ok_or(Malformed("state"))?,
        added_at_ms: cell.number(9, "added_at_ms")?,
        due_at_ms: cell.number(10, "due_at_ms")?,
        expires_at_ms: cell.number_or_none(11, "expires_at_ms")?,
        started_at_ms: cell.number_or_none(12, "started_at_ms")?,
        ended_at_ms: cell.number_or_none(13, "ended_at_ms")?,
        attempt: cell.small(14, "attempt")?,
        max_attempts: cell.small(15, "max_attempts")?,
        n_crashes: cell.small(16, "n_crashes")?,
        n_slices: cell.small(17, "n_slices")?,
        generation: cell.small(18, "generation")?,
        token: cell.number(19, "token")?,
        until_ms: cell.number_or_none(20, "until_ms")?,
        cancel: cell.number(21, "cancel")? != 0,
        holder: cell.text_or_none(22, "holder")?,
        reason_code: cell.text_or_none(23, "reason_code")?,
        reason: cell.text_or_none(24, "reason")?,
        payload: cell
            .json_or_none(25, "payload")?
            .ok_or(Malformed("payload"))?,
        checkpoint: cell.json_or_none(26, "checkpoint")?,
        result: cell.json_or_none(27, "result")?,
    })
}

/// Ends a row that cannot be read, and leaves what stands in it.
pub(super) fn bury(
    db: &Connection,
    seq: i64,
    problem: &Malformed,
    now_ms: i64,
) -> rusqlite::Result<()> {
    tracing::warn!(job = seq, column = problem.0, "a job cannot be read");
    let reason = format!("its {} cannot be read", problem.0);
    db.prepare_cached(BURY)?
        .execute(params![seq, now_ms, MALFORMED, reason])
        .map(|_| ())
}

/// A row whose columns may hold anything.
pub(super) struct Cell<'a, 'b>(pub(super) &'a Row<'b>);

impl Cell<'_, '_> {
    pub(super) fn text(&self, at: usize, column: &'static str) -> Result<String, Malformed> {
        self.0.get(at).map_err(|_| Malformed(column))
    }

    pub(super) fn plugin(&self, at: usize) -> Result<PluginName, Malformed> {
        PluginName::lenient(self.text(at, "plugin")?).map_err(|_| Malformed("plugin"))
    }

    pub(super) fn number(&self, at: usize, column: &'static str) -> Result<u64, Malformed> {
        let number: i64 = self.0.get(at).map_err(|_| Malformed(column))?;
        u64::try_from(number).map_err(|_| Malformed(column))
    }

    pub(super) fn number_or_none(
        &self,
        at: usize,
        column: &'static str,
    ) -> Result<Option<u64>, Malformed> {
        let number: Option<i64> = self.0.get(at).map_err(|_| Malformed(column))?;
        Ok(number.map(unsigned))
    }

    fn text_or_none(&self, at: usize, column: &'static str) -> Result<Option<String>, Malformed> {
        self.0.get(at).map_err(|_| Malformed(column))
    }

    pub(super) fn small(&self, at: usize, column: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.number(at, column)?).map_err(|_| Malformed(column))
    }

    fn json_or_none(
        &self,
        at: usize,
        column: &'static str,
    ) -> Result<Option<Box<RawValue>>, Malformed> {
        self.text_or_none(at, column)?
            .map(|text| RawValue::from_string(text).map_err(|_| Malformed(column)))
            .transpose()
    }
}
