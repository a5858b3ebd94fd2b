//! What is there: plugins, and their tables as the catalogs describe them.

use kodex_plugin::PluginName;
use tokio_postgres::Row;

use super::{Inner, pool::Arg};
use crate::{Column, StoreError, Table};

const TABLES: &str = "
    SELECT c.oid::bigint, c.relname::text
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
      AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname NOT IN ('kodex_journal', 'kodex_progress')
    ORDER BY c.relname COLLATE \"C\"";
const COLUMNS: &str = "
    SELECT a.attname::text, pg_catalog.format_type(a.atttypid, NULL)
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid::bigint = $1 AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";
const PRIMARY_KEY: &str = "
    SELECT a.attname::text
    FROM pg_catalog.pg_constraint k
    CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
    WHERE k.conrelid::bigint = $1 AND k.contype = 'p'
    ORDER BY u.place";
const REFERENCES: &str = "
    SELECT DISTINCT r.relname::text COLLATE \"C\"
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
    WHERE k.conrelid::bigint = $1 AND k.contype = 'f'
    ORDER BY 1";

pub(super) async fn plugins(inner: &Inner) -> Result<Vec<PluginName>, StoreError> {
    let mut line = inner.line().await?;
    let rows = line
        .rows(
            "SELECT plugin FROM kodex.plugins
             UNION SELECT plugin FROM kodex.counters c
             WHERE EXISTS (SELECT 1 FROM kodex.state s WHERE s.plugin = c.plugin)
             ORDER BY 1",
            &[],
        )
        .await
        .map_err(|trouble| inner.own(trouble, "listing plugins"))?;
    let name = |row: &Row| {
        PluginName::new(row.get::<_, String>(0)).map_err(|error| StoreError::Damaged {
            what: format!("the store at {}", inner.place()),
            problem: format!("a row of the core schema names no plugin: {error}"),
        })
    };
    rows.iter().map(name).collect()
}

pub(super) async fn tables(inner: &Inner, plugin: &PluginName) -> Result<Vec<Table>, StoreError> {
    let Some(home) = inner.find(plugin).await? else {
        return Ok(Vec::new());
    };
    let own = |trouble| inner.own(trouble, "reading the catalogs");
    let mut line = inner.line().await?;
    let found = line
        .rows(TABLES, &[Arg::Text(&home.schema)])
        .await
        .map_err(own)?;
    let mut tables = Vec::with_capacity(found.len());
    for row in &found {
        let oid = [Arg::Number(row.get(0))];
        let columns = line.rows(COLUMNS, &oid).await.map_err(own)?;
        let primary_key = line.rows(PRIMARY_KEY, &oid).await.map_err(own)?;
        let references = line.rows(REFERENCES, &oid).await.map_err(own)?;
        let first = |row: &Row| row.get::<_, String>(0);
        tables.push(Table {
            name: row.get(1),
            columns: columns
                .iter()
                .map(|row| Column {
                    name: row.get(0),
                    kind: kind(row.get(1)),
                })
                .collect(),
            primary_key: primary_key.iter().map(first).collect(),
            references: references.iter().map(first).collect(),
        });
    }
    Ok(tables)
}

/// The catalogs' long names in the words that answers use.
fn kind(name: String) -> String {
    let (word, array) = match name.strip_suffix("[]") {
        Some(word) => (word, "[]"),
        None => (name.as_str(), ""),
    };
    let short = match word {
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time with time zone" => "timetz",
        "time without time zone" => "time",
        "character varying" => "varchar",
        "character" => "char",
        "bit varying" => "varbit",
        word => word,
    };
    format!("{short}{array}")
}
