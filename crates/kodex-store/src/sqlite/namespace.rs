//! A plugin's tables: statements go to a reader or to the writer, and each under its own access.

use std::sync::Arc;

use super::{
    cursor,
    file::File,
    guard::Mode,
    run::{Around, Request, placed, run},
    thread::Patience,
    transaction,
};
use crate::{Access, Bounds, Cursor, Namespace, Rows, Statement, Transaction, Work};

/// A handle on one plugin's file.
pub(super) struct Space {
    pub(super) file: Arc<File>,
    pub(super) access: Access,
}

impl Space {
    fn mode(&self) -> Mode {
        match self.access {
            Access::Read => Mode::Read,
            Access::Write => Mode::Write,
            Access::Migrate => Mode::Migrate,
        }
    }
}

impl Namespace for Space {
    fn run<'a>(&'a self, statement: &'a Statement, bounds: &'a Bounds) -> Work<'a, Rows> {
        Box::pin(async move {
            let (request, bound) = Request::read(self.file.plugin()?, statement, bounds)?;
            let patience = Patience {
                turn: Some(self.file.turn(bounds)),
                short: false,
            };
            // What can only read needs no writer, whoever asks.
            let (lane, mode) = if request.is_query() {
                (&self.file.readers, Mode::Read)
            } else {
                match self.mode() {
                    Mode::Read => (&self.file.readers, Mode::Read),
                    mode => (&self.file.writer, mode),
                }
            };
            let work = lane.call(patience, move |seat, token| {
                let conn = match mode {
                    Mode::Read => seat.reader()?,
                    Mode::Write => seat.writer()?,
                    _ => seat.owner()?,
                };
                run(conn, &request, token, mode, Around::Nothing)
            });
            work.await.map_err(|error| placed(error, &bound))
        })
    }

    fn open<'a>(
        &'a self,
        statement: &'a Statement,
        bounds: &'a Bounds,
    ) -> Work<'a, Box<dyn Cursor>> {
        Box::pin(cursor::open(&self.file, statement, bounds))
    }

    fn begin<'a>(&'a self, bounds: &'a Bounds) -> Work<'a, Box<dyn Transaction>> {
        Box::pin(transaction::begin(&self.file, self.mode(), bounds))
    }
}
