//! Values, locks and numbers of a plugin as another store had them.
//!
//! Here versions and tokens are one sequence, so each must be above both.

use kodex_plugin::PluginName;

use super::{
    Inner,
    open::Tries,
    pool::{Arg, Line, Trouble},
};
use crate::{
    StoreError,
    state::{Adopted, Lease, Numbers},
};

const LEASES: &str = "SELECT key, token, until_ms FROM kodex.leases
    WHERE plugin = $1 AND ($2::text IS NULL OR key > $2) ORDER BY key LIMIT $3";
/// The sequence serves all plugins, so its last number is above all of each one's.
const NUMBERS: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM kodex.versions";
/// Never lowers it, however fast others take numbers meanwhile: it is raised by what it lacks.
const RAISE: &str =
    "SELECT setval('kodex.versions', greatest($1::bigint, nextval('kodex.versions')))
    FROM kodex.versions WHERE last_value < $1::bigint";
const KEEP_COUNTS: &str =
    "INSERT INTO kodex.counters (plugin, n_keys) VALUES ($1, 0) ON CONFLICT (plugin) DO NOTHING";
const VALUE: &str = "INSERT INTO kodex.state (plugin, key, value, version, expires_at_ms) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value, version = excluded.version,
        expires_at_ms = excluded.expires_at_ms";
const LEASE: &str =
    "INSERT INTO kodex.leases AS l (plugin, key, token, until_ms) VALUES ($1, $2, $3, $4)
    ON CONFLICT (plugin, key) DO UPDATE SET token = excluded.token, until_ms = excluded.until_ms
    WHERE l.token <= excluded.token";
/// A count anew: portions of room that were handed out before are void.
const COUNT: &str = "UPDATE kodex.counters
    SET n_keys = (SELECT count(*) FROM kodex.state WHERE plugin = $1), n_counts = n_counts + 1
    WHERE plugin = $1";

pub(super) async fn leases(
    inner: &Inner,
    plugin: &PluginName,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Lease>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let args = [
        Arg::Text(plugin.as_str()),
        Arg::MaybeText(after),
        Arg::Number(limit),
    ];
    let mut line = inner.line().await?;
    let rows = line.rows(LEASES, &args).await;
    let rows = rows.map_err(|trouble| inner.own(trouble, "a list of locks"))?;
    let lease = |row: &tokio_postgres::Row| Lease {
        key: row.get(0),
        token: unsigned(row.get(1)),
        until_ms: unsigned(row.get(2)),
    };
    Ok(rows.iter().map(lease).collect())
}

pub(super) async fn numbers(inner: &Inner) -> Result<Numbers, StoreError> {
    let mut line = inner.line().await?;
    let rows = line.rows(NUMBERS, &[]).await;
    let rows = rows.map_err(|trouble| inner.own(trouble, "a look at numbers"))?;
    let last = rows.first().map_or(0, |row| unsigned(row.get(0)));
    Ok(Numbers {
        last_version: last,
        last_token: last,
    })
}

pub(super) async fn adopt(
    inner: &Inner,
    plugin: &PluginName,
    adopted: &Adopted<'_>,
) -> Result<(), StoreError> {
    let mut tries = Tries::default();
    loop {
        let mut line = inner.line().await?;
        let kept = keep(&mut line, plugin, adopted).await;
        drop(line);
        let Err(trouble) = kept else { return Ok(()) };
        tries
            .again(trouble, inner.place(), "keeping values of another store")
            .await?;
    }
}

async fn keep(line: &mut Line, plugin: &PluginName, adopted: &Adopted<'_>) -> Result<(), Trouble> {
    let Numbers {
        last_version,
        last_token,
    } = adopted.numbers;
    let plugin = Arg::Text(plugin.as_str());
    let last = Arg::Number(signed(last_version.max(last_token)));
    line.begin().await?;
    line.rows(RAISE, &[last]).await?;
    line.rows(KEEP_COUNTS, &[plugin]).await?;
    for (key, entry) in adopted.values {
        let args = [
            plugin,
            Arg::Text(key),
            Arg::Text(entry.value.get()),
            Arg::Number(signed(entry.version)),
            Arg::MaybeNumber(entry.expires_at_ms.map(signed)),
        ];
        line.rows(VALUE, &args).await?;
    }
    for lease in adopted.leases {
        let args = [
            plugin,
            Arg::Text(&lease.key),
            Arg::Number(signed(lease.token)),
            Arg::Number(signed(lease.until_ms)),
        ];
        line.rows(LEASE, &args).await?;
    }
    line.rows(COUNT, &[plugin]).await?;
    line.commit().await
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
