//! The tables of a plugin, as the engine's catalog has them.

use rusqlite::Connection;

use super::{guard::is_own, run::kind};
use crate::{Column, Table};

/// Tables and full-text tables that are the plugin's own; what a full-text table keeps its index in is not
/// listed.
pub(super) fn tables(db: &Connection) -> rusqlite::Result<Vec<Table>> {
    let names = {
        let mut statement = db.prepare(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') ORDER BY name",
        )?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    names
        .into_iter()
        .filter(|name| is_own(name))
        .map(|name| table(db, name))
        .collect()
}

fn table(db: &Connection, name: String) -> rusqlite::Result<Table> {
    /// How `table_xinfo` marks a column that is no column to a reader.
    const HIDDEN: i64 = 1;
    let mut columns = Vec::new();
    let mut key = Vec::new();
    let mut statement = db.prepare("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1)")?;
    let mut rows = statement.query([&name])?;
    while let Some(row) = rows.next()? {
        let column: String = row.get(0)?;
        let place: i64 = row.get(2)?;
        if place > 0 {
            key.push((place, column.clone()));
        }
        if row.get::<_, i64>(3)? != HIDDEN {
            columns.push(Column {
                name: column,
                kind: kind(row.get::<_, Option<String>>(1)?.as_deref()),
            });
        }
    }
    key.sort_unstable();
    Ok(Table {
        references: references(db, &name)?,
        name,
        columns,
        primary_key: key.into_iter().map(|(_, column)| column).collect(),
    })
}

fn references(db: &Connection, name: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement =
        db.prepare("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1) ORDER BY 1")?;
    let rows = statement.query_map([name], |row| row.get(0))?;
    rows.collect()
}
