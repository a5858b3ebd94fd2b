//! What a job leaves behind besides its result: lines, and the effects that it had.
//!
//! The beginning of a log, half of what is kept, is written once; behind it the newest lines push out the
//! oldest ones.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;

use super::{Told, end, quiet, signed, unsigned};
use crate::{
    StoreError,
    queue::{Effect, JobLease, LOG_BYTES, LogLine, LogStream, LoggedLine, check_effect, kept_line},
    sqlite::{group::Outcome, open::Conn},
};

const SIZES: &str =
    "SELECT n_lines, head_bytes, tail_bytes, tail_from FROM job_logs WHERE job = ?1";
const SAVE: &str =
    "INSERT OR REPLACE INTO job_logs (job, n_lines, head_bytes, tail_bytes, tail_from)
    VALUES (?1, ?2, ?3, ?4, ?5)";
const WRITE: &str =
    "INSERT INTO job_lines (job, number, at_ms, stream, text) VALUES (?1, ?2, ?3, ?4, ?5)";
const OLDEST: &str = "SELECT number, octet_length(text) FROM job_lines
    WHERE job = ?1 AND number >= ?2 ORDER BY number";
const DROP: &str = "DELETE FROM job_lines WHERE job = ?1 AND number >= ?2 AND number < ?3";
const LINES: &str = "SELECT number, at_ms, stream, text FROM job_lines
    WHERE job = (SELECT seq FROM jobs WHERE id = ?1) AND number > ?2 ORDER BY number LIMIT ?3";
const EFFECT: &str =
    "INSERT INTO job_effects (job, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const HAPPENED: &str = "SELECT value FROM job_effects WHERE job = ?1 AND key = ?2";

/// Most bytes in each half of a log.
const HALF: i64 = (LOG_BYTES / 2) as i64;

/// How much of a log there is.
#[derive(Default)]
struct Sizes {
    n_lines: i64,
    head_bytes: i64,
    tail_bytes: i64,
    /// The first line of the second half, dropped ones included.
    tail_from: Option<i64>,
}

/// See [`crate::Queue::log`].
pub(super) fn add(
    db: &Connection,
    lease: &JobLease,
    lines: &[LogLine],
    now_ms: i64,
) -> Outcome<Told<()>> {
    let Some(held) = end::held(db, lease, now_ms)? else {
        return quiet(());
    };
    let job = held.seq;
    let mut sizes = db
        .prepare_cached(SIZES)?
        .query_row([job], |row| {
            Ok(Sizes {
                n_lines: row.get(0)?,
                head_bytes: row.get(1)?,
                tail_bytes: row.get(2)?,
                tail_from: row.get(3)?,
            })
        })
        .optional()?
        .unwrap_or_default();
    let mut write = db.prepare_cached(WRITE)?;
    for line in lines {
        let text = kept_line(&line.text);
        sizes.n_lines += 1;
        sizes.grow(i64::try_from(text.len()).unwrap_or(i64::MAX));
        write.execute(params![
            job,
            sizes.n_lines,
            now_ms,
            line.stream.as_str(),
            text
        ])?;
    }
    if sizes.tail_bytes > HALF {
        sizes.cut(db, job)?;
    }
    db.prepare_cached(SAVE)?.execute(params![
        job,
        sizes.n_lines,
        sizes.head_bytes,
        sizes.tail_bytes,
        sizes.tail_from
    ])?;
    quiet(())
}

impl Sizes {
    /// Counts the line that was numbered last.
    fn grow(&mut self, bytes: i64) {
        if self.tail_from.is_none() && self.head_bytes + bytes <= HALF {
            self.head_bytes += bytes;
        } else {
            self.tail_from.get_or_insert(self.n_lines);
            self.tail_bytes += bytes;
        }
    }

    /// Drops the oldest lines of the second half until the rest fits.
    fn cut(&mut self, db: &Connection, job: i64) -> rusqlite::Result<()> {
        let Some(from) = self.tail_from else {
            return Ok(());
        };
        let mut kept_from = from;
        {
            let mut statement = db.prepare_cached(OLDEST)?;
            let mut rows = statement.query(params![job, from])?;
            while self.tail_bytes > HALF
                && let Some(row) = rows.next()?
            {
                kept_from = row.get::<_, i64>(0)? + 1;
                self.tail_bytes -= row.get::<_, i64>(1)?;
            }
        }
        db.prepare_cached(DROP)?
            .execute(params![job, from, kept_from])
            .map(|_| ())
    }
}

/// See [`crate::Queue::logs`].
pub(super) fn lines(
    conn: &Conn,
    id: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<LoggedLine>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.own(|db| {
        let mut statement = db.prepare_cached(LINES)?;
        let rows = statement.query_map(params![id, signed(after), limit], |row| {
            Ok(LoggedLine {
                number: unsigned(row.get(0)?),
                at_ms: unsigned(row.get(1)?),
                stream: LogStream::of(&row.get::<_, String>(2)?).unwrap_or(LogStream::Kodex),
                text: row.get(3)?,
            })
        })?;
        rows.collect()
    })
}

/// See [`crate::Queue::effect`].
pub(super) fn effect(
    db: &Connection,
    lease: &JobLease,
    key: &str,
    value: &RawValue,
    now_ms: i64,
) -> Outcome<Told<Effect>> {
    let Some(held) = end::held(db, lease, now_ms)? else {
        return quiet(Effect::Lost);
    };
    if check_effect(&super::owner(), key, value).is_err() {
        let plugin = end::plugin(db, lease, now_ms)?.unwrap_or_else(super::owner);
        if let Err(error) = check_effect(&plugin, key, value) {
            return Ok(Err(error));
        }
    }
    let n_new = db
        .prepare_cached(EFFECT)?
        .execute(params![held.seq, key, value.get()])?;
    if n_new == 1 {
        return quiet(Effect::First);
    }
    let first: String = db
        .prepare_cached(HAPPENED)?
        .query_row(params![held.seq, key], |row| row.get(0))?;
    match RawValue::from_string(first) {
        Ok(first) => quiet(Effect::Again(first)),
        Err(_) => Ok(Err(StoreError::Damaged {
            what: format!("the effect {key:?} of job {:?}", lease.id),
            problem: "its value is no JSON".to_owned(),
        })),
    }
}
