//! What people do with tasks, and what must be true of tasks and their runs.

use std::collections::{BTreeMap, BTreeSet};

use kodex_scheduler::{
    moment::Ms,
    record,
    run::{Run, RunState},
    task::{Task, TaskStatus},
};
use kodex_store::Value as Cell;
use serde_json::{Value, json};

use crate::{
    chance::Chance,
    host::lock,
    node::Life,
    sim::{Checked, Sim},
    stand::{N_NODES, all},
};

/// Most tasks of a history.
const N_TASKS: usize = 5;

/// A task as the test knows it.
#[derive(Debug, Clone)]
struct Known {
    id: String,
    step_ms: Ms,
    /// The first occurrence, from which the others follow by adding.
    first_ms: Ms,
    /// Somebody gave it another schedule, so that its occurrences are not simply one after the other.
    is_rescheduled: bool,
    /// Somebody stopped it or let it go on, so that a request may have come from a node whose clock is wrong.
    is_touched: bool,
}

#[derive(Default)]
pub(crate) struct Tasks {
    known: Vec<Known>,
    n_asked: usize,
    /// Rows that the test broke, and their texts.
    pub(crate) broken: BTreeMap<String, String>,
    over: BTreeMap<String, Run>,
    attempts: BTreeMap<String, u32>,
    run_ids: Vec<String>,
}

impl Tasks {
    /// A row to break, if there is a sound one.
    pub(crate) fn to_break(&self, chance: &mut Chance) -> Option<(&'static str, String)> {
        let (table, ids): (_, Vec<&String>) = match chance.often(50) {
            true => (
                "tasks",
                self.known.iter().skip(1).map(|known| &known.id).collect(),
            ),
            false => ("runs", self.run_ids.iter().collect()),
        };
        let sound: Vec<_> = ids
            .into_iter()
            .filter(|id| !self.broken.contains_key(*id))
            .collect();
        if sound.is_empty() {
            return None;
        }
        Some((table, sound[chance.below(sound.len())].clone()))
    }
}

fn cell(cells: &[Cell], at: usize) -> String {
    match &cells[at] {
        Cell::Text(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Sim<'_> {
    /// Asks for a new task, to the end of the call.
    pub(crate) async fn add_task(&mut self, nth: usize) -> Checked {
        let payload = self.wish();
        self.begin(nth, "scheduler.add", payload);
        let at = self.nodes[nth].calls.len() - 1;
        self.finish_call(nth, at).await
    }

    fn wish(&mut self) -> Value {
        self.tasks.n_asked += 1;
        let n = self.tasks.n_asked;
        let minutes = self.chance.one_of(&[10, 15, 20, 20]);
        // The first one runs every occurrence, so that every history has such a task.
        let catch_up = match n {
            1 => "all",
            _ => self.chance.one_of(&["all", "one", "skip_late"]),
        };
        let overlap = self.chance.one_of(&["skip", "queue", "allow"]);
        json!({"task": format!("do {n}"), "call_id": format!("call {n}"), "catch_up": catch_up,
            "overlap": overlap, "destination": {"kind": "session", "address": format!("room {}", n % 3)},
            "schedule": {"kind": "interval", "every": {"value": minutes, "unit": "minute"}}})
    }

    /// A request of people, begun on a node.
    pub(crate) async fn ask_something(&mut self, nth: usize) -> Checked {
        if self.nodes[nth].calls.len() >= 3 {
            return Ok(());
        }
        let n_known = self.tasks.known.len();
        let roll = self.chance.below(10);
        if n_known == 0 || (roll < 3 && self.tasks.n_asked < N_TASKS) {
            let payload = self.wish();
            self.begin(nth, "scheduler.add", payload);
            return Ok(());
        }
        // The first task is left alone: of it every occurrence must be accounted for.
        let at = self.chance.below(n_known);
        let id = self.tasks.known[at].id.clone();
        let hook = match roll {
            0..6 => "scheduler.run_now",
            6 => "scheduler.pause",
            7 | 8 => "scheduler.resume",
            _ if self.chance.often(50) => "scheduler.delete",
            _ => "scheduler.update",
        };
        if hook != "scheduler.run_now" {
            if at == 0 {
                return Ok(());
            }
            self.tasks.known[at].is_touched = true;
            self.tasks.known[at].is_rescheduled |= hook == "scheduler.update";
        }
        let mut payload = json!({"task_id": id});
        if hook == "scheduler.update" {
            payload["schedule"] =
                json!({"kind": "interval", "every": {"value": 6, "unit": "minute"}});
        }
        self.begin(nth, hook, payload);
        Ok(())
    }

    /// What a call answered.
    pub(crate) async fn heard(
        &mut self,
        name: &str,
        payload: &Value,
        answer: Result<Value, String>,
    ) -> Checked {
        let Ok(answer) = answer else { return Ok(()) };
        if name != "scheduler.add" {
            return Ok(());
        }
        let id = answer["task"]["id"].as_str().expect("an id").to_owned();
        let task = self.task(&id).await;
        let task = task.ok_or_else(|| format!("P1: task {id} was accepted and is not there"))?;
        let minutes = payload["schedule"]["every"]["value"]
            .as_i64()
            .expect("a number");
        let step_ms = minutes * 60_000;
        let next_ms = task.next_run_at_ms.unwrap_or(0);
        self.tasks.known.push(Known {
            id,
            step_ms,
            first_ms: next_ms,
            is_rescheduled: false,
            is_touched: false,
        });
        Ok(())
    }

    async fn task(&self, id: &str) -> Option<Task> {
        let cells = [Cell::Text(id.to_owned())];
        let rows = self
            .stand
            .sql("SELECT record FROM tasks WHERE id = ?", cells)
            .await;
        let text = cell(rows.rows.first()?, 0);
        record::read(&text).ok()
    }

    /// Every row of the runs: id, task, what it says where it can be read.
    async fn runs(&self) -> Vec<(String, String, Option<Run>)> {
        let sql = "SELECT id, task_id, record FROM runs ORDER BY id";
        let rows = self.stand.sql(sql, []).await;
        let row = |cells: &Vec<Cell>| {
            let text = cell(cells, 2);
            (cell(cells, 0), cell(cells, 1), record::read(&text).ok())
        };
        rows.rows.iter().map(row).collect()
    }

    /// What must hold after every step.
    pub(crate) async fn check(&mut self) -> Checked {
        if let Some(problem) = lock(&self.truth).problems.first() {
            return Err(problem.clone());
        }
        let rows = self.runs().await;
        let mut of_occurrence: BTreeMap<(&str, Ms), usize> = BTreeMap::new();
        for (_, task, run) in &rows {
            if let Some(run) = run.as_ref().filter(|run| run.state != RunState::Blocked) {
                *of_occurrence
                    .entry((task, run.scheduled_for_ms))
                    .or_default() += 1;
            }
        }
        for (occurrence, n) in of_occurrence {
            ensure(n == 1, || format!("P2: {occurrence:?} has {n} runs"))?;
        }
        for (id, _, run) in &rows {
            let Some(run) = run else {
                ensure(self.tasks.broken.contains_key(id), || {
                    format!("P8: {id} does not read")
                })?;
                continue;
            };
            let before = self
                .tasks
                .attempts
                .insert(id.clone(), run.attempt)
                .unwrap_or(0);
            ensure(before <= run.attempt, || {
                format!("P3: {run:?} was in attempt {before}")
            })?;
            match self.tasks.over.get(id) {
                Some(before) => ensure(before == run, || format!("P4: {before:?} became {run:?}"))?,
                None if run.state.is_over() => {
                    self.tasks.over.insert(id.clone(), run.clone());
                }
                None => {}
            }
        }
        self.tasks.run_ids = rows.iter().map(|(id, ..)| id.clone()).collect();
        self.check_jobs(&rows)
    }

    fn check_jobs(&self, rows: &[(String, String, Option<Run>)]) -> Checked {
        let ids: BTreeSet<&str> = rows.iter().map(|(id, ..)| id.as_str()).collect();
        let mut keys = BTreeSet::new();
        for (id, job) in &lock(&self.truth).jobs.jobs {
            ensure(ids.contains(job.key.as_str()), || {
                format!("P2: {id} has no occurrence")
            })?;
            ensure(keys.insert(job.key.clone()), || {
                format!("P2: {} has two agent runs", job.key)
            })?;
            ensure(job.n_done <= 1, || {
                format!("P6: {id} was done {} times", job.n_done)
            })?;
            ensure(job.n_ended <= 1, || {
                format!("P4: {id} ended {} times", job.n_ended)
            })?;
        }
        Ok(())
    }

    /// Drives a call to its end; what is in the way is brought to its end first.
    async fn finish_call(&mut self, nth: usize, at: usize) -> Checked {
        for _ in 0..2_000 {
            if self.go_on_once(nth, at).await? == crate::sim::Went::Ended {
                return Ok(());
            }
        }
        Err(format!("node {nth}: a call does not end"))
    }

    /// Without faults everything that began comes to its end, and everything that is due is done.
    pub(crate) async fn settle(&mut self) -> Checked {
        self.faults = 0;
        self.note(|| "nothing fails any more".to_owned());
        for nth in 0..N_NODES {
            if self.nodes[nth].life == Life::Paused {
                self.wake(nth, false);
            }
        }
        // Whoever has the only transaction goes first.
        let mut order: Vec<_> = (0..N_NODES).collect();
        order.sort_by_key(|nth| !self.nodes[*nth].host.is_in_transaction());
        for nth in order {
            self.finish_calls(nth).await?;
            self.wake(nth, false);
        }
        let now_ms = self.now_ms().max(self.latest_ms) + crate::reference::LEASE_MS + 1;
        self.stand.clock.set_unix_ms(now_ms);
        for node in &self.nodes {
            node.host
                .skew_ms
                .store(0, std::sync::atomic::Ordering::Relaxed);
        }
        for node in &mut self.nodes {
            node.held.clear();
        }
        self.sweep(0).await?;
        let is_lost =
            |job: &&crate::reference::RefJob| job.state == kodex_store::queue::JobState::Running;
        let n_lost = lock(&self.truth).jobs.jobs.values().filter(is_lost).count();
        ensure(n_lost == 0, || {
            format!("P5: {n_lost} jobs are still held by nobody")
        })?;
        self.compare().await?;
        for round in 0..400 {
            self.stand.clock.advance(std::time::Duration::from_secs(61));
            let nth = round % N_NODES;
            self.work_off(nth).await?;
            let now = self.now_ms();
            self.begin(nth, "heartbeat", json!({"now_unix_ms": now, "ticket": 1}));
            self.finish_call(nth, 0).await?;
            if self.is_at_rest().await {
                self.work_off(nth).await?;
                self.check().await?;
                return self.account().await;
            }
        }
        Err("P7: it does not come to rest".to_owned())
    }

    /// Drives all calls of a node to their ends; one of them may have the transaction that others wait for.
    async fn finish_calls(&mut self, nth: usize) -> Checked {
        for _ in 0..5_000 {
            let mut went = crate::sim::Went::Waits;
            for at in (0..self.nodes[nth].calls.len()).rev() {
                went = self.go_on_once(nth, at).await?;
                if went != crate::sim::Went::Waits {
                    break;
                }
            }
            if self.nodes[nth].calls.is_empty() {
                return Ok(());
            }
            ensure(went != crate::sim::Went::Waits, || {
                format!("node {nth}: its calls wait for nobody")
            })?;
        }
        Err(format!("node {nth}: its calls do not end"))
    }

    async fn work_off(&mut self, nth: usize) -> Checked {
        self.sweep(nth).await?;
        loop {
            self.claim(nth, 50).await?;
            if self.nodes[nth].held.is_empty() {
                return Ok(());
            }
            for held in self.nodes[nth].held.clone() {
                self.effect(nth, &held.lease).await?;
                self.end(nth, &held.lease, crate::reference::How::Complete)
                    .await?;
            }
        }
    }

    async fn is_at_rest(&self) -> bool {
        let now_ms = i64::try_from(self.now_ms()).expect("in range");
        let living = |job: &crate::reference::RefJob| {
            !job.state.is_over() && job.state != kodex_store::queue::JobState::Blocked
        };
        if lock(&self.truth).jobs.jobs.values().any(living) {
            return false;
        }
        let open = |run: &Option<Run>| run.as_ref().is_some_and(|run| !run.state.is_over());
        if self.runs().await.iter().any(|(_, _, run)| open(run)) {
            return false;
        }
        for known in &self.tasks.known {
            if let Some(task) = self.task(&known.id).await
                && task.attend_at_ms().is_some_and(|at| at <= now_ms)
            {
                return false;
            }
        }
        true
    }

    async fn compare(&self) -> Checked {
        let jobs = self.stand.stores[0].queue().list(&all()).await;
        let jobs = jobs.map_err(|error| format!("listing: {error}"))?;
        lock(&self.truth).jobs.compare(&jobs)
    }

    /// At the end: nothing that was accepted is lost, no occurrence is missing, and nobody wrote over what
    /// was broken.
    async fn account(&mut self) -> Checked {
        self.compare().await?;
        for (id, text) in &self.tasks.broken {
            let sql = "SELECT record FROM tasks WHERE id = ? UNION ALL SELECT record FROM runs WHERE id = ?";
            let cells = [Cell::Text(id.clone()), Cell::Text(id.clone())];
            let rows = self.stand.sql(sql, cells).await;
            ensure(cell(&rows.rows[0], 0) == *text, || {
                format!("P8: {id} was written over")
            })?;
        }
        let rows = self.runs().await;
        let rows = match self.loses_a_slot() {
            true => rows.into_iter().skip(1).collect(),
            false => rows,
        };
        let passed = self.passed().await;
        for known in self.tasks.known.clone() {
            let Some(task) = self.task(&known.id).await else {
                let is_broken = self.tasks.broken.contains_key(&known.id);
                ensure(is_broken, || format!("P1: task {} is gone", known.id))?;
                continue;
            };
            self.account_for(&known, &task, &rows, &passed)?;
        }
        Ok(())
    }

    fn account_for(
        &mut self,
        known: &Known,
        task: &Task,
        rows: &[(String, String, Option<Run>)],
        passed: &[Passed],
    ) -> Checked {
        let own = rows.iter().filter(|(_, of, _)| *of == known.id);
        let slots: BTreeSet<Ms> = own.map(|(id, ..)| slot(id)).collect();
        self.seen.n_occurrences += slots.len();
        if known.is_rescheduled {
            return Ok(());
        }
        let now_ms = i64::try_from(self.now_ms()).expect("in range");
        let until_ms = match task.status {
            TaskStatus::Active | TaskStatus::Paused => task.next_run_at_ms,
            TaskStatus::Blocked => task.untold_from_ms,
            TaskStatus::Deleted => Some(task.updated_at_ms + 1),
        };
        let until_ms = until_ms.ok_or_else(|| format!("P7: {task:?} stands nowhere"))?;
        if !known.is_touched && task.status == TaskStatus::Active {
            ensure(until_ms > now_ms, || {
                format!("P7: {} stands at {until_ms}, which is over", known.id)
            })?;
            let is_own = (until_ms - known.first_ms) % known.step_ms == 0;
            ensure(is_own, || {
                format!(
                    "P7: {} stands at {until_ms}, which is none of its times",
                    known.id
                )
            })?;
        }
        let own = passed.iter().filter(|row| row.task_id == known.id);
        let passed: Vec<_> = own.collect();
        let mut at = known.first_ms;
        while at < until_ms {
            let is_run = slots.contains(&at);
            let within = |row: &&&Passed| (row.first_ms..=row.last_ms).contains(&at);
            let here: Vec<_> = passed.iter().filter(within).collect();
            let n_single = here.iter().filter(|row| row.n == 1).count();
            let n_words = usize::from(is_run) + n_single;
            let is_told = n_words == 1 || n_words == 0 && here.len() == 1;
            ensure(is_told, || {
                format!(
                    "P7: {at} of {} has {n_words} words, a run: {is_run}, {}, {passed:?}",
                    known.id,
                    record::write(task)
                )
            })?;
            self.seen.n_accounted += 1;
            self.seen.n_passed += usize::from(!is_run);
            at += known.step_ms;
        }
        for row in &passed {
            let n_runs = slots.range(row.first_ms..=row.last_ms);
            let n_runs = n_runs.filter(|at| is_on_grid(known, **at)).count();
            let between = (row.last_ms - row.first_ms) / known.step_ms + 1;
            ensure(
                row.n + i64::try_from(n_runs).expect("few") == between,
                || format!("P7: {row:?} tells of {between}, {n_runs} of them runs"),
            )?;
        }
        Ok(())
    }

    /// Every row of what passed without a run.
    async fn passed(&self) -> Vec<Passed> {
        let sql = "SELECT task_id, first_ms, last_ms, n FROM passed ORDER BY task_id, first_ms";
        let rows = self.stand.sql(sql, []).await;
        let number = |cell: &Cell| match cell {
            Cell::Integer(number) => *number,
            other => panic!("{other:?} is no number"),
        };
        let row = |cells: &Vec<Cell>| Passed {
            task_id: cell(cells, 0),
            first_ms: number(&cells[1]),
            last_ms: number(&cells[2]),
            n: number(&cells[3]),
        };
        rows.rows.iter().map(row).collect()
    }
}

/// Occurrences that passed without a run, as they stand in their row.
#[derive(Debug)]
struct Passed {
    task_id: String,
    first_ms: Ms,
    last_ms: Ms,
    n: i64,
}

fn is_on_grid(known: &Known, at: Ms) -> bool {
    at >= known.first_ms && (at - known.first_ms) % known.step_ms == 0
}

/// The occurrence in the key of a run, also of one that does not read.
fn slot(id: &str) -> Ms {
    let mut parts = id.split(':').skip(1);
    let at = parts.next().and_then(|at| at.parse().ok());
    at.unwrap_or_else(|| panic!("{id} is no key of a run"))
}
