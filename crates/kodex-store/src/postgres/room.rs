//! How many keys a plugin may still add: taken from its counter in portions, so that writers of different
//! keys never wait for each other's commit.
//!
//! `kodex.counters.n_keys` is what is there and what was handed out, never less. It only rises until it
//! reaches the limit; then the rows are counted anew, and every portion that was handed out before is void
//! by the number of that count, which each new key compares. What is being written in that very moment is
//! not counted, so a plugin may be over the limit by as many keys as it was adding at once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kodex_plugin::PluginName;

use super::{
    Inner,
    open::Tries,
    pool::{Arg, Line, Trouble},
    state::with_now,
};
use crate::{StoreError, state::N_KEYS};

/// Keys in a portion. What a node has left when it ends is lost until the next count.
const PORTION: i64 = 256;

const TAKE: &str = "
    WITH o AS (
        SELECT least($2::bigint, $3::bigint - n_keys) AS n FROM kodex.counters WHERE plugin = $1 FOR UPDATE)
    UPDATE kodex.counters c SET n_keys = c.n_keys + o.n FROM o
    WHERE c.plugin = $1 AND o.n > 0
    RETURNING c.n_counts, o.n";
const FIRST: &str = "INSERT INTO kodex.counters (plugin, n_keys, n_counts) VALUES ($1, 0, 1) ON CONFLICT (plugin) DO NOTHING";
const LOCK: &str = "SELECT n_keys FROM kodex.counters WHERE plugin = $1 FOR UPDATE";
const GONE: &str = "DELETE FROM kodex.state WHERE plugin = $1 AND expires_at_ms <= $NOW";
const COUNT: &str = "
    WITH n AS (SELECT count(*) AS keys FROM kodex.state WHERE plugin = $1)
    UPDATE kodex.counters c
    SET n_keys = n.keys + greatest(least($2::bigint, $3::bigint - n.keys), 0), n_counts = c.n_counts + 1
    FROM n WHERE c.plugin = $1
    RETURNING c.n_counts, greatest(least($2::bigint, $3::bigint - n.keys), 0)";

/// What is left of a plugin's portion.
#[derive(Clone, Copy)]
struct Portion {
    n_counts: i64,
    n_left: i64,
}

/// The portions of this node.
#[derive(Default)]
pub(super) struct Room {
    portions: Mutex<HashMap<PluginName, Portion>>,
    /// One at a time fetches more, and whoever waited finds it there.
    fetching: tokio::sync::Mutex<()>,
}

impl Room {
    /// Takes room for one key: the number of the count that it belongs to.
    pub(super) fn take(&self, plugin: &PluginName) -> Option<i64> {
        let mut portions = self.portions();
        let portion = portions.get_mut(plugin)?;
        (portion.n_left > 0).then(|| {
            portion.n_left -= 1;
            portion.n_counts
        })
    }

    /// Gives room back that was not needed.
    pub(super) fn give_back(&self, plugin: &PluginName, n_counts: i64) {
        if let Some(portion) = self.portions().get_mut(plugin)
            && portion.n_counts == n_counts
        {
            portion.n_left += 1;
        }
    }

    /// Fetches more after room of the count `tried`, or none, was not enough; false when there is none.
    pub(super) async fn fetch(
        &self,
        inner: &Inner,
        plugin: &PluginName,
        tried: Option<i64>,
    ) -> Result<bool, StoreError> {
        let _fetching = self.fetching.lock().await;
        let is_there = |portion: &Portion| portion.n_left > 0 && Some(portion.n_counts) != tried;
        if self.portions().get(plugin).is_some_and(is_there) {
            return Ok(true);
        }
        let mut tries = Tries::default();
        loop {
            let mut line = inner.line().await?;
            let fetched = fetch(&mut line, plugin, inner.now_ms()).await;
            drop(line);
            match fetched {
                Ok(portion) => {
                    self.portions().insert(plugin.clone(), portion);
                    return Ok(portion.n_left > 0);
                }
                Err(trouble) => tries.again(trouble, inner.place(), "counting keys").await?,
            }
        }
    }

    fn portions(&self) -> std::sync::MutexGuard<'_, HashMap<PluginName, Portion>> {
        self.portions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(line: &mut Line, plugin: &PluginName, now: Option<i64>) -> Result<Portion, Trouble> {
    let name = Arg::Text(plugin.as_str());
    let (portion, limit) = (
        Arg::Number(PORTION),
        Arg::Number(i64::try_from(N_KEYS).unwrap_or(i64::MAX)),
    );
    for _ in 0..2 {
        let rows = line.rows(TAKE, &[name, portion, limit]).await?;
        if let Some(row) = rows.first() {
            return Ok(Portion {
                n_counts: row.get(0),
                n_left: row.get(1),
            });
        }
        line.rows(FIRST, &[name]).await?;
    }
    line.begin().await?;
    line.rows(LOCK, &[name]).await?;
    let gone = with_now(GONE, 2);
    line.rows(&gone, &[name, Arg::MaybeNumber(now)]).await?;
    let rows = line.rows(COUNT, &[name, portion, limit]).await?;
    line.commit().await?;
    Ok(rows.first().map_or(
        Portion {
            n_counts: 0,
            n_left: 0,
        },
        |row| Portion {
            n_counts: row.get(0),
            n_left: row.get(1),
        },
    ))
}
