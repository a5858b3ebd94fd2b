//! A result that is read in pages, on a snapshot. It holds a thread of its own lane, so it never takes a
//! reader from others; how many there may be at once and how long one may rest are bounded, because a
//! snapshot keeps the engine from tidying the file.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{Clock, PluginName, clock::millis};
use tokio::sync::oneshot;

use super::{
    error,
    file::File,
    guard::Mode,
    open::Conn,
    run::{Cap, Halt, Page, Request, bind, columns, placed},
    thread::{GRACE, Held, Patience, Reply},
    value::Form,
    watch::{CancelOnDrop, Token, locked},
};
use crate::{Bounds, Column, Cursor, Rows, Statement, StoreError, Work};

/// How long a cursor may wait for its next call.
const REST: Duration = Duration::from_secs(60);

enum Order {
    Next(Cap, Token, Reply<Rows>),
    Close,
}

struct Open {
    plugin: PluginName,
    orders: SyncSender<Order>,
    ended: Arc<std::sync::Mutex<Option<StoreError>>>,
    _held: Held,
}

/// Opens a cursor; the statement is prepared and its snapshot taken when this returns.
pub(super) async fn open(
    file: &Arc<File>,
    statement: &Statement,
    bounds: &Bounds,
) -> Result<Box<dyn Cursor>, StoreError> {
    let plugin = file.plugin()?.clone();
    let (request, bound) = Request::read(&plugin, statement, bounds)?;
    let (orders, received) = sync_channel(2);
    let ended = Arc::new(std::sync::Mutex::new(None));
    let closer = orders.clone();
    let held = file.long.hold(Box::new(move || {
        let _ = closer.try_send(Order::Close);
    }));
    let thread = Thread {
        plugin: plugin.clone(),
        request,
        received,
        ended: Arc::clone(&ended),
        clock: Arc::clone(&file.site.options.clock),
    };
    let patience = Patience {
        turn: Some(file.turn(bounds)),
        short: false,
    };
    let opened = file.long.launch(patience, move |seat, token, reply| {
        let token = token.clone();
        match seat.reader() {
            Ok(conn) => thread.serve(conn, &token, reply),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    });
    opened.await.map_err(|error| placed(error, &bound))?;
    Ok(Box::new(Open {
        plugin,
        orders,
        ended,
        _held: held,
    }))
}

impl Open {
    fn reason(&self) -> StoreError {
        locked(&self.ended).clone().unwrap_or(StoreError::Closed)
    }
}

impl Cursor for Open {
    fn next<'a>(&'a mut self, n_rows: usize, bounds: &'a Bounds) -> Work<'a, Rows> {
        Box::pin(async move {
            let token = Token::default();
            let _cancel = CancelOnDrop(token.clone());
            let (reply, answer) = oneshot::channel();
            let cap = Cap {
                n_rows: n_rows.min(bounds.n_rows),
                ..Cap::of(bounds)
            };
            self.orders
                .try_send(Order::Next(cap, token, reply))
                .map_err(|_| self.reason())?;
            let span = bounds.timeout + GRACE;
            match tokio::time::timeout(span, answer).await {
                Ok(result) => result.unwrap_or_else(|_| Err(self.reason())),
                Err(_) => Err(StoreError::Timeout {
                    plugin: self.plugin.clone(),
                    after_ms: millis(span),
                }),
            }
        })
    }
}

struct Thread {
    plugin: PluginName,
    request: Request,
    received: Receiver<Order>,
    ended: Arc<std::sync::Mutex<Option<StoreError>>>,
    clock: Arc<dyn Clock>,
}

impl Thread {
    fn serve(self, conn: &Conn, token: &Token, reply: Reply<()>) {
        let _mode = conn.guard.switch(Mode::Read);
        let cap = self.request.cap;
        conn.watch.begin(token, Some(cap.timeout), cap.until);
        let prepared = conn
            .order("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")
            .and_then(|()| self.prepare(conn));
        conn.watch.end();
        match prepared {
            Err(error) => {
                conn.roll_back();
                let _ = reply.send(Err(error));
            }
            Ok(mut statement) => {
                if reply.send(Ok(())).is_ok() {
                    self.follow(conn, &mut statement);
                }
                drop(statement);
                conn.roll_back();
            }
        }
    }

    fn prepare<'a>(&self, conn: &'a Conn) -> Result<rusqlite::Statement<'a>, StoreError> {
        let fail = |error| error::engine(conn, error);
        let mut statement = conn.db.prepare(&self.request.text).map_err(fail)?;
        bind(&mut statement, &self.request).map_err(fail)?;
        Ok(statement)
    }

    fn follow(&self, conn: &Conn, statement: &mut rusqlite::Statement<'_>) {
        let columns = columns(statement);
        let forms: Vec<Form> = columns
            .iter()
            .map(|column| Form::of(&column.kind))
            .collect();
        let mut rows = statement.raw_query();
        let mut reading = Reading {
            columns,
            forms,
            waiting: None,
            done: false,
        };
        let mut rested_at = self.clock.now();
        while let Some((cap, token, reply)) = self.next(rested_at) {
            token.start();
            conn.watch.begin(&token, Some(cap.timeout), cap.until);
            let page = reading.page(conn, &mut rows, &cap);
            conn.watch.end();
            let failed = page.as_ref().err().cloned();
            let _ = reply.send(page);
            if failed.is_some() {
                *locked(&self.ended) = failed;
                return;
            }
            rested_at = self.clock.now();
        }
    }

    fn next(&self, rested_at: Instant) -> Option<(Cap, Token, Reply<Rows>)> {
        let over_at = rested_at + REST;
        loop {
            let left = over_at.saturating_duration_since(self.clock.now());
            let error = match self.received.recv_timeout(left) {
                Ok(Order::Next(cap, token, reply)) => return Some((cap, token, reply)),
                Ok(Order::Close) => StoreError::Closed,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.clock.now() < over_at => continue,
                Err(RecvTimeoutError::Timeout) => StoreError::Timeout {
                    plugin: self.plugin.clone(),
                    after_ms: millis(REST),
                },
            };
            *locked(&self.ended) = Some(error);
            return None;
        }
    }
}

/// A result that is being read.
struct Reading {
    columns: Vec<Column>,
    forms: Vec<Form>,
    /// A row that did not fit into the page before.
    waiting: Option<(Vec<crate::Value>, usize)>,
    done: bool,
}

impl Reading {
    fn page(
        &mut self,
        conn: &Conn,
        rows: &mut rusqlite::Rows<'_>,
        cap: &Cap,
    ) -> Result<Rows, StoreError> {
        self.collect(conn, rows, cap).map_err(|halt| halt.of(conn))
    }

    fn collect(
        &mut self,
        conn: &Conn,
        rows: &mut rusqlite::Rows<'_>,
        cap: &Cap,
    ) -> Result<Rows, Halt> {
        let mut page = Page::new(cap);
        if let Some((row, bytes)) = self.waiting.take() {
            page.push(row, bytes);
        }
        while !self.done && page.rows.len() < cap.n_rows {
            let Some(row) = rows.next()? else {
                self.done = true;
                break;
            };
            let (values, bytes) = super::run::read_row(row, &self.forms)?;
            if page.fits(bytes) {
                page.push(values, bytes);
            } else if page.rows.is_empty() {
                return Err(Halt::Bound(page.excess(conn)));
            } else {
                self.waiting = Some((values, bytes));
                break;
            }
        }
        Ok(Rows {
            columns: self.columns.clone(),
            rows: page.rows,
            n_changed: 0,
        })
    }
}
