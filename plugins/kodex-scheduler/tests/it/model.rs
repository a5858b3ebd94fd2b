//! Random histories against what must always hold, whatever happened: tasks made, changed and removed by
//! hand, beats at any time, agents that finish in any way, refusals, lost marks, broken records, clocks
//! that jump.

use std::collections::{BTreeMap, BTreeSet};

use kodex_plugin::HostError;
use kodex_scheduler::{
    record,
    run::{Run, RunState},
    task::TaskStatus,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    passed::check_all,
    world::{self, START, World, daily, every, once_after},
};

#[derive(Debug, Clone)]
enum Step {
    Add {
        schedule: usize,
        catch_up: usize,
        overlap: usize,
    },
    Pause(usize),
    Resume(usize),
    Reschedule(usize, usize),
    Delete(usize),
    RunNow(usize),
    Beat,
    Later(u32),
    Back(u32),
    /// Some agent runs end.
    End {
        nth: usize,
        how: usize,
    },
    /// The next beat cannot start anything.
    Refuse(bool),
    /// An agent run was accepted, but the plugin died before it was marked.
    LoseMark(usize),
    BreakTask(usize),
    BreakRun(usize),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let nth = 0..12_usize;
    prop_oneof![
        2 => (0..6_usize, 0..3_usize, 0..3_usize)
            .prop_map(|(schedule, catch_up, overlap)| Step::Add { schedule, catch_up, overlap }),
        1 => nth.clone().prop_map(Step::Pause),
        2 => nth.clone().prop_map(Step::Resume),
        1 => (nth.clone(), 0..6_usize).prop_map(|(nth, schedule)| Step::Reschedule(nth, schedule)),
        1 => nth.clone().prop_map(Step::Delete),
        2 => nth.clone().prop_map(Step::RunNow),
        10 => Just(Step::Beat),
        6 => prop_oneof![1..120_u32, 60..4_000_u32, 3_000..90_000_u32, 80_000..900_000_u32].prop_map(Step::Later),
        1 => (1..7_200_u32).prop_map(Step::Back),
        6 => (nth.clone(), 0..4_usize).prop_map(|(nth, how)| Step::End { nth, how }),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => nth.clone().prop_map(Step::LoseMark),
        1 => nth.clone().prop_map(Step::BreakTask),
        1 => nth.clone().prop_map(Step::BreakRun),
        1 => nth.prop_map(Step::Forget),
    ]
}

fn schedule(nth: usize) -> Value {
    match nth {
        0 => daily("09:00"),
        1 => every(7, "minute"),
        2 => every(3, "hour"),
        3 => once_after(20, "minute"),
        4 => json!({"kind": "cron", "expression": "*/15 8-10 * * *"}),
        _ => {
            json!({"kind": "recurring", "frequency": "weekly", "time": "02:30", "weekdays": ["monday", "friday"]})
        }
    }
}

/// What the test knows by itself.
#[derive(Default)]
struct Known {
    ids: Vec<String>,
    /// Records that the test broke, and their texts.
    broken: BTreeMap<String, String>,
    /// Runs as they were when they were over.
    over: BTreeMap<String, Run>,
    /// From when on a task has had the schedule that it has now.
    since: BTreeMap<String, i64>,
    /// The latest time that the clock has shown.
    latest_ms: i64,
    /// Occurrences that were looked at, one by one.
    n_told: usize,
}

impl Known {
    fn id(&self, nth: usize) -> Option<&String> {
        let living: Vec<_> = self
            .ids
            .iter()
            .filter(|id| !self.broken.contains_key(*id))
            .collect();
        living.get(nth % living.len().max(1)).copied()
    }
}

fn play(world: &World, known: &mut Known, step: &Step) {
    let people = |name: &str, nth: usize| {
        if let Some(id) = known.id(nth) {
            // Refused where the task does not stand so; what must hold is checked afterwards.
            let _ = world.people(name, json!({"task_id": id}));
        }
    };
    match step {
        Step::Add {
            schedule: nth,
            catch_up,
            overlap,
        } => {
            let catch_up = ["skip_late", "one", "all"][*catch_up];
            let overlap = ["skip", "queue", "allow"][*overlap];
            if known.ids.len() < 12 {
                let id = world.add(
                    schedule(*nth),
                    json!({"catch_up": catch_up, "overlap": overlap}),
                );
                let first = world.task(&id).next_run_at_ms;
                known.since.insert(id.clone(), first.unwrap_or(i64::MAX));
                known.ids.push(id);
            }
        }
        Step::Pause(nth) => people("scheduler.pause", *nth),
        Step::Resume(nth) => people("scheduler.resume", *nth),
        Step::Delete(nth) => people("scheduler.delete", *nth),
        Step::RunNow(nth) => {
            // So that it is no occurrence of a schedule.
            world.clock.advance(std::time::Duration::from_millis(1));
            people("scheduler.run_now", *nth);
        }
        Step::Reschedule(nth, to) => {
            if let Some(id) = known.id(*nth).cloned() {
                let update = json!({"task_id": id, "schedule": schedule(*to)});
                if world.people("scheduler.update", update).is_ok() {
                    let next = world.task(&id).next_run_at_ms;
                    known.since.insert(id, next.unwrap_or(i64::MAX));
                }
            }
        }
        Step::Beat => {
            world.beat();
        }
        Step::Later(seconds) => {
            world.later(u64::from(*seconds));
        }
        Step::Back(seconds) => {
            let back = world.now_ms() - i64::from(*seconds) * 1_000;
            world.clock.set_unix_ms(back.unsigned_abs());
        }
        Step::End { nth, how } => {
            let status = ["completed", "failed", "blocked", "cancelled"][*how];
            let mut agents = world.agents();
            let going: Vec<_> = agents
                .runs
                .iter()
                .filter(|(_, (status, _))| status == "running")
                .map(|(key, _)| key.clone())
                .collect();
            if let Some(key) = going.get(*nth % going.len().max(1)) {
                agents
                    .runs
                    .insert(key.clone(), (status.to_owned(), Some("why".to_owned())));
            }
        }
        Step::Refuse(refuse) => {
            world.agents().refuses = refuse.then(|| HostError::new("store.unreachable", "gone"));
        }
        Step::LoseMark(nth) => lose_mark(world, known, *nth),
        Step::BreakTask(nth) => {
            if let Some(id) = known.id(*nth).cloned() {
                let text = format!("{{\"broken\": {nth}}}");
                world.sql(
                    "UPDATE tasks SET record = ? WHERE id = ?",
                    json!([text, id]),
                );
                known.broken.insert(id, text);
            }
        }
        Step::BreakRun(nth) => {
            let runs = all_runs(world);
            if let Some(run) = runs.get(*nth % runs.len().max(1)) {
                let text = format!("broken {nth}");
                world.sql(
                    "UPDATE runs SET record = ? WHERE id = ?",
                    json!([text, run.id]),
                );
                known.over.remove(&run.id);
                known.broken.insert(run.id.clone(), text);
            }
        }
        Step::Forget(nth) => {
            // The host lost an agent run.
            let mut agents = world.agents();
            let key = agents.runs.keys().nth(*nth).cloned();
            if let Some(key) = key.filter(|key| agents.runs[key].0 == "running") {
                agents.runs.remove(&key);
            }
        }
    }
}

fn lose_mark(world: &World, known: &Known, nth: usize) {
    let running: Vec<_> = all_runs(world)
        .into_iter()
        .filter(|run| run.state == RunState::Running && !known.broken.contains_key(&run.id))
        .collect();
    if let Some(run) = running.get(nth % running.len().max(1)) {
        let mut run = run.clone();
        (run.state, run.started_at_ms, run.agent_run_id) = (RunState::Pending, None, None);
        world.sql("UPDATE runs SET status = 'pending', token_at_ms = ?, seen_at_ms = ?, record = ? WHERE id = ?",
            json!([run.claimed_at_ms, run.claimed_at_ms, record::write(&run), run.id]));
    }
}

fn all_runs(world: &World) -> Vec<Run> {
    let rows = world
        .host
        .sql("SELECT record FROM runs ORDER BY id", json!([]))
        .expect("a query");
    let texts = rows
        .raw()
        .rows
        .iter()
        .map(|row| row[0].value().as_str().expect("a text"));
    texts.filter_map(|text| record::read(text).ok()).collect()
}

/// How long rows are kept; what is older may be gone.
const KEPT_MS: i64 = 89 * 86_400_000;

/// No occurrence goes without a word, as long as the schedule is what it is.
fn check_told(world: &World, known: &mut Known) {
    known.latest_ms = known.latest_ms.max(world.now_ms());
    for (id, since_ms) in &known.since {
        if known.broken.contains_key(id) {
            continue;
        }
        let task = world.task(id);
        let from_ms = (*since_ms).max(known.latest_ms - KEPT_MS);
        known.n_told += check_all(world, &task, &task.cadence, from_ms);
    }
    // Every row was counted, and nothing is counted that has no row, while none was forgotten.
    if known.latest_ms - world::ms(START) < KEPT_MS {
        let sql = "SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) AS n FROM passed \
                   UNION ALL SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM tallies";
        let rows = world.host.sql(sql, json!([])).expect("a query");
        let rows = &rows.raw().rows;
        assert_eq!(rows[0][0].value(), rows[1][0].value());
    }
}

/// What must hold after every step.
fn check(world: &World, known: &mut Known) {
    let runs = all_runs(world);
    // An occurrence has one run, and a second only after it was blocked and somebody resumed the task.
    let mut of_occurrence: BTreeMap<(&str, i64), Vec<&Run>> = BTreeMap::new();
    for run in &runs {
        of_occurrence
            .entry((&run.task_id, run.scheduled_for_ms))
            .or_default()
            .push(run);
    }
    for (occurrence, runs) in &of_occurrence {
        let mut others: Vec<_> = runs
            .iter()
            .filter(|run| run.state != RunState::Blocked)
            .collect();
        others.dedup();
        assert!(others.len() <= 1, "{occurrence:?} has {others:?}");
    }
    // What is over stays as it is.
    for run in &runs {
        if run.state.is_over() {
            let before = known
                .over
                .entry(run.id.clone())
                .or_insert_with(|| run.clone());
            assert_eq!(before, run);
        } else {
            assert!(!known.over.contains_key(&run.id), "{run:?} was over");
        }
    }
    // A run never comes back to another agent run, and no agent works for an occurrence without a run.
    let rows = world
        .host
        .sql("SELECT id FROM runs", json!([]))
        .expect("a query");
    let ids: BTreeSet<_> = rows
        .raw()
        .rows
        .iter()
        .filter_map(|row| row[0].value().as_str().map(str::to_owned))
        .collect();
    for asked in &world.agents().asked {
        assert!(
            ids.contains(&asked.idempotency_key),
            "{} has no run",
            asked.idempotency_key
        );
    }
    // Nobody wrote over what the test broke.
    for (id, text) in &known.broken {
        let sql =
            "SELECT record FROM tasks WHERE id = ? UNION ALL SELECT record FROM runs WHERE id = ?";
        let rows = world.host.sql(sql, json!([id, id])).expect("a query");
        assert_eq!(rows.raw().rows[0][0].value(), &json!(text), "{id}");
    }
    for id in known
        .ids
        .iter()
        .filter(|id| !known.broken.contains_key(*id))
    {
        let task = world.task(id);
        let waits = task.attend_at_ms().is_some();
        assert_eq!(waits, task.status == TaskStatus::Active, "{task:?}");
    }
}

/// After all of it, with agents that work, everything that is due runs or is passed over by its policy.
fn settle(world: &World, known: &mut Known) {
    world.agents().refuses = None;
    world.later(60);
    for _ in 0..60 {
        world.end_all("completed", None);
        world.later(61);
        world.beat();
        check(world, known);
    }
    world.end_all("completed", None);
    world.later(301);
    world.beat();
    let open: Vec<_> = all_runs(world)
        .into_iter()
        .filter(|run| !run.state.is_over() && world.now_ms() - run.claimed_at_ms > 120_000)
        .filter(|run| !known.broken.contains_key(&run.id))
        .collect();
    assert_eq!(open, [], "claims that nobody looks after");
    for id in known
        .ids
        .iter()
        .filter(|id| !known.broken.contains_key(*id))
    {
        let task = world.task(id);
        if task.status != TaskStatus::Active {
            continue;
        }
        let behind = task.next_run_at_ms.map_or(0, |next| world.now_ms() - next);
        let is_catching_up = task.catch_up == kodex_scheduler::task::CatchUp::All;
        assert!(
            behind < 1_200_000 || is_catching_up,
            "{behind} ms behind: {task:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::stand::N_HISTORIES, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn histories_keep_what_was_promised(steps in prop::collection::vec(step(), 1..60)) {
        let world = World::with(json!({"runs_per_heartbeat": 5}));
        let mut known = Known::default();
        for (nth, step) in steps.iter().enumerate() {
            play(&world, &mut known, step);
            check(&world, &mut known);
            if nth % 8 == 0 {
                check_told(&world, &mut known);
            }
        }
        settle(&world, &mut known);
        check_told(&world, &mut known);
    }
}
