//! Rows of runs.

use kodex_plugin::HostError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Batch, CHUNK, Tables, marks};
use crate::{
    claim,
    moment::Ms,
    record,
    run::{Run, RunState, Token},
};

#[derive(Deserialize)]
struct Row {
    id: String,
    task_id: String,
    scheduled_for_ms: Ms,
    status: String,
    token_at_ms: Ms,
    attempt: i64,
    record: Value,
}

impl Row {
    /// A record that contradicts its row is malformed too: nobody knows which of the two is right.
    fn read(self) -> (String, claim::Row) {
        let text = match self.record {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let run = record::read::<Run>(&text).ok().filter(|run| {
            run.id == self.id
                && run.task_id == self.task_id
                && run.scheduled_for_ms == self.scheduled_for_ms
                && run.state.as_str() == self.status
                && run.token().at_ms == self.token_at_ms
                && i64::from(run.attempt) == self.attempt
        });
        let row = claim::Row {
            id: self.id,
            scheduled_for_ms: self.scheduled_for_ms,
            run,
        };
        (self.task_id, row)
    }
}

const COLUMNS: &str = "id, task_id, scheduled_for_ms, status, token_at_ms, attempt, record";

/// A change of a run: what it was, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: (RunState, Token),
    pub(crate) to: Run,
}

impl Change {
    pub(crate) fn new(from: &Run, to: Run) -> Self {
        Self {
            from: (from.state, from.token()),
            to,
        }
    }
}

impl Tables<'_> {
    /// Stores new runs; gives the ids of those whose key was free.
    ///
    /// # Errors
    /// As every statement.
    pub async fn insert_runs(&self, runs: &[&Run]) -> Result<Vec<String>, HostError> {
        let mut inserted = Vec::with_capacity(runs.len());
        for runs in runs.chunks(CHUNK) {
            let mut params = Vec::with_capacity(runs.len() * 9);
            for run in runs {
                let token = run.token();
                params.extend([
                    json!(run.id),
                    json!(run.task_id),
                    json!(run.scheduled_for_ms),
                    json!(run.generation),
                    json!(run.state.as_str()),
                    json!(token.at_ms),
                    json!(token.attempt),
                    json!(run.claimed_at_ms),
                    json!(record::write(run)),
                ]);
            }
            let rows = vec![format!("({})", marks(9)); runs.len()].join(", ");
            let sql = format!(
                "INSERT INTO runs (id, task_id, scheduled_for_ms, generation, status, token_at_ms, \
                 attempt, seen_at_ms, record) VALUES {rows} ON CONFLICT DO NOTHING RETURNING id"
            );
            inserted.extend(self.ids(&sql, json!(params)).await?);
        }
        Ok(inserted)
    }

    /// Changes runs that are still what they were; gives the ids of those that it changed.
    ///
    /// # Errors
    /// As every statement.
    pub(crate) async fn change_runs(
        &self,
        changes: &[Change],
        now_ms: Ms,
    ) -> Result<Vec<String>, HostError> {
        let mut changed = Vec::with_capacity(changes.len());
        for changes in changes.chunks(CHUNK) {
            let mut batch = Batch::new(&[
                ("id", "TEXT"),
                ("old_status", "TEXT"),
                ("old_token", "BIGINT"),
                ("old_attempt", "BIGINT"),
                ("status", "TEXT"),
                ("token", "BIGINT"),
                ("attempt", "BIGINT"),
                ("seen", "BIGINT"),
                ("record", "TEXT"),
            ]);
            for Change { from, to } in changes {
                let (state, old) = from;
                let new = to.token();
                batch.add([
                    json!(to.id),
                    json!(state.as_str()),
                    json!(old.at_ms),
                    json!(old.attempt),
                    json!(to.state.as_str()),
                    json!(new.at_ms),
                    json!(new.attempt),
                    json!(now_ms),
                    json!(record::write(to)),
                ]);
            }
            let sql = format!(
                "{} UPDATE runs SET status = v.status, token_at_ms = v.token, attempt = v.attempt, \
                 seen_at_ms = v.seen, record = v.record FROM v WHERE runs.id = v.id \
                 AND runs.status = v.old_status AND runs.token_at_ms = v.old_token \
                 AND runs.attempt = v.old_attempt RETURNING runs.id AS id",
                batch.with()
            );
            changed.extend(self.ids(&sql, batch.params()).await?);
        }
        Ok(changed)
    }

    /// The runs of tasks that are not over, and every row of the given occurrences, by task.
    ///
    /// # Errors
    /// As every statement.
    pub async fn runs_around(
        &self,
        occurrences: &[(&str, Ms)],
    ) -> Result<Vec<(String, claim::Row)>, HostError> {
        let mut found = Vec::new();
        for occurrences in occurrences.chunks(CHUNK) {
            let mut batch = Batch::new(&[("task_id", "TEXT"), ("at", "BIGINT")]);
            for (task, at) in occurrences {
                batch.add([json!(task), json!(at)]);
            }
            let with = batch.with();
            let sql = format!(
                "{with} SELECT {COLUMNS} FROM runs WHERE status IN ('pending', 'running') \
                 AND task_id IN (SELECT task_id FROM v) \
                 UNION ALL SELECT {COLUMNS} FROM runs WHERE status NOT IN ('pending', 'running') \
                 AND (task_id, scheduled_for_ms) IN (SELECT task_id, at FROM v)"
            );
            let rows: Vec<Row> = self.0.query(&sql, batch.params()).await?.to()?;
            found.extend(rows.into_iter().map(Row::read));
        }
        Ok(found)
    }

    /// Runs in a state that nobody has looked after since a moment, the longest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn open_runs(
        &self,
        state: RunState,
        seen_before_ms: Ms,
        limit: usize,
    ) -> Result<Vec<claim::Row>, HostError> {
        // The words stand in the text so that the engines see that the index fits.
        let status = match state {
            RunState::Running => "running",
            _ => "pending",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE status = '{status}' \
             AND status IN ('pending', 'running') AND seen_at_ms <= ? \
             AND malformed_at_ms IS NULL ORDER BY seen_at_ms, id LIMIT ?"
        );
        let rows: Vec<Row> = self
            .0
            .query(&sql, json!([seen_before_ms, limit]))
            .await?
            .to()?;
        Ok(rows.into_iter().map(|row| row.read().1).collect())
    }

    /// Claims that were made later than a moment.
    ///
    /// # Errors
    /// As every statement.
    pub async fn claims_to_come(
        &self,
        after_ms: Ms,
        limit: usize,
    ) -> Result<Vec<claim::Row>, HostError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE status = 'pending' \
             AND status IN ('pending', 'running') AND seen_at_ms > ? \
             AND malformed_at_ms IS NULL ORDER BY seen_at_ms, id LIMIT ?"
        );
        let rows: Vec<Row> = self.0.query(&sql, json!([after_ms, limit])).await?.to()?;
        Ok(rows.into_iter().map(|row| row.read().1).collect())
    }

    /// The latest runs of a task.
    ///
    /// # Errors
    /// As every statement.
    pub async fn runs_of(&self, task_id: &str, limit: usize) -> Result<Vec<claim::Row>, HostError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE task_id = ? \
             ORDER BY scheduled_for_ms DESC, generation DESC LIMIT ?"
        );
        let rows: Vec<Row> = self.0.query(&sql, json!([task_id, limit])).await?.to()?;
        Ok(rows.into_iter().map(|row| row.read().1).collect())
    }

    /// Remembers that somebody looked after runs, so that others come first the next time.
    ///
    /// # Errors
    /// As every statement.
    pub async fn saw_runs(&self, ids: &[&str], now_ms: Ms) -> Result<(), HostError> {
        for ids in ids.chunks(CHUNK) {
            let sql = format!(
                "UPDATE runs SET seen_at_ms = ? WHERE status IN ('pending', 'running') AND id IN ({})",
                marks(ids.len())
            );
            let mut params = vec![json!(now_ms)];
            params.extend(ids.iter().map(|id| json!(id)));
            self.0.execute(&sql, json!(params)).await?;
        }
        Ok(())
    }

    /// Sets runs apart whose records do not read. The records stay as they are.
    ///
    /// # Errors
    /// As every statement.
    pub async fn set_runs_apart(&self, ids: &[String], now_ms: Ms) -> Result<(), HostError> {
        for ids in ids.chunks(CHUNK) {
            let sql = format!(
                "UPDATE runs SET malformed_at_ms = ? WHERE malformed_at_ms IS NULL AND id IN ({})",
                marks(ids.len())
            );
            let mut params = vec![json!(now_ms)];
            params.extend(ids.iter().map(|id| json!(id)));
            self.0.execute(&sql, json!(params)).await?;
        }
        Ok(())
    }

    /// Forgets runs that ended before a moment; says how many. Malformed ones are kept.
    ///
    /// # Errors
    /// As every statement.
    pub async fn forget_runs(&self, before_ms: Ms, limit: usize) -> Result<u64, HostError> {
        let sql = "DELETE FROM runs WHERE id IN (SELECT id FROM runs \
                   WHERE status NOT IN ('pending', 'running') AND seen_at_ms < ? \
                   AND malformed_at_ms IS NULL ORDER BY seen_at_ms LIMIT ?)";
        self.0.execute(sql, json!([before_ms, limit])).await
    }
}
