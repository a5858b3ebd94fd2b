//! What ended: the results of agent runs are applied to runs and then to their tasks.

use std::collections::BTreeMap;

use kodex_plugin::{HostError, db::Db};
use serde_json::json;

use super::Beat;
use crate::{
    moment::Ms,
    run::{Run, RunState},
    store::{Change, Found, Kept, TRIES, Tables, contended, settle},
};

/// Agent runs that cannot be read, after which the others of a beat would hardly fare better.
const N_UNREADABLE: usize = 3;

/// Agent runs that are looked at for each one that may end in a beat: most go on for many beats.
const LOOKS_PER_END: usize = 5;

impl Beat<'_> {
    /// Applies at most `limit` results; says how many it applied.
    pub(super) async fn apply_ends(&self, limit: usize) -> Result<usize, HostError> {
        let looks = limit.saturating_mul(LOOKS_PER_END);
        // Also those that were seen later than now: a clock that has gone back holds up no result.
        let rows = self
            .tables()
            .open_runs(RunState::Running, Ms::MAX, looks)
            .await?;
        let (mut ends, mut seen, mut malformed) = (Vec::new(), Vec::new(), Vec::new());
        let mut n_unreadable = 0;
        for row in &rows {
            let Some(run) = &row.run else {
                malformed.push(row.id.clone());
                continue;
            };
            if ends.len() == limit {
                break;
            }
            let found = match &run.agent_run_id {
                Some(id) => self.agent.find(id).await,
                None => Ok(None),
            };
            match found {
                Ok(found) => match run.ended(run.token(), found.as_ref(), self.now_ms) {
                    Some(to) => ends.push(Change::new(run, to)),
                    None => seen.push(run.id.as_str()),
                },
                Err(error) => {
                    let fields = json!({"run": run.id, "code": error.code});
                    self.warn("an agent run could not be read", fields);
                    // One that never can be read must not be the first of every beat.
                    seen.push(run.id.as_str());
                    n_unreadable += 1;
                    if n_unreadable == N_UNREADABLE {
                        break;
                    }
                }
            }
        }
        self.tables()
            .set_runs_apart(&malformed, self.now_ms)
            .await?;
        self.warn_malformed("runs", &malformed);
        self.tables().saw_runs(&seen, self.now_ms).await?;
        self.change_with_tasks(&ends).await
    }

    /// Changes runs and, with those that have ended, their tasks; says how many runs it changed.
    pub(super) async fn change_with_tasks(&self, changes: &[Change]) -> Result<usize, HostError> {
        if changes.is_empty() {
            return Ok(0);
        }
        for _ in 0..TRIES {
            let tx = self.db.begin().await?;
            let outcome = self.change_in(&tx, changes).await;
            if let Some(n) = settle(tx, outcome).await? {
                return Ok(n);
            }
        }
        Err(contended())
    }

    async fn change_in(&self, db: &Db, changes: &[Change]) -> Result<Option<usize>, HostError> {
        let tables = Tables(db);
        tables.take_turn().await?;
        let changed = tables.change_runs(changes, self.now_ms).await?;
        let runs = changes.iter().map(|change| &change.to);
        let ended: Vec<_> = runs
            .filter(|run| changed.contains(&run.id) && ends_task(run))
            .collect();
        Ok(self
            .finish_tasks(&tables, &ended)
            .await?
            .then_some(changed.len()))
    }

    /// Lets tasks go on behind their runs; says whether nobody else changed them meanwhile.
    pub(super) async fn finish_tasks(
        &self,
        tables: &Tables<'_>,
        runs: &[&Run],
    ) -> Result<bool, HostError> {
        let mut of_task: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in runs {
            of_task.entry(&run.task_id).or_default().push(run);
        }
        let ids: Vec<_> = of_task.keys().copied().collect();
        let mut tasks: Vec<Kept> = Vec::with_capacity(ids.len());
        for found in tables.tasks_of(&ids).await? {
            // A malformed task keeps its run's result in the run alone.
            let Found::Task(mut kept) = found else {
                continue;
            };
            for run in of_task.remove(kept.task.id.as_str()).unwrap_or_default() {
                kept.task.finish(run, self.now_ms);
            }
            tasks.push(*kept);
        }
        let attended: Vec<_> = tasks
            .iter()
            .map(|kept| (kept, kept.task.attend_after(self.now_ms)))
            .collect();
        Ok(tables.save_tasks(&attended).await?.len() == tasks.len())
    }
}

/// A skipped run has no result: its task stands elsewhere already.
fn ends_task(run: &Run) -> bool {
    run.state.is_over() && run.state != RunState::Skipped
}
