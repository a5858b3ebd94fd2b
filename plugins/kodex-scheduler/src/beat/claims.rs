//! What is due is claimed: the decisions of [`crate::claim`] become rows, many at a time.

use std::collections::HashMap;

use kodex_plugin::{HostError, db::Db};

use super::Beat;
use crate::{
    claim::{self, Decision, decide},
    moment::Ms,
    run::{Run, RunState},
    store::{Change, Found, Kept, TRIES, Tables, contended, settle},
    task::Task,
};

/// Pages of tasks that one beat looks at. Tasks that cannot run now are put off, so that each page shows
/// others.
const N_PAGES: usize = 5;

/// Fewer rows in a page are not worth a statement.
const LEAST_PAGE: usize = 25;

/// An occurrence that is to be started now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claim {
    pub(super) run: Run,
    /// The task as it stood when it was claimed.
    pub(super) task: Task,
}

impl Claim {
    pub(super) fn new(run: Run, task: Task) -> Self {
        Self { run, task }
    }
}

/// What one page came to.
struct Page {
    claims: Vec<Claim>,
    n_tasks: usize,
}

/// What is to be written for a page.
#[derive(Default)]
struct Writes {
    /// Tasks that change.
    saved: Vec<(Kept, Option<Ms>)>,
    /// Tasks that only wait.
    put_off: Vec<(Kept, Option<Ms>)>,
    /// New rows; they need their task.
    runs: Vec<Run>,
    changes: Vec<Change>,
    /// Claims with their tasks; they need their row.
    claims: Vec<Claim>,
    /// Claims that ended instead of being taken over.
    failed: Vec<Run>,
    malformed_runs: Vec<String>,
    malformed_tasks: Vec<String>,
}

impl Beat<'_> {
    /// Claims at most `limit` occurrences, the longest-due first.
    pub(super) async fn claim(&self, limit: usize) -> Result<Vec<Claim>, HostError> {
        let mut claims = Vec::new();
        for _ in 0..N_PAGES {
            let left = limit - claims.len();
            if left == 0 || self.tables().due(self.now_ms, 1).await?.is_empty() {
                break;
            }
            let page = self.claim_page(left).await?;
            claims.extend(page.claims);
            if page.n_tasks < left {
                break;
            }
        }
        Ok(claims)
    }

    async fn claim_page(&self, limit: usize) -> Result<Page, HostError> {
        for _ in 0..TRIES {
            let tx = self.db.begin().await?;
            let outcome = self.claim_in(&tx, limit).await;
            if let Some(page) = settle(tx, outcome).await? {
                return Ok(page);
            }
        }
        Err(contended())
    }

    async fn claim_in(&self, db: &Db, limit: usize) -> Result<Option<Page>, HostError> {
        let tables = Tables(db);
        tables.take_turn().await?;
        let found = tables.due(self.now_ms, limit.max(LEAST_PAGE)).await?;
        let n_tasks = found.len();
        let mut writes = Writes::default();
        let mut tasks = Vec::with_capacity(n_tasks);
        for found in found {
            match found {
                Found::Task(kept) => tasks.push(*kept),
                Found::Malformed { id, .. } => writes.malformed_tasks.push(id),
            }
        }
        let mut rows = self.rows_around(&tables, &tasks).await?;
        for kept in tasks {
            if writes.claims.len() == limit {
                break;
            }
            let rows = rows.remove(kept.task.id.as_str()).unwrap_or_default();
            let twin = self.twin_if_late(&tables, &kept.task).await?;
            let decision = decide(&kept.task, &rows, twin.as_deref(), self.now_ms);
            writes.add(kept, decision);
        }
        let claims = self.write(&tables, writes).await?;
        Ok(claims.map(|claims| Page { claims, n_tasks }))
    }

    async fn rows_around(
        &self,
        tables: &Tables<'_>,
        tasks: &[Kept],
    ) -> Result<HashMap<String, Vec<claim::Row>>, HostError> {
        let mut occurrences = Vec::with_capacity(tasks.len());
        for Kept { task, .. } in tasks {
            if let Some(at) = claim::occurrence(task, self.now_ms) {
                occurrences.push((task.id.as_str(), at));
            }
        }
        let mut rows: HashMap<String, Vec<claim::Row>> = HashMap::new();
        for (task, row) in tables.runs_around(&occurrences).await? {
            rows.entry(task).or_default().push(row);
        }
        Ok(rows)
    }

    /// A task that is the same and older matters only to one that comes late.
    async fn twin_if_late(
        &self,
        tables: &Tables<'_>,
        task: &Task,
    ) -> Result<Option<String>, HostError> {
        match claim::occurrence(task, self.now_ms) {
            Some(at) if task.is_late(at, self.now_ms) => tables.twin(task).await,
            _ => Ok(None),
        }
    }

    /// Writes a page; nothing when somebody else was in the way and it must be read again.
    async fn write(
        &self,
        tables: &Tables<'_>,
        mut writes: Writes,
    ) -> Result<Option<Vec<Claim>>, HostError> {
        let runs: Vec<_> = writes.runs.iter().collect();
        let inserted = tables.insert_runs(&runs).await?;
        if inserted.len() < runs.len() {
            return Ok(None);
        }
        let saved: Vec<_> = writes.saved.iter().map(|(kept, at)| (kept, *at)).collect();
        let put_off: Vec<_> = writes
            .put_off
            .iter()
            .map(|(kept, at)| (kept, *at))
            .collect();
        let n_written =
            tables.save_tasks(&saved).await?.len() + tables.put_off(&put_off).await?.len();
        if n_written < saved.len() + put_off.len() {
            return Ok(None);
        }
        let changed = tables.change_runs(&writes.changes, self.now_ms).await?;
        if changed.len() < writes.changes.len() {
            return Ok(None);
        }
        let failed: Vec<_> = writes.failed.iter().collect();
        if !self.finish_tasks(tables, &failed).await? {
            return Ok(None);
        }
        tables
            .set_runs_apart(&writes.malformed_runs, self.now_ms)
            .await?;
        tables
            .set_apart(&writes.malformed_tasks, self.now_ms)
            .await?;
        self.warn_malformed("runs", &writes.malformed_runs);
        self.warn_malformed("tasks", &writes.malformed_tasks);
        Ok(Some(std::mem::take(&mut writes.claims)))
    }
}

impl Writes {
    fn add(&mut self, kept: Kept, decision: Decision) {
        let revision = kept.revision;
        let changed = |task: Box<Task>| Kept {
            task: *task,
            revision,
        };
        match decision {
            Decision::Claim {
                run,
                task,
                superseded,
                attend_at_ms,
            } => {
                self.claims.push(Claim::new(run.clone(), (*task).clone()));
                self.runs.push(run);
                self.end_superseded(superseded);
                if *task == kept.task {
                    self.put_off.push((kept, attend_at_ms));
                } else {
                    self.saved.push((changed(task), attend_at_ms));
                }
            }
            Decision::Reclaim { from, to } => {
                self.changes.push(Change::new(&from, to.clone()));
                if to.state == RunState::Pending {
                    let again = Some(to.claimed_at_ms.saturating_add(crate::run::STALE_MS));
                    self.claims.push(Claim::new(to, kept.task.clone()));
                    self.put_off.push((kept, again));
                } else {
                    self.failed.push(to);
                }
            }
            Decision::Late { run, task } => {
                let kept = changed(task);
                let at = kept.task.attend_after(run.claimed_at_ms);
                self.runs.push(run);
                self.saved.push((kept, at));
            }
            Decision::Past { task, malformed } => {
                let kept = changed(task);
                let at = kept.task.attend_at_ms();
                self.malformed_runs.extend(malformed);
                self.saved.push((kept, at));
            }
            Decision::Later { attend_at_ms } => self.put_off.push((kept, attend_at_ms)),
        }
    }

    fn end_superseded(&mut self, superseded: Vec<Run>) {
        for run in superseded {
            self.changes.push(Change {
                from: (RunState::Pending, run.token()),
                to: run,
            });
        }
    }
}
