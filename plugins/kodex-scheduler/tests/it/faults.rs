//! The first, the second, ... the last request of a call fails, before or after it took effect; whatever was
//! left half done, clean heartbeats bring to the right end.

use kodex_scheduler::{run::RunState, task::TaskStatus};
use serde_json::{Value, json};

use crate::world::{World, every};

/// More requests than any call makes.
const N_REQUESTS: usize = 60;

/// What one case does: something before, the call that fails, and the number of runs that the task has in
/// the end.
struct Case {
    name: &'static str,
    before: fn(&World, &str),
    call: fn(&World, &str) -> bool,
    n_runs: usize,
    status: TaskStatus,
}

fn beat(world: &World, _: &str) -> bool {
    world.try_beat().is_ok()
}

fn people(world: &World, name: &str, id: &str) -> bool {
    world.people(name, json!({"task_id": id})).is_ok()
}

const CASES: &[Case] = &[
    Case {
        name: "a claim",
        before: |world, _| {
            world.later(601);
        },
        call: beat,
        n_runs: 1,
        status: TaskStatus::Active,
    },
    Case {
        name: "an end",
        before: |world, _| {
            world.later(601).beat();
            world.end_all("completed", None);
        },
        call: beat,
        n_runs: 1,
        status: TaskStatus::Active,
    },
    Case {
        name: "a run by hand",
        before: |_, _| {},
        call: |world, id| people(world, "scheduler.run_now", id),
        n_runs: 1,
        status: TaskStatus::Active,
    },
    Case {
        name: "a pause",
        before: |_, _| {},
        call: |world, id| people(world, "scheduler.pause", id),
        n_runs: 0,
        status: TaskStatus::Paused,
    },
    Case {
        name: "a deletion",
        before: |_, _| {},
        call: |world, id| people(world, "scheduler.delete", id),
        n_runs: 0,
        status: TaskStatus::Deleted,
    },
];

/// Says how many requests the call makes.
fn check(world: &World, case: &Case, is_done: bool) -> usize {
    for nth in 1..N_REQUESTS {
        let id = world.add(every(10, "minute"), json!({"overlap": "skip"}));
        (case.before)(world, &id);
        world.faults.plan(nth, is_done);
        let went_well = (case.call)(world, &id);
        let has_failed = world.faults.stop();
        let what = format!("{}: request {nth}, done: {is_done}", case.name);
        assert!(has_failed || went_well, "{what}");
        // Whoever was told of a failure asks again, which must be harmless. What was deleted is not found.
        if !went_well {
            let again = (case.call)(world, &id);
            let is_deleted = case.status == TaskStatus::Deleted && is_done;
            assert!(again || is_deleted, "{what}: the second time");
        }
        settle(world, &id, &what);
        let runs = world.runs(&id);
        assert_eq!(runs.len(), case.n_runs, "{what}: {runs:?}");
        assert!(
            runs.iter().all(|run| run.state == RunState::Completed),
            "{what}: {runs:?}"
        );
        assert_eq!(world.task(&id).status, case.status, "{what}");
        let asked = &world.agents().asked;
        let asked = asked
            .iter()
            .filter(|asked| asked.idempotency_key.starts_with(&id));
        let mut keys: Vec<_> = asked.map(|asked| asked.idempotency_key.clone()).collect();
        keys.dedup();
        assert_eq!(
            keys.len(),
            case.n_runs,
            "{what}: one agent run for each run"
        );
        let _ = world.people("scheduler.delete", json!({"task_id": id}));
        if !has_failed {
            return nth - 1;
        }
    }
    panic!("{} makes more than {N_REQUESTS} requests", case.name);
}

/// Clean heartbeats, until a claim that was left is taken over and its agent run has ended.
fn settle(world: &World, id: &str, what: &str) {
    for _ in 0..6 {
        world.end_all("completed", None);
        world.later(61).beat();
        let runs = world.runs(id);
        if runs.iter().all(|run| run.state.is_over())
            && world.task(id).run_now_at_ms.is_none()
            && !is_due(world, id)
        {
            return;
        }
    }
    panic!("{what}: it does not come to rest: {:?}", world.runs(id));
}

fn is_due(world: &World, id: &str) -> bool {
    world
        .task(id)
        .attend_at_ms()
        .is_some_and(|at| at <= world.now_ms())
}

#[test]
fn any_request_may_fail_and_what_was_begun_comes_to_its_end() {
    let world = World::new();
    for case in CASES {
        for is_done in [false, true] {
            let n = check(&world, case, is_done);
            assert!(
                n >= 2,
                "{} makes {n} requests, so nothing was tried",
                case.name
            );
        }
    }
}

#[test]
fn a_task_that_was_asked_for_again_is_one_task() {
    let world = World::new();
    for is_done in [false, true] {
        for nth in 1..N_REQUESTS {
            let input: Value = json!({"task": "do", "schedule": every(10, "minute"),
                "call_id": format!("{is_done} {nth}"), "destination": {"kind": "session", "address": "main"}});
            world.faults.plan(nth, is_done);
            let first = world.people("scheduler.add", input.clone());
            let has_failed = world.faults.stop();
            let again = world.people("scheduler.add", input).expect("a task");
            if let Ok(first) = &first {
                assert_eq!(first["task"]["id"], again["task"]["id"]);
            }
            let listed = world.people("scheduler.list", json!({})).expect("a list");
            assert_eq!(
                listed["tasks"].as_array().map(Vec::len),
                Some(1),
                "request {nth}, done: {is_done}"
            );
            let id = &again["task"]["id"];
            world
                .people("scheduler.delete", json!({"task_id": id}))
                .expect("it goes");
            if !has_failed {
                assert!(nth > 2, "nothing was tried");
                break;
            }
        }
    }
}
