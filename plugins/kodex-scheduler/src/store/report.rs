//! What the report counts and lists.

use kodex_plugin::HostError;
use serde::Deserialize;
use serde_json::json;

use super::{Found, Tables};
use crate::{claim, moment::Ms, run::RunState};

/// Rows among which the report looks for the latest, by what stands in their records.
const N_COMPARED: usize = 200;

/// The numbers of the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Active tasks.
    pub active: i64,
    /// Paused tasks.
    pub paused: i64,
    /// Blocked tasks.
    pub blocked: i64,
    /// Active tasks that want to be looked at.
    pub due: i64,
    /// Runs that are not over.
    pub running: i64,
    /// Rows whose records do not read.
    pub malformed: i64,
}

/// Rows of the report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// The next tasks.
    pub upcoming: Vec<Found>,
    /// The blocked tasks that changed last.
    pub blocked: Vec<Found>,
    /// The runs that were claimed last.
    pub running: Vec<claim::Row>,
}

#[derive(Deserialize)]
struct Number {
    name: String,
    n: i64,
}

impl Tables<'_> {
    /// Counts everything in one statement.
    ///
    /// # Errors
    /// As every statement.
    pub async fn counts(&self, now_ms: Ms) -> Result<Counts, HostError> {
        let sql = "SELECT status AS name, COUNT(*) AS n FROM tasks GROUP BY status \
             UNION ALL SELECT 'due', COUNT(*) FROM tasks WHERE attend_at_ms <= ? \
             UNION ALL SELECT 'running', COUNT(*) FROM runs WHERE status IN ('pending', 'running') \
             UNION ALL SELECT 'malformed', COUNT(*) FROM tasks WHERE malformed_at_ms IS NOT NULL \
             UNION ALL SELECT 'malformed', COUNT(*) FROM runs WHERE malformed_at_ms IS NOT NULL";
        let rows: Vec<Number> = self.0.query(sql, json!([now_ms])).await?.to()?;
        let mut counts = Counts::default();
        for Number { name, n } in rows {
            match name.as_str() {
                "active" => counts.active += n,
                "paused" => counts.paused += n,
                "blocked" => counts.blocked += n,
                "due" => counts.due += n,
                "running" => counts.running += n,
                "malformed" => counts.malformed += n,
                _ => {}
            }
        }
        Ok(counts)
    }

    /// The rows of the report, at most `limit` of each kind.
    ///
    /// # Errors
    /// As every statement.
    pub async fn listed(&self, limit: usize) -> Result<Listed, HostError> {
        Ok(Listed {
            upcoming: self.due(Ms::MAX, limit).await?,
            blocked: self.by_status("blocked", limit).await?,
            running: self.latest_open(limit).await?,
        })
    }

    async fn by_status(&self, status: &str, limit: usize) -> Result<Vec<Found>, HostError> {
        let sql = "SELECT id FROM tasks WHERE status = ? ORDER BY created_at_ms DESC, id LIMIT ?";
        let ids = self.ids(sql, json!([status, N_COMPARED])).await?;
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut found = self.tasks_of(&ids).await?;
        let changed = |found: &Found| match found {
            Found::Task(kept) => kept.task.updated_at_ms,
            Found::Malformed { .. } => Ms::MIN,
        };
        found.sort_by_key(|found| std::cmp::Reverse(changed(found)));
        found.truncate(limit);
        Ok(found)
    }

    async fn latest_open(&self, limit: usize) -> Result<Vec<claim::Row>, HostError> {
        let mut rows = Vec::new();
        for state in [RunState::Running, RunState::Pending] {
            rows.extend(self.open_runs(state, Ms::MAX, N_COMPARED).await?);
        }
        let claimed = |row: &claim::Row| row.run.as_ref().map_or(0, |run| run.claimed_at_ms);
        rows.sort_by_key(|row| std::cmp::Reverse(claimed(row)));
        rows.truncate(limit);
        Ok(rows)
    }
}
