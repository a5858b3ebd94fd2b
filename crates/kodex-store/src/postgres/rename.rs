//! A plugin gets another name: its schema, roles, ledger, state, locks and jobs, in one transaction.

use kodex_plugin::PluginName;

use super::{
    Inner,
    open::Tries,
    pool::{Arg, Line, Trouble},
    roles::{self, Home, quoted},
};
use crate::StoreError;

/// What moves beside the tables. Versions and tokens come from one sequence, so none comes twice whatever a
/// name is used for later. Both counters begin another count, which voids the portions that nodes still hold.
const STATE: &[&str] = &[
    "UPDATE kodex.state SET plugin = $2 WHERE plugin = $1",
    "DELETE FROM kodex.leases WHERE plugin = $2 AND plugin <> $1",
    "UPDATE kodex.leases SET plugin = $2 WHERE plugin = $1",
    "INSERT INTO kodex.counters AS c (plugin, n_keys, n_counts)
     SELECT $2, n_keys, n_counts + 1 FROM kodex.counters WHERE plugin = $1
     ON CONFLICT (plugin) DO UPDATE SET n_keys = excluded.n_keys,
         n_counts = greatest(c.n_counts, excluded.n_counts) + 1",
    "UPDATE kodex.counters SET n_keys = 0, n_counts = n_counts + 1 WHERE plugin = $1 AND plugin <> $2",
    "UPDATE kodex.jobs SET plugin = $2 WHERE plugin = $1",
];

pub(super) async fn rename(
    inner: &Inner,
    from: &PluginName,
    to: &PluginName,
) -> Result<(), StoreError> {
    let old = inner.find(from).await?;
    // A role with open connections keeps its rights under its new name, and this store would know no name for it.
    inner.forget(from);
    inner.forget(to);
    let tag = old
        .as_ref()
        .and_then(|home| home.roles.as_ref())
        .map(|_| inner.seal.tag.as_str());
    let new = Home::of(to, tag);
    let mut tries = Tries::default();
    loop {
        let mut line = inner.line().await?;
        let moved = everything(&mut line, inner, (from, to), old.as_ref(), &new).await;
        drop(line);
        match moved {
            Ok(true) => return Ok(()),
            Ok(false) => {
                return Err(StoreError::Refused {
                    plugin: from.clone(),
                    action: format!(
                        "be renamed to {to}, which has tables, state, jobs or a ledger already"
                    ),
                });
            }
            Err(trouble) => {
                tries
                    .again(trouble, inner.place(), "renaming a plugin")
                    .await?
            }
        }
    }
}

/// Says whether it happened: not when the new name is taken.
async fn everything(
    line: &mut Line,
    inner: &Inner,
    (from, to): (&PluginName, &PluginName),
    old: Option<&Home>,
    new: &Home,
) -> Result<bool, Trouble> {
    line.begin().await?;
    if is_taken(line, to, inner.now_ms()).await? {
        return Ok(false);
    }
    if let Some(old) = old {
        tables(line, from, to, old, new, &inner.seal.secret).await?;
    }
    for sql in STATE {
        line.rows(sql, &[Arg::Text(from.as_str()), Arg::Text(to.as_str())])
            .await?;
    }
    line.commit().await?;
    Ok(true)
}

async fn is_taken(line: &mut Line, to: &PluginName, now: Option<i64>) -> Result<bool, Trouble> {
    let rows = line
        .rows(
            "SELECT EXISTS (SELECT 1 FROM kodex.plugins WHERE plugin = $1)
                 OR EXISTS (SELECT 1 FROM kodex.state WHERE plugin = $1)
                 OR EXISTS (SELECT 1 FROM kodex.jobs WHERE plugin = $1)
                 OR EXISTS (SELECT 1 FROM kodex.leases WHERE plugin = $1 AND until_ms >
                            coalesce($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint))",
            &[Arg::Text(to.as_str()), Arg::MaybeNumber(now)],
        )
        .await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

async fn tables(
    line: &mut Line,
    from: &PluginName,
    to: &PluginName,
    old: &Home,
    new: &Home,
    secret: &str,
) -> Result<(), Trouble> {
    let schema = quoted(&new.schema);
    line.batch(&format!(
        "ALTER SCHEMA {} RENAME TO {schema}",
        quoted(&old.schema)
    ))
    .await?;
    for ((_, old), (_, new)) in old.roles().into_iter().zip(new.roles()) {
        line.batch(&format!(
            "ALTER ROLE {} RENAME TO {}",
            quoted(&old),
            quoted(&new)
        ))
        .await?;
    }
    // Search path and password follow from the names.
    roles::ensure(line, new, secret).await?;
    for table in ["kodex_journal", "kodex_progress"] {
        line.rows(
            &format!("UPDATE {schema}.{table} SET id = $2 || substr(id, length($1) + 1) WHERE left(id, length($1)) = $1"),
            &[Arg::Text(&format!("plugin:{from}/")), Arg::Text(&format!("plugin:{to}/"))],
        )
        .await?;
    }
    line.rows(
        "UPDATE kodex.plugins SET plugin = $2, namespace = $3, roles = $4 WHERE plugin = $1",
        &[
            Arg::Text(from.as_str()),
            Arg::Text(to.as_str()),
            Arg::Text(&new.schema),
            Arg::MaybeText(new.roles.as_deref()),
        ],
    )
    .await?;
    Ok(())
}
