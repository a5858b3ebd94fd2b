//! Tools: what a model may do, in the conversation that calls and nowhere else.

use kodex_plugin::{Json, wire::work::Visibility};
use serde_json::{Value, json};

use crate::world::{World, caller, daily, every};

fn create(
    world: &World,
    conversation: &str,
    actor: &str,
    call: &str,
    input: Value,
) -> Result<Value, String> {
    world.tool(
        Some(&caller(conversation, actor, call)),
        "schedule_create",
        input,
    )
}

fn made(world: &World, conversation: &str, call: &str) -> String {
    let input = json!({"task": "water the plants", "schedule": daily("09:00")});
    let made = create(world, conversation, "ann", call, input).expect("a task");
    made["task"]["id"].as_str().expect("an id").to_owned()
}

fn check(answer: Result<Value, String>, want: &str) {
    let error = answer.expect_err(want);
    assert!(error.starts_with(want), "{error}, not {want}");
}

#[test]
fn a_task_answers_where_it_was_made() {
    let world = World::new();
    let input = json!({"task": " water the plants ", "schedule": daily("09:00")});
    let task = &create(&world, "garden", "ann", "c1", input.clone()).expect("a task")["task"];
    assert_eq!(task["task"], "water the plants");
    assert_eq!(task["schedule"], "every day at 09:00 (UTC)");
    assert_eq!(task["next_run_at"], "2026-01-05T09:00:00Z");
    assert_eq!(task["status"], "active");
    let kept = world.task(task["id"].as_str().expect("an id"));
    assert_eq!(kept.destination.address, "garden");
    assert_eq!(kept.created_by.expect("a creator").id, "ann");
    // A model cannot name another place.
    let mut elsewhere = input;
    elsewhere["destination"] = json!({"kind": "session", "address": "kitchen"});
    check(
        create(&world, "garden", "ann", "c2", elsewhere),
        "schedule.input",
    );
}

#[test]
fn a_call_without_a_conversation_is_refused() {
    let world = World::new();
    for name in ["schedule_create", "schedule_list", "schedule_delete"] {
        check(world.tool(None, name, json!({})), "schedule.caller.unknown");
    }
    let nameless = caller("garden", "ann", "");
    check(
        world.tool(Some(&nameless), "schedule_list", json!({})),
        "schedule.caller.unknown",
    );
}

#[test]
fn the_same_call_gives_the_same_task() {
    let world = World::new();
    let first = made(&world, "garden", "c1");
    let pause = json!({"task_id": first, "status": "paused"});
    world
        .tool(
            Some(&caller("garden", "ann", "c2")),
            "schedule_update",
            pause,
        )
        .expect("a task");
    let input = json!({"task": "water the plants", "schedule": daily("09:00")});
    let again = create(&world, "garden", "ann", "c1", input).expect("the stored task");
    assert_eq!(
        (
            again["task"]["id"].as_str(),
            again["task"]["status"].as_str()
        ),
        (Some(&*first), Some("paused"))
    );
    assert_ne!(first, made(&world, "garden", "c3"));
    assert_ne!(first, made(&world, "kitchen", "c1"));
}

#[test]
fn tasks_of_other_conversations_do_not_exist() {
    let world = World::new();
    let id = made(&world, "garden", "c1");
    let other = caller("kitchen", "ann", "c2");
    let listed = world
        .tool(Some(&other), "schedule_list", json!({}))
        .expect("a list");
    assert_eq!(listed, json!({"tasks": [], "truncated": false}));
    for name in ["schedule_update", "schedule_delete", "schedule_run_now"] {
        let here = world.tool(Some(&other), name, json!({"task_id": id}));
        let never = world.tool(Some(&other), name, json!({"task_id": "sched_none"}));
        let (here, never) = (here.expect_err("not here"), never.expect_err("nowhere"));
        assert_eq!(
            here.replace(&id, "ID"),
            never.replace("sched_none", "ID"),
            "{name}"
        );
    }
    let here = caller("garden", "ann", "c3");
    world
        .tool(Some(&here), "schedule_delete", json!({"task_id": id}))
        .expect("it is here");
    check(
        world.tool(Some(&here), "schedule_delete", json!({"task_id": id})),
        "schedule.task.not_found",
    );
    let listed = world
        .tool(Some(&here), "schedule_list", json!({}))
        .expect("a list");
    assert_eq!(listed["tasks"], json!([]));
}

#[test]
fn a_list_shows_fifty_and_says_that_there_are_more() {
    let world = World::new();
    for n in 0..50 {
        made(&world, "garden", &format!("c{n}"));
    }
    let list = || {
        let here = caller("garden", "ann", "l");
        let list = world
            .tool(Some(&here), "schedule_list", json!({}))
            .expect("a list");
        (
            list["tasks"].as_array().map(Vec::len),
            list["truncated"].as_bool(),
        )
    };
    assert_eq!(list(), (Some(50), Some(false)));
    made(&world, "garden", "one more");
    assert_eq!(list(), (Some(50), Some(true)));
}

#[test]
fn inputs_are_strict_and_say_what_is_wrong() {
    let world = World::new();
    let create = |input: Value| create(&world, "garden", "ann", "c1", input);
    check(
        create(json!({"task": "  ", "schedule": daily("09:00")})),
        "schedule.task.text",
    );
    check(
        create(json!({"task": "x".repeat(4_001), "schedule": daily("09:00")})),
        "schedule.task.text",
    );
    check(create(json!({"task": "x"})), "schedule.input");
    check(
        create(json!({"task": "x", "schedule": daily("25:00")})),
        "schedule.intent: schedule.time:",
    );
    check(
        create(json!({"task": "x", "schedule": every(1, "hour")})),
        "schedule.intent: schedule.every: would run 1 hour apart",
    );
    check(
        create(json!({"task": "x", "schedule": daily("09:00"), "catch_up": "none"})),
        "schedule.input",
    );
    let mut zone = daily("09:00");
    zone["timezone"] = json!("Europe/Pariss");
    check(
        create(json!({"task": "x", "schedule": zone})),
        "schedule.intent: schedule.timezone:",
    );
}

#[test]
fn updates_change_what_they_name() {
    let world = World::new();
    let id = made(&world, "garden", "c1");
    let here = caller("garden", "ann", "c2");
    let update = |input: Value| {
        let mut input = input;
        input["task_id"] = json!(id);
        world.tool(Some(&here), "schedule_update", input)
    };
    world
        .tool(Some(&here), "schedule_run_now", json!({"task_id": id}))
        .expect("it is active");
    assert!(world.task(&id).run_now_at_ms.is_some());
    let paused = update(json!({"status": "paused"})).expect("a task");
    assert_eq!(
        (&paused["task"]["status"], &paused["task"]["run_now_at"]),
        (&json!("paused"), &Value::Null)
    );
    check(
        world.tool(Some(&here), "schedule_run_now", json!({"task_id": id})),
        "schedule.task.inactive",
    );
    let active = update(json!({"status": "active", "task": "water them"})).expect("a task");
    assert_eq!(
        (&active["task"]["status"], &active["task"]["task"]),
        (&json!("active"), &json!("water them"))
    );
    let once =
        json!({"kind": "one_off", "timing": {"at": {"date": "2026-02-01", "time": "10:00"}}});
    let once = update(json!({"schedule": once})).expect("a task");
    assert_eq!(
        (&once["task"]["recurring"], &once["task"]["next_run_at"]),
        (&json!(false), &json!("2026-02-01T10:00:00Z"))
    );
    check(update(json!({"status": "deleted"})), "schedule.input");
    // A one-off that has had its run cannot become active again without a schedule.
    world.at("2026-02-01T10:00:00Z").beat();
    world.end_all("completed", None);
    world.later(60).beat();
    check(
        update(json!({"status": "active"})),
        "schedule.next_run.none",
    );
}

#[test]
fn credentials_need_the_creator_in_private() {
    let world = World::new();
    let input =
        json!({"task": "read my mail", "schedule": daily("09:00"), "credential_mode": "creator"});
    let mut group = caller("garden", "ann", "c1");
    group.direct = false;
    check(
        world.tool(Some(&group), "schedule_create", input.clone()),
        "schedule.credentials",
    );
    let mut public = caller("garden", "ann", "c1");
    public.visibility = Visibility::Public;
    check(
        world.tool(Some(&public), "schedule_create", input.clone()),
        "schedule.credentials",
    );
    let ann = caller("garden", "ann", "c1");
    let made = world
        .tool(Some(&ann), "schedule_create", input)
        .expect("a task");
    let id = made["task"]["id"].as_str().expect("an id").to_owned();
    world.at("2026-01-05T09:00:00Z").beat();
    let subject = world.agents().asked[0].subject.clone().expect("a subject");
    assert_eq!(
        (subject.user.as_str(), subject.task.as_deref()),
        ("ann", Some(&*id))
    );
    // Another person's words do not run with them, and another person cannot turn them on.
    let bob = caller("garden", "bob", "c2");
    let changed = json!({"task_id": id, "task": "send my mail to bob"});
    let changed = world
        .tool(Some(&bob), "schedule_update", changed)
        .expect("a task");
    assert_eq!(changed["task"]["credential_mode"], "system");
    let on = json!({"task_id": id, "credential_mode": "creator"});
    check(
        world.tool(Some(&bob), "schedule_update", on.clone()),
        "schedule.credentials",
    );
    assert!(world.tool(Some(&ann), "schedule_update", on).is_ok());
    let off = json!({"task_id": id, "credential_mode": "system"});
    assert!(world.tool(Some(&bob), "schedule_update", off).is_ok());
}

#[test]
fn a_plugin_passes_the_suite() {
    use std::sync::Arc;
    let plugin: Arc<dyn kodex_plugin::Plugin> =
        Arc::new(kodex_scheduler::SchedulerPlugin::new().expect("a plugin"));
    for tool in &plugin.manifest().tools {
        let schema = tool
            .input_schema
            .as_ref()
            .map(Json::value)
            .expect("a schema");
        assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
    }
    let found = kodex_testkit::PluginSuite::new().run(&plugin);
    assert_eq!(found, []);
}
