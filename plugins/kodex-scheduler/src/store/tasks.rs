//! Rows of tasks.

use kodex_plugin::{HostError, wire::work::Destination};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Batch, CHUNK, Tables, marks};
use crate::{
    moment::Ms,
    passed::Trace,
    record::{self, Malformed},
    task::Task,
};

/// A task as it was read, with the revision that a change must name.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The task.
    pub task: Task,
    /// Which version of it this is.
    pub revision: i64,
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// It reads.
    Task(Box<Kept>),
    /// It does not.
    Malformed {
        /// Its key.
        id: String,
        /// Why it does not read.
        why: Malformed,
    },
}

#[derive(Deserialize)]
struct Row {
    id: String,
    revision: i64,
    record: Value,
}

impl Row {
    fn read(self) -> Found {
        // A column of JSON would come as a document and not as a text.
        let text = match self.record {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let read = record::read::<Task>(&text).and_then(|task| match task.id == self.id {
            true => Ok(task),
            false => Err(Malformed(
                "the record has another id than its row".to_owned(),
            )),
        });
        match read {
            Ok(task) => Found::Task(Box::new(Kept {
                task,
                revision: self.revision,
            })),
            Err(why) => Found::Malformed { id: self.id, why },
        }
    }
}

const COLUMNS: &str = "id, revision, record";

impl Tables<'_> {
    /// Stores a new task; says whether there was none of its id.
    ///
    /// # Errors
    /// As every statement.
    pub async fn insert_task(&self, task: &Task) -> Result<bool, HostError> {
        let sql = "INSERT INTO tasks (id, destination, status, attend_at_ms, created_at_ms, \
                   fingerprint, zone_data, revision, record) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?) \
                   ON CONFLICT (id) DO NOTHING";
        let params = json!([
            task.id,
            place(&task.destination),
            task.status.as_str(),
            task.attend_at_ms(),
            task.created_at_ms,
            task.fingerprint(),
            task.zone_data,
            record::write(task),
        ]);
        Ok(self.0.execute(sql, params).await? == 1)
    }

    /// A task by its id; none when there is none or it does not read.
    ///
    /// # Errors
    /// As every statement.
    pub async fn task(&self, id: &str) -> Result<Option<Kept>, HostError> {
        let found = self.tasks_of(&[id]).await?.pop();
        Ok(match found {
            Some(Found::Task(kept)) => Some(*kept),
            Some(Found::Malformed { .. }) | None => None,
        })
    }

    /// Tasks by their ids, in no order.
    ///
    /// # Errors
    /// As every statement.
    pub async fn tasks_of(&self, ids: &[&str]) -> Result<Vec<Found>, HostError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(CHUNK) {
            let sql = format!(
                "SELECT {COLUMNS} FROM tasks WHERE id IN ({})",
                marks(ids.len())
            );
            let rows: Vec<Row> = self.0.query(&sql, json!(ids)).await?.to()?;
            found.extend(rows.into_iter().map(Row::read));
        }
        Ok(found)
    }

    /// Tasks that want to be looked at, the longest waiting first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn due(&self, now_ms: Ms, limit: usize) -> Result<Vec<Found>, HostError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM tasks WHERE attend_at_ms <= ? ORDER BY attend_at_ms, id LIMIT ?"
        );
        let rows: Vec<Row> = self.0.query(&sql, json!([now_ms, limit])).await?.to()?;
        Ok(rows.into_iter().map(Row::read).collect())
    }

    /// Tasks of a conversation, or of all, that are not deleted, in the order in which they were made.
    ///
    /// # Errors
    /// As every statement.
    pub async fn list(
        &self,
        destination: Option<&Destination>,
        after: Option<(Ms, &str)>,
        limit: usize,
    ) -> Result<Vec<Found>, HostError> {
        let (created, id) = after.unwrap_or((Ms::MIN, ""));
        let rest = "status <> 'deleted' AND (created_at_ms > ? OR (created_at_ms = ? AND id > ?)) \
                    ORDER BY created_at_ms, id LIMIT ?";
        let rows: Vec<Row> = match destination {
            Some(destination) => {
                let sql = format!("SELECT {COLUMNS} FROM tasks WHERE destination = ? AND {rest}");
                let params = json!([place(destination), created, created, id, limit]);
                self.0.query(&sql, params).await?.to()?
            }
            None => {
                let sql = format!("SELECT {COLUMNS} FROM tasks WHERE {rest}");
                self.0
                    .query(&sql, json!([created, created, id, limit]))
                    .await?
                    .to()?
            }
        };
        Ok(rows.into_iter().map(Row::read).collect())
    }

    /// Changes tasks that nobody else has changed since they were read; gives the ids of those that it
    /// changed. Each comes with when to look at it next. What a change says about occurrences is stored with
    /// it, so it belongs into a transaction, behind the runs that belong to it.
    ///
    /// # Errors
    /// As every statement.
    pub async fn save_tasks(
        &self,
        tasks: &[(&Kept, Option<Ms>)],
    ) -> Result<Vec<String>, HostError> {
        let mut saved = Vec::with_capacity(tasks.len());
        for tasks in tasks.chunks(CHUNK) {
            let mut batch = Batch::new(&[
                ("id", "TEXT"),
                ("revision", "BIGINT"),
                ("status", "TEXT"),
                ("attend_at_ms", "BIGINT"),
                ("fingerprint", "TEXT"),
                ("zone_data", "TEXT"),
                ("record", "TEXT"),
            ]);
            for (Kept { task, revision }, attend_at_ms) in tasks {
                batch.add([
                    json!(task.id),
                    json!(revision),
                    json!(task.status.as_str()),
                    json!(attend_at_ms),
                    json!(task.fingerprint()),
                    json!(task.zone_data),
                    json!(record::write(task)),
                ]);
            }
            let sql = format!(
                "{} UPDATE tasks SET status = v.status, attend_at_ms = v.attend_at_ms, \
                 fingerprint = v.fingerprint, zone_data = v.zone_data, record = v.record, \
                 malformed_at_ms = NULL, revision = tasks.revision + 1 \
                 FROM v WHERE tasks.id = v.id AND tasks.revision = v.revision RETURNING tasks.id AS id",
                batch.with()
            );
            saved.extend(self.ids(&sql, batch.params()).await?);
        }
        let traced: Vec<_> = tasks
            .iter()
            .map(|(kept, _)| &kept.task)
            .filter(|task| task.trace != Trace::default() && saved.contains(&task.id))
            .collect();
        if !traced.is_empty() {
            self.note(&traced).await?;
        }
        Ok(saved)
    }

    /// Changes one task; says whether nobody else had.
    ///
    /// # Errors
    /// As every statement.
    pub async fn save_task(&self, kept: &Kept) -> Result<bool, HostError> {
        let saved = self.save_tasks(&[(kept, kept.task.attend_at_ms())]).await?;
        Ok(!saved.is_empty())
    }

    /// Looks at tasks again at another time, without changing them otherwise; gives the ids of those that
    /// nobody else had changed.
    ///
    /// # Errors
    /// As every statement.
    pub async fn put_off(&self, tasks: &[(&Kept, Option<Ms>)]) -> Result<Vec<String>, HostError> {
        let mut saved = Vec::with_capacity(tasks.len());
        for tasks in tasks.chunks(CHUNK) {
            let mut batch = Batch::new(&[
                ("id", "TEXT"),
                ("revision", "BIGINT"),
                ("attend_at_ms", "BIGINT"),
            ]);
            for (Kept { task, revision }, at) in tasks {
                batch.add([json!(task.id), json!(revision), json!(at)]);
            }
            let sql = format!(
                "{} UPDATE tasks SET attend_at_ms = v.attend_at_ms, revision = tasks.revision + 1 \
                 FROM v WHERE tasks.id = v.id AND tasks.revision = v.revision \
                 RETURNING tasks.id AS id",
                batch.with()
            );
            saved.extend(self.ids(&sql, batch.params()).await?);
        }
        Ok(saved)
    }

    /// Sets rows apart whose records do not read. The records stay as they are.
    ///
    /// # Errors
    /// As every statement.
    pub async fn set_apart(&self, ids: &[String], now_ms: Ms) -> Result<(), HostError> {
        for ids in ids.chunks(CHUNK) {
            let sql = format!(
                "UPDATE tasks SET attend_at_ms = NULL, malformed_at_ms = ? WHERE id IN ({})",
                marks(ids.len())
            );
            let mut params = vec![json!(now_ms)];
            params.extend(ids.iter().map(|id| json!(id)));
            self.0.execute(&sql, json!(params)).await?;
        }
        Ok(())
    }

    /// The oldest active task that is the same and older, for each of these tasks.
    ///
    /// # Errors
    /// As every statement.
    pub async fn twin(&self, task: &Task) -> Result<Option<String>, HostError> {
        let sql = "SELECT id FROM tasks WHERE fingerprint = ? AND status = 'active' \
                   AND (created_at_ms < ? OR (created_at_ms = ? AND id < ?)) \
                   ORDER BY created_at_ms, id LIMIT 1";
        let created = task.created_at_ms;
        let params = json!([task.fingerprint(), created, created, task.id]);
        Ok(self.ids(sql, params).await?.pop())
    }

    /// A page of active tasks whose next run was reckoned with other zone data.
    ///
    /// # Errors
    /// As every statement.
    pub async fn reckoned_otherwise(
        &self,
        zone_data: &str,
        limit: usize,
    ) -> Result<Vec<Found>, HostError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM tasks WHERE status = 'active' AND zone_data <> ? \
             AND malformed_at_ms IS NULL ORDER BY id LIMIT ?"
        );
        let rows: Vec<Row> = self.0.query(&sql, json!([zone_data, limit])).await?.to()?;
        Ok(rows.into_iter().map(Row::read).collect())
    }
}

/// A conversation as one text, which no two have in common.
pub(crate) fn place(destination: &Destination) -> String {
    json!([destination.kind, destination.address]).to_string()
}
