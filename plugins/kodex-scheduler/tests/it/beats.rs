//! Heartbeats: claims, starts, ends, and what happens when any of them is late or lost.

use kodex_plugin::HostError;
use kodex_scheduler::{run::RunState, task::TaskStatus};
use serde_json::json;

use crate::world::{World, daily, every, ms, once_after};

#[test]
fn a_due_task_becomes_one_agent_run() {
    let world = World::new();
    let id = world.add(
        daily("09:00"),
        json!({"task": "Write the  report.\nAll of it."}),
    );
    assert_eq!(world.at("2026-01-05T08:59:59Z").beat(), 0);
    assert_eq!(world.at("2026-01-05T09:00:00Z").beat(), 1);
    assert_eq!(world.beat(), 0, "the same moment again");
    let run = &world.runs(&id)[0];
    assert_eq!(run.id, format!("{id}:{}", ms("2026-01-05T09:00:00Z")));
    assert_eq!((run.attempt, run.state), (1, RunState::Running));
    let agents = world.agents();
    assert_eq!(agents.asked.len(), 1);
    let asked = &agents.asked[0];
    assert_eq!(asked.idempotency_key, run.id);
    assert_eq!(asked.input, "Write the  report.\nAll of it.");
    assert_eq!(asked.destination.address, "main");
    assert_eq!(asked.metadata["schedule"], "every day at 09:00 (UTC)");
    assert_eq!(asked.metadata["occurrence"], "2026-01-05T09:00:00Z");
    assert!(asked.metadata.values().all(|value| !value.contains('\n')));
    assert_eq!(asked.subject, None);
}

#[test]
fn the_end_of_a_run_moves_its_task_on() {
    for (status, error, state, task) in [
        ("completed", None, RunState::Completed, TaskStatus::Active),
        ("failed", Some("no"), RunState::Failed, TaskStatus::Active),
        ("cancelled", None, RunState::Failed, TaskStatus::Active),
        (
            "blocked",
            Some("log in"),
            RunState::Blocked,
            TaskStatus::Blocked,
        ),
    ] {
        let world = World::new();
        let id = world.add(daily("09:00"), json!({}));
        world.at("2026-01-05T09:00:00Z").beat();
        world.later(60).beat();
        assert_eq!(
            world.runs(&id)[0].state,
            RunState::Running,
            "nothing has ended"
        );
        world.end_all(status, error);
        world.later(60).beat();
        let (run, after) = (world.runs(&id)[0].clone(), world.task(&id));
        assert_eq!((run.state, after.status), (state, task), "{status}");
        assert_eq!(after.last_run_at_ms, Some(world.now_ms()));
        let next = (task == TaskStatus::Active).then(|| ms("2026-01-06T09:00:00Z"));
        assert_eq!(after.next_run_at_ms, next);
        if task == TaskStatus::Blocked {
            assert_eq!(after.reason.as_deref(), Some("log in"));
        }
        // What has ended never changes.
        world.end_all("completed", None);
        world.later(60).beat();
        assert_eq!(world.runs(&id)[0], run);
    }
}

#[test]
fn a_one_off_pauses_after_its_run() {
    let world = World::new();
    let id = world.add(once_after(1, "hour"), json!({}));
    assert_eq!(world.later(3_600).beat(), 1);
    world.end_all("completed", None);
    world.later(60).beat();
    let task = world.task(&id);
    assert_eq!(
        (task.status, task.next_run_at_ms),
        (TaskStatus::Paused, None)
    );
}

#[test]
fn a_run_whose_record_vanished_fails_and_the_task_goes_on() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.at("2026-01-05T09:00:00Z").beat();
    world.agents().runs.clear();
    world.later(60).beat();
    let run = &world.runs(&id)[0];
    assert_eq!(
        (run.state, run.error.as_deref()),
        (RunState::Failed, Some("the agent run no longer exists"))
    );
    assert_eq!(
        world.task(&id).next_run_at_ms,
        Some(ms("2026-01-06T09:00:00Z"))
    );
}

#[test]
fn refusals_for_good_block_and_others_are_tried_again() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.agents().refuses = Some(HostError::new("agent.queue_full", "full"));
    assert_eq!(world.at("2026-01-05T09:00:00Z").beat(), 0);
    assert_eq!(world.shown(&id), "01-05T09:00 pending");
    assert_eq!(world.later(59).beat(), 0);
    assert_eq!(world.runs(&id)[0].attempt, 1, "the claim is fresh");
    world.agents().refuses = None;
    assert_eq!(world.later(1).beat(), 1);
    let run = world.runs(&id)[0].clone();
    assert_eq!((run.attempt, run.state), (2, RunState::Running));

    let id = world.add(daily("10:00"), json!({}));
    world.agents().refuses = Some(HostError::new("agent.invalid", "destination: unknown kind"));
    world.at("2026-01-05T10:00:00Z").beat();
    let task = world.task(&id);
    assert_eq!(
        (task.status, task.reason.as_deref()),
        (TaskStatus::Blocked, Some("destination: unknown kind"))
    );
    assert_eq!(world.shown(&id), "01-05T10:00 blocked");
    assert_eq!(task.next_run_at_ms, None);
}

#[test]
fn a_blank_text_blocks() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    let mut task = world.task(&id);
    task.text = "  ".to_owned();
    world.sql(
        "UPDATE tasks SET record = ? WHERE id = ?",
        json!([kodex_scheduler::record::write(&task), id]),
    );
    world.at("2026-01-05T09:00:00Z").beat();
    assert_eq!(
        world.task(&id).reason.as_deref(),
        Some("the task has no text")
    );
}

#[test]
fn a_run_that_was_started_but_not_marked_is_the_same_run() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    // The plugin stops after the agent run was accepted: what was marked is undone.
    world.at("2026-01-05T09:00:00Z").beat();
    let mut run = world.runs(&id)[0].clone();
    (run.state, run.started_at_ms, run.agent_run_id) = (RunState::Pending, None, None);
    world.sql(
        "UPDATE runs SET status = 'pending', token_at_ms = ?, seen_at_ms = ?, record = ?",
        json!([
            run.claimed_at_ms,
            run.claimed_at_ms,
            kodex_scheduler::record::write(&run)
        ]),
    );
    assert_eq!(world.later(60).beat(), 1);
    let agents = world.agents();
    assert_eq!(agents.runs.len(), 1, "one agent run");
    assert_eq!(
        agents.asked[0].idempotency_key,
        agents.asked[1].idempotency_key
    );
    assert_eq!(agents.asked[0].metadata, agents.asked[1].metadata);
}

#[test]
fn a_run_goes_on_while_its_task_passes_occurrences_over() {
    let world = World::new();
    let id = world.add(every(10, "minute"), json!({}));
    world.later(600).beat();
    for _ in 0..12 {
        world.later(300).beat();
    }
    assert_eq!(world.shown(&id), "01-05T08:10 running");
    world.end_all("completed", None);
    world.later(60).beat();
    assert_eq!(
        world.task(&id).next_run_at_ms,
        Some(ms("2026-01-05T09:20:00Z"))
    );
    assert_eq!(world.runs(&id).len(), 1);
}

#[test]
fn overlapping_runs_queue_or_run_beside_each_other() {
    let world = World::new();
    let queued = world.add(every(10, "minute"), json!({"overlap": "queue"}));
    let beside = world.add(every(10, "minute"), json!({"overlap": "allow"}));
    world.later(600).beat();
    world.later(1_500).beat();
    assert_eq!(world.shown(&queued), "01-05T08:10 running");
    world.later(600).beat();
    assert_eq!(
        world.shown(&beside),
        "01-05T08:10 running, 01-05T08:20 running, 01-05T08:30 running"
    );
    world.end_all("completed", None);
    world.later(60).beat();
    // The latest of those that were missed.
    assert_eq!(
        world.shown(&queued),
        "01-05T08:10 completed, 01-05T08:40 running"
    );
}

#[test]
fn what_is_more_than_a_day_late_is_skipped() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    assert_eq!(
        world.at("2026-01-06T09:00:00Z").beat(),
        1,
        "a day late exactly"
    );
    world.end_all("completed", None);
    world.later(60).beat();
    world.at("2026-01-09T10:00:00.001Z").beat();
    assert_eq!(
        world.shown(&id),
        "01-05T09:00 completed, 01-07T09:00 skipped"
    );
    let task = world.task(&id);
    assert_eq!(task.next_run_at_ms, Some(ms("2026-01-10T09:00:00Z")));
    assert_eq!(
        task.last_run_at_ms,
        Some(ms("2026-01-06T09:01:00Z")),
        "a skipped run is none"
    );

    let id = world.add(once_after(1, "hour"), json!({}));
    world.at("2026-01-11T10:00:00Z").beat();
    let task = world.task(&id);
    assert_eq!(world.shown(&id), "01-09T11:00 skipped");
    assert_eq!(
        (task.status, task.reason.as_deref()),
        (TaskStatus::Paused, Some("skipped: 46 hours late"))
    );
}

#[test]
fn what_was_missed_can_be_caught_up_with() {
    let world = World::new();
    let one = world.add(daily("09:00"), json!({"catch_up": "one"}));
    let all = world.add(daily("09:00"), json!({"catch_up": "all"}));
    world.at("2026-01-19T12:00:00Z");
    for _ in 0..12 {
        world.beat();
        world.end_all("completed", None);
        world.later(60);
    }
    assert_eq!(world.shown(&one), "01-19T09:00 completed");
    assert_eq!(
        world.shown(&all),
        "01-05T09:00 skipped, 01-13T09:00 completed, 01-14T09:00 completed, 01-15T09:00 completed, \
         01-16T09:00 completed, 01-17T09:00 completed, 01-18T09:00 completed, 01-19T09:00 completed"
    );
}

#[test]
fn two_late_tasks_that_are_the_same_become_one() {
    let world = World::new();
    let more = json!({"task": "Say  Hello"});
    let first = world.add(once_after(1, "hour"), more);
    let second = world.add(once_after(1, "hour"), json!({"task": "say hello"}));
    world.at("2026-01-07T12:00:00Z").beat();
    let (a, b) = (world.task(&first), world.task(&second));
    let (older, newer) = if a.id < b.id { (a, b) } else { (b, a) };
    assert_eq!(
        newer.reason,
        Some(format!("paused: {} is the same task and older", older.id))
    );
    assert_eq!(older.reason.as_deref(), Some("skipped: 51 hours late"));
}

#[test]
fn a_run_by_hand_is_beside_the_schedule() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    let run_now = || world.people("scheduler.run_now", json!({"task_id": id}));
    run_now().expect("it is active");
    assert_eq!(world.later(60).beat(), 1);
    world.end_all("completed", None);
    world.later(60).beat();
    let task = world.task(&id);
    assert_eq!(
        (task.run_now_at_ms, task.next_run_at_ms),
        (None, Some(ms("2026-01-05T09:00:00Z")))
    );
    // Asked for when the ordinary one was due already: that one has had its run.
    world.at("2026-01-05T09:00:30Z");
    run_now().expect("it is active");
    assert_eq!(world.beat(), 1);
    world.end_all("completed", None);
    assert_eq!(world.later(60).beat(), 0);
    assert_eq!(
        world.task(&id).next_run_at_ms,
        Some(ms("2026-01-06T09:00:00Z"))
    );
    assert_eq!(
        world.shown(&id),
        "01-05T08:00 completed, 01-05T09:00 completed"
    );
    // A late one is dropped, and the schedule stays.
    world.at("2026-01-05T10:00:00Z");
    run_now().expect("it is active");
    world.at("2026-01-06T10:00:01Z");
    world.sql("UPDATE tasks SET attend_at_ms = 0", json!([]));
    world.beat();
    let task = world.task(&id);
    assert_eq!(
        (task.run_now_at_ms, task.next_run_at_ms),
        (None, Some(ms("2026-01-06T09:00:00Z")))
    );
}

#[test]
fn a_task_that_was_changed_during_its_run_keeps_the_change() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.at("2026-01-05T09:00:00Z").beat();
    let update = json!({"task_id": id, "schedule": daily("15:00")});
    world.people("scheduler.update", update).expect("a task");
    world.end_all("blocked", Some("log in"));
    world.later(60).beat();
    let task = world.task(&id);
    assert_eq!(
        (task.status, task.next_run_at_ms),
        (TaskStatus::Active, Some(ms("2026-01-05T15:00:00Z")))
    );
    assert_eq!(task.last_run_at_ms, Some(world.now_ms()));

    let id = world.add(daily("10:00"), json!({}));
    world.at("2026-01-05T10:00:00Z").beat();
    world
        .people("scheduler.delete", json!({"task_id": id}))
        .expect("a task");
    world.end_all("completed", None);
    world.later(60).beat();
    assert_eq!(world.task(&id).status, TaskStatus::Deleted);
    assert_eq!(world.shown(&id), "01-05T10:00 completed");
}

#[test]
fn a_blocked_occurrence_runs_once_more_after_a_resume() {
    let world = World::new();
    let id = world.add(once_after(1, "hour"), json!({}));
    world.later(3_600).beat();
    world.end_all("blocked", Some("log in"));
    world.later(60).beat();
    assert_eq!(world.later(60).beat(), 0);
    world
        .people("scheduler.resume", json!({"task_id": id}))
        .expect("it can");
    assert_eq!(world.later(60).beat(), 1);
    world.end_all("completed", None);
    world.later(60).beat();
    assert_eq!(
        world.shown(&id),
        "01-05T09:00 blocked, 01-05T09:00 completed"
    );
    let ids: Vec<_> = world.runs(&id).iter().map(|run| run.id.clone()).collect();
    assert_eq!(ids[1], format!("{}:1", ids[0]));
    // What was completed is not done again by a resume.
    assert!(
        world
            .people("scheduler.resume", json!({"task_id": id}))
            .is_err()
    );
}

#[test]
fn stale_claims_end_when_their_task_stands_elsewhere() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.agents().refuses = Some(HostError::new("store.unreachable", "gone"));
    world.at("2026-01-05T09:00:00Z").beat();
    world
        .people(
            "scheduler.update",
            json!({"task_id": id, "schedule": daily("09:05")}),
        )
        .expect("a task");
    world.agents().refuses = None;
    // The later occurrence runs although the claim on the older one was never started.
    assert_eq!(world.at("2026-01-05T09:05:00Z").beat(), 1);
    assert_eq!(world.shown(&id), "01-05T09:00 skipped, 01-05T09:05 running");

    let paused = world.add(daily("10:00"), json!({}));
    world.agents().refuses = Some(HostError::new("store.unreachable", "gone"));
    world.at("2026-01-05T10:00:00Z").beat();
    world
        .people("scheduler.pause", json!({"task_id": paused}))
        .expect("a task");
    world.agents().refuses = None;
    assert_eq!(world.later(60).beat(), 0);
    assert_eq!(
        world.runs(&paused)[0].error.as_deref(),
        Some("the task was paused")
    );
}

#[test]
fn ten_of_twelve_run_and_the_longest_due_come_first() {
    let world = World::new();
    let ids: Vec<_> = (0..12)
        .map(|n| world.add(daily(&format!("09:{:02}", 30 - n)), json!({})))
        .collect();
    assert_eq!(world.at("2026-01-05T10:00:00Z").beat(), 10);
    assert!(world.runs(&ids[0]).is_empty() && world.runs(&ids[1]).is_empty());
    assert_eq!(world.later(1).beat(), 2);
}

#[test]
fn a_task_that_catches_up_does_not_keep_others_waiting() {
    let world = World::with(json!({"runs_per_heartbeat": 1}));
    let greedy = world.add(every(1, "minute"), json!({"catch_up": "all"}));
    let modest = world.add(once_after(3, "hour"), json!({}));
    world.later(4 * 3_600);
    let mut n_beats = 0;
    while world.runs(&modest).is_empty() {
        world.beat();
        world.end_all("completed", None);
        world.later(60);
        n_beats += 1;
        assert!(n_beats < 5, "{}", world.shown(&greedy));
    }
}

#[test]
fn malformed_rows_stop_nothing_and_stay() {
    let world = World::new();
    let ids: Vec<_> = (0..4)
        .map(|n| world.add(daily(&format!("09:0{n}")), json!({})))
        .collect();
    for (id, record) in [
        (&ids[0], "{\"id\": 1}"),
        (&ids[1], "not json"),
        (&ids[2], "\"not an object\""),
    ] {
        world.sql(
            "UPDATE tasks SET record = ? WHERE id = ?",
            json!([record, id]),
        );
    }
    assert_eq!(world.at("2026-01-05T10:00:00Z").beat(), 1);
    assert_eq!(world.shown(&ids[3]), "01-05T09:03 running");
    let rows = world.host.sql(
        "SELECT record FROM tasks WHERE malformed_at_ms IS NOT NULL ORDER BY record",
        json!([]),
    );
    assert_eq!(rows.expect("a query").len(), 3);
    assert!(
        world
            .people("scheduler.show", json!({"task_id": ids[0]}))
            .is_err()
    );
    assert!(
        world
            .host
            .messages()
            .iter()
            .any(|line| line.contains("do not read"))
    );
    // A record that was stored as a text of JSON is decoded once.
    let wrapped = serde_json::to_string(&kodex_scheduler::record::write(&world.task(&ids[3])))
        .expect("a text");
    world.sql(
        "UPDATE tasks SET record = ? WHERE id = ?",
        json!([wrapped, ids[3]]),
    );
    assert!(
        world
            .people("scheduler.show", json!({"task_id": ids[3]}))
            .is_ok()
    );
}

#[test]
fn a_malformed_row_of_an_occurrence_is_not_overwritten() {
    for state in ["completed", "pending"] {
        let world = World::new();
        let id = world.add(daily("09:00"), json!({}));
        let at = ms("2026-01-05T09:00:00Z");
        world.sql(
            "INSERT INTO runs (id, task_id, scheduled_for_ms, generation, status, token_at_ms, attempt, seen_at_ms, record) \
             VALUES (?, ?, ?, 0, ?, ?, 1, ?, '{\"half\": ')",
            json!([format!("{id}:{at}"), id, at, state, at, at]),
        );
        assert_eq!(world.at("2026-01-05T09:00:30Z").beat(), 0);
        assert_eq!(world.at("2026-01-05T09:05:00Z").beat(), 0);
        let rows = world.host.sql(
            "SELECT record FROM runs WHERE malformed_at_ms IS NOT NULL",
            json!([]),
        );
        assert_eq!(
            rows.expect("a query").raw().rows[0][0],
            json!("{\"half\": ").into(),
            "{state}"
        );
        assert_eq!(
            world.task(&id).next_run_at_ms,
            Some(ms("2026-01-06T09:00:00Z"))
        );
    }
}

#[test]
fn a_clock_that_goes_back_repeats_nothing() {
    let world = World::new();
    let id = world.add(every(1, "hour"), json!({}));
    world.later(3_600).beat();
    world.end_all("completed", None);
    world.later(60).beat();
    world.at("2026-01-05T08:30:00Z").beat();
    world.at("2026-01-05T09:00:00Z");
    assert_eq!(world.beat(), 0);
    assert_eq!(world.shown(&id), "01-05T09:00 completed");
    assert_eq!(world.at("2026-01-05T10:00:00Z").beat(), 1);
}

#[test]
fn new_zone_data_moves_what_is_to_come_and_says_so() {
    let world = World::new();
    let local = json!({"kind": "one_off", "timezone": "Europe/Paris", "timing": {"at": {"date": "2026-01-06", "time": "09:00"}}});
    let id = world.add(local, json!({}));
    // As if it had been reckoned when Paris had another offset.
    let mut task = world.task(&id);
    let text = serde_json::to_string(&task.cadence).expect("a text");
    let right = ms("2026-01-06T08:00:00Z");
    let text = text.replace(&right.to_string(), &(right + 3_600_000).to_string());
    task.cadence = serde_json::from_str(&text).expect("a cadence");
    task.next_run_at_ms = Some(right + 3_600_000);
    task.zone_data = "1999a".to_owned();
    world.sql(
        "UPDATE tasks SET record = ?, zone_data = '1999a'",
        json!([kodex_scheduler::record::write(&task)]),
    );
    world.beat();
    assert_eq!(world.task(&id).next_run_at_ms, Some(right));
    assert!(
        world
            .host
            .messages()
            .iter()
            .any(|line| line.contains("zone data moved"))
    );
    assert_eq!(world.at("2026-01-06T08:00:00Z").beat(), 1);
}

#[test]
fn old_runs_are_forgotten() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.at("2026-01-05T09:00:00Z").beat();
    world.end_all("completed", None);
    world.later(60).beat();
    world
        .people("scheduler.pause", json!({"task_id": id}))
        .expect("a task");
    world.at("2026-04-04T09:00:00Z").beat();
    assert_eq!(world.runs(&id).len(), 1);
    world.at("2026-04-06T09:00:00Z").beat();
    assert_eq!(world.runs(&id).len(), 0);
}
