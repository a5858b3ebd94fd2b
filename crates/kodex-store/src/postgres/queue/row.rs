//! From rows to jobs: what a row must hold to be one.

use kodex_plugin::PluginName;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use crate::{
    StoreError,
    queue::{Job, JobState, Priority},
};

/// Longest time that the table holds: sums of a few of them and the time still fit a column.
const FAR_MS: u64 = 1 << 61;

/// What is wrong with a row that no Kodex wrote: the column. Holds no value of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(&'static str);

impl Malformed {
    /// For people.
    pub(super) fn reason(self) -> String {
        format!("its {} cannot be read", self.0)
    }

    pub(super) fn into_error(self, id: &str) -> StoreError {
        StoreError::Damaged {
            what: format!("job {id:?}"),
            problem: self.reason(),
        }
    }
}

/// Reads the columns of [`super::tables::COLUMNS`].
pub(super) fn job(row: &Row) -> Result<Job, Malformed> {
    Ok(Job {
        id: row.get(0),
        queue: row.get(1),
        plugin: plugin(row, 2)?,
        name: row.get(3),
        lane: row.get(4),
        unique_key: row.get(5),
        priority: Priority::of_rank(row.get(6)).ok_or(Malformed("priority"))?,
        state: JobState::of(row.get(7)).ok_or(Malformed("state"))?,
        payload: json(row, 8, "payload")?.ok_or(Malformed("payload"))?,
        checkpoint: json(row, 9, "checkpoint")?,
        result: json(row, 10, "result")?,
        reason_code: row.get(11),
        reason: row.get(12),
        added_at_ms: number(row, 13, "added_at_ms")?,
        due_at_ms: number(row, 14, "due_at_ms")?,
        expires_at_ms: time(row, 15),
        started_at_ms: time(row, 16),
        ended_at_ms: time(row, 17),
        attempt: small(row, 18, "attempt")?,
        max_attempts: small(row, 19, "max_attempts")?,
        n_crashes: small(row, 20, "n_crashes")?,
        n_slices: small(row, 21, "n_slices")?,
        generation: small(row, 22, "generation")?,
        token: number(row, 23, "token")?,
        holder: row.get(24),
        until_ms: time(row, 25),
        cancel: row.get(26),
    })
}

pub(super) fn plugin(row: &Row, at: usize) -> Result<PluginName, Malformed> {
    PluginName::lenient(row.get::<_, String>(at)).map_err(|_| Malformed("plugin"))
}

fn json(row: &Row, at: usize, column: &'static str) -> Result<Option<Box<RawValue>>, Malformed> {
    let text: Option<String> = row.get(at);
    let json = text.map(RawValue::from_string).transpose();
    json.map_err(|_| Malformed(column))
}

fn number(row: &Row, at: usize, column: &'static str) -> Result<u64, Malformed> {
    u64::try_from(row.get::<_, i64>(at)).map_err(|_| Malformed(column))
}

fn small(row: &Row, at: usize, column: &'static str) -> Result<u32, Malformed> {
    u32::try_from(row.get::<_, i64>(at)).map_err(|_| Malformed(column))
}

fn time(row: &Row, at: usize) -> Option<u64> {
    row.get::<_, Option<i64>>(at).map(natural)
}

/// Numbers below zero are in no row of ours.
pub(super) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A time or a length of time for the table.
pub(super) fn ms(number: u64) -> i64 {
    i64::try_from(number.min(FAR_MS)).unwrap_or(i64::MAX)
}

pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A token that was never given is none of any job.
pub(super) fn token(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(-1)
}

/// Postgres has no NUL in a text, so no row has this id.
pub(super) fn is_nowhere(text: &str) -> bool {
    text.contains('\0')
}
