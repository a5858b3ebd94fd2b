//! A large result, read in pages.
//!
//! It has a connection of its own, on which the server sends until the connection's buffers are full and
//! goes on as pages are taken. The statement keeps its snapshot for as long.

use std::pin::pin;

use kodex_plugin::PluginName;
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;

use super::{
    Inner,
    answer::{Ahead, Failure, Opened, Request, deadline, is_cancelled, open, timed_out},
    error,
    hold::Hold,
    pool::{GRACE, Line, cancel},
};
use crate::{Bounds, Cursor, Rows, StoreError, Value, Work};

/// A result that is open.
pub(super) struct PgCursor {
    plugin: PluginName,
    hold: Hold<Reading>,
}

/// Where reading is.
struct Reading {
    line: Line,
    /// None at the end.
    opened: Option<Opened>,
    /// A row that had no room on the last page.
    held: Option<Row>,
}

impl PgCursor {
    pub(super) async fn open(mut line: Line, request: &Request<'_>, inner: &Inner) -> Result<Self, StoreError> {
        line.open = true;
        line.in_flight = true;
        let token = line.cancel_token();
        let opened = {
            let mut work = pin!(async {
                let (sent, opened) = tokio::join!(Ahead::Slowly.send(&line), open(&line, request));
                sent?;
                opened
            });
            tokio::select! {
                opened = &mut work => opened,
                () = tokio::time::sleep_until(request.deadline) => {
                    cancel(&token).await;
                    let _ = timeout(GRACE, work).await;
                    return Err(request.timeout());
                }
            }
        };
        match opened {
            Ok(opened) => {
                let reading = Reading { line, opened: Some(opened), held: None };
                let until = request.bounds.until.map(Instant::from_std);
                Ok(Self { plugin: request.plugin.clone(), hold: Hold::new(reading, &inner.shared, until) })
            }
            Err(failure) => {
                line.in_flight = matches!(&failure, Failure::Server(error) if error.as_db_error().is_none());
                Err(request.failed(failure))
            }
        }
    }
}

impl PgCursor {
    fn over(&self) -> StoreError {
        let problem = if self.hold.is_over() {
            "the cursor is over, because its call ended or the store closes"
        } else {
            "the cursor is over, because a page of it failed or was given up; open it again"
        };
        StoreError::BadTransaction { plugin: self.plugin.clone(), problem }
    }
}

impl Reading {
    async fn page(&mut self, n_rows: usize, bounds: &Bounds) -> Result<Rows, Failure> {
        let Some(opened) = &mut self.opened else {
            return Ok(Rows::default());
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
                        self.opened = None;
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
            let page = tokio::time::timeout_at(deadline(bounds), reading.page(n_rows, bounds)).await;
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
