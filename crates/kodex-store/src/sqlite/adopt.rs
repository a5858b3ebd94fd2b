//! Values, locks and numbers of a plugin as another store had them.

use kodex_plugin::PluginName;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{file::File, run::alone, thread::Patience};
use crate::{
    StoreError,
    state::{Adopted, Entry, Lease, Numbers},
};

const LEASES: &str =
    "SELECT key, token, until_ms FROM leases WHERE plugin = ?1 AND key > ?2 ORDER BY key LIMIT ?3";
const NUMBERS: &str = "SELECT last_version, last_token FROM counters WHERE plugin = ?1";
const RAISE: &str =
    "INSERT INTO counters (plugin, n_keys, last_version, last_token) VALUES (?1, 0, ?2, ?3)
    ON CONFLICT (plugin) DO UPDATE SET last_version = max(last_version, excluded.last_version),
        last_token = max(last_token, excluded.last_token)";
const VALUE: &str = "INSERT INTO state (plugin, key, version, expires_at_ms, value) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (plugin, key) DO UPDATE SET version = excluded.version, expires_at_ms = excluded.expires_at_ms,
        value = excluded.value";
const LEASE: &str = "INSERT INTO leases (plugin, key, token, until_ms) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (plugin, key) DO UPDATE SET token = excluded.token, until_ms = excluded.until_ms
    WHERE token <= excluded.token";
const COUNT: &str =
    "UPDATE counters SET n_keys = (SELECT count(*) FROM state WHERE plugin = ?1) WHERE plugin = ?1";

pub(super) async fn leases(
    file: &File,
    plugin: &PluginName,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Lease>, StoreError> {
    let (name, after) = (plugin.to_string(), after.unwrap_or_default().to_owned());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let work = file.readers.call(Patience::default(), move |seat, _| {
        if !seat.has_file()? {
            return Ok(Vec::new());
        }
        seat.reader()?.own(|db| {
            let mut statement = db.prepare_cached(LEASES)?;
            let rows = statement.query_map(params![name, after, limit], |row| {
                Ok(Lease {
                    key: row.get(0)?,
                    token: unsigned(row.get(1)?),
                    until_ms: unsigned(row.get(2)?),
                })
            })?;
            rows.collect()
        })
    });
    work.await
}

pub(super) async fn numbers(file: &File, plugin: &PluginName) -> Result<Numbers, StoreError> {
    let name = plugin.to_string();
    let work = file.readers.call(Patience::default(), move |seat, _| {
        if !seat.has_file()? {
            return Ok(Numbers::default());
        }
        let found = seat.reader()?.own(|db| {
            let mut statement = db.prepare_cached(NUMBERS)?;
            let row = statement.query_row([&name], |row| {
                Ok(Numbers {
                    last_version: unsigned(row.get(0)?),
                    last_token: unsigned(row.get(1)?),
                })
            });
            row.optional()
        });
        found.map(Option::unwrap_or_default)
    });
    work.await
}

pub(super) async fn adopt(
    file: &File,
    plugin: &PluginName,
    adopted: &Adopted<'_>,
) -> Result<(), StoreError> {
    file.site.writable()?;
    let name = plugin.to_string();
    let (values, leases) = (adopted.values.to_vec(), adopted.leases.to_vec());
    let numbers = adopted.numbers;
    let work = file.writer.call(Patience::default(), move |seat, _| {
        let conn = seat.writer()?;
        alone(conn, || {
            conn.own(|db| keep(db, &name, &values, &leases, numbers))
        })
    });
    work.await
}

fn keep(
    db: &Connection,
    name: &str,
    values: &[(String, Entry)],
    leases: &[Lease],
    numbers: Numbers,
) -> rusqlite::Result<()> {
    let (version, token) = (signed(numbers.last_version), signed(numbers.last_token));
    db.prepare_cached(RAISE)?
        .execute(params![name, version, token])?;
    for (key, entry) in values {
        let expires_at_ms = entry.expires_at_ms.map(signed);
        let (version, text) = (signed(entry.version), entry.value.get());
        db.prepare_cached(VALUE)?
            .execute(params![name, key, version, expires_at_ms, text])?;
    }
    for lease in leases {
        let (token, until_ms) = (signed(lease.token), signed(lease.until_ms));
        db.prepare_cached(LEASE)?
            .execute(params![name, lease.key, token, until_ms])?;
    }
    db.prepare_cached(COUNT)?.execute([name])?;
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
