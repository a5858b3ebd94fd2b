//! A running transaction of a plugin: levels, the failed state, and its end.

use kodex_plugin::PluginName;
use tokio::time::{Instant, timeout};
use tokio_postgres::Error;

use super::{
    Inner,
    answer::{Ahead, Request, deadline, run, timed_out},
    error,
    hold::Hold,
    namespace::is_stale,
    pool::{GRACE, Line},
};
use crate::{Bounds, Rows, Statement, StoreError, Transaction, Work};

/// How long the end of a transaction may take: a commit waits for the server's disk.
const END: std::time::Duration = std::time::Duration::from_secs(30);

/// A transaction that is open.
pub(super) struct PgTransaction {
    plugin: PluginName,
    hold: Hold<Line>,
    n_levels: u32,
    failed: bool,
    begun_at: Instant,
}

impl PgTransaction {
    pub(super) async fn begin(
        mut line: Line,
        plugin: PluginName,
        bounds: &Bounds,
        inner: &Inner,
    ) -> Result<Self, StoreError> {
        let begun_at = Instant::now();
        line.in_flight = true;
        line.open = true;
        match tokio::time::timeout_at(deadline(bounds), Ahead::Begin.send(&line)).await {
            Ok(Ok(())) => line.in_flight = false,
            Ok(Err(error)) => return Err(error::plugin(&plugin, &error, None)),
            Err(_) => return Err(timed_out(&plugin, begun_at.elapsed())),
        }
        let hold = Hold::new(line, &inner.shared, bounds.until.map(Instant::from_std));
        Ok(Self {
            plugin,
            hold,
            n_levels: 0,
            failed: false,
            begun_at,
        })
    }

    fn line(&self) -> Result<Line, StoreError> {
        self.hold.take().ok_or_else(|| {
            if self.hold.is_over() {
                timed_out(&self.plugin, self.begun_at.elapsed())
            } else {
                self.bad("the transaction is over, because a statement in it was given up; begin a new one")
            }
        })
    }

    fn bad(&self, problem: &'static str) -> StoreError {
        StoreError::BadTransaction {
            plugin: self.plugin.clone(),
            problem,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(self.bad("an earlier statement failed; undo the savepoint or roll back"));
        }
        Ok(())
    }

    /// Runs words of our own inside.
    async fn control(&mut self, sql: String) -> Result<(), StoreError> {
        let mut line = self.line()?;
        let done = batch(&mut line, &sql, &self.plugin, "a savepoint").await;
        if line.spoiled || line.in_flight {
            return done;
        }
        self.hold.put(line);
        done
    }
}

/// Commits what is open on a connection.
pub(super) async fn commit(line: &mut Line, plugin: &PluginName) -> Result<(), StoreError> {
    let done = batch(line, "COMMIT", plugin, "a commit").await;
    // A commit that was refused rolled back.
    line.open = false;
    done
}

async fn batch(
    line: &mut Line,
    sql: &str,
    plugin: &PluginName,
    during: &'static str,
) -> Result<(), StoreError> {
    line.in_flight = true;
    let done: Result<Result<(), Error>, _> = timeout(END, line.batch_execute(sql)).await;
    match done {
        Ok(Ok(())) => {
            line.in_flight = false;
            Ok(())
        }
        Ok(Err(error)) => {
            line.in_flight = false;
            line.spoiled |= error.as_db_error().is_none();
            Err(match error::plugin(plugin, &error, None) {
                StoreError::Lost { .. } => StoreError::Lost { during },
                other => other,
            })
        }
        Err(_) => Err(StoreError::Lost { during }),
    }
}

impl Transaction for PgTransaction {
    fn run<'a>(&'a mut self, statement: &'a Statement, bounds: &'a Bounds) -> Work<'a, Rows> {
        Box::pin(async move {
            self.check()?;
            // Until it is known to have worked.
            self.failed = true;
            let request = Request::read(&self.plugin, statement, bounds)?;
            let mut line = self.line()?;
            let done = run(&mut line, &request, Ahead::Nothing).await;
            let done = match done {
                // Done again from its start, it is prepared anew.
                Err(StoreError::Sql {
                    plugin,
                    engine_code,
                    message,
                    ..
                }) if is_stale(&engine_code, &message) => {
                    line.statement_cache.clear();
                    Err(StoreError::Conflict {
                        plugin,
                        engine_code,
                    })
                }
                done => done,
            };
            if !line.spoiled && !line.in_flight {
                self.hold.put(line);
            }
            self.failed = done.is_err();
            done
        })
    }

    fn save(&mut self) -> Work<'_, ()> {
        Box::pin(async move {
            self.check()?;
            self.control(format!("SAVEPOINT kodex_{}", self.n_levels + 1))
                .await?;
            self.n_levels += 1;
            Ok(())
        })
    }

    fn release(&mut self) -> Work<'_, ()> {
        Box::pin(async move {
            self.check()?;
            if self.n_levels == 0 {
                return Err(self.bad("there is no savepoint to release"));
            }
            self.control(format!("RELEASE SAVEPOINT kodex_{}", self.n_levels))
                .await?;
            self.n_levels -= 1;
            Ok(())
        })
    }

    fn undo(&mut self) -> Work<'_, ()> {
        Box::pin(async move {
            if self.n_levels == 0 {
                return Err(self.bad("there is no savepoint to undo"));
            }
            let level = self.n_levels;
            self.control(format!(
                "ROLLBACK TO SAVEPOINT kodex_{level}; RELEASE SAVEPOINT kodex_{level}"
            ))
            .await?;
            self.n_levels -= 1;
            self.failed = false;
            Ok(())
        })
    }

    fn commit(self: Box<Self>) -> Work<'static, ()> {
        Box::pin(async move {
            self.check()?;
            let mut line = self.line()?;
            commit(&mut line, &self.plugin).await
        })
    }

    fn rollback(self: Box<Self>) -> Work<'static, ()> {
        Box::pin(async move {
            // What has no connection any more has been rolled back.
            let Some(mut line) = self.hold.take() else {
                return Ok(());
            };
            line.in_flight = true;
            if let Ok(Ok(())) = timeout(GRACE, line.batch_execute("ROLLBACK")).await {
                line.in_flight = false;
                line.open = false;
            }
            // A connection that breaks now rolls back in the server too.
            Ok(())
        })
    }
}
