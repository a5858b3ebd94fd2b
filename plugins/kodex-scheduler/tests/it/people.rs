//! Requests of people.

use serde_json::json;

use crate::world::{World, caller, daily, every};

#[test]
fn people_see_and_change_all_tasks() {
    let world = World::new();
    let ann = caller("garden", "ann", "c1");
    let input = json!({"task": "water the plants", "schedule": daily("09:00")});
    world
        .tool(Some(&ann), "schedule_create", input)
        .expect("a task");
    let mine = world.add(every(5, "minute"), json!({}));
    let listed = world.people("scheduler.list", json!({})).expect("a list");
    let places: Vec<_> = listed["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .map(|task| {
            task["destination"]["address"]
                .as_str()
                .expect("a text")
                .to_owned()
        })
        .collect();
    assert_eq!((places.len(), &listed["truncated"]), (2, &json!(false)));
    assert!(places.contains(&"garden".to_owned()) && places.contains(&"main".to_owned()));
    for (name, status) in [
        ("pause", "paused"),
        ("resume", "active"),
        ("run_now", "active"),
        ("delete", "deleted"),
    ] {
        let answer = world
            .people(&format!("scheduler.{name}"), json!({"task_id": mine}))
            .expect("a task");
        assert_eq!(answer["task"]["status"], status);
    }
    let error = world
        .people("scheduler.show", json!({"task_id": mine}))
        .expect_err("it is gone");
    assert!(error.starts_with("schedule.task.not_found"), "{error}");
}

#[test]
fn people_may_have_a_run_each_minute_and_no_more() {
    let world = World::new();
    let add = |schedule| {
        let destination = json!({"kind": "file", "address": "log"});
        world.people(
            "scheduler.add",
            json!({"task": "x", "schedule": schedule, "call_id": "c", "destination": destination}),
        )
    };
    let error = add(every(59, "second")).expect_err("too often");
    assert!(
        error.contains("59 seconds apart; here the least is 1 minute"),
        "{error}"
    );
    assert!(add(every(1, "minute")).is_ok());
    let error = world.people(
        "scheduler.add",
        json!({"task": "x", "schedule": daily("09:00"), "call_id": "d",
        "destination": {"kind": "file", "address": "a\nb"}}),
    );
    assert!(
        error
            .expect_err("two lines")
            .starts_with("schedule.input: destination")
    );
}

#[test]
fn lists_go_on_where_they_stopped() {
    let world = World::new();
    for _ in 0..53 {
        world.add(daily("09:00"), json!({}));
    }
    let first = world.people("scheduler.list", json!({})).expect("a list");
    assert_eq!(first["tasks"].as_array().map(Vec::len), Some(50));
    let rest = world
        .people("scheduler.list", json!({"after": first["after"]}))
        .expect("a list");
    assert_eq!(rest["tasks"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        (&rest["truncated"], &rest["after"]),
        (&json!(false), &json!(null))
    );
}

#[test]
fn a_schedule_can_be_tried_out() {
    let world = World::new();
    let schedule = json!({"kind": "cron", "expression": "0 9 * * MON", "timezone": "Europe/Paris"});
    let next = world
        .people("scheduler.next", json!({"schedule": schedule, "count": 2}))
        .expect("moments");
    assert_eq!(
        next["next"],
        json!([
            {"at": "2026-01-12T08:00:00Z", "local": "2026-01-12 09:00:00"},
            {"at": "2026-01-19T08:00:00Z", "local": "2026-01-19 09:00:00"},
        ])
    );
    let id = world.add(daily("09:00"), json!({}));
    let next = world
        .people("scheduler.next", json!({"task_id": id, "count": 1}))
        .expect("moments");
    assert_eq!(next["next"][0]["at"], "2026-01-05T09:00:00Z");
    assert!(world.people("scheduler.next", json!({})).is_err());
}

#[test]
fn a_task_is_shown_with_its_runs() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    world.at("2026-01-05T09:00:00Z").beat();
    let shown = world
        .people("scheduler.show", json!({"task_id": id}))
        .expect("a task");
    assert_eq!(shown["runs"][0]["state"], "running");
    assert_eq!(shown["runs"][0]["scheduled_for"], "2026-01-05T09:00:00Z");
}

#[test]
fn a_configuration_is_strict() {
    use kodex_scheduler::settings::Settings;
    for (config, want) in [
        (json!({}), None),
        (
            json!({"timezone": "Europe/Paris", "runs_per_heartbeat": 25, "tool_min_interval_minutes": 60}),
            None,
        ),
        (json!({"runs_per_heartbeat": 26}), Some("from 1 to 25")),
        (json!({"runs_per_beat": 2}), Some("unknown field")),
        (json!({"timezone": "Paris"}), Some("Europe/Paris")),
        (json!({"min_interval_minutes": 0}), Some("at least 1")),
        (json!({"keep_runs_days": 1}), Some("at least 8")),
    ] {
        match (Settings::read(&config.clone().into()), want) {
            (Ok(_), None) => {}
            (Err(error), Some(want)) => assert!(error.message.contains(want), "{error}"),
            (got, want) => panic!("{config}: {got:?}, not {want:?}"),
        }
    }
}
