//! The edges of what a heartbeat decides: just too late, just claimed, over already, unreadable.

use kodex_plugin::{HostError, Json};
use kodex_scheduler::{
    claim::{Decision, Row, decide},
    record,
    run::{Run, RunState, STALE_MS, Token},
    task::{Task, TaskStatus},
};
use serde_json::json;

use crate::world::{World, caller, daily, ms, once_after};

#[test]
fn a_day_is_not_too_late_and_a_millisecond_more_is() {
    for (at, want) in [
        ("2026-01-06T09:00:00.000Z", "01-05T09:00 running"),
        ("2026-01-06T09:00:00.001Z", "01-05T09:00 skipped"),
    ] {
        let world = World::new();
        let id = world.add(daily("09:00"), json!({}));
        world.at(at).beat();
        assert_eq!(world.shown(&id), want, "{at}");
    }
    let world = World::new();
    let id = world.add(once_after(1, "hour"), json!({}));
    world.at("2026-01-06T09:00:00.001Z").beat();
    let task = world.task(&id);
    assert_eq!(
        (task.status, task.next_run_at_ms),
        (TaskStatus::Paused, None)
    );
}

#[test]
fn a_fresh_claim_on_another_occurrence_is_waited_for() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.agents().refuses = Some(HostError::new("store.unreachable", "gone"));
    world.at("2026-01-05T09:00:40Z").beat();
    world.agents().refuses = None;
    let update = json!({"task_id": id, "schedule": daily("09:01")});
    world.people("scheduler.update", update).expect("a task");
    assert_eq!(world.at("2026-01-05T09:01:00Z").beat(), 0);
    assert_eq!(world.shown(&id), "01-05T09:00 pending");
    assert_eq!(world.at("2026-01-05T09:01:40Z").beat(), 1);
    assert_eq!(world.shown(&id), "01-05T09:00 skipped, 01-05T09:01 running");
}

#[test]
fn an_occurrence_that_has_had_its_run_has_no_other() {
    for status in ["completed", "failed", "blocked", "skipped"] {
        let world = World::new();
        let id = world.add(daily("09:00"), json!({}));
        if status == "skipped" {
            world.at("2026-01-06T10:00:00Z").beat();
        } else {
            world.at("2026-01-05T09:00:00Z").beat();
            world.end_all(status, None);
            world.later(60).beat();
        }
        let before = world.runs(&id);
        assert_eq!(before[0].state.as_str(), status);
        // Somebody turns the task back to where it stood.
        let mut task = world.task(&id);
        let occurrence = ms("2026-01-05T09:00:00Z");
        (task.status, task.next_run_at_ms) = (TaskStatus::Active, Some(occurrence));
        put(&world, &task);
        assert_eq!(world.later(60).beat(), 0, "{status}");
        assert_eq!(world.runs(&id), before, "{status}");
        let next = world.task(&id).next_run_at_ms.expect("it goes on");
        assert!(next > world.now_ms(), "{status}");
    }
}

/// Writes a task over what there is, as a tool for repairs would.
fn put(world: &World, task: &Task) {
    world.sql(
        "UPDATE tasks SET status = ?, attend_at_ms = ?, record = ? WHERE id = ?",
        json!([
            task.status.as_str(),
            task.next_run_at_ms,
            record::write(task),
            task.id
        ]),
    );
}

#[test]
fn what_cannot_be_read_is_not_there_and_its_runs_are_named() {
    let world = World::new();
    for wrong in ["{\"id\": 1}", "\"{\\\"id\\\": 1}\"", "\"words\"", "[", ""] {
        let id = world.add(daily("09:00"), json!({}));
        let params = json!([wrong, id]);
        world.sql("UPDATE tasks SET record = ? WHERE id = ?", params);
        let answer = world.people("scheduler.show", json!({"task_id": id}));
        let answer = answer.expect_err("it does not read");
        assert!(answer.starts_with("schedule.task.not_found"), "{answer}");
    }
    for wrong in ["{\"id\": 1}", "\"{\\\"id\\\": 1}\"", "\"words\""] {
        let world = World::new();
        let id = world.add(daily("09:00"), json!({}));
        world.at("2026-01-05T09:00:00Z").beat();
        world.sql("UPDATE runs SET record = ?", json!([wrong]));
        let shown = world
            .people("scheduler.show", json!({"task_id": id}))
            .expect("the task reads");
        assert_eq!(shown["runs"][0]["state"], "malformed", "{wrong}");
    }
}

#[test]
fn a_change_under_another_claim_or_start_is_none() {
    let run = Run::claimed("t", 0, 0, 5);
    let others = |token: Token| {
        [
            Token {
                at_ms: token.at_ms + 1,
                ..token
            },
            Token {
                attempt: token.attempt + 1,
                ..token
            },
        ]
    };
    for other in others(run.token()) {
        assert_eq!(run.started(other, "a", 6), None);
        assert_eq!(run.refused(other, RunState::Failed, "no", 6), None);
    }
    let running = run.started(run.token(), "a", 6).expect("it is the claim");
    for other in others(running.token()) {
        assert_eq!(running.ended(other, None, 7), None);
    }
    assert_ne!(running.ended(running.token(), None, 7), None);
}

#[test]
fn a_later_occurrence_ends_stale_claims_and_waits_for_fresh_ones() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    let task = world.task(&id);
    let now_ms = ms("2026-01-05T09:00:00Z");
    let older = |claimed_at_ms| {
        let run = Run::claimed(&id, now_ms - 600_000, 0, claimed_at_ms);
        Row {
            id: run.id.clone(),
            scheduled_for_ms: run.scheduled_for_ms,
            run: Some(run),
        }
    };
    let stale = older(now_ms - STALE_MS);
    let Decision::Claim {
        run, superseded, ..
    } = decide(&task, std::slice::from_ref(&stale), None, now_ms)
    else {
        panic!("the later one is claimed");
    };
    assert_eq!(run.scheduled_for_ms, now_ms);
    assert_eq!(superseded.len(), 1);
    assert_eq!(
        (superseded[0].id.as_str(), superseded[0].state),
        (stale.id.as_str(), RunState::Skipped)
    );
    let fresh = older(now_ms - STALE_MS + 1);
    assert_eq!(
        decide(&task, &[fresh], None, now_ms),
        Decision::Later {
            attend_at_ms: Some(now_ms + 1)
        }
    );
}

#[test]
fn an_agent_run_that_cannot_be_read_holds_up_no_other() {
    let world = World::new();
    let mut ids = [(); 3].map(|()| world.add(daily("09:00"), json!({})));
    ids.sort();
    world.at("2026-01-05T09:00:00Z").beat();
    // The first in every order that a scan might have.
    let bad = world.runs(&ids[0])[0].id.clone();
    world.host.answer_with("agent/get", move |params| {
        let id = params.value()["id"].clone();
        if id == bad.as_str() {
            return Err(HostError::new("store.damaged", "half a row"));
        }
        Ok(Json::from(json!({"id": id, "status": "completed"})))
    });
    world.later(60).beat();
    let states = ids.each_ref().map(|id| world.runs(id)[0].state);
    use RunState::{Completed, Running};
    assert_eq!(states, [Running, Completed, Completed]);
}

#[test]
fn what_is_refused_for_good_blocks_its_task_alone() {
    for code in ["agent.invalid", "job.invalid", "permission.denied"] {
        let world = World::new();
        let ids = [(); 2].map(|()| world.add(daily("09:00"), json!({})));
        world.agents().refuses = Some(HostError::new(code, "not ever"));
        world.at("2026-01-05T09:00:00Z").beat();
        for id in &ids {
            assert_eq!(world.task(id).status, TaskStatus::Blocked, "{code}");
            assert_eq!(world.shown(id), "01-05T09:00 blocked", "{code}");
        }
    }
}

#[test]
fn a_caller_without_a_usable_conversation_makes_no_task() {
    let world = World::new();
    for address in ["", " ", "two\nlines", &"x".repeat(600)] {
        let caller = caller(address, "ann", "c1");
        let input = json!({"task": "x", "schedule": daily("09:00")});
        let answer = world.tool(Some(&caller), "schedule_create", input);
        let answer = answer.expect_err("there is nowhere to answer to");
        assert!(answer.starts_with("schedule.input"), "{answer}");
    }
    let mut nobody = caller("main", "ann", "c1");
    nobody.actor = None;
    let input = json!({"task": "x", "schedule": daily("09:00")});
    let answer = world.tool(Some(&nobody), "schedule_create", input);
    let answer = answer.expect_err("it would belong to nobody");
    assert!(answer.starts_with("schedule.caller.unknown"), "{answer}");
    assert!(
        world
            .tool(Some(&nobody), "schedule_list", json!({}))
            .is_ok()
    );
    let listed = world.people("scheduler.list", json!({})).expect("a list");
    assert_eq!(listed["tasks"], json!([]));
}

#[test]
fn credentials_are_for_sessions_alone() {
    let world = World::new();
    let mut caller = caller("main", "ann", "c1");
    let input = json!({"task": "x", "schedule": daily("09:00"), "credential_mode": "creator"});
    caller.source.kind = "telegraph".to_owned();
    let refused = world.tool(Some(&caller), "schedule_create", input.clone());
    let refused = refused.expect_err("runs there may not use them");
    assert!(refused.starts_with("schedule.credentials"), "{refused}");
    caller.source.kind = "session".to_owned();
    world
        .tool(Some(&caller), "schedule_create", input)
        .expect("a task");
}

#[test]
fn a_clock_that_goes_back_holds_nothing_up() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.at("2026-01-05T09:00:00Z").beat();
    world.end_all("completed", None);
    world.at("2026-01-05T07:00:00Z").beat();
    assert_eq!(world.shown(&id), "01-05T09:00 completed");

    let world = World::new();
    let id = world.add(daily("09:00"), json!({"catch_up": "one"}));
    world.agents().refuses = Some(HostError::new("store.unreachable", "gone"));
    world.at("2026-01-05T12:00:00Z").beat();
    assert_eq!(world.shown(&id), "01-05T09:00 pending");
    world.agents().refuses = None;
    world.at("2026-01-05T10:00:00Z").beat();
    world.later(301).beat();
    assert_eq!(world.shown(&id), "01-05T09:00 running");
}
