//! Looks at a whole file and says what is wrong with it.

use kodex_plugin::PluginName;
use rusqlite::Connection;

use super::{ledger, open::Conn, queue};
use crate::{
    Finding, StoreError,
    state::{VALUE_BYTES, check_key},
};

/// Most findings of one kind and file; a damaged file has thousands.
const N_FINDINGS: usize = 20;

/// What is wrong with the file of `conn`.
pub(super) fn file(conn: &Conn) -> Result<Vec<Finding>, StoreError> {
    let plugin = conn.site.plugin.clone();
    let mut findings = Vec::new();
    let mut add = |code, message: String| {
        findings.push(Finding {
            code,
            plugin: plugin.clone(),
            message,
        });
    };
    for line in lines(conn, "PRAGMA integrity_check(20)")? {
        if line != "ok" {
            add(
                "store.integrity",
                format!("{}: {line}; restore it from a backup", conn.site.what()),
            );
        }
    }
    for line in lines(
        conn,
        "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' points to a missing row of ' || parent FROM pragma_foreign_key_check LIMIT 20",
    )? {
        add(
            "store.foreign_key",
            format!("{}: table {line}", conn.site.what()),
        );
    }
    match &plugin {
        Some(plugin) => {
            if let Err(error) = ledger::rows(conn, plugin) {
                add("store.ledger", error.to_string());
            }
        }
        None => {
            findings.extend(state(conn)?);
            findings.extend(queue::check(conn, N_FINDINGS)?);
        }
    }
    Ok(findings)
}

fn lines(conn: &Conn, sql: &str) -> Result<Vec<String>, StoreError> {
    conn.own(|db| {
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    })
}

/// Rows of state that no Kodex wrote.
fn state(conn: &Conn) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    let broken = conn.own(|db| {
        let mut statement = db.prepare(
            "SELECT state.plugin, key, octet_length(value), json_valid(value), version > coalesce(last_version, 0)
             FROM state LEFT JOIN counters ON counters.plugin = state.plugin",
        )?;
        let mut rows = statement.query([])?;
        let mut broken = Vec::new();
        while broken.len() < N_FINDINGS
            && let Some(row) = rows.next()?
        {
            let (plugin, key): (String, String) = (row.get(0)?, row.get(1)?);
            let problem = match PluginName::lenient(plugin.as_str()) {
                Err(_) => Some("belongs to a name that no plugin can have"),
                Ok(name) if check_key(&name, &key).is_err() => Some("has a key that no plugin can write"),
                Ok(_) if row.get::<_, i64>(2)? > i64::try_from(VALUE_BYTES).unwrap_or(i64::MAX) => {
                    Some("is larger than a value may be")
                }
                Ok(_) if !row.get::<_, bool>(3)? => Some("is no JSON"),
                Ok(_) if row.get::<_, bool>(4)? => Some("has a version that was never given"),
                Ok(_) => None,
            };
            if let Some(problem) = problem {
                broken.push((plugin, problem));
            }
        }
        Ok(broken)
    })?;
    for (plugin, problem) in broken {
        findings.push(Finding {
            code: "store.state",
            plugin: PluginName::lenient(plugin.as_str()).ok(),
            message: format!(
                "a state value of plugin {plugin} {problem}; delete it or restore a backup"
            ),
        });
    }
    findings.extend(conn.own(counters)?);
    Ok(findings)
}

fn counters(db: &Connection) -> rusqlite::Result<Vec<Finding>> {
    let mut statement = db.prepare(
        "SELECT plugin, n_keys, (SELECT count(*) FROM state WHERE state.plugin = counters.plugin) FROM counters",
    )?;
    let mut rows = statement.query([])?;
    let mut findings = Vec::new();
    while findings.len() < N_FINDINGS
        && let Some(row) = rows.next()?
    {
        let (plugin, said, found): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if said != found {
            findings.push(Finding {
                code: "store.state",
                plugin: PluginName::lenient(plugin.as_str()).ok(),
                message: format!(
                    "plugin {plugin} holds {found} keys, but {said} are counted; restore a backup"
                ),
            });
        }
    }
    Ok(findings)
}
