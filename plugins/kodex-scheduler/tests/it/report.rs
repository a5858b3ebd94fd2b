//! The report: numbers, ids and labels.

use kodex_plugin::hook::{ReportReply, Tone};
use kodex_testkit::call_hook;
use serde_json::json;

use crate::world::{World, caller, daily};

fn report(world: &World) -> ReportReply {
    let payload = json!({"now_unix_ms": world.now_ms()});
    let reply = call_hook(&world.plugin, "report", payload).expect("a report");
    reply.0.expect("a reply").to().expect("its form")
}

#[test]
fn a_report_counts_and_lists_without_saying_what_tasks_say() {
    let world = World::new();
    for n in 0..8 {
        world.add(daily(&format!("1{n}:00")), json!({"task": "SECRET words"}));
    }
    let blocked = world.add(daily("09:00"), json!({}));
    let broken = world.add(daily("09:30"), json!({}));
    let ann = caller("garden", "ann", "c1");
    let input = json!({"task": "SECRET words", "schedule": daily("09:10")});
    world
        .tool(Some(&ann), "schedule_create", input)
        .expect("a task");
    world.at("2026-01-05T09:00:00Z").beat();
    world.end_all("blocked", Some("log in"));
    world.later(60).beat();
    world.at("2026-01-05T09:10:00Z").beat();
    world.sql(
        "UPDATE tasks SET record = '{}' WHERE id = ?",
        json!([broken]),
    );
    world.at("2026-01-05T09:30:00Z").beat();
    let report = report(&world);
    let metrics: Vec<_> = report
        .metrics
        .iter()
        .map(|metric| (metric.label.as_str(), metric.value.as_str(), metric.tone))
        .collect();
    assert_eq!(
        metrics,
        [
            ("active", "10", Some(Tone::Good)),
            ("blocked", "1", Some(Tone::Danger)),
            ("paused", "0", Some(Tone::Neutral)),
            ("due now", "0", Some(Tone::Neutral)),
            ("running", "1", Some(Tone::Warning)),
            ("malformed", "1", Some(Tone::Danger)),
            ("missed", "0", Some(Tone::Neutral)),
            ("skipped", "0", Some(Tone::Neutral)),
        ]
    );
    let sets: Vec<_> = report
        .record_sets
        .iter()
        .map(|set| (set.title.as_str(), set.records.len()))
        .collect();
    assert_eq!(
        sets,
        [
            ("Upcoming", 5),
            ("Blocked", 1),
            ("Running", 1),
            ("Without a run", 0)
        ]
    );
    assert_eq!(
        report.record_sets[1].records[0].id.as_deref(),
        Some(&*blocked)
    );
    let running = &report.record_sets[2].records[0];
    assert_eq!(running.values["author"], "ANN");
    let text = serde_json::to_string(&report).expect("writes");
    assert!(
        !text.contains("SECRET") && !text.contains("garden"),
        "{text}"
    );
}

#[test]
fn what_changed_last_stands_first() {
    let world = World::new();
    let ids: Vec<_> = (0..7)
        .map(|n| world.add(daily(&format!("09:0{}", 6 - n)), json!({})))
        .collect();
    // The one that was made last is blocked first.
    for minute in 0..7 {
        world.at(&format!("2026-01-05T09:0{minute}:00Z")).beat();
        world.end_all("blocked", Some("log in"));
        world.later(30).beat();
    }
    let listed = |set: usize| {
        let records = report(&world).record_sets[set].records.clone();
        records
            .iter()
            .filter_map(|record| record.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(1), ids[..5]);
}

#[test]
fn broken_creators_are_labelled() {
    let world = World::new();
    let mut ann = caller("garden", "ann", "c1");
    if let Some(actor) = &mut ann.actor {
        actor.name = Some("\u{7}".to_owned());
    }
    let input = json!({"task": "x", "schedule": daily("09:10")});
    world
        .tool(Some(&ann), "schedule_create", input)
        .expect("a task");
    assert_eq!(
        report(&world).record_sets[0].records[0].values["author"],
        "unknown"
    );
}
