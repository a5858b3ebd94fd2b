//! The ledger of applied steps, in the plugin's own file: a step and its row are one transaction.
//!
//! Its tables are hidden from the plugin by the guard. Every commit here reaches the disk.

use std::sync::Arc;

use kodex_plugin::PluginName;
use rusqlite::{
    Batch, Connection, OptionalExtension, fallible_iterator::FallibleIterator, limits::Limit,
    params,
};

use super::{
    error,
    file::File,
    guard::Mode,
    open::Conn,
    rename,
    run::{alone, check_names},
    store::Inner,
    thread::Patience,
    watch::Token,
};
use crate::{
    Applied, Ledger, Step, StoreError, Work,
    journal::{Progress, StepKind},
};

const NEWEST: &str = "SELECT id FROM kodex_journal ORDER BY id DESC LIMIT 1";
const ROWS: &str = "SELECT id, checksum, applied_at_ms FROM kodex_journal ORDER BY id";
const INSERT: &str = "INSERT INTO kodex_journal (id, checksum, applied_at_ms) VALUES (?1, ?2, ?3)";
const DONE: &str = "DELETE FROM kodex_progress WHERE id = ?1";
const PROGRESS: &str = "SELECT progress FROM kodex_progress WHERE id = ?1";
const SAVE: &str = "INSERT INTO kodex_progress (id, progress) VALUES (?1, ?2)
    ON CONFLICT (id) DO UPDATE SET progress = excluded.progress";

/// The ledgers of all plugins.
pub(super) struct Ledgers(pub(super) Arc<Inner>);

impl Ledgers {
    async fn write<T, F>(&self, plugin: &PluginName, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Conn, &Token) -> Result<T, StoreError> + Send + 'static,
    {
        let file = self.0.file(plugin)?;
        file.site.writable()?;
        let lane = &file.writer;
        lane.call(Patience::default(), move |seat, token| {
            let conn = seat.owner()?;
            conn.watch.begin(token, None, None);
            let result = work(conn, token);
            conn.watch.end();
            result
        })
        .await
    }

    async fn read<T, F>(&self, plugin: &PluginName, work: F) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&Conn) -> Result<T, StoreError> + Send + 'static,
    {
        let file: Arc<File> = self.0.file(plugin)?;
        file.readers
            .call(Patience::default(), move |seat, _| {
                if !seat.has_file()? {
                    return Ok(T::default());
                }
                work(seat.reader()?)
            })
            .await
    }
}

impl Ledger for Ledgers {
    fn applied<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Applied>> {
        Box::pin(async move {
            let owner = plugin.clone();
            self.read(plugin, move |conn| rows(conn, &owner)).await
        })
    }

    fn apply<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        Box::pin(async move {
            let entry = Entry::new(plugin, step, after);
            self.write(plugin, move |conn, _| match entry.step.kind {
                StepKind::Sql => alone(conn, || {
                    entry.check(conn)?;
                    entry.script(conn)?;
                    entry.insert(conn)
                }),
                StepKind::Bare => {
                    entry.check(conn)?;
                    entry.bare(conn)?;
                    entry.record(conn)
                }
                StepKind::Code => {
                    Err(entry.bad("a data step is recorded when its code has run, not applied"))
                }
            })
            .await
        })
    }

    fn record<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        Box::pin(async move {
            let entry = Entry::new(plugin, step, after);
            self.write(plugin, move |conn, _| entry.record(conn)).await
        })
    }

    fn progress<'a>(&'a self, plugin: &'a PluginName, id: &'a str) -> Work<'a, Option<Progress>> {
        Box::pin(async move {
            let id = id.to_owned();
            self.read(plugin, move |conn| {
                let progress = conn.own(|db| {
                    db.query_row(PROGRESS, [&id], |row| row.get::<_, String>(0))
                        .optional()
                })?;
                Ok(progress.map(|progress| Progress { id, progress }))
            })
            .await
        })
    }

    fn save_progress<'a>(&'a self, plugin: &'a PluginName, progress: &'a Progress) -> Work<'a, ()> {
        Box::pin(async move {
            let Progress { id, progress } = progress.clone();
            self.write(plugin, move |conn, _| {
                conn.own(|db| db.execute(SAVE, [id, progress]).map(|_| ()))
            })
            .await
        })
    }

    fn rename<'a>(&'a self, from: &'a PluginName, to: &'a PluginName) -> Work<'a, ()> {
        Box::pin(rename::rename(&self.0, from, to))
    }
}

/// The rows of a ledger; one that Kodex cannot have written is an error.
pub(super) fn rows(conn: &Conn, plugin: &PluginName) -> Result<Vec<Applied>, StoreError> {
    let found = conn.own(|db| {
        let mut statement = db.prepare(ROWS)?;
        let rows = statement.query_map([], |row| {
            // Whatever a foreign hand wrote there is read, and judged below.
            let text = |at: usize| -> rusqlite::Result<String> {
                Ok(match row.get_ref(at)? {
                    rusqlite::types::ValueRef::Text(bytes) => {
                        String::from_utf8_lossy(bytes).into_owned()
                    }
                    _ => String::new(),
                })
            };
            Ok((text(0)?, text(1)?, row.get_ref(2)?.as_i64().ok()))
        })?;
        rows.collect::<Result<Vec<_>, _>>()
    })?;
    let prefix = format!("plugin:{plugin}/");
    let judge = |(id, checksum, at_ms): (String, String, Option<i64>)| {
        let problem = if id.strip_prefix(&prefix).is_none_or(str::is_empty) {
            "its id is not one of this plugin"
        } else if checksum.len() != 64
            || !checksum
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            "its checksum is not 64 hex digits"
        } else if let Some(applied_at_ms) = at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()) {
            return Ok(Applied {
                id,
                checksum,
                applied_at_ms,
            });
        } else {
            "its time is no number"
        };
        Err(StoreError::LedgerMalformed {
            plugin: plugin.clone(),
            id,
            problem: problem.to_owned(),
        })
    };
    found.into_iter().map(judge).collect()
}

/// A step that is about to get its row.
struct Entry {
    plugin: PluginName,
    step: Step,
    id: String,
    after: Option<String>,
}

impl Entry {
    fn new(plugin: &PluginName, step: &Step, after: Option<&str>) -> Self {
        Self {
            plugin: plugin.clone(),
            step: step.clone(),
            id: step.id(plugin),
            after: after.map(str::to_owned),
        }
    }

    fn bad(&self, problem: &str) -> StoreError {
        StoreError::BadStatement {
            plugin: self.plugin.clone(),
            problem: format!("{}: {problem}", self.step.file),
            position: None,
        }
    }

    /// Whether the newest applied step is the one that the caller planned with.
    fn check(&self, conn: &Conn) -> Result<(), StoreError> {
        let newest = conn.own(|db| {
            db.query_row(NEWEST, [], |row| row.get::<_, String>(0))
                .optional()
        })?;
        if newest == self.after {
            return Ok(());
        }
        Err(StoreError::LedgerMoved {
            plugin: self.plugin.clone(),
            id: self.id.clone(),
        })
    }

    fn insert(&self, conn: &Conn) -> Result<Applied, StoreError> {
        let applied_at_ms = conn.site.options.clock.unix_ms();
        let at_ms = i64::try_from(applied_at_ms).unwrap_or(i64::MAX);
        conn.own(|db: &Connection| {
            db.execute(INSERT, params![self.id, self.step.checksum, at_ms])?;
            db.execute(DONE, [&self.id])
        })?;
        Ok(Applied {
            id: self.id.clone(),
            checksum: self.step.checksum.clone(),
            applied_at_ms,
        })
    }

    fn record(&self, conn: &Conn) -> Result<Applied, StoreError> {
        alone(conn, || {
            self.check(conn)?;
            self.insert(conn)
        })
    }

    fn text(&self) -> &str {
        let text = self.step.text.as_str();
        text.strip_prefix('\u{feff}').unwrap_or(text)
    }

    /// Runs every statement of the file.
    fn script(&self, conn: &Conn) -> Result<(), StoreError> {
        let _mode = conn.guard.switch(Mode::Migrate);
        let text = self.text();
        let mut batch = Batch::new(&conn.db, text);
        let mut n_statements = 0;
        loop {
            n_statements += 1;
            match batch.next() {
                Ok(None) => break,
                Ok(Some(mut statement)) => {
                    if statement.parameter_count() > 0 {
                        return Err(self.bad("a step has no parameters to give"));
                    }
                    exhaust(&mut statement).map_err(|error| {
                        self.explain(error::engine(conn, error), n_statements, None)
                    })?;
                }
                Err(error) => {
                    let start = match &error {
                        rusqlite::Error::SqlInputError { sql, .. } => {
                            text.len() - sql.len().min(text.len())
                        }
                        _ => 0,
                    };
                    return Err(self.explain(
                        error::engine(conn, error),
                        n_statements,
                        Some(start),
                    ));
                }
            }
        }
        check_names(conn)
    }

    /// Runs one statement in no transaction of ours: `VACUUM` as it is, anything else in its own.
    fn bare(&self, conn: &Conn) -> Result<(), StoreError> {
        let statement = crate::Statement::new(self.text());
        // It reads past comments and refuses a second statement.
        statement
            .bind(crate::Engine::Sqlite)
            .map_err(|mistake| self.explain(mistake.of(&self.plugin), 1, None))?;
        if !is_vacuum(self.text()) {
            return alone(conn, || self.script(conn));
        }
        let attached = |n| {
            conn.db
                .set_limit(Limit::SQLITE_LIMIT_ATTACHED, n)
                .map(|_| ())
        };
        let fail = |error| self.explain(error::engine(conn, error), 1, Some(0));
        // The engine attaches a nameless file to vacuum into; the guard lets no other pass.
        attached(1).map_err(fail)?;
        let result = {
            let _mode = conn.guard.switch(Mode::Vacuum);
            conn.db.execute_batch(self.text())
        };
        attached(0).map_err(fail)?;
        result.map_err(fail)
    }

    /// Names the file, and puts positions into terms of it.
    fn explain(&self, error: StoreError, n_statements: usize, start: Option<usize>) -> StoreError {
        let file = &self.step.file;
        match error {
            StoreError::Sql {
                plugin,
                engine_code,
                message,
                position,
            } => {
                let at = position.zip(start).map(|(offset, start)| {
                    let end = (start + offset).min(self.text().len());
                    let before = self.text().get(..end).unwrap_or("");
                    before.chars().count() + 1
                });
                StoreError::Sql {
                    plugin,
                    engine_code,
                    message: format!("{file}, statement {n_statements}: {message}"),
                    position: at,
                }
            }
            StoreError::Constraint {
                plugin,
                engine_code,
                message,
            } => StoreError::Constraint {
                plugin,
                engine_code,
                message: format!("{file}, statement {n_statements}: {message}"),
            },
            StoreError::Refused { plugin, action } if action.starts_with("begin or end") => {
                StoreError::Refused {
                    plugin,
                    action: format!(
                        "begin or end a transaction in {file}; every step runs in one of its own, with its row in the ledger"
                    ),
                }
            }
            StoreError::Refused { plugin, action } => StoreError::Refused {
                plugin,
                action: format!("{action} (in {file})"),
            },
            StoreError::BadStatement {
                plugin,
                problem,
                position,
            } => StoreError::BadStatement {
                plugin,
                problem: format!("{file}: {problem}"),
                position,
            },
            other => other,
        }
    }
}

fn exhaust(statement: &mut rusqlite::Statement<'_>) -> rusqlite::Result<()> {
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

/// Whether the first word after comments is `VACUUM`.
fn is_vacuum(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment
                .split_once('\n')
                .map_or("", |(_, after)| after)
                .trim_start();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment
                .split_once("*/")
                .map_or("", |(_, after)| after)
                .trim_start();
        } else {
            return rest
                .get(..6)
                .is_some_and(|word| word.eq_ignore_ascii_case("vacuum"));
        }
    }
}
