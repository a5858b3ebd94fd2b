//! What may be done with tasks, for models and for people alike: one function for each wish.
//!
//! A model acts inside its conversation: its tasks answer there, and those of other conversations do not
//! exist for it. People act on all tasks. Everything else is the same.

use std::collections::BTreeMap;

use kodex_plugin::{
    db::Db,
    wire::work::{Destination, Visibility},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cadence::{self, Cadence, Intent, Terms},
    moment::{self, Ms, timestamp},
    passed::Trace,
    refusal::Refusal,
    store::{Found, Kept, TRIES, Tables, Tally, contended, settle},
    task::{CatchUp, Creator, Credentials, Overlap, TEXT_CHARS, Task, TaskStatus, digest},
};

/// Tasks that one list shows.
pub const LISTED: usize = 50;

/// Who wishes something.
#[derive(Debug, Clone, PartialEq)]
pub struct Wisher {
    /// The conversation that they are held to; people are not.
    pub conversation: Option<Destination>,
    /// Who may see what is said there.
    pub visibility: Visibility,
    /// Whether the conversation is theirs and the agent's alone.
    pub direct: bool,
    /// Who they are, where the host is sure of it.
    pub actor: Option<Creator>,
    /// The call, the same when it is made again.
    pub call_id: String,
    /// What their schedules must keep to.
    pub terms: Terms,
}

/// A task to make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// What the agent is asked.
    pub task: String,
    /// When: an [`Intent`].
    pub schedule: Value,
    /// What happens to occurrences that nobody was there for.
    #[serde(default)]
    pub catch_up: Option<CatchUp>,
    /// What happens to occurrences that come due while a run goes on.
    #[serde(default)]
    pub overlap: Option<Overlap>,
    /// Whose credentials its runs use.
    #[serde(default)]
    pub credential_mode: Option<Credentials>,
}

/// A change of a task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The task.
    pub task_id: String,
    /// What the agent is asked.
    #[serde(default)]
    pub task: Option<String>,
    /// When: an [`Intent`].
    #[serde(default)]
    pub schedule: Option<Value>,
    /// `active` or `paused`.
    #[serde(default)]
    pub status: Option<TaskStatus>,
    /// What happens to occurrences that nobody was there for.
    #[serde(default)]
    pub catch_up: Option<CatchUp>,
    /// What happens to occurrences that come due while a run goes on.
    #[serde(default)]
    pub overlap: Option<Overlap>,
    /// Whose credentials its runs use.
    #[serde(default)]
    pub credential_mode: Option<Credentials>,
}

/// A task by its id.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ById {
    /// The task.
    pub task_id: String,
}

/// What one list shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The tasks, the oldest first.
    pub tasks: Vec<Task>,
    /// There are more.
    pub truncated: bool,
    /// Rows of the page that do not read.
    pub n_malformed: usize,
}

/// How many occurrences of a task had no run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Those that should have run and could not.
    pub n_missed: i64,
    /// Those that somebody wanted to be passed over.
    pub n_skipped: i64,
}

impl Passed {
    /// Those of one task.
    pub(crate) fn of(tallies: &[Tally]) -> Self {
        let mut passed = Self::default();
        tallies.iter().for_each(|tally| passed.add(tally));
        passed
    }

    fn add(&mut self, tally: &Tally) {
        match tally.outcome.as_str() {
            "missed" => self.n_missed += tally.n,
            _ => self.n_skipped += tally.n,
        }
    }
}

/// Tasks, for somebody.
pub struct Desk<'d> {
    /// The plugin's tables.
    pub db: &'d Db,
    /// Who wishes something.
    pub wisher: &'d Wisher,
    /// The host's clock.
    pub now_ms: Ms,
}

impl Desk<'_> {
    /// Makes a task that answers at `destination`. The same call gives the same task.
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong.
    pub async fn create(&self, wish: Create, destination: Destination) -> Result<Task, Refusal> {
        let task = self.new_task(wish, destination)?;
        let tables = Tables(self.db);
        if tables.insert_task(&task).await? {
            return Ok(task);
        }
        let there = tables.task(&task.id).await?.ok_or(Refusal::Replay)?.task;
        let is_same = there.destination == task.destination && there.created_by == task.created_by;
        if is_same {
            Ok(there)
        } else {
            Err(Refusal::Replay)
        }
    }

    fn new_task(&self, wish: Create, destination: Destination) -> Result<Task, Refusal> {
        let cadence = self.compile(&wish.schedule)?;
        let next = cadence.next_after(timestamp(self.now_ms));
        let credentials = wish.credential_mode.unwrap_or_default();
        if credentials == Credentials::Creator {
            self.check_consent(self.wisher.actor.as_ref())?;
        }
        let actor = self
            .wisher
            .actor
            .as_ref()
            .map_or("", |actor| actor.id.as_str());
        let call = [
            actor,
            &destination.kind,
            &destination.address,
            &self.wisher.call_id,
        ];
        Ok(Task {
            id: format!("sched_{}", digest(&call)),
            created_at_ms: self.now_ms,
            updated_at_ms: self.now_ms,
            created_by: self.wisher.actor.clone(),
            destination,
            visibility: self.wisher.visibility,
            text: checked_text(&wish.task)?,
            cadence,
            status: TaskStatus::Active,
            reason: None,
            next_run_at_ms: next.map(|at| at.as_millisecond()),
            run_now_at_ms: None,
            last_run_at_ms: None,
            blocked_at_ms: None,
            untold_from_ms: None,
            generation: 0,
            catch_up: wish.catch_up.unwrap_or_default(),
            overlap: wish.overlap.unwrap_or_default(),
            credentials,
            zone_data: cadence::data_version().to_owned(),
            trace: Trace::default(),
        })
    }

    /// The tasks that the wisher may see.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, after: Option<(Ms, &str)>) -> Result<Page, Refusal> {
        let here = self.wisher.conversation.as_ref();
        let mut found = Tables(self.db).list(here, after, LISTED + 1).await?;
        let truncated = found.len() > LISTED;
        found.truncate(LISTED);
        let n_found = found.len();
        let tasks: Vec<_> = found
            .into_iter()
            .filter_map(|found| match found {
                Found::Task(kept) => Some(kept.task),
                Found::Malformed { .. } => None,
            })
            .collect();
        Ok(Page {
            n_malformed: n_found - tasks.len(),
            tasks,
            truncated,
        })
    }

    /// How many occurrences of tasks had no run, by task.
    ///
    /// # Errors
    /// The database failed.
    pub async fn passed(&self, tasks: &[Task]) -> Result<BTreeMap<String, Passed>, Refusal> {
        let ids: Vec<_> = tasks.iter().map(|task| task.id.as_str()).collect();
        let mut passed: BTreeMap<String, Passed> = BTreeMap::new();
        for tally in Tables(self.db).tallies_of(&ids).await? {
            passed.entry(tally.task_id.clone()).or_default().add(&tally);
        }
        Ok(passed)
    }

    /// One task.
    ///
    /// # Errors
    /// There is none here.
    pub async fn show(&self, id: &str) -> Result<Task, Refusal> {
        Ok(self.find(&Tables(self.db), id).await?.task)
    }

    /// Changes a task.
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong; then nothing has changed.
    pub async fn update(&self, wish: Update) -> Result<Task, Refusal> {
        let id = wish.task_id.clone();
        self.change(&id, |task| self.apply(task, &wish)).await
    }

    /// Stops a task until somebody resumes it.
    ///
    /// # Errors
    /// There is none here.
    pub async fn pause(&self, id: &str) -> Result<Task, Refusal> {
        self.change(id, |task| {
            task.pause(None, self.now_ms);
            Ok(())
        })
        .await
    }

    /// Lets a task run again. Of one whose record was mended by hand this also ends the quarantine.
    ///
    /// # Errors
    /// There is none here, or it has no next run.
    pub async fn resume(&self, id: &str) -> Result<Task, Refusal> {
        self.change(id, |task| match task.status {
            TaskStatus::Active => Ok(()),
            _ => Ok(task.resume(self.now_ms)?),
        })
        .await
    }

    /// Ends a task for good.
    ///
    /// # Errors
    /// There is none here.
    pub async fn delete(&self, id: &str) -> Result<Task, Refusal> {
        self.change(id, |task| {
            task.delete(self.now_ms);
            Ok(())
        })
        .await
    }

    /// Asks for a run at the next heartbeat, beside those of the schedule.
    ///
    /// # Errors
    /// There is none here, or it is not active.
    pub async fn run_now(&self, id: &str) -> Result<Task, Refusal> {
        self.change(id, |task| Ok(task.run_now(self.now_ms)?)).await
    }

    fn compile(&self, schedule: &Value) -> Result<Cadence, Refusal> {
        let intent = Intent::read(schedule)?;
        Ok(intent.compile(timestamp(self.now_ms), &self.wisher.terms)?)
    }

    fn apply(&self, task: &mut Task, wish: &Update) -> Result<(), Refusal> {
        if let Some(text) = &wish.task {
            let text = checked_text(text)?;
            // Nobody else's words run with the credentials of the one who agreed to the old ones.
            if text != task.text && !self.is_creator(task) {
                task.credentials = Credentials::System;
            }
            task.text = text;
        }
        task.catch_up = wish.catch_up.unwrap_or(task.catch_up);
        task.overlap = wish.overlap.unwrap_or(task.overlap);
        match wish.credential_mode {
            Some(Credentials::Creator) => {
                self.check_consent(task.created_by.as_ref())?;
                task.credentials = Credentials::Creator;
            }
            Some(Credentials::System) => task.credentials = Credentials::System,
            None => {}
        }
        if let Some(schedule) = &wish.schedule {
            task.reschedule(self.compile(schedule)?, self.now_ms)?;
        }
        match wish.status {
            Some(TaskStatus::Paused) => task.pause(None, self.now_ms),
            Some(TaskStatus::Active) if task.status != TaskStatus::Active => {
                task.resume(self.now_ms)?;
            }
            Some(TaskStatus::Active) | None => {}
            Some(TaskStatus::Blocked | TaskStatus::Deleted) => {
                return Err(Refusal::Input(
                    "status: must be active or paused".to_owned(),
                ));
            }
        }
        task.updated_at_ms = self.now_ms;
        Ok(())
    }

    fn is_creator(&self, task: &Task) -> bool {
        let ids = (&self.wisher.actor, &task.created_by);
        matches!(ids, (Some(actor), Some(creator)) if actor.id == creator.id)
    }

    /// Only the creator can agree, and where nobody else could have asked for it in their name.
    fn check_consent(&self, creator: Option<&Creator>) -> Result<(), Refusal> {
        let actor = self.wisher.actor.as_ref();
        let is_creator = matches!((actor, creator), (Some(a), Some(b)) if a.id == b.id);
        let is_alone = self.wisher.direct && self.wisher.visibility == Visibility::Private;
        // Runs may use them in sessions alone.
        let here = self.wisher.conversation.as_ref();
        let is_session = here.is_some_and(|here| here.kind == "session");
        if is_creator && is_alone && is_session {
            Ok(())
        } else {
            Err(Refusal::Credentials)
        }
    }

    /// A task that the wisher may see. Nothing tells one of another conversation from none.
    async fn find(&self, tables: &Tables<'_>, id: &str) -> Result<Kept, Refusal> {
        let not_found = || Refusal::NotFound(id.chars().take(80).collect());
        let kept = tables.task(id).await?.ok_or_else(not_found)?;
        let here = self.wisher.conversation.as_ref();
        let is_here = here.is_none_or(|here| kept.task.destination == *here);
        if is_here && kept.task.status != TaskStatus::Deleted {
            Ok(kept)
        } else {
            Err(not_found())
        }
    }

    async fn change(
        &self,
        id: &str,
        change: impl Fn(&mut Task) -> Result<(), Refusal> + Send + Sync,
    ) -> Result<Task, Refusal> {
        for _ in 0..TRIES {
            let tx = self.db.begin().await?;
            let tables = Tables(&tx);
            let mut kept = self.find(&tables, id).await?;
            change(&mut kept.task)?;
            let saved = tables.save_task(&kept).await;
            let outcome = saved.map(|saved| saved.then_some(kept.task));
            if let Some(task) = settle(tx, outcome).await? {
                return Ok(task);
            }
        }
        Err(contended().into())
    }
}

fn checked_text(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let n_chars = text.chars().count();
    if n_chars == 0 || n_chars > TEXT_CHARS || text.contains('\0') {
        return Err(Refusal::Text);
    }
    Ok(text.to_owned())
}

/// A task as models and people see it.
#[must_use]
pub fn compact(task: &Task) -> Value {
    json!({
        "id": task.id,
        "status": task.status.as_str(),
        "reason": task.reason,
        "task": task.text,
        "schedule": task.cadence.describe(),
        "timezone": task.cadence.zone().name(),
        "recurring": task.cadence.is_recurring(),
        "next_run_at": task.next_run_at_ms.map(moment::text),
        "run_now_at": task.run_now_at_ms.map(moment::text),
        "last_run_at": task.last_run_at_ms.map(moment::text),
        "catch_up": task.catch_up,
        "overlap": task.overlap,
        "visibility": task.visibility,
        "credential_mode": task.credentials,
    })
}

/// The same with how many of its occurrences had no run.
#[must_use]
pub fn counted(mut shown: Value, passed: Option<&Passed>) -> Value {
    let passed = passed.copied().unwrap_or_default();
    shown["missed"] = json!(passed.n_missed);
    shown["skipped"] = json!(passed.n_skipped);
    shown
}
