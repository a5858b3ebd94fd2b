//! What the benches of values and of rows share: a store with a native plugin and a Python plugin over it,
//! the bare drivers, and Python without Kodex.
//!
//! Everyone asks for keys of 30 bytes, values of 256 and rows of 200, in a random order, and every write
//! brings something new: SQLite does not write what has not changed.

mod asking;
mod bare;
mod peer;
mod redis;
mod server;
mod world;

use std::{
    future::Future,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;
use kodex::store::Engine;
use tokio::task::JoinSet;

pub(crate) use bare::{Pooled, Rusqlite};
pub(crate) use peer::Python;
pub(crate) use redis::Redis;
pub(crate) use server::{Database, Server};
pub(crate) use world::World;

/// How many keys and rows there are before anything is measured.
pub(crate) const N_KNOWN: usize = 10_000;

/// The journal of the plugins.
const JOURNAL: &[(&str, &str)] = &[
    (
        "0001_notes.sqlite.sql",
        include_str!("../../plugins/bench_stored.sqlite.sql"),
    ),
    (
        "0001_notes.postgres.sql",
        include_str!("../../plugins/bench_stored.postgres.sql"),
    ),
];

/// Fills the table in one statement, the same on both engines; `?1` is the number of rows.
const FILL: &str = "INSERT INTO notes (text)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
    SELECT 'a row that was there before: more text than fits into the space of a pointer, as notes have' FROM numbers";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A value by its key.
    Get,
    /// A new value for a key.
    Set,
    /// A row by its number.
    Read,
    /// One more row.
    Insert,
}

impl Asked {
    /// The word in the names of figures and for the peers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Read => "read",
            Self::Insert => "insert",
        }
    }
}

/// The engines that can be measured here, in the order of the figures.
pub(crate) fn engines(server: Option<&Server>) -> Vec<Engine> {
    let postgres = server.map(|_| Engine::Postgres);
    [Engine::Sqlite].into_iter().chain(postgres).collect()
}

/// How long one turn is.
pub(crate) fn span(size: crate::size::Size) -> Duration {
    // A commit that reaches the disk takes milliseconds now and then; a turn holds many of them.
    5 * size.span()
}

/// 30 bytes.
fn key(number: u64) -> String {
    format!("bench:{number:024}")
}

/// 256 bytes of JSON, never the same twice.
fn value(number: u64) -> String {
    format!("\"{}\"", digits(number, 254))
}

/// 200 bytes.
fn text(number: u64) -> String {
    digits(number, 200)
}

fn digits(number: u64, width: usize) -> String {
    // The clock tells two writes of one number apart.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{number:08}{:0width$}", now.as_nanos(), width = width - 8)
}

/// Numbers in an order that no cache foresees, the same in every run.
#[derive(Debug, Clone)]
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// How often it can be asked in a second by so many at a time, each one after the other.
async fn turn<F, A>(lanes: u64, n_known: u64, span: Duration, ask: F) -> Result<f64>
where
    F: Fn(u64) -> A + Clone + Send + 'static,
    A: Future<Output = Result<()>> + Send + 'static,
{
    let started_at = Instant::now();
    let until = started_at + span;
    let n_asked = if lanes == 1 {
        lane(0, n_known, until, ask).await?
    } else {
        let mut running = JoinSet::new();
        for at in 0..lanes {
            running.spawn(lane(at, n_known, until, ask.clone()));
        }
        let mut n_asked = 0.0;
        while let Some(ended) = running.join_next().await {
            n_asked += ended??;
        }
        n_asked
    };
    Ok(n_asked / started_at.elapsed().as_secs_f64())
}

async fn lane<F, A>(at: u64, n_known: u64, until: Instant, ask: F) -> Result<f64>
where
    F: Fn(u64) -> A,
    A: Future<Output = Result<()>>,
{
    let mut numbers = Numbers::new(at + 2);
    let mut n_asked = 0.0;
    loop {
        ask(numbers.below(n_known)).await?;
        n_asked += 1.0;
        if Instant::now() >= until {
            return Ok(n_asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_has_its_size() {
        assert_eq!(key(7).len(), 30);
        assert_eq!((value(7).len(), text(7).len()), (256, 200));
        assert_ne!(value(7), value(7));
        let known: Vec<u64> = std::iter::repeat_with({
            let mut numbers = Numbers::new(2);
            move || numbers.below(10)
        })
        .take(1_000)
        .collect();
        assert!((0..10).all(|number| known.contains(&number)));
    }
}
