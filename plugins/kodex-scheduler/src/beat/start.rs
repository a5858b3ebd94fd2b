//! Claims become agent runs. A run that is refused for good blocks its task with the reason; where only
//! the moment is bad, the claim stays and is taken over by a later beat.

use kodex_plugin::HostError;
use serde_json::json;

use super::{Beat, claims::Claim, request, stale::why_skip};
use crate::{
    run::{Run, RunState},
    store::{CHUNK, Change, Found, Kept},
};

/// Refusals that will be the same the next time.
const FOR_GOOD: &[&str] = &["agent.invalid", "job.invalid", "permission.denied"];

/// What came of one claim.
enum Started {
    Changed(Change),
    /// The others of this beat would fare no better.
    NotNow(HostError),
}

impl Beat<'_> {
    /// Starts claims; says how many agent runs were accepted.
    pub(super) async fn start(&self, claims: Vec<Claim>) -> Result<usize, HostError> {
        let mut n_started = 0;
        for claims in claims.chunks(CHUNK) {
            let ids: Vec<_> = claims.iter().map(|claim| claim.task.id.as_str()).collect();
            // Somebody may have stopped a task between the claim and now.
            let tasks = self.tables().tasks_of(&ids).await?;
            let mut changes = Vec::with_capacity(claims.len());
            let mut refused = None;
            for claim in claims {
                match self.start_one(&tasks, claim).await {
                    Started::Changed(change) => changes.push(change),
                    Started::NotNow(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            let is_started = |change: &&Change| change.to.state == RunState::Running;
            n_started += changes.iter().filter(is_started).count();
            self.change_with_tasks(&changes).await?;
            if let Some(error) = refused {
                let fields = json!({"code": error.code, "message": error.message});
                self.warn("agent runs could not be asked for; claims are kept", fields);
                break;
            }
        }
        Ok(n_started)
    }

    async fn start_one(&self, tasks: &[Found], claim: &Claim) -> Started {
        let run = &claim.run;
        let kept = tasks.iter().find_map(|found| match found {
            Found::Task(kept) if kept.task.id == run.task_id => Some(&**kept),
            Found::Task(_) | Found::Malformed { .. } => None,
        });
        let Some(Kept { task, .. }) = kept else {
            return self.ended(run, RunState::Failed, "the task cannot be read");
        };
        if let Some(reason) = why_skip(kept, run) {
            return self.ended(run, RunState::Skipped, reason);
        }
        let request = match request(task, run) {
            Ok(request) => request,
            Err(reason) => return self.ended(run, RunState::Blocked, &reason),
        };
        match self.agent.dispatch(self.ticket, request).await {
            Ok(accepted) => match run.started(run.token(), &accepted.id, self.now_ms) {
                Some(to) => Started::Changed(Change::new(run, to)),
                None => self.ended(run, RunState::Failed, "the claim was lost"),
            },
            Err(error) if FOR_GOOD.contains(&error.code.as_str()) => {
                self.ended(run, RunState::Blocked, &error.message)
            }
            Err(error) => Started::NotNow(error),
        }
    }

    fn ended(&self, run: &Run, to: RunState, reason: &str) -> Started {
        match run.refused(run.token(), to, reason, self.now_ms) {
            Some(to) => Started::Changed(Change::new(run, to)),
            None => Started::NotNow(HostError::new("schedule.claim", "the claim was lost")),
        }
    }
}
