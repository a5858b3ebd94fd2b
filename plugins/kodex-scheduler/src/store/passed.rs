//! Rows of occurrences that had no run, and their numbers.

use std::collections::{BTreeMap, BTreeSet};

use kodex_plugin::HostError;
use serde::Deserialize;
use serde_json::json;

use super::{Batch, CHUNK, Tables, marks};
use crate::{
    moment::Ms,
    passed::{Back, Entry},
    task::Task,
};

/// What is said about one occurrence or several, as it stands in its row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PassedRow {
    /// The task.
    pub task_id: String,
    /// The first occurrence.
    pub first_ms: Ms,
    /// The last one.
    pub last_ms: Ms,
    /// How many there are.
    pub n: u64,
    /// `missed` or `skipped`.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// When it was decided.
    pub noted_at_ms: Ms,
}

/// How many occurrences of a task, or of all, had no run for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tally {
    /// The task; blank for all together.
    pub task_id: String,
    /// `missed` or `skipped`.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub n: i64,
}

const COLUMNS: &str = "task_id, first_ms, last_ms, n, outcome, reason, noted_at_ms";

/// What changes in numbers: by task, outcome and reason.
#[derive(Default)]
struct Changes(BTreeMap<(String, String, String), i64>);

impl Changes {
    fn add(&mut self, row: &PassedRow, sign: i64) {
        let n = i64::try_from(row.n).unwrap_or(i64::MAX);
        let key = (row.task_id.clone(), row.outcome.clone(), row.reason.clone());
        *self.0.entry(key).or_default() += n.saturating_mul(sign);
    }
}

impl Tables<'_> {
    /// Stores what changes of tasks say about occurrences; belongs into the transaction that stores the tasks.
    ///
    /// # Errors
    /// As every statement.
    pub(super) async fn note(&self, tasks: &[&Task]) -> Result<(), HostError> {
        let mut changes = Changes::default();
        for task in tasks {
            if let Some(back) = &task.trace.back {
                self.take_back(&task.id, back, &mut changes).await?;
            }
        }
        let has_run = self.runs_in_spans(tasks).await?;
        let none = BTreeSet::new();
        let mut rows = Vec::new();
        for task in tasks {
            let has_run = has_run.get(&task.id).unwrap_or(&none);
            for passed in &task.trace.passed {
                let row = |entry: Entry| PassedRow {
                    task_id: task.id.clone(),
                    first_ms: entry.first_ms,
                    last_ms: entry.last_ms,
                    n: entry.n,
                    outcome: passed.why.outcome().to_owned(),
                    reason: passed.why.as_str().to_owned(),
                    noted_at_ms: passed.at_ms,
                };
                rows.extend(passed.entries(has_run).into_iter().map(row));
            }
        }
        for row in self.insert_passed(&rows).await? {
            changes.add(&row, 1);
        }
        self.count(changes).await
    }

    /// The moments of runs inside the spans that tasks leave behind, by task.
    async fn runs_in_spans(
        &self,
        tasks: &[&Task],
    ) -> Result<BTreeMap<String, BTreeSet<Ms>>, HostError> {
        #[derive(Deserialize)]
        struct Own {
            task_id: String,
            at: Ms,
        }
        let spans: Vec<_> = tasks
            .iter()
            .flat_map(|task| task.trace.passed.iter().map(|passed| (&task.id, passed)))
            .collect();
        let mut found: BTreeMap<String, BTreeSet<Ms>> = BTreeMap::new();
        for spans in spans.chunks(CHUNK) {
            let mut batch = Batch::new(&[("id", "TEXT"), ("first", "BIGINT"), ("last", "BIGINT")]);
            for (id, passed) in spans {
                batch.add([json!(id), json!(passed.from_ms), json!(passed.to_ms)]);
            }
            let sql = format!(
                "{} SELECT runs.task_id AS task_id, runs.scheduled_for_ms AS at FROM v JOIN runs \
                 ON runs.task_id = v.id AND runs.scheduled_for_ms BETWEEN v.first AND v.last",
                batch.with()
            );
            let rows: Vec<Own> = self.0.query(&sql, batch.params()).await?.to()?;
            for row in rows {
                found.entry(row.task_id).or_default().insert(row.at);
            }
        }
        Ok(found)
    }

    /// Removes what was said about occurrences that are to come again.
    async fn take_back(
        &self,
        task_id: &str,
        back: &Back,
        changes: &mut Changes,
    ) -> Result<(), HostError> {
        let sql =
            format!("DELETE FROM passed WHERE task_id = ? AND last_ms >= ? RETURNING {COLUMNS}");
        let params = json!([task_id, back.from_ms]);
        let rows: Vec<PassedRow> = self.0.query(&sql, params).await?.to()?;
        let mut rests = Vec::new();
        for row in &rows {
            changes.add(row, -1);
            let entry = Entry {
                first_ms: row.first_ms,
                last_ms: row.last_ms,
                n: row.n,
            };
            if let Some(rest) = back.rest(&entry) {
                rests.push(PassedRow {
                    last_ms: rest.last_ms,
                    n: rest.n,
                    ..row.clone()
                });
            }
        }
        for row in self.insert_passed(&rests).await? {
            changes.add(&row, 1);
        }
        Ok(())
    }

    /// Stores rows; gives those whose occurrence was not told of before.
    async fn insert_passed(&self, rows: &[PassedRow]) -> Result<Vec<PassedRow>, HostError> {
        let mut inserted = Vec::with_capacity(rows.len());
        for rows in rows.chunks(CHUNK) {
            let mut params = Vec::with_capacity(rows.len() * 7);
            for row in rows {
                params.extend([
                    json!(row.task_id),
                    json!(row.first_ms),
                    json!(row.last_ms),
                    json!(row.n),
                    json!(row.outcome),
                    json!(row.reason),
                    json!(row.noted_at_ms),
                ]);
            }
            let values = vec![format!("({})", marks(7)); rows.len()].join(", ");
            let sql = format!(
                "INSERT INTO passed ({COLUMNS}) VALUES {values} ON CONFLICT DO NOTHING \
                 RETURNING {COLUMNS}"
            );
            let rows: Vec<PassedRow> = self.0.query(&sql, json!(params)).await?.to()?;
            inserted.extend(rows);
        }
        Ok(inserted)
    }

    async fn count(&self, changes: Changes) -> Result<(), HostError> {
        let changes: Vec<_> = changes.0.into_iter().filter(|(_, n)| *n != 0).collect();
        for changes in changes.chunks(CHUNK) {
            let mut params = Vec::with_capacity(changes.len() * 4);
            for ((task_id, outcome, reason), n) in changes {
                params.extend([json!(task_id), json!(outcome), json!(reason), json!(n)]);
            }
            let values = vec![format!("({})", marks(4)); changes.len()].join(", ");
            let sql = format!(
                "INSERT INTO tallies (task_id, outcome, reason, n) VALUES {values} \
                 ON CONFLICT (task_id, reason) DO UPDATE SET n = tallies.n + excluded.n"
            );
            self.0.execute(&sql, json!(params)).await?;
        }
        Ok(())
    }

    /// The numbers of tasks.
    ///
    /// # Errors
    /// As every statement.
    pub async fn tallies_of(&self, ids: &[&str]) -> Result<Vec<Tally>, HostError> {
        let mut found = Vec::new();
        for ids in ids.chunks(CHUNK) {
            let sql = format!(
                "SELECT task_id, outcome, reason, n FROM tallies WHERE n > 0 AND task_id IN ({}) \
                 ORDER BY task_id, outcome, reason",
                marks(ids.len())
            );
            let rows: Vec<Tally> = self.0.query(&sql, json!(ids)).await?.to()?;
            found.extend(rows);
        }
        Ok(found)
    }

    /// The numbers of all tasks together.
    ///
    /// # Errors
    /// As every statement.
    pub async fn tallies(&self) -> Result<Vec<Tally>, HostError> {
        let sql = "SELECT '' AS task_id, outcome, reason, CAST(SUM(n) AS BIGINT) AS n FROM tallies \
                   GROUP BY outcome, reason HAVING SUM(n) > 0 ORDER BY outcome, reason";
        self.0.query(sql, json!([])).await?.to()
    }

    /// The latest occurrences of a task that had no run, the latest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn passed_of(
        &self,
        task_id: &str,
        limit: usize,
    ) -> Result<Vec<PassedRow>, HostError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM passed WHERE task_id = ? ORDER BY first_ms DESC LIMIT ?"
        );
        self.0.query(&sql, json!([task_id, limit])).await?.to()
    }

    /// What was told last of all tasks.
    ///
    /// # Errors
    /// As every statement.
    pub async fn latest_passed(&self, limit: usize) -> Result<Vec<PassedRow>, HostError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM passed ORDER BY noted_at_ms DESC, first_ms DESC LIMIT ?"
        );
        self.0.query(&sql, json!([limit])).await?.to()
    }

    /// Forgets rows that were told before a moment; says how many. The numbers stay.
    ///
    /// # Errors
    /// As every statement.
    pub async fn forget_passed(&self, before_ms: Ms, limit: usize) -> Result<u64, HostError> {
        let sql = "DELETE FROM passed WHERE (task_id, first_ms) IN (SELECT task_id, first_ms \
                   FROM passed WHERE noted_at_ms < ? ORDER BY noted_at_ms, first_ms LIMIT ?)";
        self.0.execute(sql, json!([before_ms, limit])).await
    }
}
