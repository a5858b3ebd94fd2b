//! A large result, read in pages.
//!
//! It has a connection of its own, on which the server sends until the connection's buffers are full and
//! goes on as pages are taken. The statement keeps its snapshot for as long.

use kodex_plugin::PluginName;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;

use super::{
    Inner,
    answer::{
        Ahead, Failure, Opened, Ready, Request, deadline, is_cancelled, prepare, timed_out,
        unprepared,
    },
    error,
    hold::Hold,
    pool::Line,
};
use crate::{Bounds, Column, Cursor, Rows, StoreError, Value, Work};

/// A result that is open.
pub(super) struct PgCursor {
    plugin: PluginName,
    hold: Hold<Reading>,
}

/// Where reading is.
struct Reading {
    line: Line,
    stage: Stage,
    /// A row that had no room on the last page.
    held: Option<Row>,
}

enum Stage {
    /// The server has read the statement and runs it with the first page.
    Ready {
        ready: Option<Ready>,
        text: String,
        values: Vec<Value>,
    },
    Running(Opened),
    Over(Vec<Column>),
}

impl PgCursor {
    pub(super) async fn open(
        mut line: Line,
        request: &Request<'_>,
        inner: &Inner,
    ) -> Result<Self, StoreError> {
        line.in_flight = true;
        line.open = true;
        let text = &request.bound.text;
        let work = async {
            let (sent, ready) = tokio::join!(Ahead::Slowly.send(&line), prepare(&line, text));
            sent?;
            ready
        };
        let ready = match timeout_at(request.deadline, work).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(failure)) => {
                let broken =
                    matches!(&failure, Failure::Server(error) if error.as_db_error().is_none());
                line.in_flight = broken;
                return Err(request.failed(failure));
            }
            Err(_) => return Err(request.timeout()),
        };
        line.in_flight = false;
        let stage = Stage::Ready {
            ready,
            text: text.clone(),
            values: request
                .bound
                .values
                .iter()
                .map(|value| (*value).clone())
                .collect(),
        };
        let reading = Reading {
            line,
            stage,
            held: None,
        };
        let until = request.bounds.until.map(Instant::from_std);
        Ok(Self {
            plugin: request.plugin.clone(),
            hold: Hold::new(reading, &inner.shared, until),
        })
    }
}

impl PgCursor {
    fn over(&self) -> StoreError {
        let problem = if self.hold.is_over() {
            "the cursor is over, because its call ended or the store closes"
        } else {
            "the cursor is over, because a page of it failed or was given up; open it again"
        };
        StoreError::BadTransaction {
            plugin: self.plugin.clone(),
            problem,
        }
    }
}

impl Reading {
    async fn page(&mut self, n_rows: usize, bounds: &Bounds) -> Result<Rows, Failure> {
        if let Stage::Ready {
            ready,
            text,
            values,
        } = &mut self.stage
        {
            self.line.in_flight = true;
            let values: Vec<&Value> = values.iter().collect();
            let opened = match ready.take() {
                Some(ready) => ready.open(&self.line, &values).await?,
                None => unprepared(&self.line, text, &values).await?,
            };
            self.stage = Stage::Running(opened);
        }
        let opened = match &mut self.stage {
            Stage::Running(opened) => opened,
            Stage::Over(columns) => {
                return Ok(Rows {
                    columns: columns.clone(),
                    ..Rows::default()
                });
            }
            Stage::Ready { .. } => {
                return Err(Failure::Unread("a cursor did not begin".to_owned()));
            }
        };
        let mut rows = Vec::new();
        let mut bytes = 0;
        let most = n_rows.min(bounds.n_rows);
        while rows.len() < most {
            let row = match self.held.take() {
                Some(row) => row,
                None => match opened.next().await? {
                    Some(row) => row,
                    None => {
                        self.line.in_flight = false;
                        let columns = std::mem::take(&mut opened.columns);
                        self.stage = Stage::Over(columns.clone());
                        return Ok(Rows {
                            columns,
                            rows,
                            n_changed: 0,
                        });
                    }
                },
            };
            let values = opened.read(&row)?;
            let size: usize = values.iter().map(Value::size).sum();
            if bytes + size > bounds.bytes {
                if rows.is_empty() {
                    return Err(Failure::Bytes);
                }
                self.held = Some(row);
                break;
            }
            bytes += size;
            rows.push(values);
        }
        Ok(Rows {
            columns: opened.columns.clone(),
            rows,
            n_changed: 0,
        })
    }
}

impl Cursor for PgCursor {
    fn next<'a>(&'a mut self, n_rows: usize, bounds: &'a Bounds) -> Work<'a, Rows> {
        Box::pin(async move {
            let started_at = Instant::now();
            // What is dropped from here on, by an error or by the caller, is over and ended in the server.
            let Some(mut reading) = self.hold.take() else {
                return Err(self.over());
            };
            let page = timeout_at(deadline(bounds), reading.page(n_rows, bounds)).await;
            let error = match page {
                Ok(Ok(rows)) => {
                    self.hold.put(reading);
                    return Ok(rows);
                }
                Ok(Err(Failure::Server(error))) if is_cancelled(&error) => {
                    timed_out(&self.plugin, started_at.elapsed())
                }
                Ok(Err(Failure::Server(error))) => error::plugin(&self.plugin, &error, None),
                Ok(Err(Failure::Bytes)) => StoreError::TooManyBytes {
                    plugin: self.plugin.clone(),
                    limit: bounds.bytes,
                },
                Ok(Err(Failure::Unread(problem))) => StoreError::Internal(problem),
                Ok(Err(Failure::Rows | Failure::Formless(..))) => {
                    StoreError::Internal("a page had a column without a form".to_owned())
                }
                Err(_) => timed_out(&self.plugin, started_at.elapsed()),
            };
            Err(error)
        })
    }
}
