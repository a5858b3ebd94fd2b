//! Gives what a plugin owns to another name: state, leases, counters and jobs in the store's file, tables and
//! ledger in the plugin's.
//!
//! Two files cannot change in one transaction, so the intention comes first: it is a row in the store's
//! file, written with the move of the state. From then on the rename is only ever completed, by this call,
//! by the next one, or by the next opening of the store for writing.

use std::{fs, path::Path, sync::Arc};

use kodex_plugin::PluginName;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::{
    error,
    open::{Site, beside, meta, sync_folder},
    run::alone,
    store::Inner,
    thread::Patience,
    watch::LOCK_WAIT,
};
use crate::StoreError;

/// See [`crate::Ledger::rename`].
pub(super) async fn rename(
    inner: &Arc<Inner>,
    from: &PluginName,
    to: &PluginName,
) -> Result<(), StoreError> {
    inner.store.site.writable()?;
    if from == to {
        return Ok(());
    }
    let (source, target) = (inner.site(from), inner.site(to));
    if !inner.store.site.exists() && !source.exists() {
        return Ok(());
    }
    let (from_name, to_name) = (from.clone(), to.clone());
    let target_there = target.exists();
    let lane = &inner.store.writer;
    lane.call(Patience::default(), move |seat, _| {
        let conn = seat.owner()?;
        alone(conn, || {
            let planned = conn.own(|db| intention(db, &from_name, &to_name, target_there))?;
            if planned {
                return Ok(());
            }
            Err(StoreError::Refused {
                plugin: from_name.clone(),
                action: format!(
                    "be renamed to {to_name}: that name has tables, state or jobs already"
                ),
            })
        })
    })
    .await?;
    complete(inner, from, to).await
}

/// Completes every rename that was broken off.
pub(super) async fn complete_all(inner: &Arc<Inner>) -> Result<(), StoreError> {
    if inner.store.site.options.read_only || !inner.store.site.exists() {
        return Ok(());
    }
    let pending = inner
        .store
        .readers
        .call(Patience::default(), |seat, _| {
            // Another process may be making the file at this moment.
            if !seat.has_file()? {
                return Ok(Vec::new());
            }
            seat.reader()?.own(|db| {
                let mut statement = db.prepare("SELECT source, target FROM renames")?;
                let rows = statement.query_map([], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
                })?;
                rows.collect::<Result<Vec<_>, _>>()
            })
        })
        .await?;
    for (source, target) in pending {
        let name = |text: &str| {
            PluginName::lenient(text).map_err(|error| StoreError::Damaged {
                what: "the list of renames".to_owned(),
                problem: error.to_string(),
            })
        };
        complete(inner, &name(&source)?, &name(&target)?).await?;
    }
    Ok(())
}

/// Writes the intention and moves the rows of the store's file; false when the target has something.
fn intention(
    db: &Connection,
    from: &PluginName,
    to: &PluginName,
    target_there: bool,
) -> rusqlite::Result<bool> {
    let (from, to) = (from.as_str(), to.as_str());
    let again = db
        .query_row(
            "SELECT 1 FROM renames WHERE source = ?1 AND target = ?2",
            [from, to],
            |_| Ok(()),
        )
        .optional()?;
    if again.is_some() {
        return Ok(true);
    }
    let taken: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM state WHERE plugin = ?1)
             OR EXISTS (SELECT 1 FROM leases WHERE plugin = ?1)
             OR EXISTS (SELECT 1 FROM jobs WHERE plugin = ?1)
             OR EXISTS (SELECT 1 FROM renames WHERE target = ?1 OR source IN (?1, ?2))",
        [to, from],
        |row| row.get(0),
    )?;
    if taken || target_there {
        return Ok(false);
    }
    db.execute(
        "INSERT INTO renames (source, target) VALUES (?1, ?2)",
        [from, to],
    )?;
    db.execute("UPDATE state SET plugin = ?2 WHERE plugin = ?1", [from, to])?;
    db.execute(
        "UPDATE leases SET plugin = ?2 WHERE plugin = ?1",
        [from, to],
    )?;
    db.execute("UPDATE jobs SET plugin = ?2 WHERE plugin = ?1", [from, to])?;
    // The target may have had keys once; its versions and tokens must not go back either.
    db.execute(
        "INSERT INTO counters (plugin, n_keys, last_version, last_token)
         SELECT ?2, n_keys, last_version, last_token FROM counters WHERE plugin = ?1
         ON CONFLICT (plugin) DO UPDATE SET n_keys = excluded.n_keys,
             last_version = max(last_version, excluded.last_version),
             last_token = max(last_token, excluded.last_token)",
        [from, to],
    )?;
    db.execute("UPDATE counters SET n_keys = 0 WHERE plugin = ?1", [from])?;
    Ok(true)
}

async fn complete(
    inner: &Arc<Inner>,
    from: &PluginName,
    to: &PluginName,
) -> Result<(), StoreError> {
    // Nobody in this process may have the file open under its old name, or think the new one absent.
    inner.retire(from).await?;
    inner.retire(to).await?;
    let (source, target) = (inner.site(from), inner.site(to));
    let (from_name, to_name) = (from.clone(), to.clone());
    let lane = &inner.store.writer;
    lane.call(Patience::default(), move |seat, _| {
        move_file(&source, &target, &from_name, &to_name)?;
        seat.owner()?.own(|db| {
            db.execute(
                "DELETE FROM renames WHERE source = ?1",
                [from_name.as_str()],
            )
            .map(|_| ())
        })
    })
    .await
}

/// Rewrites the ids in the source and gives it its new name. Whoever else has it open would go on under
/// the old one, so the engine is asked to be alone with the file first.
fn move_file(
    source: &Site,
    target: &Site,
    from: &PluginName,
    to: &PluginName,
) -> Result<(), StoreError> {
    if !source.exists() {
        return Ok(());
    }
    let fail = |error| error::opening(source, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(&source.path, flags).map_err(fail)?;
    db.busy_timeout(LOCK_WAIT).map_err(fail)?;
    db.pragma_update(None, "synchronous", "FULL")
        .map_err(fail)?;
    let mode: String = db
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .map_err(fail)?;
    if mode != "delete" {
        return Err(StoreError::Busy {
            what: source.what(),
        });
    }
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Exclusive)
        .map_err(fail)?;
    rewrite(&tx, from, to).map_err(fail)?;
    tx.commit().map_err(fail)?;
    drop(db);
    rename_file(&source.path, &target.path)
}

fn rewrite(db: &Connection, from: &PluginName, to: &PluginName) -> rusqlite::Result<()> {
    if meta(db, "plugin")?.as_deref() == Some(to.as_str()) {
        return Ok(());
    }
    let (old, new) = (format!("plugin:{from}/"), format!("plugin:{to}/"));
    for table in ["kodex_journal", "kodex_progress"] {
        db.execute(
            &format!(
                "UPDATE {table} SET id = ?2 || substr(id, length(?1) + 1) WHERE substr(id, 1, length(?1)) = ?1"
            ),
            params![old, new],
        )?;
    }
    db.execute(
        "UPDATE kodex_meta SET value = ?1 WHERE key = 'plugin'",
        [to.as_str()],
    )?;
    Ok(())
}

fn rename_file(source: &Path, target: &Path) -> Result<(), StoreError> {
    let done =
        fs::rename(source, target).and_then(|()| target.parent().map_or(Ok(()), sync_folder));
    done.map_err(|error| error::system(source, &error))?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let rest = beside(source, suffix);
        if fs::metadata(&rest).is_ok_and(|meta| meta.len() == 0) {
            // Empty, and of a file that is not there any more.
            let _ = fs::remove_file(rest);
        }
    }
    Ok(())
}
