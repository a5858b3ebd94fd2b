//! Small values by key, each operation one statement.
//!
//! Versions and tokens come from one sequence, drawn while the row is locked where there is one, so they
//! rise with every write of a key and none is given twice; nobody waits for another key's commit. A
//! condition is looked at twice: against what the statement sees, to answer at once, and against the row
//! itself when it is locked, to be right; where the two disagree, another node was faster, and the
//! statement runs again. How many keys there may be is counted in `room`.

use std::sync::Arc;

use kodex_plugin::PluginName;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::{Inner, pool::Arg, room::Room};
use crate::{
    State, StoreError, Work,
    state::{
        Entry, Key, Lease, MAX_LEASE_MS, MAX_TTL_MS, N_KEYS, OnlyIf, PAGE, Write, Written,
        check_key, check_ttl, check_write,
    },
};

/// How often a write is tried again that runs into another one.
const N_TRIES: usize = 10;
/// The time, once per statement; the last parameter of each is the reading of the store's clock, if it has one.
const NOW: &str = "coalesce($now::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)";

/// The texts of the statements, made once.
pub(super) struct PgState {
    inner: Arc<Inner>,
    room: Room,
    read: String,
    list: String,
    put: [String; 2],
    swap: [String; 2],
    delete: [String; 2],
    lock: String,
    renew: String,
    unlock: String,
    sweep: String,
}

impl PgState {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let both = |text: fn(bool) -> String| [text(false), text(true)];
        Self {
            inner,
            room: Room::default(),
            read: with_now(
                "SELECT value, version, expires_at_ms FROM kodex.state
                 WHERE plugin = $1 AND key = $2 AND (expires_at_ms IS NULL OR expires_at_ms > $NOW)",
                3,
            ),
            list: with_now(
                "SELECT key, version, octet_length(value)::bigint, expires_at_ms FROM kodex.state
                 WHERE plugin = $1 AND key >= $2 AND ($3::text IS NULL OR key < $3) AND ($4::text IS NULL OR key > $4)
                   AND (expires_at_ms IS NULL OR expires_at_ms > $NOW)
                 ORDER BY key LIMIT $5",
                6,
            ),
            put: both(put),
            swap: both(swap),
            delete: both(delete),
            lock: with_now(
                "WITH t AS (SELECT $NOW AS now),
                 u AS (UPDATE kodex.leases
                       SET token = nextval('kodex.versions'), until_ms = t.now + $3::bigint FROM t
                       WHERE plugin = $1 AND key = $2 AND until_ms <= t.now
                       RETURNING token, until_ms),
                 i AS (INSERT INTO kodex.leases (plugin, key, token, until_ms)
                       SELECT $1, $2, nextval('kodex.versions'), t.now + $3::bigint FROM t
                       WHERE NOT EXISTS (SELECT 1 FROM u)
                       ON CONFLICT (plugin, key) DO NOTHING
                       RETURNING token, until_ms)
                 SELECT token, until_ms FROM u UNION ALL SELECT token, until_ms FROM i",
                4,
            ),
            renew: with_now(
                "WITH t AS (SELECT $NOW AS now)
                 UPDATE kodex.leases SET until_ms = t.now + $4::bigint FROM t
                 WHERE plugin = $1 AND key = $2 AND token = $3 AND until_ms > t.now
                 RETURNING until_ms",
                5,
            ),
            unlock: with_now(
                "WITH t AS (SELECT $NOW AS now)
                 UPDATE kodex.leases SET until_ms = 0 FROM t
                 WHERE plugin = $1 AND key = $2 AND token = $3 AND until_ms > t.now
                 RETURNING token",
                4,
            ),
            sweep: with_now(
                "WITH t AS (SELECT $NOW AS now),
                 v AS (DELETE FROM kodex.state WHERE (plugin, key) IN (
                           SELECT s.plugin, s.key FROM kodex.state s, t WHERE s.expires_at_ms <= t.now
                           LIMIT $1 FOR UPDATE OF s SKIP LOCKED)
                       RETURNING 1),
                 l AS (DELETE FROM kodex.leases WHERE (plugin, key) IN (
                           SELECT e.plugin, e.key FROM kodex.leases e, t WHERE e.until_ms <= t.now
                           LIMIT $1 - (SELECT count(*) FROM v) FOR UPDATE OF e SKIP LOCKED)
                       RETURNING 1)
                 SELECT (SELECT count(*) FROM v) + (SELECT count(*) FROM l)",
                2,
            ),
        }
    }

    /// Runs one statement; another transaction's interference is answered by running it again.
    async fn rows(
        &self,
        sql: &str,
        args: &[Arg<'_>],
        during: &'static str,
    ) -> Result<Vec<Row>, StoreError> {
        let mut n_tries = 0;
        loop {
            let mut line = self.inner.line().await?;
            match line.rows(sql, args).await {
                Ok(rows) => return Ok(rows),
                Err(trouble)
                    if n_tries < N_TRIES && matches!(trouble.code(), "40001" | "40P01") =>
                {
                    n_tries += 1
                }
                Err(trouble) => return Err(self.inner.own(trouble, during)),
            }
        }
    }

    async fn attempt(
        &self,
        plugin: &PluginName,
        write: &Write<'_>,
        room: Option<i64>,
    ) -> Result<Attempt, StoreError> {
        let now = Arg::MaybeNumber(self.inner.now_ms());
        let with_lease = usize::from(write.under.is_some());
        let expected = match write.only_if {
            OnlyIf::Version(version) => Some(to_i64(version)),
            OnlyIf::Always | OnlyIf::Absent => None,
        };
        let mut args = vec![Arg::Text(plugin.as_str()), Arg::Text(write.key)];
        let sql = match (write.value, expected) {
            (Some(value), expected) => {
                args.push(Arg::Text(value.get()));
                args.push(Arg::MaybeNumber(write.ttl_ms.map(to_i64)));
                match expected {
                    Some(version) => args.push(Arg::Number(version)),
                    None => {
                        args.push(Arg::Truth(write.only_if == OnlyIf::Absent));
                        args.push(Arg::MaybeNumber(room));
                    }
                }
                if expected.is_some() {
                    &self.swap
                } else {
                    &self.put
                }
            }
            (None, expected) => {
                args.push(Arg::MaybeNumber(expected));
                args.push(Arg::Truth(write.only_if == OnlyIf::Absent));
                &self.delete
            }
        };
        args.push(now);
        if let Some(lease) = write.under {
            args.push(Arg::Text(&lease.key));
            args.push(Arg::Number(to_i64(lease.token)));
        }
        let rows = self.rows(&sql[with_lease], &args, "a write").await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Internal("a write gave no answer".to_owned()))?;
        Ok(Attempt {
            done: version(row.get(0)),
            seen: version(row.get(1)),
            is_new: row.get(2),
            lacks_room: row.get(3),
            is_held: row.get(4),
        })
    }

    async fn change(&self, plugin: &PluginName, write: &Write<'_>) -> Result<Written, StoreError> {
        check_write(plugin, write)?;
        if let Some(lease) = write.under {
            check_key(plugin, &lease.key)?;
        }
        let may_add = write.value.is_some() && !matches!(write.only_if, OnlyIf::Version(_));
        for _ in 0..N_TRIES {
            let room = if may_add {
                self.room.take(plugin)
            } else {
                None
            };
            let Attempt {
                done,
                seen,
                is_new,
                lacks_room,
                is_held,
            } = self.attempt(plugin, write, room).await?;
            if let Some(n_counts) = room
                && !(is_new && done.is_some())
            {
                self.room.give_back(plugin, n_counts);
            }
            if let (false, Some(lease)) = (is_held, write.under) {
                return Err(StoreError::LeaseLost {
                    plugin: plugin.clone(),
                    key: lease.key.clone(),
                });
            }
            if let Some(version) = done {
                return Ok(Written::Done { version });
            }
            let refused = Ok(Written::Refused {
                version: seen.unwrap_or(0),
            });
            match (write.only_if, write.value) {
                (OnlyIf::Version(wanted), _) if seen != Some(wanted) => return refused,
                (OnlyIf::Absent, _) if seen.is_some() => return refused,
                (OnlyIf::Always, None) | (OnlyIf::Absent, None) => {
                    return Ok(Written::Done { version: 0 });
                }
                (_, Some(_))
                    if lacks_room && !self.room.fetch(&self.inner, plugin, room).await? =>
                {
                    return Err(StoreError::TooManyKeys {
                        plugin: plugin.clone(),
                        limit: N_KEYS,
                    });
                }
                // Another node was between the two looks.
                _ => {}
            }
        }
        Err(StoreError::Busy {
            what: format!("the state of plugin {plugin}"),
        })
    }
}

/// What one statement of a write found.
struct Attempt {
    /// The version that was written or removed.
    done: Option<u64>,
    /// The living version that the statement saw.
    seen: Option<u64>,
    /// Whether there was no row.
    is_new: bool,
    /// Whether there was no room for one more.
    lacks_room: bool,
    /// Whether the lease is held; true without one.
    is_held: bool,
}

/// Puts the time into a statement whose last parameter is the clock's reading.
pub(super) fn with_now(sql: &str, parameter: usize) -> String {
    sql.replace("$NOW", &NOW.replace("$now", &format!("${parameter}")))
}

/// What every write begins with: the time, the lease, the row as it is seen.
fn head(now: usize, with_lease: bool) -> String {
    let lease = if with_lease {
        format!(
            "l AS (SELECT 1 FROM kodex.leases e, t WHERE e.plugin = $1 AND e.key = ${} AND e.token = ${}
                   AND e.until_ms > t.now FOR SHARE OF e),",
            now + 1,
            now + 2
        )
    } else {
        String::new()
    };
    let head = format!(
        "WITH t AS (SELECT $NOW AS now), {lease}
         s AS (SELECT version, expires_at_ms IS NULL OR expires_at_ms > t.now AS lives
               FROM kodex.state, t WHERE plugin = $1 AND key = $2)"
    );
    with_now(&head, now)
}

fn held(with_lease: bool) -> &'static str {
    if with_lease {
        "EXISTS (SELECT 1 FROM l)"
    } else {
        "true"
    }
}

/// Parameters: plugin, key, value, ttl, only if absent, room, now, lease's key, token.
fn put(with_lease: bool) -> String {
    let (head, held) = (head(7, with_lease), held(with_lease));
    format!(
        "{head},
         r AS (SELECT EXISTS (SELECT 1 FROM kodex.counters WHERE plugin = $1 AND n_counts = $6::bigint) AS is_there),
         w AS (INSERT INTO kodex.state AS x (plugin, key, value, version, expires_at_ms)
               SELECT $1, $2, $3, nextval('kodex.versions'), t.now + $4::bigint FROM t
               WHERE {held} AND NOT ($5::boolean AND EXISTS (SELECT 1 FROM s WHERE lives))
                 AND (EXISTS (SELECT 1 FROM s) OR (SELECT is_there FROM r))
               ON CONFLICT (plugin, key) DO UPDATE
               SET value = excluded.value, version = nextval('kodex.versions'), expires_at_ms = excluded.expires_at_ms
               WHERE NOT $5::boolean OR x.expires_at_ms <= (SELECT now FROM t)
               RETURNING version)
         SELECT (SELECT version FROM w), (SELECT version FROM s WHERE lives), NOT EXISTS (SELECT 1 FROM s),
                NOT EXISTS (SELECT 1 FROM s) AND NOT (SELECT is_there FROM r), {held}"
    )
}

/// Parameters: plugin, key, value, ttl, expected version, now, lease's key, token.
fn swap(with_lease: bool) -> String {
    let (head, held) = (head(6, with_lease), held(with_lease));
    format!(
        "{head},
         w AS (UPDATE kodex.state x
               SET value = $3, version = nextval('kodex.versions'), expires_at_ms = t.now + $4::bigint
               FROM t
               WHERE x.plugin = $1 AND x.key = $2 AND x.version = $5::bigint AND {held}
                 AND (x.expires_at_ms IS NULL OR x.expires_at_ms > t.now)
               RETURNING x.version)
         SELECT (SELECT version FROM w), (SELECT version FROM s WHERE lives), false, false, {held}"
    )
}

/// Parameters: plugin, key, expected version, only if absent, now, lease's key, token.
fn delete(with_lease: bool) -> String {
    let (head, held) = (head(5, with_lease), held(with_lease));
    format!(
        "{head},
         d AS (DELETE FROM kodex.state x USING t
               WHERE x.plugin = $1 AND x.key = $2 AND {held}
                 AND ($3::bigint IS NULL OR (x.version = $3 AND (x.expires_at_ms IS NULL OR x.expires_at_ms > t.now)))
                 AND NOT ($4::boolean AND (x.expires_at_ms IS NULL OR x.expires_at_ms > t.now))
               RETURNING CASE WHEN x.expires_at_ms <= t.now THEN 0 ELSE x.version END AS version)
         SELECT (SELECT version FROM d), (SELECT version FROM s WHERE lives), false, false, {held}"
    )
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn version(number: Option<i64>) -> Option<u64> {
    number.map(to_u64)
}

/// The first text behind every one that begins with `prefix`; none when there is no such.
fn behind(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The code points of surrogates are no characters.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

impl State for PgState {
    fn read<'a>(&'a self, plugin: &'a PluginName, key: &'a str) -> Work<'a, Option<Entry>> {
        Box::pin(async move {
            check_key(plugin, key)?;
            let args = [
                Arg::Text(plugin.as_str()),
                Arg::Text(key),
                Arg::MaybeNumber(self.inner.now_ms()),
            ];
            let rows = self.rows(&self.read, &args, "a read").await?;
            let Some(row) = rows.first() else {
                return Ok(None);
            };
            let value = RawValue::from_string(row.get(0)).map_err(|_| StoreError::Damaged {
                what: format!("the state of plugin {plugin}"),
                problem: "a value is no JSON".to_owned(),
            })?;
            Ok(Some(Entry {
                value,
                version: to_u64(row.get(1)),
                expires_at_ms: version(row.get(2)),
            }))
        })
    }

    fn write<'a>(&'a self, plugin: &'a PluginName, write: &'a Write<'a>) -> Work<'a, Written> {
        Box::pin(self.change(plugin, write))
    }

    fn list<'a>(
        &'a self,
        plugin: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Key>> {
        Box::pin(async move {
            if prefix.contains('\0') {
                return Ok(Vec::new());
            }
            // What stands behind a NUL stands behind everything that begins the same way.
            let after = after.map(|after| after.split('\0').next().unwrap_or(after));
            let behind = behind(prefix);
            let args = [
                Arg::Text(plugin.as_str()),
                Arg::Text(prefix),
                Arg::MaybeText(behind.as_deref()),
                Arg::MaybeText(after),
                Arg::Number(i64::try_from(limit.min(PAGE)).unwrap_or(0)),
                Arg::MaybeNumber(self.inner.now_ms()),
            ];
            let rows = self.rows(&self.list, &args, "a list").await?;
            let key = |row: &Row| Key {
                key: row.get(0),
                version: to_u64(row.get(1)),
                bytes: to_u64(row.get(2)),
                expires_at_ms: version(row.get(3)),
            };
            Ok(rows.iter().map(key).collect())
        })
    }

    fn lock<'a>(&'a self, plugin: &'a PluginName, key: &'a str, ttl_ms: u64) -> Work<'a, Lease> {
        Box::pin(async move {
            check_key(plugin, key)?;
            check_ttl(plugin, ttl_ms, MAX_LEASE_MS)?;
            let args = [
                Arg::Text(plugin.as_str()),
                Arg::Text(key),
                Arg::Number(to_i64(ttl_ms)),
                Arg::MaybeNumber(self.inner.now_ms()),
            ];
            let rows = self.rows(&self.lock, &args, "a lock").await?;
            match rows.first() {
                Some(row) => Ok(Lease {
                    key: key.to_owned(),
                    token: to_u64(row.get(0)),
                    until_ms: to_u64(row.get(1)),
                }),
                None => Err(StoreError::Locked {
                    plugin: plugin.clone(),
                    key: key.to_owned(),
                }),
            }
        })
    }

    fn renew<'a>(
        &'a self,
        plugin: &'a PluginName,
        lease: &'a Lease,
        ttl_ms: u64,
    ) -> Work<'a, Lease> {
        Box::pin(async move {
            check_key(plugin, &lease.key)?;
            check_ttl(plugin, ttl_ms, MAX_LEASE_MS)?;
            let args = [
                Arg::Text(plugin.as_str()),
                Arg::Text(&lease.key),
                Arg::Number(to_i64(lease.token)),
                Arg::Number(to_i64(ttl_ms)),
                Arg::MaybeNumber(self.inner.now_ms()),
            ];
            let rows = self.rows(&self.renew, &args, "a renewal").await?;
            match rows.first() {
                Some(row) => Ok(Lease {
                    until_ms: to_u64(row.get(0)),
                    ..lease.clone()
                }),
                None => Err(StoreError::LeaseLost {
                    plugin: plugin.clone(),
                    key: lease.key.clone(),
                }),
            }
        })
    }

    fn unlock<'a>(&'a self, plugin: &'a PluginName, lease: &'a Lease) -> Work<'a, bool> {
        Box::pin(async move {
            check_key(plugin, &lease.key)?;
            let args = [
                Arg::Text(plugin.as_str()),
                Arg::Text(&lease.key),
                Arg::Number(to_i64(lease.token)),
                Arg::MaybeNumber(self.inner.now_ms()),
            ];
            Ok(!self
                .rows(&self.unlock, &args, "an unlock")
                .await?
                .is_empty())
        })
    }

    fn sweep(&self, limit: usize) -> Work<'_, u64> {
        Box::pin(async move {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let args = [Arg::Number(limit), Arg::MaybeNumber(self.inner.now_ms())];
            let rows = self.rows(&self.sweep, &args, "a sweep").await?;
            Ok(rows.first().map_or(0, |row| to_u64(row.get(0))))
        })
    }
}

const _: () = assert!(
    MAX_TTL_MS < i64::MAX as u64 / 2,
    "a time to live can be added to the time"
);

#[cfg(test)]
mod tests {
    use super::behind;

    #[test]
    fn what_stands_behind_a_prefix() {
        for (prefix, want) in [
            ("", None),
            ("a", Some("b")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("\u{d7ff}", Some("\u{e000}")),
            ("ab/", Some("ab0")),
        ] {
            assert_eq!(behind(prefix).as_deref(), want, "{prefix:?}");
        }
    }
}
