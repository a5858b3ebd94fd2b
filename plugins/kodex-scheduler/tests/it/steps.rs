//! The data step.

use kodex_plugin::{Plugin as _, state::State};
use kodex_scheduler::{SchedulerPlugin, record};
use kodex_testkit::{CALL_LIMIT, block_on};
use serde_json::{Value, json};

use crate::world::{World, daily};

#[test]
fn tasks_in_values_move_into_the_table() {
    let world = World::new();
    let id = world.add(daily("09:00"), json!({}));
    let task = world.task(&id);

    let clock = kodex_testkit::HandClock::new();
    let (mut hosts, _keep) = crate::stand::hosts(&clock, 1);
    let host = hosts.remove(0);
    let plugin = SchedulerPlugin::new().expect("a plugin");
    host.upgrade_to(&plugin, "0001_tasks_and_runs.sql")
        .expect("it applies");
    let state = State::new(std::sync::Arc::new(host.clone()));
    let set = |key: &str, value: Value| {
        block_on(state.set(key, &value), CALL_LIMIT)
            .expect("it answers")
            .expect("it is set");
    };
    for n in 0..150 {
        let mut task = task.clone();
        task.id = format!("sched_{n:03}");
        let value = serde_json::to_value(&task).expect("writes");
        match n {
            0 => set("task/sched_000", json!(record::write(&task))),
            1 => set("task/sched_001", json!({"half": "a record"})),
            2 => set("task/another", value),
            _ => set(&format!("task/{}", task.id), value),
        }
    }
    set("other", json!(1));
    let applied = host.upgrade(&plugin).expect("it applies");
    let counts = applied[0].counts;
    assert_eq!(
        (counts.scanned, counts.migrated, counts.missing),
        (150, 148, 2)
    );
    let rows = host.sql(
        "SELECT COUNT(*) AS n FROM tasks WHERE attend_at_ms IS NOT NULL",
        json!([]),
    );
    assert_eq!(rows.expect("a query").raw().rows[0][0], json!(148).into());
    assert_eq!(plugin.manifest().name.as_str(), "kodex-scheduler");
}
