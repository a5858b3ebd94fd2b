//! What was left lying: claims that nobody started within a minute are taken over, or end when their task
//! stands elsewhere by now.

use kodex_plugin::{HostError, db::Db};

use super::{Beat, claims::Claim};
use crate::{
    claim::Row,
    run::{Run, RunState, STALE_MS},
    store::{Change, Found, Kept, TRIES, Tables, contended, settle},
    task::{Overlap, Task, TaskStatus},
};

impl Beat<'_> {
    /// Takes over at most `limit` stale claims.
    pub(super) async fn take_over(&self, limit: usize) -> Result<Vec<Claim>, HostError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        if self.stale(&self.tables(), limit).await?.is_empty() {
            return Ok(Vec::new());
        }
        for _ in 0..TRIES {
            let tx = self.db.begin().await?;
            let outcome = self.take_over_in(&tx, limit).await;
            if let Some(claims) = settle(tx, outcome).await? {
                return Ok(claims);
            }
        }
        Err(contended())
    }

    /// Claims that are too old, and those of a clock that has gone back since.
    async fn stale(&self, tables: &Tables<'_>, limit: usize) -> Result<Vec<Row>, HostError> {
        let before_ms = self.now_ms.saturating_sub(STALE_MS);
        let mut rows = tables
            .open_runs(RunState::Pending, before_ms, limit)
            .await?;
        let after_ms = self.now_ms.saturating_add(STALE_MS);
        let left = limit - rows.len();
        if left > 0 {
            rows.extend(tables.claims_to_come(after_ms, left).await?);
        }
        Ok(rows)
    }

    async fn take_over_in(&self, db: &Db, limit: usize) -> Result<Option<Vec<Claim>>, HostError> {
        let tables = Tables(db);
        tables.take_turn().await?;
        let rows = self.stale(&tables, limit).await?;
        let malformed: Vec<_> = rows
            .iter()
            .filter(|row| row.run.is_none())
            .map(|row| row.id.clone())
            .collect();
        tables.set_runs_apart(&malformed, self.now_ms).await?;
        self.warn_malformed("runs", &malformed);
        let runs: Vec<_> = rows.into_iter().filter_map(|row| row.run).collect();
        let ids: Vec<_> = runs.iter().map(|run| run.task_id.as_str()).collect();
        let found = tables.tasks_of(&ids).await?;
        let (mut changes, mut claims) = (Vec::new(), Vec::new());
        for run in &runs {
            let task = found.iter().find_map(|found| match found {
                Found::Task(kept) if kept.task.id == run.task_id => Some(&**kept),
                Found::Task(_) | Found::Malformed { .. } => None,
            });
            let to = match why_skip(task, run) {
                Some(reason) => run.refused(run.token(), RunState::Skipped, reason, self.now_ms),
                None => run.reclaimed(self.now_ms),
            };
            let Some(to) = to else {
                continue;
            };
            if let (RunState::Pending, Some(kept)) = (to.state, task) {
                claims.push(Claim::new(to.clone(), kept.task.clone()));
            }
            changes.push(Change::new(run, to));
        }
        let changed = tables.change_runs(&changes, self.now_ms).await?;
        claims.retain(|claim| changed.contains(&claim.run.id));
        let is_failed = |run: &&Run| run.state == RunState::Failed && changed.contains(&run.id);
        let failed: Vec<_> = changes
            .iter()
            .map(|change| &change.to)
            .filter(is_failed)
            .collect();
        Ok(self.finish_tasks(&tables, &failed).await?.then_some(claims))
    }
}

/// Why a claim must not be started any more.
pub(super) fn why_skip(kept: Option<&Kept>, run: &Run) -> Option<&'static str> {
    let Some(Kept { task, .. }) = kept else {
        return Some("the task cannot be read");
    };
    match task.status {
        TaskStatus::Deleted => Some("the task was deleted"),
        TaskStatus::Paused => Some("the task was paused"),
        TaskStatus::Blocked => Some("the task was blocked"),
        TaskStatus::Active if !wants(task, run) => Some("the task no longer stands at it"),
        TaskStatus::Active => None,
    }
}

/// A task that lets its runs overlap has gone on already when one of them begins.
fn wants(task: &Task, run: &Run) -> bool {
    task.overlap == Overlap::Allow || task.stands_at(run.scheduled_for_ms)
}
