//! The plugin's tables behind the host's database door: rows in and out, no decision.
//!
//! Every change names what it has seen, a revision of a task or a token of a run, and gives back what it
//! really changed. Heartbeats of several nodes take turns by changing one row first; nothing relies on a
//! kind of lock that only one engine has. Records that do not read stay as they are.

mod batch;
mod passed;
mod report;
mod runs;
mod tasks;

use kodex_plugin::{
    HostError, Json,
    db::{Db, Tx},
};
use serde_json::json;

pub use passed::{PassedRow, Tally};
pub use report::{Counts, Listed};
pub use tasks::{Found, Kept};

pub(crate) use runs::Change;

pub(crate) use batch::{Batch, CHUNK, marks};

/// The tables, or a transaction on them.
#[derive(Debug)]
pub struct Tables<'d>(pub &'d Db);

impl Tables<'_> {
    /// Waits until it is this heartbeat's turn; the turn ends with the transaction.
    ///
    /// # Errors
    /// As every statement.
    pub async fn take_turn(&self) -> Result<(), HostError> {
        let sql = "UPDATE turns SET n_taken = n_taken + 1 WHERE name = 'heartbeat'";
        self.0.execute(sql, json!([])).await.map(drop)
    }

    /// A fact by its name.
    ///
    /// # Errors
    /// As every statement.
    pub async fn fact(&self, name: &str) -> Result<Option<String>, HostError> {
        #[derive(serde::Deserialize)]
        struct Fact {
            value: String,
        }
        let sql = "SELECT value FROM facts WHERE name = ?";
        let fact: Option<Fact> = self.0.query_one(sql, json!([name])).await?;
        Ok(fact.map(|fact| fact.value))
    }

    /// Remembers a fact.
    ///
    /// # Errors
    /// As every statement.
    pub async fn set_fact(&self, name: &str, value: &str) -> Result<(), HostError> {
        let sql = "INSERT INTO facts (name, value) VALUES (?, ?) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.0.execute(sql, json!([name, value])).await.map(drop)
    }

    async fn ids(&self, sql: &str, params: impl Into<Json>) -> Result<Vec<String>, HostError> {
        #[derive(serde::Deserialize)]
        struct Id {
            id: String,
        }
        let rows: Vec<Id> = self.0.query(sql, params).await?.to()?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }
}

/// How often a change is tried again when somebody else changed the same rows.
pub(crate) const TRIES: usize = 5;

/// Ends a transaction with what came of it: gives the result of one that is durable now, and nothing
/// where the same may succeed when it is tried again.
pub(crate) async fn settle<T>(
    tx: Tx,
    outcome: Result<Option<T>, HostError>,
) -> Result<Option<T>, HostError> {
    let passing = |error: HostError| {
        if is_passing(&error) {
            Ok(None)
        } else {
            Err(error)
        }
    };
    match outcome {
        Ok(Some(done)) => match tx.commit().await {
            Ok(()) => Ok(Some(done)),
            Err(error) => passing(error),
        },
        Ok(None) => tx.rollback().await.map(|()| None),
        // Dropping it rolls it back, and what the engine ended already cannot be.
        Err(error) => passing(error),
    }
}

/// Nothing succeeded in [`TRIES`] attempts.
pub(crate) fn contended() -> HostError {
    let text = "others changed the same tasks each time; try again";
    HostError::new("schedule.contended", text)
}

fn is_passing(error: &HostError) -> bool {
    matches!(error.code.as_str(), "store.busy" | "db.conflict")
}
