//! State: values, leases and a row of counters per plugin, in the store's own file.
//!
//! No statement of a plugin ever runs there, so what is short runs where it is asked for ([`super::here`]).
//! Otherwise reads go to the readers' lane, and writes that wait for each other are committed together
//! ([`super::group`]). A plugin that writes again and again has versions in reserve, so that such a write
//! changes one row; one that is not above the row's own is not used. Tokens of leases come from the plugin's counters, so a lease
//! that is forgotten takes no token with it.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use kodex_plugin::PluginName;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;

use super::{
    error,
    file::File,
    group::{Group, Outcome},
    open::Conn,
    thread::Patience,
    watch::locked,
};
use crate::{
    State, StoreError, Work,
    state::{
        Entry, Key, Lease, MAX_LEASE_MS, N_KEYS, OnlyIf, PAGE, Write, Written, check_key,
        check_ttl, check_write,
    },
};

const READ: &str = "SELECT version, expires_at_ms, value FROM state WHERE plugin = ?1 AND key = ?2";
const LOOK: &str = "SELECT version, expires_at_ms FROM state WHERE plugin = ?1 AND key = ?2";
const LIST: &str = "SELECT key, version, octet_length(value), expires_at_ms FROM state
    WHERE plugin = ?1 AND key >= ?2 AND key > ?3 AND (expires_at_ms IS NULL OR expires_at_ms > ?4)
    ORDER BY key";
const INSERT: &str =
    "INSERT INTO state (plugin, key, version, expires_at_ms, value) VALUES (?1, ?2, ?3, ?4, ?5)";
const UPDATE: &str =
    "UPDATE state SET version = ?3, expires_at_ms = ?4, value = ?5 WHERE plugin = ?1 AND key = ?2";
/// The usual write: the row is there and its condition holds.
const REPLACE: &str = "UPDATE state SET version = ?3, expires_at_ms = ?4, value = ?5
    WHERE plugin = ?1 AND key = ?2 AND version < ?3
      AND (?6 IS NULL OR version = ?6 AND (expires_at_ms IS NULL OR expires_at_ms > ?7))";
const DELETE: &str = "DELETE FROM state WHERE plugin = ?1 AND key = ?2";
const COUNT: &str = "INSERT INTO counters (plugin, n_keys, last_version, last_token) VALUES (?1, max(?2, 0), ?3, ?4)
    ON CONFLICT (plugin) DO UPDATE SET n_keys = n_keys + ?2, last_version = last_version + ?3,
        last_token = last_token + ?4
    RETURNING last_version, last_token";
const N_HELD: &str = "SELECT n_keys FROM counters WHERE plugin = ?1";
const LEASE: &str = "SELECT token, until_ms FROM leases WHERE plugin = ?1 AND key = ?2";
const TAKE: &str = "INSERT INTO leases (plugin, key, token, until_ms) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (plugin, key) DO UPDATE SET token = excluded.token, until_ms = excluded.until_ms";
const EXPIRED: &str = "SELECT plugin, key FROM state WHERE expires_at_ms <= ?1 LIMIT ?2";
const EXPIRED_OF_ONE: &str =
    "DELETE FROM state WHERE plugin = ?1 AND expires_at_ms IS NOT NULL AND expires_at_ms <= ?2";
const FORGET: &str = "DELETE FROM leases WHERE (plugin, key) IN
    (SELECT plugin, key FROM leases WHERE until_ms <= ?1 LIMIT ?2)";

/// Versions that a plugin reserves at its second write and later; those that are left at the end are lost.
const N_RESERVED: i64 = 256;

/// The state of all plugins.
pub(super) struct Values {
    file: Arc<File>,
    group: Group,
    reserve: Mutex<HashMap<PluginName, Range<i64>>>,
}

/// For how long a read waits is bounded by the engine alone; its answer is worth a look.
const READING: Patience = Patience {
    turn: None,
    short: true,
};

impl Values {
    pub(super) fn new(file: Arc<File>, group: Group) -> Self {
        Self {
            file,
            group,
            reserve: Mutex::default(),
        }
    }

    /// A version out of the reserve, if there is one, and how many are to be reserved if it does not serve.
    fn version(&self, plugin: &PluginName) -> (Option<i64>, i64) {
        match locked(&self.reserve).get_mut(plugin) {
            Some(left) => (left.next(), N_RESERVED),
            // A process that writes once leaves no gap.
            None => (None, 1),
        }
    }

    /// Keeps versions for later. Callers that reserve at once come here in any order: only the highest versions stay,
    /// so that a write never gets a lower one than a write that ended before it began.
    fn keep(&self, plugin: &PluginName, reserved: Range<i64>) {
        let mut reserve = locked(&self.reserve);
        let held = reserve.entry(plugin.clone()).or_default();
        if held.end <= reserved.start {
            *held = reserved;
        }
    }

    async fn change<T, F>(&self, plugin: &PluginName, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection, i64) -> Outcome<T> + Send + 'static,
    {
        self.file.site.writable()?;
        self.group.call(&self.file, plugin, false, work).await
    }
}

impl State for Values {
    fn read<'a>(&'a self, plugin: &'a PluginName, key: &'a str) -> Work<'a, Option<Entry>> {
        Box::pin(async move {
            check_key(plugin, key)?;
            if let Some(found) = self.file.here.read(|conn| read(conn, plugin, key)) {
                // What never waits would never let others have the thread.
                tokio::task::coop::consume_budget().await;
                return found;
            }
            let (plugin, key) = (plugin.clone(), key.to_owned());
            let here = Arc::clone(&self.file.here);
            let work = self.file.readers.call(READING, move |seat, _| {
                if !seat.has_file()? {
                    return Ok(None);
                }
                here.add_reader();
                read(seat.reader()?, &plugin, &key)
            });
            work.await
        })
    }

    fn write<'a>(&'a self, plugin: &'a PluginName, write: &'a Write<'a>) -> Work<'a, Written> {
        Box::pin(async move {
            check_write(plugin, write)?;
            let (version, n_reserved) = match write.value {
                Some(_) => self.version(plugin),
                None => (None, 0),
            };
            let change = Change {
                version,
                n_reserved,
                plugin: plugin.clone(),
                key: write.key.to_owned(),
                value: write.value.map(|value| value.get().to_owned()),
                ttl_ms: write.ttl_ms,
                only_if: write.only_if,
                under: write.under.cloned(),
            };
            let (written, reserved) = self
                .change(plugin, move |db, now_ms| change.run(db, now_ms))
                .await?;
            if let Some(reserved) = reserved {
                self.keep(plugin, reserved);
            }
            Ok(written)
        })
    }

    fn list<'a>(
        &'a self,
        plugin: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Key>> {
        Box::pin(async move {
            let (plugin, prefix) = (plugin.clone(), prefix.to_owned());
            let after = after.unwrap_or("").to_owned();
            let work = self.file.readers.call(Patience::default(), move |seat, _| {
                if !seat.has_file()? {
                    return Ok(Vec::new());
                }
                list(seat.reader()?, &plugin, &prefix, &after, limit.min(PAGE))
            });
            work.await
        })
    }

    fn lock<'a>(&'a self, plugin: &'a PluginName, key: &'a str, ttl_ms: u64) -> Work<'a, Lease> {
        Box::pin(async move {
            check_key(plugin, key)?;
            check_ttl(plugin, ttl_ms, MAX_LEASE_MS)?;
            let (owner, key) = (plugin.clone(), key.to_owned());
            self.change(plugin, move |db, now_ms| {
                lock(db, &owner, &key, ttl_ms, now_ms)
            })
            .await
        })
    }

    fn renew<'a>(
        &'a self,
        plugin: &'a PluginName,
        lease: &'a Lease,
        ttl_ms: u64,
    ) -> Work<'a, Lease> {
        Box::pin(async move {
            check_ttl(plugin, ttl_ms, MAX_LEASE_MS)?;
            let (owner, lease) = (plugin.clone(), lease.clone());
            self.change(plugin, move |db, now_ms| {
                if !holds(db, &owner, &lease, now_ms)? {
                    return Ok(Err(lost(&owner, &lease)));
                }
                let until_ms = now_ms.saturating_add(signed(ttl_ms));
                take(db, &owner, &lease.key, signed(lease.token), until_ms)
            })
            .await
        })
    }

    fn unlock<'a>(&'a self, plugin: &'a PluginName, lease: &'a Lease) -> Work<'a, bool> {
        Box::pin(async move {
            if !self.file.site.is_there()? {
                return Ok(false);
            }
            let (owner, lease) = (plugin.clone(), lease.clone());
            self.change(plugin, move |db, now_ms| {
                let held = holds(db, &owner, &lease, now_ms)?;
                if held {
                    take(db, &owner, &lease.key, signed(lease.token), 0)?.ok();
                }
                Ok(Ok(held))
            })
            .await
        })
    }

    fn sweep(&self, limit: usize) -> Work<'_, u64> {
        Box::pin(async move {
            if !self.file.site.is_there()? {
                return Ok(0);
            }
            self.file.site.writable()?;
            let now_ms = signed(self.file.site.options.clock.unix_ms());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let work = self.file.writer.call(Patience::default(), move |seat, _| {
                let conn = seat.writer()?;
                super::run::alone(conn, || conn.own(|db| sweep(db, now_ms, limit)))
            });
            work.await
        })
    }
}

fn read(conn: &Conn, plugin: &PluginName, key: &str) -> Result<Option<Entry>, StoreError> {
    let now_ms = signed(conn.site.options.clock.unix_ms());
    let fail = |error| error::engine(conn, error);
    let mut statement = conn.db.prepare_cached(READ).map_err(fail)?;
    let mut rows = statement
        .query(params![plugin.as_str(), key])
        .map_err(fail)?;
    let Some(row) = rows.next().map_err(fail)? else {
        return Ok(None);
    };
    let expires_at_ms: Option<i64> = row.get(1).map_err(fail)?;
    if expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= now_ms) {
        return Ok(None);
    }
    let version: i64 = row.get(0).map_err(fail)?;
    let text: String = row.get(2).map_err(fail)?;
    let value = RawValue::from_string(text).map_err(|_| StoreError::Damaged {
        what: format!("a state value of plugin {plugin}"),
        problem: "it is no JSON".to_owned(),
    })?;
    Ok(Some(Entry {
        value,
        version: unsigned(version),
        expires_at_ms: expires_at_ms.map(unsigned),
    }))
}

fn list(
    conn: &Conn,
    plugin: &PluginName,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Key>, StoreError> {
    let now_ms = signed(conn.site.options.clock.unix_ms());
    conn.own(|db| {
        let mut statement = db.prepare_cached(LIST)?;
        let mut rows = statement.query(params![plugin.as_str(), prefix, after, now_ms])?;
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some(row) = rows.next()?
        {
            let key: String = row.get(0)?;
            if !key.starts_with(prefix) {
                break;
            }
            keys.push(Key {
                key,
                version: unsigned(row.get(1)?),
                bytes: unsigned(row.get(2)?),
                expires_at_ms: row.get::<_, Option<i64>>(3)?.map(unsigned),
            });
        }
        Ok(keys)
    })
}

/// A [`Write`] that has its own texts, to go to a thread.
struct Change {
    /// A version in reserve.
    version: Option<i64>,
    /// How many versions to take where that does not serve.
    n_reserved: i64,
    plugin: PluginName,
    key: String,
    value: Option<String>,
    ttl_ms: Option<u64>,
    only_if: OnlyIf,
    under: Option<Lease>,
}

impl Change {
    /// What became of it, and versions that were reserved besides.
    fn run(&self, db: &Connection, now_ms: i64) -> Outcome<(Written, Option<Range<i64>>)> {
        if let Some(version) = self.replace(db, now_ms)? {
            return Ok(Ok((Written::Done { version }, None)));
        }
        let name = self.plugin.as_str();
        if let Some(lease) = &self.under
            && !holds(db, &self.plugin, lease, now_ms)?
        {
            return Ok(Err(lost(&self.plugin, lease)));
        }
        let stored: Option<(i64, Option<i64>)> = db
            .prepare_cached(LOOK)?
            .query_row(params![name, self.key], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let living = match stored {
            Some((version, expires)) if expires.is_none_or(|at_ms| at_ms > now_ms) => {
                unsigned(version)
            }
            _ => 0,
        };
        let holds = match self.only_if {
            OnlyIf::Always => true,
            OnlyIf::Absent => living == 0,
            OnlyIf::Version(version) => living == version && version != 0,
        };
        if !holds {
            return Ok(Ok((Written::Refused { version: living }, None)));
        }
        match &self.value {
            None => {
                if stored.is_some() {
                    db.prepare_cached(DELETE)?
                        .execute(params![name, self.key])?;
                    count(db, name, [-1, 0, 0])?;
                }
                Ok(Ok((Written::Done { version: living }, None)))
            }
            Some(value) => self.set(db, value, stored.is_some(), now_ms),
        }
    }

    /// The usual write in one statement; none when it did not apply.
    fn replace(&self, db: &Connection, now_ms: i64) -> rusqlite::Result<Option<u64>> {
        let (Some(value), Some(version), None) = (&self.value, self.version, &self.under) else {
            return Ok(None);
        };
        let wanted = match self.only_if {
            OnlyIf::Always => None,
            OnlyIf::Version(wanted) => Some(signed(wanted)),
            OnlyIf::Absent => return Ok(None),
        };
        let n_changed = db.prepare_cached(REPLACE)?.execute(params![
            self.plugin.as_str(),
            self.key,
            version,
            self.expires_at_ms(now_ms),
            value,
            wanted,
            now_ms
        ])?;
        Ok((n_changed == 1).then(|| unsigned(version)))
    }

    fn expires_at_ms(&self, now_ms: i64) -> Option<i64> {
        self.ttl_ms
            .map(|ttl_ms| now_ms.saturating_add(signed(ttl_ms)))
    }

    fn set(
        &self,
        db: &Connection,
        value: &str,
        replaces: bool,
        now_ms: i64,
    ) -> Outcome<(Written, Option<Range<i64>>)> {
        let name = self.plugin.as_str();
        if !replaces && !has_room(db, name, now_ms)? {
            return Ok(Err(StoreError::TooManyKeys {
                plugin: self.plugin.clone(),
                limit: N_KEYS,
            }));
        }
        let (last, _) = count(db, name, [i64::from(!replaces), self.n_reserved, 0])?;
        let version = last - self.n_reserved + 1;
        db.prepare_cached(if replaces { UPDATE } else { INSERT })?
            .execute(params![
                name,
                self.key,
                version,
                self.expires_at_ms(now_ms),
                value
            ])?;
        let written = Written::Done {
            version: unsigned(version),
        };
        Ok(Ok((written, Some(version + 1..last + 1))))
    }
}

/// Adds to a plugin's counters; gives the last version and the last token.
fn count(
    db: &Connection,
    name: &str,
    [n_keys, versions, tokens]: [i64; 3],
) -> rusqlite::Result<(i64, i64)> {
    db.prepare_cached(COUNT)?
        .query_row(params![name, n_keys, versions, tokens], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
}

/// Whether one more key fits; expired ones make room first.
fn has_room(db: &Connection, name: &str, now_ms: i64) -> rusqlite::Result<bool> {
    let held = |db: &Connection| -> rusqlite::Result<i64> {
        let n_keys = db
            .prepare_cached(N_HELD)?
            .query_row([name], |row| row.get(0))
            .optional()?;
        Ok(n_keys.unwrap_or(0))
    };
    if unsigned(held(db)?) < N_KEYS {
        return Ok(true);
    }
    let n_gone = db
        .prepare_cached(EXPIRED_OF_ONE)?
        .execute(params![name, now_ms])?;
    count(db, name, [-i64::try_from(n_gone).unwrap_or(0), 0, 0])?;
    Ok(unsigned(held(db)?) < N_KEYS)
}

fn lock(
    db: &Connection,
    plugin: &PluginName,
    key: &str,
    ttl_ms: u64,
    now_ms: i64,
) -> Outcome<Lease> {
    let held: Option<i64> = db
        .prepare_cached(LEASE)?
        .query_row(params![plugin.as_str(), key], |row| row.get(1))
        .optional()?;
    if held.is_some_and(|until_ms| until_ms > now_ms) {
        return Ok(Err(StoreError::Locked {
            plugin: plugin.clone(),
            key: key.to_owned(),
        }));
    }
    let (_, token) = count(db, plugin.as_str(), [0, 0, 1])?;
    take(
        db,
        plugin,
        key,
        token,
        now_ms.saturating_add(signed(ttl_ms)),
    )
}

fn take(
    db: &Connection,
    plugin: &PluginName,
    key: &str,
    token: i64,
    until_ms: i64,
) -> Outcome<Lease> {
    db.prepare_cached(TAKE)?
        .execute(params![plugin.as_str(), key, token, until_ms])?;
    Ok(Ok(Lease {
        key: key.to_owned(),
        token: unsigned(token),
        until_ms: unsigned(until_ms),
    }))
}

fn holds(
    db: &Connection,
    plugin: &PluginName,
    lease: &Lease,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let held: Option<(i64, i64)> = db
        .prepare_cached(LEASE)?
        .query_row(params![plugin.as_str(), lease.key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(held.is_some_and(|(token, until_ms)| unsigned(token) == lease.token && until_ms > now_ms))
}

fn lost(plugin: &PluginName, lease: &Lease) -> StoreError {
    StoreError::LeaseLost {
        plugin: plugin.clone(),
        key: lease.key.clone(),
    }
}

fn sweep(db: &Connection, now_ms: i64, limit: i64) -> rusqlite::Result<u64> {
    let expired = {
        let mut statement = db.prepare_cached(EXPIRED)?;
        let rows = statement.query_map(params![now_ms, limit], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    let mut n_gone = 0;
    for (plugin, key) in &expired {
        db.prepare_cached(DELETE)?.execute(params![plugin, key])?;
        count(db, plugin, [-1, 0, 0])?;
        n_gone += 1;
    }
    let left = limit.saturating_sub(i64::try_from(n_gone).unwrap_or(i64::MAX));
    let leases = db.prepare_cached(FORGET)?.execute(params![now_ms, left])?;
    Ok(n_gone + unsigned(i64::try_from(leases).unwrap_or(0)))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
