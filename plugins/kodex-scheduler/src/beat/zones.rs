//! New zone data: what was reckoned with the old is reckoned again, and what moved is told.

use kodex_plugin::{HostError, host::LogLevel};
use serde_json::json;

use super::Beat;
use crate::{
    cadence,
    moment::{self, timestamp},
    store::{Found, Kept},
    task::Task,
};

/// Tasks that one beat reckons again.
const N_TASKS: usize = 200;

const FACT: &str = "zone_data";

impl Beat<'_> {
    /// Goes over a page of tasks while there are some that know other zone data.
    pub(super) async fn follow_zones(&self) -> Result<(), HostError> {
        let version = cadence::data_version();
        let tables = self.tables();
        if tables.fact(FACT).await?.as_deref() == Some(version) {
            return Ok(());
        }
        let found = tables.reckoned_otherwise(version, N_TASKS).await?;
        let is_last = found.len() < N_TASKS;
        let (mut tasks, mut malformed) = (Vec::new(), Vec::new());
        for found in found {
            match found {
                Found::Task(kept) => tasks.push(*kept),
                Found::Malformed { id, .. } => malformed.push(id),
            }
        }
        tables.set_apart(&malformed, self.now_ms).await?;
        self.warn_malformed("tasks", &malformed);
        for kept in &mut tasks {
            self.reckon(kept, version);
        }
        let attended: Vec<_> = tasks
            .iter()
            .map(|kept| (kept, kept.task.attend_at_ms()))
            .collect();
        let saved = tables.save_tasks(&attended).await?;
        if is_last && saved.len() == tasks.len() {
            tables.set_fact(FACT, version).await?;
        }
        Ok(())
    }

    fn reckon(&self, kept: &mut Kept, version: &str) {
        let task = &mut kept.task;
        let before = task.next_run_at_ms;
        reckon(task, self.now_ms);
        task.zone_data = version.to_owned();
        if task.next_run_at_ms != before {
            let fields = json!({
                "task": task.id,
                "before": before.map(moment::text),
                "after": task.next_run_at_ms.map(moment::text),
            });
            let message = "new zone data moved the next run of a task";
            self.host.log(LogLevel::Info, message, &fields.into());
        }
    }
}

/// Reckons a next run that is still to come again. One that is due stays: it was promised.
fn reckon(task: &mut Task, now_ms: i64) {
    if task.next_run_at_ms.is_none_or(|next| next <= now_ms) {
        return;
    }
    if let Some(cadence) = task.cadence.refreshed() {
        task.cadence = cadence;
    }
    if let Some(next) = task.cadence.next_after(timestamp(now_ms)) {
        task.next_run_at_ms = Some(next.as_millisecond());
    }
}
