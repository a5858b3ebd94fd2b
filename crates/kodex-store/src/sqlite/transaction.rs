//! A transaction that spans calls. It holds its thread, and on the writer's lane the namespace's only
//! writer, until it ends: by commit, by rollback, because its handle is dropped, or because its time is over.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Instant,
};

use kodex_plugin::{Clock, PluginName, clock::millis};
use tokio::sync::oneshot;

use super::{
    file::File,
    guard::Mode,
    open::Conn,
    run::{Around, Cap, Request, placed, run},
    thread::{GRACE, Held, Patience, Reply, Seat},
    watch::{CancelOnDrop, Token, earlier, locked},
};
use crate::{Bounds, Rows, Statement, StoreError, Transaction, Work};

/// What a handle asks of its thread.
enum Order {
    Run(Request, Token, Reply<Rows>),
    Step(Step, Reply<()>),
    Close,
}

#[derive(Clone, Copy)]
enum Step {
    Save,
    Release,
    Undo,
    Commit,
    Rollback,
}

/// The handle on a running transaction.
struct Running {
    plugin: PluginName,
    orders: SyncSender<Order>,
    /// Why the thread ended the transaction by itself.
    ended: Arc<Mutex<Option<StoreError>>>,
    _held: Held,
}

/// Begins a transaction on the lane that `mode` needs.
pub(super) async fn begin(
    file: &Arc<File>,
    mode: Mode,
    bounds: &Bounds,
) -> Result<Box<dyn Transaction>, StoreError> {
    let plugin = file.plugin()?.clone();
    let (orders, received) = sync_channel(2);
    let ended = Arc::new(Mutex::new(None));
    let lane = if mode == Mode::Read {
        &file.long
    } else {
        &file.writer
    };
    let closer = orders.clone();
    let held = lane.hold(Box::new(move || {
        let _ = closer.try_send(Order::Close);
    }));
    let thread = Thread {
        plugin: plugin.clone(),
        mode,
        received,
        ended: Arc::clone(&ended),
        clock: Arc::clone(&file.site.options.clock),
        cap: Cap::of(bounds),
    };
    let patience = Patience {
        turn: Some(file.turn(bounds)),
        short: false,
    };
    lane.launch(patience, move |seat, token, reply| {
        thread.serve(seat, token, reply);
    })
    .await?;
    Ok(Box::new(Running {
        plugin,
        orders,
        ended,
        _held: held,
    }))
}

impl Running {
    /// Sends an order; the thread may be gone.
    fn send(&self, order: Order) -> Result<(), StoreError> {
        self.orders.try_send(order).map_err(|_| self.reason())
    }

    fn reason(&self) -> StoreError {
        locked(&self.ended).clone().unwrap_or(StoreError::Closed)
    }

    async fn step(&self, step: Step) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Step(step, reply))?;
        answer.await.unwrap_or_else(|_| Err(self.reason()))
    }
}

impl Transaction for Running {
    fn run<'a>(&'a mut self, statement: &'a Statement, bounds: &'a Bounds) -> Work<'a, Rows> {
        Box::pin(async move {
            let (request, bound) = Request::read(&self.plugin, statement, bounds)?;
            let token = Token::default();
            let _cancel = CancelOnDrop(token.clone());
            let (reply, answer) = oneshot::channel();
            self.send(Order::Run(request, token, reply))?;
            let span = bounds.timeout + GRACE;
            let result = match tokio::time::timeout(span, answer).await {
                Ok(result) => result.unwrap_or_else(|_| Err(self.reason())),
                Err(_) => Err(StoreError::Timeout {
                    plugin: self.plugin.clone(),
                    after_ms: millis(span),
                }),
            };
            result.map_err(|error| placed(error, &bound))
        })
    }

    fn save(&mut self) -> Work<'_, ()> {
        Box::pin(self.step(Step::Save))
    }

    fn release(&mut self) -> Work<'_, ()> {
        Box::pin(self.step(Step::Release))
    }

    fn undo(&mut self) -> Work<'_, ()> {
        Box::pin(self.step(Step::Undo))
    }

    fn commit(self: Box<Self>) -> Work<'static, ()> {
        Box::pin(async move { self.step(Step::Commit).await })
    }

    fn rollback(self: Box<Self>) -> Work<'static, ()> {
        Box::pin(async move { self.step(Step::Rollback).await })
    }
}

/// The side of the thread.
struct Thread {
    plugin: PluginName,
    mode: Mode,
    received: Receiver<Order>,
    ended: Arc<Mutex<Option<StoreError>>>,
    clock: Arc<dyn Clock>,
    cap: Cap,
}

/// How far a transaction is.
#[derive(Default)]
struct Progress {
    depth: u32,
    failed: bool,
}

impl Thread {
    fn serve(self, seat: &mut Seat, token: &Token, reply: Reply<()>) {
        let conn = match self.mode {
            Mode::Read => seat.reader(),
            Mode::Write => seat.writer(),
            _ => seat.owner(),
        };
        let begun_at = self.clock.now();
        let over_at = self.cap.until.unwrap_or(begun_at + self.cap.timeout);
        let begun = conn.and_then(|conn| self.begin(conn, token).map(|()| &*conn));
        match begun {
            Err(error) => {
                let _ = reply.send(Err(error));
            }
            Ok(conn) => {
                if reply.send(Ok(())).is_ok() {
                    self.follow(conn, begun_at, over_at);
                }
                conn.roll_back();
            }
        }
    }

    fn begin(&self, conn: &Conn, token: &Token) -> Result<(), StoreError> {
        conn.watch
            .begin(token, Some(self.cap.timeout), self.cap.until);
        let result = if self.mode == Mode::Read {
            // The first read takes the snapshot.
            conn.order("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")
        } else {
            conn.order("BEGIN IMMEDIATE")
        };
        conn.watch.end();
        result
    }

    fn follow(&self, conn: &Conn, begun_at: Instant, over_at: Instant) {
        let mut progress = Progress::default();
        loop {
            let left = over_at.saturating_duration_since(self.clock.now());
            let order = match self.received.recv_timeout(left) {
                Ok(order) => order,
                Err(RecvTimeoutError::Disconnected) => return,
                // A clock that is moved by hand may say that there is time left.
                Err(RecvTimeoutError::Timeout) if self.clock.now() < over_at => continue,
                Err(RecvTimeoutError::Timeout) => {
                    let after = self.clock.now().saturating_duration_since(begun_at);
                    *locked(&self.ended) = Some(StoreError::Timeout {
                        plugin: self.plugin.clone(),
                        after_ms: millis(after),
                    });
                    tracing::warn!(plugin = %self.plugin, "a transaction was rolled back because its time was over");
                    return;
                }
            };
            match order {
                Order::Close => {
                    *locked(&self.ended) = Some(StoreError::Closed);
                    return;
                }
                Order::Run(request, token, reply) => {
                    let result = self.run(conn, request, &token, over_at, &mut progress);
                    let _ = reply.send(result);
                }
                Order::Step(step, reply) => {
                    let result = self.step(conn, step, &mut progress);
                    let _ = reply.send(result);
                    if matches!(step, Step::Commit | Step::Rollback) {
                        return;
                    }
                }
            }
        }
    }

    fn run(
        &self,
        conn: &Conn,
        mut request: Request,
        token: &Token,
        over_at: Instant,
        progress: &mut Progress,
    ) -> Result<Rows, StoreError> {
        self.usable(conn, progress)?;
        token.start();
        request.cap.until = earlier(request.cap.until, Some(over_at));
        let result = run(conn, &request, token, self.mode, Around::Transaction);
        progress.failed = result.is_err();
        result
    }

    fn step(&self, conn: &Conn, step: Step, progress: &mut Progress) -> Result<(), StoreError> {
        let level = progress.depth;
        match step {
            Step::Rollback => {
                conn.roll_back();
                Ok(())
            }
            Step::Undo => {
                self.whole(conn)?;
                if level == 0 {
                    return Err(self.bad("no savepoint is open"));
                }
                conn.order(&format!("ROLLBACK TO kodex_{level}; RELEASE kodex_{level}"))?;
                progress.depth -= 1;
                progress.failed = false;
                Ok(())
            }
            Step::Save => {
                self.usable(conn, progress)?;
                conn.order(&format!("SAVEPOINT kodex_{}", level + 1))?;
                progress.depth += 1;
                Ok(())
            }
            Step::Release => {
                self.usable(conn, progress)?;
                if level == 0 {
                    return Err(self.bad("no savepoint is open"));
                }
                conn.order(&format!("RELEASE kodex_{level}"))?;
                progress.depth -= 1;
                Ok(())
            }
            Step::Commit => {
                self.usable(conn, progress)?;
                conn.order("COMMIT")
            }
        }
    }

    fn usable(&self, conn: &Conn, progress: &Progress) -> Result<(), StoreError> {
        self.whole(conn)?;
        if progress.failed {
            return Err(
                self.bad("a statement failed; undo it to a savepoint or roll the transaction back")
            );
        }
        Ok(())
    }

    /// The engine itself rolls back after some errors, such as a full disk or a stopped write.
    fn whole(&self, conn: &Conn) -> Result<(), StoreError> {
        if conn.db.is_autocommit() {
            return Err(self.bad("the engine rolled the transaction back after an error"));
        }
        Ok(())
    }

    fn bad(&self, problem: &'static str) -> StoreError {
        StoreError::BadTransaction {
            plugin: self.plugin.clone(),
            problem,
        }
    }
}
