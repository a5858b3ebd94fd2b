//! Data steps of the journal: tasks that an earlier version kept as values move into the table.
//!
//! A value under `task/<id>` holds a record in the form of today's. The table wins where both have a task;
//! what does not read stays where it is and is counted. The values are kept: an upgrade that went wrong
//! later can be gone back from.

use kodex_plugin::{
    Context, HostError, Json,
    db::Db,
    state::State,
    wire::store::{StateList, StepCounts, StepPayload, StepProgress, method},
};
use serde_json::Value;

use crate::{record, store::Tables, task::Task};

/// The step, by its file.
pub const FROM_STATE: &str = "0002_tasks_from_state";

/// Where the values are.
pub const PREFIX: &str = "task/";

const PAGE: usize = 100;

/// Moves values into the table, from where it stopped the last time.
///
/// # Errors
/// The host failed; what was moved stays.
pub async fn tasks_from_state(
    context: &Context,
    payload: &StepPayload,
) -> Result<StepCounts, HostError> {
    let (state, db) = (State::of(context), Db::of(context));
    let (mut after, mut counts) = progress(&payload.progress);
    loop {
        let list = StateList {
            prefix: PREFIX.to_owned(),
            after: after.clone(),
            limit: Some(PAGE),
        };
        let page = state.list(&list).await?;
        for key in &page.keys {
            counts.scanned += 1;
            let value: Option<Value> = state.get(&key.key).await?;
            let id = key.key.strip_prefix(PREFIX).unwrap_or_default();
            let read = value.and_then(|value| record::read::<Task>(&value.to_string()).ok());
            match read.filter(|task| task.id == id) {
                None => counts.missing += 1,
                Some(task) if Tables(&db).insert_task(&task).await? => counts.migrated += 1,
                Some(_) => counts.existing += 1,
            }
        }
        let Some(last) = page.keys.last().filter(|_| page.after.is_some()) else {
            return Ok(counts);
        };
        after = Some(last.key.clone());
        let progress = StepProgress {
            progress: Json::of(&(&after, counts))
                .map_err(|error| HostError::new("host.form", error.to_string()))?,
            counts,
        };
        let params =
            Json::of(&progress).map_err(|error| HostError::new("host.form", error.to_string()))?;
        context.host.request(method::STEP_PROGRESS, params).await?;
    }
}

fn progress(progress: &Json) -> (Option<String>, StepCounts) {
    progress.to().unwrap_or_default()
}
