//! One statement of a plugin on one connection, and its answer within bounds.
//!
//! The timer is here and not in the server: a plugin can undo `statement_timeout` from inside a
//! statement. When it rings, the statement is cancelled in the server and the connection is used again
//! only if the server said so in time.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    time::Duration,
};

use futures_core::Stream as _;
use kodex_plugin::PluginName;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Error, Row, RowStream, Statement as Prepared, types::Type};

use super::{
    error,
    param::Param,
    pool::{GRACE, Line, Stop, cancel},
    value::{self, Raw},
    verb::Outline,
};
use crate::{Bounds, Column, Engine, Rows, Statement, StoreError, Value, statement::Bound};

/// What is left of an answer that is too long is read away up to this many rows, because a server that is
/// nearly done is not worth a cancel.
const N_SPARE: usize = 2_000;

/// The first two are for the session, because the transaction forbids changes; the last takes the snapshot.
const SLOWLY: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                      BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";

/// A plugin's statement, read.
pub(super) struct Request<'a> {
    pub(super) plugin: &'a PluginName,
    pub(super) bound: Bound<'a>,
    pub(super) bounds: &'a Bounds,
    pub(super) deadline: Instant,
    started_at: Instant,
}

impl<'a> Request<'a> {
    pub(super) fn read(
        plugin: &'a PluginName,
        statement: &'a Statement,
        bounds: &'a Bounds,
    ) -> Result<Self, StoreError> {
        let refused = |problem| StoreError::BadStatement {
            plugin: plugin.clone(),
            problem,
            position: None,
        };
        let bytes = statement.text().len();
        if bytes > bounds.text_bytes {
            let most = bounds.text_bytes;
            return Err(refused(format!(
                "the statement has {bytes} bytes; at most {most} are allowed"
            )));
        }
        let bound = statement
            .bind(Engine::Postgres)
            .map_err(|mistake| mistake.of(plugin))?;
        if Outline::of(&bound.text).is_transaction() {
            let action =
                "begin or end a transaction by a statement; use the transaction's own calls"
                    .to_owned();
            return Err(StoreError::Refused {
                plugin: plugin.clone(),
                action,
            });
        }
        let started_at = Instant::now();
        Ok(Self {
            plugin,
            bound,
            bounds,
            deadline: deadline(bounds),
            started_at,
        })
    }

    pub(super) fn outline(&self) -> Outline<'_> {
        Outline::of(&self.bound.text)
    }

    pub(super) fn timeout(&self) -> StoreError {
        timed_out(self.plugin, self.started_at.elapsed())
    }

    /// Whether the server began a copy, which the driver does not expect.
    fn is_copy(&self, error: &Error) -> bool {
        let is_answer = error.as_db_error().is_some() || error.is_closed();
        !is_answer && self.outline().first.eq_ignore_ascii_case("copy")
    }

    pub(super) fn failed(&self, failure: Failure) -> StoreError {
        let plugin = self.plugin.clone();
        match failure {
            Failure::Server(error) if self.is_copy(&error) => StoreError::BadStatement {
                plugin,
                problem: "rows cannot be copied from or to the client; insert or select them"
                    .to_owned(),
                position: None,
            },
            Failure::Server(error) => match error::plugin(self.plugin, &error, Some(&self.bound)) {
                StoreError::Timeout { .. } => self.timeout(),
                other => other,
            },
            Failure::Rows => StoreError::TooManyRows {
                plugin,
                limit: self.bounds.n_rows,
            },
            Failure::Bytes => StoreError::TooManyBytes {
                plugin,
                limit: self.bounds.bytes,
            },
            Failure::Formless(column, kind) => StoreError::BadStatement {
                plugin,
                problem: format!(
                    "the column {column:?} has the type {kind}, which has no form in an answer; cast it to text in the statement"
                ),
                position: None,
            },
            Failure::Unread(problem) => {
                StoreError::Internal(format!("reading an answer: {problem}"))
            }
        }
    }
}

/// When a statement has to be over.
pub(super) fn deadline(bounds: &Bounds) -> Instant {
    let deadline = Instant::now() + bounds.timeout;
    bounds
        .until
        .map_or(deadline, |until| deadline.min(Instant::from_std(until)))
}

pub(super) fn timed_out(plugin: &PluginName, after: Duration) -> StoreError {
    StoreError::Timeout {
        plugin: plugin.clone(),
        after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
    }
}

/// What stopped an answer.
pub(super) enum Failure {
    Server(Error),
    Rows,
    Bytes,
    /// A column of a type that has no form here and cannot be asked for as text.
    Formless(String, String),
    Unread(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

/// What goes ahead of a statement, at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Nothing.
    Nothing,
    /// Cleaning the session.
    Clean,
    /// The same, and a transaction.
    Begin,
    /// The same, for a result that is read slowly and changes nothing.
    Slowly,
}

impl Ahead {
    pub(super) async fn send(self, line: &Line) -> Result<(), Error> {
        match self {
            Self::Nothing => Ok(()),
            Self::Clean => line.clean().await,
            Self::Begin => {
                let (clean, begin) = tokio::join!(line.clean(), line.batch_execute("BEGIN"));
                clean.and(begin)
            }
            Self::Slowly => {
                let (clean, slow) = tokio::join!(line.clean(), line.batch_execute(SLOWLY));
                clean.and(slow)
            }
        }
    }
}

/// Runs a statement and reads its whole answer. After an error `line.spoiled` says whether the connection
/// is of any more use.
pub(super) async fn run(
    line: &mut Line,
    request: &Request<'_>,
    ahead: Ahead,
) -> Result<Rows, StoreError> {
    line.in_flight = true;
    line.open |= ahead == Ahead::Begin;
    let stop = line.stop();
    let (done, in_time) = {
        let line = &*line;
        let mut work = pin!(async {
            let (sent, opened) = tokio::join!(ahead.send(line), open(line, request));
            sent?;
            collect(opened?, request, &stop).await
        });
        tokio::select! {
            done = &mut work => (Some(done), true),
            () = tokio::time::sleep_until(request.deadline) => {
                cancel(&stop).await;
                (timeout(GRACE, work).await.ok(), false)
            }
        }
    };
    finish(line, request, done, in_time)
}

fn finish(
    line: &mut Line,
    request: &Request<'_>,
    done: Option<Result<(Rows, Sync), Failure>>,
    in_time: bool,
) -> Result<Rows, StoreError> {
    let (answer, sync) = match done {
        // Still running: whoever drops the line gives the connection up.
        None => return Err(request.timeout()),
        Some(Ok((rows, sync))) => (Ok(rows), sync),
        Some(Err(Failure::Server(error))) => {
            let sync = match error.as_db_error() {
                Some(_) if in_time || is_cancelled(&error) => Sync::Kept,
                _ => Sync::Lost,
            };
            (Err(Failure::Server(error)), sync)
        }
        Some(Err(failure)) => (Err(failure), Sync::Kept),
    };
    line.in_flight = false;
    // A cancel that came too late for its statement would hit the next one.
    line.spoiled |= sync == Sync::Lost || (!in_time && answer.is_ok());
    if in_time {
        answer.map_err(|failure| request.failed(failure))
    } else {
        Err(request.timeout())
    }
}

pub(super) fn is_cancelled(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code() == "57014")
}

/// Whether client and server agree on where they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Kept,
    Lost,
}

/// An answer that has begun.
pub(super) struct Opened {
    pub(super) columns: Vec<Column>,
    kinds: Vec<Type>,
    stream: Pin<Box<RowStream>>,
}

/// Sends the statement and waits until its answer begins.
async fn open(line: &Line, request: &Request<'_>) -> Result<Opened, Failure> {
    match prepare(line, &request.bound.text).await? {
        Some(ready) => ready.open(line, &request.bound.values).await,
        None => unprepared(line, &request.bound.text, &request.bound.values).await,
    }
}

/// A statement that the server knows.
pub(super) struct Ready {
    prepared: Prepared,
    columns: Vec<Column>,
}

/// Lets the server read a statement; none where nothing is prepared.
pub(super) async fn prepare(line: &Line, text: &str) -> Result<Option<Ready>, Failure> {
    if !line.prepares() {
        return Ok(None);
    }
    line.trim();
    let prepared = line.prepare_cached(text).await?;
    let original = columns(&prepared);
    let is_known = original.iter().all(|(_, kind)| value::is_known(kind));
    let prepared = if is_known {
        prepared
    } else {
        as_text(line, text, &prepared).await?
    };
    let column = |(name, kind): (String, Type)| Column {
        name,
        kind: value::name(&kind),
    };
    let columns = original.into_iter().map(column).collect();
    Ok(Some(Ready { prepared, columns }))
}

impl Ready {
    pub(super) async fn open(self, line: &Line, values: &[&Value]) -> Result<Opened, Failure> {
        let params: Vec<_> = values.iter().map(|value| Param(value)).collect();
        let stream = line.query_raw(&self.prepared, params).await?;
        let kinds = self.prepared.columns().iter();
        Ok(Opened {
            kinds: kinds.map(|column| column.type_().clone()).collect(),
            columns: self.columns,
            stream: Box::pin(stream),
        })
    }
}

/// Sends a statement that was not prepared.
pub(super) async fn unprepared(
    line: &Line,
    text: &str,
    values: &[&Value],
) -> Result<Opened, Failure> {
    let params = values.iter().map(|value| (Param(value), Type::UNKNOWN));
    let stream = line.query_typed_raw(text, params).await?;
    Ok(Opened {
        columns: Vec::new(),
        kinds: Vec::new(),
        stream: Box::pin(stream),
    })
}

fn columns(prepared: &Prepared) -> Vec<(String, Type)> {
    let columns = prepared.columns().iter();
    columns
        .map(|column| (column.name().to_owned(), column.type_().clone()))
        .collect()
}

/// The same statement with the columns that have no form here as text.
async fn as_text(line: &Line, text: &str, prepared: &Prepared) -> Result<Prepared, Failure> {
    use std::fmt::Write as _;
    let mut names = String::new();
    let mut outputs = String::new();
    let mut formless = None;
    for (index, (name, kind)) in columns(prepared).into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let cast = if value::is_known(&kind) { "" } else { "::text" };
        let _ = write!(names, "{comma}c{index}");
        let _ = write!(outputs, "{comma}c{index}{cast}");
        if !cast.is_empty() {
            formless.get_or_insert((name, value::name(&kind)));
        }
    }
    let body = Outline::of(text).body;
    let text =
        format!("WITH kodex_answer ({names}) AS (\n{body}\n) SELECT {outputs} FROM kodex_answer");
    match line.prepare_cached(&text).await {
        Ok(prepared) => Ok(prepared),
        // A form of statement that cannot stand there, or a type that has no text.
        Err(error) if error.as_db_error().is_some() => {
            let (column, kind) = formless.unwrap_or_default();
            Err(Failure::Formless(column, kind))
        }
        Err(error) => Err(error.into()),
    }
}

impl Opened {
    pub(super) async fn next(&mut self) -> Result<Option<Row>, Error> {
        poll_fn(|context| self.stream.as_mut().poll_next(context))
            .await
            .transpose()
    }

    /// The values of a row.
    pub(super) fn read(&mut self, row: &Row) -> Result<Vec<Value>, Failure> {
        if self.kinds.is_empty() {
            self.learn(row)?;
        }
        let values = self.kinds.iter().enumerate().map(|(index, kind)| {
            let Raw(raw) = row.try_get(index)?;
            value::read(kind, raw).map_err(|fault| Failure::Unread(fault.to_string()))
        });
        values.collect()
    }

    /// Without a prepared statement the first row says what its columns are.
    fn learn(&mut self, row: &Row) -> Result<(), Failure> {
        for column in row.columns() {
            let kind = column.type_();
            if !value::is_known(kind) {
                return Err(Failure::Formless(
                    column.name().to_owned(),
                    value::name(kind),
                ));
            }
            self.kinds.push(kind.clone());
            self.columns.push(Column {
                name: column.name().to_owned(),
                kind: value::name(kind),
            });
        }
        Ok(())
    }
}

async fn collect(
    mut opened: Opened,
    request: &Request<'_>,
    stop: &Stop,
) -> Result<(Rows, Sync), Failure> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    let failure = loop {
        let Some(row) = opened.next().await? else {
            let changes = opened.columns.is_empty() || request.outline().changes();
            let n_changed = opened
                .stream
                .rows_affected()
                .filter(|_| changes)
                .unwrap_or(0);
            return Ok((
                Rows {
                    columns: opened.columns,
                    rows,
                    n_changed,
                },
                Sync::Kept,
            ));
        };
        if rows.len() == request.bounds.n_rows {
            break Failure::Rows;
        }
        if row.raw_size_bytes() > request.bounds.bytes.saturating_add(row.len() * 4) {
            break Failure::Bytes;
        }
        match opened.read(&row) {
            Ok(values) => {
                bytes += values.iter().map(Value::size).sum::<usize>();
                if bytes > request.bounds.bytes {
                    break Failure::Bytes;
                }
                rows.push(values);
            }
            Err(failure) => break failure,
        }
    };
    drain(&mut opened, stop).await?;
    Err(failure)
}

/// Reads the rest of an answer away, so that the connection can go on; a long rest is cancelled.
async fn drain(opened: &mut Opened, stop: &Stop) -> Result<(), Failure> {
    for _ in 0..N_SPARE {
        if opened.next().await?.is_none() {
            return Ok(());
        }
    }
    cancel(stop).await;
    loop {
        match opened.next().await {
            Ok(Some(_)) => {}
            Err(error) if is_cancelled(&error) => return Ok(()),
            // It ended before the cancel came; where that arrives now nobody knows.
            Ok(None) => {
                return Err(Failure::Unread(
                    "an answer ended while it was cancelled".to_owned(),
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
