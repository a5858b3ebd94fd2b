//! What a running job leaves behind: lines of its log, and effects that have happened.
//!
//! A log keeps its beginning and its end. Each line knows how many bytes came before it, so which lines
//! are dropped follows from the sum alone.

use serde_json::value::RawValue;

use super::{PgQueue, is_interference, look, row, tables::TIME};
use crate::{
    StoreError,
    postgres::{
        error,
        pool::{Arg, Line, Trouble},
    },
    queue::{
        Effect, JobLease, LOG_BYTES, LogLine, LogStream, LoggedLine, N_TOGETHER, check_effect,
        kept_line,
    },
};

pub(super) struct Texts {
    effect: String,
    counter: String,
}

/// The lease is held, and nobody ends the job before this transaction is over.
const HELD: &str = "h AS (SELECT 1 FROM kodex.jobs j, t
     WHERE j.id = $2 AND j.token = $3 AND j.state = 'running' AND j.until_ms > t.now FOR SHARE OF j)";
/// Most bytes in each half of a log.
const HALF: i64 = (LOG_BYTES / 2) as i64;
const LINES: &str = "
    INSERT INTO kodex.job_lines (job_id, number, at_ms, stream, begins_at, text)
    SELECT $1, l.number, $2, l.stream, l.begins_at, l.text
    FROM unnest($3::bigint[], $4::text[], $5::bigint[], $6::text[]) AS l (number, stream, begins_at, text)";
/// From the first line of the second half up to the first that stays.
const DROP: &str = "
    DELETE FROM kodex.job_lines WHERE job_id = $1 AND number >= $2 AND number < coalesce(
        (SELECT number FROM kodex.job_lines WHERE job_id = $1 AND number >= $2 AND begins_at >= $3
         ORDER BY number LIMIT 1), $4)";
const TAIL: &str = "UPDATE kodex.job_logs SET tail_from = $2 WHERE job_id = $1";
const READ: &str = "
    SELECT number, at_ms, stream, text FROM kodex.job_lines
    WHERE job_id = $1 AND number > $2 ORDER BY number LIMIT $3";

impl Texts {
    pub(super) fn new() -> Self {
        Self {
            // Parameters: now, job, token, key, value.
            effect: format!(
                "WITH {TIME}, {HELD},
                 i AS (INSERT INTO kodex.job_effects (job_id, key, value) SELECT $2, $4, $5 FROM h
                       ON CONFLICT DO NOTHING RETURNING 1)
                 SELECT EXISTS (SELECT 1 FROM h), EXISTS (SELECT 1 FROM i),
                        (SELECT value FROM kodex.job_effects WHERE job_id = $2 AND key = $4)"
            ),
            // Parameters: now, job, token, lines, bytes. What was there before the new lines.
            counter: format!(
                "WITH {TIME}, {HELD}
                 INSERT INTO kodex.job_logs AS c (job_id, n_lines, n_bytes)
                 SELECT $2, $4::bigint, $5::bigint FROM h
                 ON CONFLICT (job_id) DO UPDATE SET n_lines = c.n_lines + $4, n_bytes = c.n_bytes + $5
                 RETURNING n_lines - $4, n_bytes - $5, tail_from, (SELECT now FROM t)"
            ),
        }
    }
}

pub(super) async fn effect(
    queue: &PgQueue,
    lease: &JobLease,
    key: &str,
    value: &RawValue,
) -> Result<Effect, StoreError> {
    if row::is_nowhere(&lease.id)
        || !look::fits(queue, lease, &|plugin| check_effect(plugin, key, value)).await?
    {
        return Ok(Effect::Lost);
    }
    for _ in 0..super::N_TRIES {
        let args = [
            queue.now(),
            Arg::Text(&lease.id),
            Arg::Number(row::token(lease.token)),
            Arg::Text(key),
            Arg::Text(value.get()),
        ];
        let rows = queue
            .rows(&queue.texts.log.effect, &args, "remembering an effect")
            .await?;
        let Some(row) = rows.first() else { break };
        if !row.get::<_, bool>(0) {
            return Ok(Effect::Lost);
        }
        if row.get(1) {
            return Ok(Effect::First);
        }
        // None when another call of the same holder wrote it after this one's first look.
        if let Some(value) = row.get::<_, Option<String>>(2) {
            let value = RawValue::from_string(value).map_err(|_| StoreError::Damaged {
                what: format!("an effect of job {:?}", lease.id),
                problem: "its value is no JSON".to_owned(),
            })?;
            return Ok(Effect::Again(value));
        }
    }
    Err(StoreError::Busy {
        what: format!("an effect of job {:?}", lease.id),
    })
}

pub(super) async fn log(
    queue: &PgQueue,
    lease: &JobLease,
    lines: &[LogLine],
) -> Result<(), StoreError> {
    if row::is_nowhere(&lease.id) || lines.is_empty() {
        return Ok(());
    }
    for lines in lines.chunks(N_TOGETHER) {
        let mut n_tries = 0;
        loop {
            let mut line = queue.line().await?;
            let done = write(queue, &mut line, lease, lines).await;
            drop(line);
            match done {
                Ok(()) => break,
                Err(trouble) if n_tries < super::N_TRIES && is_interference(trouble.code()) => {
                    n_tries += 1;
                }
                Err(trouble) => {
                    return Err(error::own(queue.inner.place(), trouble, "writing a log"));
                }
            }
        }
    }
    Ok(())
}

async fn write(
    queue: &PgQueue,
    line: &mut Line,
    lease: &JobLease,
    lines: &[LogLine],
) -> Result<(), Trouble> {
    let texts: Vec<_> = lines.iter().map(|line| kept_line(&line.text)).collect();
    let n_bytes = row::count(texts.iter().map(|text| text.len()).sum());
    line.begin().await?;
    let args = [
        queue.now(),
        Arg::Text(&lease.id),
        Arg::Number(row::token(lease.token)),
        Arg::Number(row::count(lines.len())),
        Arg::Number(n_bytes),
    ];
    let rows = line.rows(&queue.texts.log.counter, &args).await?;
    if let Some(before) = rows.first() {
        let texts = lines.iter().map(|line| line.stream.as_str()).zip(&texts);
        let mut kept = Kept::new(before.get(0), before.get(1), n_bytes, before.get(2));
        texts.for_each(|(stream, text)| kept.take(stream, text));
        kept.save(line, &lease.id, before.get(3)).await?;
    }
    line.commit().await
}

/// Which of the new lines stay, and which of the old ones go.
struct Kept<'a> {
    /// The number and the first byte of the next line.
    next: (i64, i64),
    /// Where the first line of the second half is that stays.
    keeps_from: i64,
    /// The first line of the second half, dropped ones included; whether it is among the new ones.
    tail_from: Option<i64>,
    tail_is_new: bool,
    /// The first of the new lines.
    first: i64,
    numbers: Vec<i64>,
    streams: Vec<&'static str>,
    begins: Vec<i64>,
    texts: Vec<&'a str>,
}

impl<'a> Kept<'a> {
    fn new(n_lines: i64, at: i64, n_bytes: i64, tail_from: Option<i64>) -> Self {
        Self {
            next: (n_lines + 1, at),
            keeps_from: at + n_bytes - HALF,
            tail_from,
            tail_is_new: false,
            first: n_lines + 1,
            numbers: Vec::new(),
            streams: Vec::new(),
            begins: Vec::new(),
            texts: Vec::new(),
        }
    }

    fn take(&mut self, stream: &'static str, text: &'a str) {
        let (number, begins_at) = self.next;
        let ends_at = begins_at + row::count(text.len());
        self.next = (number + 1, ends_at);
        if self.tail_from.is_none() && ends_at > HALF {
            self.tail_from = Some(number);
            self.tail_is_new = true;
        }
        if self.tail_from.is_some() && begins_at < self.keeps_from {
            return;
        }
        self.numbers.push(number);
        self.streams.push(stream);
        self.begins.push(begins_at);
        self.texts.push(text);
    }

    async fn save(&self, line: &mut Line, id: &str, now: i64) -> Result<(), Trouble> {
        let id = Arg::Text(id);
        if let Some(from) = self.tail_from {
            let from = Arg::Number(from);
            if self.tail_is_new {
                line.rows(TAIL, &[id, from]).await?;
            } else {
                let (keeps, first) = (Arg::Number(self.keeps_from), Arg::Number(self.first));
                line.rows(DROP, &[id, from, keeps, first]).await?;
            }
        }
        let args = [
            id,
            Arg::Number(now),
            Arg::Numbers(&self.numbers),
            Arg::Texts(&self.streams),
            Arg::Numbers(&self.begins),
            Arg::Texts(&self.texts),
        ];
        line.rows(LINES, &args).await.map(drop)
    }
}

pub(super) async fn logs(
    queue: &PgQueue,
    id: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<LoggedLine>, StoreError> {
    if row::is_nowhere(id) {
        return Ok(Vec::new());
    }
    let args = [
        Arg::Text(id),
        Arg::Number(i64::try_from(after).unwrap_or(i64::MAX)),
        Arg::Number(row::count(limit)),
    ];
    let rows = queue.rows(READ, &args, "reading a log").await?;
    let line = |row: &tokio_postgres::Row| {
        Some(LoggedLine {
            number: row::natural(row.get(0)),
            at_ms: row::natural(row.get(1)),
            stream: LogStream::of(row.get(2))?,
            text: row.get(3),
        })
    };
    Ok(rows.iter().filter_map(line).collect())
}
