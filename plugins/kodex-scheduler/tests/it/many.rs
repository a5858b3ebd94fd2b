//! A heartbeat among very many tasks: what it reads depends on what is due, not on what is there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kodex_scheduler::record;
use serde_json::{Value, json};

use crate::{
    stand::{EXPLAIN, NUMBERS, WHOLE},
    world::{World, every},
};

const N_TASKS: i64 = 100_000;
const N_RUNS: i64 = 20_000;
/// Rows of one statement, which must not take long.
const N_TOGETHER: usize = 5_000;
const N_DUE: i64 = 1_000;
/// The most that one heartbeat may start.
const N_STARTED: u64 = 25;

#[expect(clippy::disallowed_methods, reason = "it is said, not judged")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = Instant::now();
    let done = work();
    (done, before.elapsed())
}

#[expect(clippy::print_stderr, reason = "for whoever asks how long it takes")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Copies of one task: the first of them are due, the others in a year.
fn fill(world: &World, id: &str) {
    let mut task = world.task(id);
    let now_ms = world.now_ms();
    task.next_run_at_ms = Some(now_ms);
    let text = record::write(&task);
    for from in (0..N_TASKS).step_by(N_TOGETHER) {
        let sql = format!(
            "{NUMBERS} INSERT INTO tasks (id, destination, status, attend_at_ms, created_at_ms, fingerprint, zone_data, \
             revision, record) SELECT t.id || '_' || (g.n + {from}), t.destination, t.status, \
             CASE WHEN g.n + {from} <= {N_DUE} THEN {now_ms} ELSE {now_ms} + 31536000000 END, t.created_at_ms, \
             t.fingerprint || (g.n + {from}), t.zone_data, 1, replace(CAST(? AS TEXT), t.id, t.id || '_' || (g.n + {from})) \
             FROM g, tasks t WHERE t.id = ?"
        );
        world.sql(&sql, json!([N_TOGETHER, text, id]));
    }
    world.sql("DELETE FROM tasks WHERE id = ?", json!([id]));
}

/// Runs of the last hour that are over.
fn fill_history(world: &World) {
    let now_ms = world.now_ms();
    for from in (0..N_RUNS).step_by(N_TOGETHER) {
        let sql = format!(
            "{NUMBERS} INSERT INTO runs (id, task_id, scheduled_for_ms, generation, status, token_at_ms, attempt, \
             seen_at_ms, record) SELECT 'old:' || (g.n + {from}), 'old' || (g.n + {from}), {now_ms} - g.n, 0, \
             'completed', {now_ms}, 1, {now_ms}, '{{}}' FROM g"
        );
        world.sql(&sql, json!([N_TOGETHER]));
    }
}

/// The statements of the plugin after so many requests, by their text, each with its parameters.
fn statements(world: &World, n_before: usize) -> BTreeMap<String, Value> {
    let asked = world.host.asked().into_iter().skip(n_before);
    let queries = asked.filter(|asked| asked.method == "db/query");
    queries
        .map(|asked| {
            let params = asked.params.value();
            let sql = params["sql"].as_str().expect("a statement").to_owned();
            (sql, params["params"].clone())
        })
        .collect()
}

#[test]
fn a_heartbeat_reads_what_is_due_and_no_more() {
    let world = World::with(json!({"runs_per_heartbeat": N_STARTED}));
    let id = world.add(every(1, "day"), json!({}));
    // The first heartbeat of a version reckons all tasks with its zone data, some in each beat.
    world.beat();
    fill(&world, &id);
    fill_history(&world);
    world.analyze();
    world.later(1);
    let n_before = world.host.asked().len();
    let (n_started, took) = timed(|| world.beat());
    assert_eq!(n_started, N_STARTED);
    let n_asked = world.host.asked().len() - n_before;
    say(&format!(
        "{N_TASKS} tasks, {N_DUE} due, {N_STARTED} started: {n_asked} requests, {took:?}"
    ));
    // Most of them are agent runs and what surrounds a page of tasks.
    assert!(n_asked < 25 + 30, "{n_asked} requests");
    world.end_all("completed", None);
    world.later(61);
    world.beat();
    let mut whole = Vec::new();
    let found = statements(&world, n_before);
    for (sql, params) in &found {
        // Inserts read nothing.
        if sql.starts_with("INSERT") {
            continue;
        }
        let plan = world.host.sql(&format!("{EXPLAIN} {sql}"), params.clone());
        let plan = plan.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let lines: Vec<String> = plan
            .raw()
            .rows
            .iter()
            .map(|row| format!("{row:?}"))
            .collect();
        let plan = lines.join("\n");
        if WHOLE.iter().any(|word| plan.contains(word)) && !plan.contains("USING") {
            whole.push(format!("{sql}\n{plan}"));
        }
    }
    assert!(found.len() > 8, "{found:?}");
    assert!(whole.is_empty(), "{}", whole.join("\n\n"));
}
