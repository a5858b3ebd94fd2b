//! Copies the rows of one plugin's tables, those that others refer to first.

use kodex_plugin::PluginName;
use kodex_store::{Bounds, Engine, Namespace, Statement, StoreError, Table, Value};

use super::{TableTransferred, TransferError, canon::Digest};

/// Rows in one page of the source.
const PAGE: usize = 500;
/// Parameters of one statement; both engines take more.
const N_PARAMS: usize = 20_000;

type Watch<'a> = &'a (dyn Fn(&str, &str, u64) + Send + Sync);

/// One plugin's copy.
pub(super) struct Copy<'a> {
    pub(super) plugin: &'a PluginName,
    pub(super) source: &'a dyn Namespace,
    pub(super) target: &'a dyn Namespace,
    /// The target's engine.
    pub(super) engine: Engine,
    pub(super) watch: Watch<'a>,
}

impl Copy<'_> {
    /// Copies every table of the source.
    pub(super) async fn all(
        &self,
        source: Vec<Table>,
        target: &[Table],
    ) -> Result<Vec<TableTransferred>, TransferError> {
        let ordered = self.ordered(source)?;
        let mut same = Vec::new();
        // Rows that migrations put there, or an interrupted copy, go before the tables they refer to.
        for table in ordered.iter().rev() {
            let there = self.there(table, target)?;
            let is_same = self.digest(self.source, table, there).await?
                == self.digest(self.target, there, there).await?;
            same.push(is_same);
        }
        same.reverse();
        // A table that differs takes those down that refer to it.
        for at in 0..ordered.len() {
            let refers = |to: usize| ordered[at].references.contains(&ordered[to].name);
            if (0..at).any(|before| !same[before] && refers(before)) {
                same[at] = false;
            }
        }
        for (table, _) in ordered.iter().zip(&same).rev().filter(|(_, same)| !**same) {
            let delete = Statement::new(format!("DELETE FROM {}", quoted(&table.name)));
            self.target.run(&delete, &bounds()).await?;
        }
        let mut done = Vec::new();
        for (table, same) in ordered.iter().zip(&same) {
            let there = self.there(table, target)?;
            if !same {
                self.copy(table, there).await?;
            }
            done.push(self.compared(table, there).await?);
        }
        Ok(done)
    }

    fn there<'t>(&self, table: &Table, target: &'t [Table]) -> Result<&'t Table, TransferError> {
        let there = target.iter().find(|there| there.name == table.name);
        let there = there
            .ok_or_else(|| self.differs(table, "it is not in the target's schema".to_owned()))?;
        let lacks = |column: &&kodex_store::Column| {
            !there.columns.iter().any(|own| own.name == column.name)
        };
        match table.columns.iter().find(lacks) {
            Some(column) => {
                Err(self.differs(table, format!("the target has no column {}", column.name)))
            }
            None => Ok(there),
        }
    }

    /// The tables so that each comes after those it refers to.
    fn ordered(&self, mut tables: Vec<Table>) -> Result<Vec<Table>, TransferError> {
        let mut ordered: Vec<Table> = Vec::with_capacity(tables.len());
        while !tables.is_empty() {
            let is_free = |table: &Table| {
                let waits_for = |name: &String| {
                    *name != table.name && tables.iter().any(|other| other.name == *name)
                };
                !table.references.iter().any(waits_for)
            };
            let Some(at) = tables.iter().position(is_free) else {
                let tables = tables.into_iter().map(|table| table.name).collect();
                return Err(TransferError::Circle {
                    plugin: self.plugin.to_string(),
                    tables,
                });
            };
            ordered.push(tables.remove(at));
        }
        Ok(ordered)
    }

    async fn copy(&self, table: &Table, there: &Table) -> Result<(), TransferError> {
        let mut n_rows = 0;
        let select = select(table, table);
        let mut cursor = self.source.open(&select, &bounds()).await?;
        let mut tx = self.target.begin(&bounds()).await?;
        loop {
            let page = cursor.next(PAGE, &bounds()).await?;
            if page.rows.is_empty() {
                break;
            }
            let at_once = (N_PARAMS / table.columns.len().max(1)).max(1);
            for rows in page.rows.chunks(at_once) {
                tx.run(&self.insert(table, rows), &bounds()).await?;
            }
            n_rows += page.rows.len() as u64;
            (self.watch)(self.plugin.as_str(), &table.name, n_rows);
        }
        if self.engine == Engine::Postgres {
            for column in there.columns.iter().filter(|column| is_whole(&column.kind)) {
                tx.run(&advance(table, &column.name), &bounds()).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    fn insert(&self, table: &Table, rows: &[Vec<Value>]) -> Statement {
        let columns: Vec<_> = table
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        // Numbers that the database gives are taken over as they are.
        let overriding = match self.engine {
            Engine::Postgres => " OVERRIDING SYSTEM VALUE",
            Engine::Sqlite => "",
        };
        let one = format!("({})", vec!["?"; columns.len()].join(", "));
        let all = vec![one; rows.len()].join(", ");
        let text = format!(
            "INSERT INTO {} ({}){overriding} VALUES {all}",
            quoted(&table.name),
            columns.join(", ")
        );
        Statement::with(text, rows.iter().flatten().cloned())
    }

    async fn compared(
        &self,
        table: &Table,
        there: &Table,
    ) -> Result<TableTransferred, TransferError> {
        let (ours, theirs) = (
            self.digest(self.source, table, there).await?,
            self.digest(self.target, there, there).await?,
        );
        if ours == theirs {
            let (n_rows, digest) = ours;
            return Ok(TableTransferred {
                table: table.name.clone(),
                n_rows,
                digest,
            });
        }
        let problem = match ours.0 == theirs.0 {
            true => format!("{} rows on both sides, with different values", ours.0),
            false => format!("{} rows in the source, {} in the target", ours.0, theirs.0),
        };
        Err(self.differs(table, problem))
    }

    /// How many rows, and a digest over their values as the target's columns read them.
    async fn digest(
        &self,
        side: &dyn Namespace,
        table: &Table,
        there: &Table,
    ) -> Result<(u64, String), StoreError> {
        let mut digest = Digest::new(there);
        let mut cursor = side.open(&select(table, there), &bounds()).await?;
        loop {
            let page = cursor.next(PAGE, &bounds()).await?;
            if page.rows.is_empty() {
                return Ok(digest.end());
            }
            page.rows.iter().for_each(|row| digest.add(row));
        }
    }

    fn differs(&self, table: &Table, problem: String) -> TransferError {
        TransferError::Differs {
            plugin: self.plugin.to_string(),
            table: table.name.clone(),
            problem,
        }
    }
}

/// Everything of a table, with the columns in the order of another one.
fn select(table: &Table, order: &Table) -> Statement {
    let columns = order
        .columns
        .iter()
        .filter(|column| table.columns.iter().any(|own| own.name == column.name));
    let columns: Vec<_> = columns.map(|column| quoted(&column.name)).collect();
    Statement::new(format!(
        "SELECT {} FROM {}",
        columns.join(", "),
        quoted(&table.name)
    ))
}

/// Sets the sequence behind a column, if there is one, beyond what was copied.
fn advance(table: &Table, column: &str) -> Statement {
    let text = format!(
        "SELECT setval(pg_get_serial_sequence(:table, :column)::regclass, (SELECT max({column}) FROM {table})) \
         WHERE pg_get_serial_sequence(:table, :column) IS NOT NULL AND EXISTS (SELECT 1 FROM {table})",
        column = quoted(column),
        table = quoted(&table.name)
    );
    Statement::named(
        text,
        [
            ("table", Value::Text(quoted(&table.name))),
            ("column", Value::Text(column.to_owned())),
        ],
    )
}

fn is_whole(kind: &str) -> bool {
    matches!(
        kind,
        "int2" | "int4" | "int8" | "smallint" | "integer" | "bigint"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A page may take its time on a large table, and so may the one transaction of a table.
fn bounds() -> Bounds {
    Bounds {
        timeout: std::time::Duration::from_secs(600),
        text_bytes: 8 << 20,
        bytes: 64 << 20,
        ..Bounds::default()
    }
}
