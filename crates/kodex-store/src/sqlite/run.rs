//! One statement of a plugin on one connection: prepared under the guard, watched, its answer bounded.

use std::time::{Duration, Instant};

use kodex_plugin::PluginName;
use rusqlite::types::Value as Stored;

use super::{
    error,
    guard::{Mode, is_own},
    open::Conn,
    value::{self, Form},
    watch::Token,
};
use crate::{Bounds, Column, Engine, Rows, Statement, StoreError, statement::Bound};

/// How much an answer may take.
#[derive(Clone, Copy)]
pub(super) struct Cap {
    pub(super) n_rows: usize,
    pub(super) bytes: usize,
    pub(super) timeout: Duration,
    pub(super) until: Option<Instant>,
}

impl Cap {
    pub(super) fn of(bounds: &Bounds) -> Self {
        Self {
            n_rows: bounds.n_rows,
            bytes: bounds.bytes,
            timeout: bounds.timeout,
            until: bounds.until,
        }
    }
}

/// A statement on its way to a thread.
pub(super) struct Request {
    pub(super) text: String,
    pub(super) values: Vec<Stored>,
    pub(super) cap: Cap,
}

impl Request {
    /// Reads the statement; the second half leads positions back to the plugin's text.
    pub(super) fn read<'a>(
        plugin: &PluginName,
        statement: &'a Statement,
        bounds: &Bounds,
    ) -> Result<(Self, Bound<'a>), StoreError> {
        let bytes = statement.text().len();
        if bytes > bounds.text_bytes {
            return Err(StoreError::BadStatement {
                plugin: plugin.clone(),
                problem: format!(
                    "the statement has {bytes} bytes; at most {} are allowed",
                    bounds.text_bytes
                ),
                position: None,
            });
        }
        let mut bound = statement
            .bind(Engine::Sqlite)
            .map_err(|mistake| mistake.of(plugin))?;
        let values = bound
            .values
            .iter()
            .map(|value| value::store(value))
            .collect::<Result<_, _>>()
            .map_err(|mistake| mistake.of(plugin))?;
        let request = Self {
            text: std::mem::take(&mut bound.text),
            values,
            cap: Cap::of(bounds),
        };
        Ok((request, bound))
    }

    /// Whether the text can do nothing but read, by its first word. It decides which thread runs it, not
    /// what it may do.
    pub(super) fn is_query(&self) -> bool {
        let text = self.text.trim_start();
        ["select", "values"].iter().any(|word| {
            text.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
                && !text[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    }
}

/// Puts the position of an error into terms of the plugin's text.
pub(super) fn placed(error: StoreError, bound: &Bound<'_>) -> StoreError {
    match error {
        StoreError::Sql {
            plugin,
            engine_code,
            message,
            position,
        } => StoreError::Sql {
            plugin,
            engine_code,
            message,
            position: position.map(|offset| bound.position(offset)),
        },
        other => other,
    }
}

/// What stopped an answer: the engine, or a bound of ours.
pub(super) enum Halt {
    Engine(rusqlite::Error),
    Bound(StoreError),
}

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl Halt {
    pub(super) fn of(self, conn: &Conn) -> StoreError {
        match self {
            Self::Engine(error) => error::engine(conn, error),
            Self::Bound(error) => error,
        }
    }
}

/// Where a statement runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    /// In a transaction of its own.
    Nothing,
    /// In one that is open already.
    Transaction,
}

/// Runs a statement as `mode` allows.
pub(super) fn run(
    conn: &Conn,
    request: &Request,
    token: &Token,
    mode: Mode,
    around: Around,
) -> Result<Rows, StoreError> {
    let _mode = conn.guard.switch(mode);
    let cap = &request.cap;
    conn.watch.begin(token, Some(cap.timeout), cap.until);
    let result = match (mode, around) {
        (Mode::Migrate, Around::Nothing) => alone(conn, || migrate(conn, request)),
        (Mode::Migrate, Around::Transaction) => migrate(conn, request),
        _ => steps(conn, request, around).map_err(|halt| halt.of(conn)),
    };
    conn.watch.end();
    result
}

/// Runs `work` between a beginning and an end of our own.
pub(super) fn alone<T>(
    conn: &Conn,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    conn.order("BEGIN IMMEDIATE")?;
    let result = work().and_then(|done| conn.order("COMMIT").map(|()| done));
    if result.is_err() {
        conn.roll_back();
    }
    result
}

fn migrate(conn: &Conn, request: &Request) -> Result<Rows, StoreError> {
    let mut statement = conn
        .db
        .prepare(&request.text)
        .map_err(|error| error::engine(conn, error))?;
    let rows = answer(conn, &mut statement, request).map_err(|halt| halt.of(conn))?;
    drop(statement);
    check_names(conn)?;
    Ok(rows)
}

/// The engine asks about the old name of a table that is renamed, not about the new one.
pub(super) fn check_names(conn: &Conn) -> Result<(), StoreError> {
    if !conn.guard.take_renamed() {
        return Ok(());
    }
    let names = conn.own(|db| {
        let mut statement = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?;
        names.collect::<Result<Vec<_>, _>>()
    })?;
    const OURS: [&str; 3] = ["kodex_meta", "kodex_journal", "kodex_progress"];
    let foreign = names.into_iter().find(|name| {
        !is_own(name) && !name.starts_with("sqlite_") && !OURS.contains(&name.as_str())
    });
    match (foreign, &conn.site.plugin) {
        (Some(name), Some(plugin)) => Err(StoreError::Refused {
            plugin: plugin.clone(),
            action: format!("give a table the name {name}"),
        }),
        _ => Ok(()),
    }
}

fn steps(conn: &Conn, request: &Request, around: Around) -> Result<Rows, Halt> {
    let mut statement = conn.db.prepare_cached(&request.text)?;
    let gives_rows = statement.column_count() > 0;
    if around == Around::Transaction || !gives_rows || statement.readonly() {
        return answer(conn, &mut statement, request);
    }
    // The changes happen before the first row comes out; a bound that the rows break must undo them.
    conn.order("BEGIN IMMEDIATE").map_err(Halt::Bound)?;
    let result = answer(conn, &mut statement, request)
        .and_then(|rows| conn.order("COMMIT").map(|()| rows).map_err(Halt::Bound));
    if result.is_err() {
        conn.roll_back();
    }
    result
}

fn answer(
    conn: &Conn,
    statement: &mut rusqlite::Statement<'_>,
    request: &Request,
) -> Result<Rows, Halt> {
    bind(statement, request)?;
    let before = conn.db.total_changes();
    let columns = columns(statement);
    let forms: Vec<Form> = columns
        .iter()
        .map(|column| Form::of(&column.kind))
        .collect();
    let mut page = Page::new(&request.cap);
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let (values, bytes) = read_row(row, &forms)?;
        if !page.fits(bytes) {
            return Err(Halt::Bound(page.excess(conn)));
        }
        page.push(values, bytes);
    }
    drop(rows);
    let changed = conn.db.total_changes() != before;
    Ok(Rows {
        columns,
        rows: page.rows,
        n_changed: if changed { conn.db.changes() } else { 0 },
    })
}

pub(super) fn bind(
    statement: &mut rusqlite::Statement<'_>,
    request: &Request,
) -> rusqlite::Result<()> {
    for (at, value) in request.values.iter().enumerate() {
        statement.raw_bind_parameter(at + 1, value)?;
    }
    Ok(())
}

pub(super) fn columns(statement: &rusqlite::Statement<'_>) -> Vec<Column> {
    statement
        .columns()
        .map(|column| Column {
            name: column.name().to_owned(),
            kind: kind(column.decl_type()),
        })
        .collect()
}

/// The declared type as it is reported.
pub(super) fn kind(declared: Option<&str>) -> String {
    match declared {
        Some(declared) if !declared.is_empty() => declared.to_ascii_lowercase(),
        _ => "any".to_owned(),
    }
}

/// The values of a row, and the bytes that they take in the engine.
pub(super) fn read_row(
    row: &rusqlite::Row<'_>,
    forms: &[Form],
) -> rusqlite::Result<(Vec<crate::Value>, usize)> {
    let mut values = Vec::with_capacity(forms.len());
    let mut bytes = 0;
    for (at, form) in forms.iter().enumerate() {
        let value = row.get_ref(at)?;
        bytes += value::size(value);
        values.push(form.read(value));
    }
    Ok((values, bytes))
}

/// Rows as they are collected, within a cap.
pub(super) struct Page {
    pub(super) rows: Vec<Vec<crate::Value>>,
    n_rows: usize,
    most_bytes: usize,
    bytes: usize,
}

impl Page {
    pub(super) fn new(cap: &Cap) -> Self {
        Self {
            rows: Vec::new(),
            n_rows: cap.n_rows,
            most_bytes: cap.bytes,
            bytes: 0,
        }
    }

    /// Whether a row of so many bytes has room.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.rows.len() < self.n_rows && self.bytes.saturating_add(bytes) <= self.most_bytes
    }

    pub(super) fn push(&mut self, row: Vec<crate::Value>, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.rows.push(row);
    }

    /// The error for a row that does not fit.
    pub(super) fn excess(&self, conn: &Conn) -> StoreError {
        let Some(plugin) = conn.site.plugin.clone() else {
            return StoreError::Internal("an answer of the store's own has no bounds".to_owned());
        };
        if self.rows.len() >= self.n_rows {
            StoreError::TooManyRows {
                plugin,
                limit: self.n_rows,
            }
        } else {
            StoreError::TooManyBytes {
                plugin,
                limit: self.most_bytes,
            }
        }
    }
}
