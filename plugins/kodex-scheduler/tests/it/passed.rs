//! No occurrence goes without a word: each has a run, or a row that says why it has none.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kodex_plugin::{HostError, Plugin as _, hook::ReportReply};
use kodex_scheduler::{
    SchedulerPlugin,
    cadence::Cadence,
    moment::{Ms, text, timestamp},
    record,
    task::{Task, TaskStatus},
};
use kodex_testkit::call_hook;
use serde_json::{Value, json};

use crate::world::{World, caller, daily, every, ms, once_after};

const HOUR: Ms = 3_600_000;

/// What is said of a task's occurrences that have no run: the first, the last, how many, and why.
pub(crate) fn told(world: &World, id: &str) -> Vec<(Ms, Ms, u64, String)> {
    let sql = "SELECT first_ms, last_ms, n, outcome || ' ' || reason FROM passed WHERE task_id = ? \
               ORDER BY first_ms";
    let rows = world.host.sql(sql, json!([id])).expect("a query");
    let number = |cell: &Value| cell.as_i64().expect("a number");
    let rows = rows.raw().rows.iter().map(|row| {
        let why = row[3].value().as_str().expect("a text").to_owned();
        let [first, last, n] = [0, 1, 2].map(|at| number(row[at].value()));
        (first, last, n.unsigned_abs(), why)
    });
    rows.collect()
}

/// The same in short: runs of rows with the same reason as one.
fn shown(world: &World, id: &str) -> String {
    let mut shown: Vec<(Ms, Ms, u64, String)> = Vec::new();
    for row in told(world, id) {
        match shown.last_mut().filter(|last| last.3 == row.3) {
            Some(last) => (last.1, last.2) = (row.1, last.2 + row.2),
            None => shown.push(row),
        }
    }
    let at = |at: Ms| text(at)[5..16].to_owned();
    let shown = shown.into_iter().map(|(first, last, n, why)| {
        let (first, last) = (at(first), at(last));
        format!("{n} {why} {first}..{last}")
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The number of a task's rows, and of what they count.
fn n_told(world: &World, id: &str) -> (usize, u64) {
    let rows = told(world, id);
    (rows.len(), rows.iter().map(|row| row.2).sum())
}

fn n_counted(world: &World, id: &str) -> u64 {
    let answer = world.people("scheduler.show", json!({"task_id": id}));
    let task = &answer.expect("a task")["task"];
    ["missed", "skipped"]
        .map(|name| task[name].as_u64().expect("a number"))
        .iter()
        .sum()
}

/// Up to where everything must have been said.
fn bound(task: &Task, now_ms: Ms) -> Ms {
    match task.status {
        TaskStatus::Deleted => task.updated_at_ms + 1,
        TaskStatus::Blocked => task.untold_from_ms.unwrap_or(now_ms + 1),
        TaskStatus::Active | TaskStatus::Paused => task.next_run_at_ms.unwrap_or(now_ms + 1),
    }
}

/// Checks that each occurrence of a cadence from one on, until where the task stands, has a run or is told of,
/// and not both; says how many there were.
pub(crate) fn check_all(world: &World, task: &Task, cadence: &Cadence, from_ms: Ms) -> usize {
    let sql = "SELECT scheduled_for_ms FROM runs WHERE task_id = ?";
    let rows = world.host.sql(sql, json!([task.id])).expect("a query");
    let rows = rows.raw().rows.iter();
    let runs: BTreeSet<Ms> = rows
        .map(|row| row[0].value().as_i64().expect("a number"))
        .collect();
    let told = told(world, &task.id);
    let until_ms = bound(task, world.now_ms());
    let next = |at: &Timestamp| cadence.next_after(*at);
    let occurrences = std::iter::successors(cadence.next_after(timestamp(from_ms - 1)), next)
        .map(|at| at.as_millisecond())
        .take_while(|at| *at < until_ms);
    let mut n = 0;
    for at in occurrences {
        n += 1;
        let single = told.iter().filter(|row| row.2 == 1 && row.0 == at).count();
        let many = told
            .iter()
            .filter(|row| row.2 > 1 && (row.0..=row.1).contains(&at))
            .count();
        let is_run = runs.contains(&at);
        let n_words = single + usize::from(is_run) + if is_run { 0 } else { many };
        assert_eq!(
            n_words,
            1,
            "{} of {}: {told:?}",
            text(at),
            record::write(task)
        );
    }
    for (first, last, n, _) in told.iter().filter(|row| row.2 > 1 && row.0 >= from_ms) {
        let own = runs
            .range(*first..=*last)
            .filter(|at| cadence.next_after(timestamp(**at - 1)) == Some(timestamp(**at)));
        let between = cadence.count_in(timestamp(first - 1), timestamp(*last));
        assert_eq!(
            *n + own.count() as u64,
            between,
            "{}: {told:?}",
            record::write(task)
        );
    }
    n
}

fn check(world: &World, id: &str, from: &str, want: &str) {
    let task = world.task(id);
    check_all(world, &task, &task.cadence, ms(from));
    assert_eq!(shown(world, id), want);
    if task.status != TaskStatus::Deleted {
        assert_eq!(n_counted(world, id), n_told(world, id).1);
    }
}

#[test]
fn a_day_without_a_heartbeat_leaves_a_row_for_each_hour() {
    // The latest of 26 runs.
    let world = World::new();
    let id = world.add(every(1, "hour"), json!({"catch_up": "one"}));
    assert_eq!(world.at("2026-01-06T10:00:00Z").beat(), 1);
    assert_eq!(world.shown(&id), "01-06T10:00 running");
    check(
        &world,
        &id,
        "2026-01-05T09:00:00Z",
        "25 missed late 01-05T09:00..01-06T09:00",
    );
    assert_eq!(n_told(&world, &id), (25, 25));
    // The first is too late, which is a run that was skipped; the others follow it.
    let world = World::new();
    let id = world.add(every(1, "hour"), json!({}));
    assert_eq!(world.at("2026-01-06T10:00:00Z").beat(), 0);
    assert_eq!(world.shown(&id), "01-05T09:00 skipped");
    check(
        &world,
        &id,
        "2026-01-05T09:00:00Z",
        "25 missed late 01-05T10:00..01-06T10:00",
    );
    // The oldest runs, the others have passed when it begins.
    let world = World::new();
    let id = world.add(every(1, "hour"), json!({}));
    assert_eq!(world.at("2026-01-05T12:30:00Z").beat(), 1);
    world.end_all("completed", None);
    world.later(61).beat();
    check(
        &world,
        &id,
        "2026-01-05T09:00:00Z",
        "3 missed late 01-05T10:00..01-05T12:00",
    );
    // Whoever catches up on everything misses what is older than a week.
    let world = World::new();
    let id = world.add(every(1, "hour"), json!({"catch_up": "all"}));
    world.at("2026-01-13T09:30:00Z").beat();
    check(
        &world,
        &id,
        "2026-01-05T09:00:00Z",
        "24 missed late 01-05T10:00..01-06T09:00",
    );
}

#[test]
fn a_year_of_every_minute_is_counted_and_not_written_down() {
    let world = World::new();
    let cron = json!({"kind": "cron", "expression": "* * * * *"});
    let latest = world.add(cron, json!({"catch_up": "one"}));
    let interval = world.add(every(1, "minute"), json!({}));
    world.at("2027-01-05T08:00:00Z").beat();
    let want = "525599 missed late 01-05T08:01..01-05T07:59";
    assert_eq!(shown(&world, &latest), want);
    assert_eq!(n_told(&world, &latest), (49, 525_599));
    assert_eq!(n_counted(&world, &latest), 525_599);
    let rows = told(&world, &latest);
    assert_eq!(rows[48].2, 525_599 - 48);
    assert_eq!(n_told(&world, &interval), (49, 525_599));
}

#[test]
fn what_comes_due_during_a_run_is_skipped() {
    for (overlap, want) in [
        ("skip", "3 skipped overlap 01-05T08:20..01-05T08:40"),
        // The latest of them runs now.
        ("queue", "2 skipped overlap 01-05T08:20..01-05T08:30"),
        ("allow", ""),
    ] {
        let world = World::new();
        let id = world.add(every(10, "minute"), json!({"overlap": overlap}));
        for minute in ["10", "20", "30", "40"] {
            world.at(&format!("2026-01-05T08:{minute}:00Z")).beat();
        }
        world.later(60);
        world.end_all("completed", None);
        world.beat();
        check(&world, &id, "2026-01-05T08:10:00Z", want);
    }
}

#[test]
fn what_people_stop_or_change_is_told_with_their_reason() {
    let hourly = || every(1, "hour");
    let case = |schedule: Value, act: &dyn Fn(&World, &str), want: &str| {
        let world = World::new();
        let id = world.add(schedule, json!({}));
        let from = text(world.task(&id).next_run_at_ms.expect("a time"));
        act(&world, &id);
        check(&world, &id, &from, want);
    };
    let by = |world: &World, verb: &str, id: &str| {
        let answer = world.people(&format!("scheduler.{verb}"), json!({"task_id": id}));
        answer.unwrap_or_else(|error| panic!("{verb}: {error}"));
    };
    case(
        hourly(),
        &|world, id| {
            by(world, "pause", id);
            by(world.at("2026-01-05T12:00:00Z"), "resume", id);
        },
        "4 skipped paused 01-05T09:00..01-05T12:00",
    );
    case(
        hourly(),
        &|world, id| {
            by(world, "pause", id);
            by(world.at("2026-01-05T10:30:00Z"), "delete", id);
        },
        "2 skipped paused 01-05T09:00..01-05T10:00",
    );
    case(
        hourly(),
        &|world, id| by(world.at("2026-01-05T10:30:00Z"), "delete", id),
        "2 skipped deleted 01-05T09:00..01-05T10:00",
    );
    // The first one has a run that goes on.
    case(
        hourly(),
        &|world, id| {
            world.at("2026-01-05T09:00:00Z").beat();
            by(world.at("2026-01-05T11:30:00Z"), "delete", id);
        },
        "2 skipped deleted 01-05T10:00..01-05T11:00",
    );
    case(
        hourly(),
        &|world, id| {
            world.at("2026-01-05T09:00:00Z").beat();
            world.end_all("blocked", Some("log in"));
            world.later(60).beat();
            by(world.at("2026-01-05T12:30:00Z"), "resume", id);
        },
        "3 missed blocked 01-05T10:00..01-05T12:00",
    );
    // A run by hand stands for the one that was due.
    case(
        hourly(),
        &|world, id| {
            by(world.at("2026-01-05T09:30:00Z"), "run_now", id);
            world.beat();
            world.end_all("completed", None);
            world.later(60).beat();
        },
        "1 skipped by_hand 01-05T09:00..01-05T09:00",
    );
    case(
        once_after(1, "hour"),
        &|world, id| {
            by(world, "pause", id);
            by(world.at("2026-01-05T10:30:00Z"), "delete", id);
        },
        "1 skipped paused 01-05T09:00..01-05T09:00",
    );
}

#[test]
fn another_schedule_leaves_the_old_ones_occurrences_behind() {
    let world = World::new();
    let id = world.add(every(1, "hour"), json!({}));
    let before = world.task(&id).cadence;
    let update = json!({"task_id": id, "schedule": daily("13:15")});
    world.at("2026-01-05T11:00:00Z");
    world.people("scheduler.update", update).expect("a task");
    let want = "3 skipped rescheduled 01-05T09:00..01-05T11:00";
    assert_eq!(shown(&world, &id), want);
    let task = world.task(&id);
    // Only up to the change; then the new one counts.
    let old = Task {
        next_run_at_ms: Some(ms("2026-01-05T11:00:00Z") + 1),
        ..task.clone()
    };
    assert_eq!(
        check_all(&world, &old, &before, ms("2026-01-05T09:00:00Z")),
        3
    );
    world.at("2026-01-06T14:00:00Z").beat();
    let want =
        "3 skipped rescheduled 01-05T09:00..01-05T11:00, 1 missed late 01-06T13:15..01-06T13:15";
    assert_eq!(shown(&world, &id), want);
}

#[test]
fn a_quarantine_is_told_when_it_ends() {
    let world = World::new();
    let id = world.add(every(1, "hour"), json!({"catch_up": "one"}));
    let sound = record::write(&world.task(&id));
    let set = |text: &str| {
        world.sql(
            "UPDATE tasks SET record = ? WHERE id = ?",
            json!([text, id]),
        )
    };
    set("{}");
    world.at("2026-01-05T09:00:00Z").beat();
    world.at("2026-01-05T12:00:00Z").beat();
    set(&sound);
    let resume = json!({"task_id": id});
    world.people("scheduler.resume", resume).expect("it reads");
    assert_eq!(world.beat(), 1);
    check(
        &world,
        &id,
        "2026-01-05T09:00:00Z",
        "3 missed late 01-05T09:00..01-05T11:00",
    );
}

#[test]
fn what_comes_again_after_the_clock_went_back_is_not_told_twice() {
    for hours in [3, 60] {
        let world = World::new();
        let id = world.add(every(1, "hour"), json!({}));
        let pause = json!({"task_id": id});
        let people = |verb: &str| world.people(&format!("scheduler.{verb}"), pause.clone());
        people("pause").expect("it rests");
        world.later(3_600 * hours + 1);
        people("resume").expect("it goes on");
        assert_eq!(n_told(&world, &id).1, hours);
        people("pause").expect("it rests");
        // Into the middle of what was told, also where one row tells of several.
        world
            .clock
            .set_unix_ms((world.now_ms() - 2 * HOUR).unsigned_abs());
        people("resume").expect("it goes on");
        assert_eq!(n_told(&world, &id).1, hours - 2);
        for _ in 0..3 {
            world.later(3_600).beat();
            world.end_all("completed", None);
            world.later(60).beat();
        }
        let task = world.task(&id);
        assert_eq!(
            check_all(&world, &task, &task.cadence, ms("2026-01-05T09:00:00Z")) as u64,
            hours + 1
        );
        assert_eq!(n_counted(&world, &id), n_told(&world, &id).1);
    }
}

#[test]
fn what_is_told_and_the_step_that_passes_it_over_are_one() {
    let world = World::new();
    let mut n_faults = 0;
    for nth in 1.. {
        let id = world.add(every(1, "hour"), json!({"catch_up": "one"}));
        let first_ms = world.task(&id).next_run_at_ms.expect("a time");
        world.later(26 * 3_600);
        world.faults.plan(nth, nth % 2 == 0);
        let _ = world.try_beat();
        let is_over = !world.faults.stop();
        let task = world.task(&id);
        check_all(&world, &task, &task.cadence, first_ms);
        world.later(61).beat();
        let task = world.task(&id);
        assert_eq!(check_all(&world, &task, &task.cadence, first_ms), 25);
        assert_eq!(n_told(&world, &id), (25, 25));
        assert_eq!(n_counted(&world, &id), 25);
        let end = json!({"task_id": id});
        world.people("scheduler.delete", end).expect("it is there");
        world.end_all("completed", None);
        world.later(61).beat();
        if is_over {
            break;
        }
        n_faults += 1;
    }
    assert!(n_faults > 8, "{n_faults}");
}

#[test]
fn people_models_and_the_report_see_it() {
    let world = World::new();
    let ann = caller("main", "ann", "c1");
    let input = json!({"task": "look", "schedule": daily("09:00"), "catch_up": "one"});
    let made = world.tool(Some(&ann), "schedule_create", input);
    let id = made.expect("a task")["task"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    world.at("2026-01-08T09:00:00Z").beat();
    let listed = world.tool(Some(&ann), "schedule_list", json!({}));
    let task = &listed.expect("a list")["tasks"][0];
    assert_eq!((&task["missed"], &task["skipped"]), (&json!(3), &json!(0)));
    let shown = world.people("scheduler.show", json!({"task_id": id}));
    let shown = shown.expect("a task");
    let want = json!({"scheduled_for": "2026-01-07T09:00:00Z", "until": null, "n": 1,
        "outcome": "missed", "reason": "late"});
    assert_eq!(shown["without_run"][0], want);
    let want = json!([{"outcome": "missed", "reason": "late", "n": 3}]);
    assert_eq!(shown["without_run_counts"], want);
    let payload = json!({"now_unix_ms": world.now_ms()});
    let reply = call_hook(&world.plugin, "report", payload).expect("a report");
    let report: ReportReply = reply.0.expect("a reply").to().expect("its form");
    let metric = report
        .metrics
        .iter()
        .find(|metric| metric.label == "missed");
    assert_eq!(metric.expect("it is counted").value, "3");
    let set = report.record_sets.last().expect("sets");
    assert_eq!(
        (set.title.as_str(), set.records.len()),
        ("Without a run", 3)
    );
    assert_eq!(set.records[0].values["from"], "2026-01-07T09:00:00Z");
    assert_eq!(set.records[0].values["author"], "ANN");
}

#[test]
fn rows_are_forgotten_and_numbers_are_not() {
    let world = World::with(json!({"keep_runs_days": 8}));
    let id = world.add(daily("09:00"), json!({"catch_up": "one"}));
    world.at("2026-01-07T09:00:00Z").beat();
    world.agents().refuses = Some(HostError::new("store.unreachable", "gone"));
    world.end_all("completed", None);
    assert_eq!(n_told(&world, &id), (2, 2));
    world.at("2026-01-07T09:30:00Z").beat();
    world.at("2026-01-16T08:00:00Z").beat();
    let rows = told(&world, &id);
    assert!(
        rows.iter().all(|row| row.0 > ms("2026-01-07T10:00:00Z")),
        "{rows:?}"
    );
    assert_eq!(n_counted(&world, &id), 2 + rows.len() as u64);
}

#[test]
fn tasks_of_the_version_before_tell_from_their_next_run_on() {
    let made = World::new();
    let id = made.add(every(1, "hour"), json!({"catch_up": "one"}));
    let task = made.task(&id);
    let record = serde_json::to_string(&task).expect("writes");
    assert!(
        !record.contains("trace") && !record.contains("untold"),
        "{record}"
    );
    let clock = kodex_testkit::HandClock::at_unix_ms(made.now_ms().unsigned_abs());
    let (mut hosts, _keep) = crate::stand::hosts(&clock, 1);
    let host = hosts.remove(0);
    let plugin = SchedulerPlugin::new().expect("a plugin");
    let until = "0002_tasks_from_state.sql";
    host.upgrade_to(&plugin, until).expect("it applies");
    let sql = "INSERT INTO tasks (id, destination, status, attend_at_ms, created_at_ms, fingerprint, \
               zone_data, revision, record) VALUES (?, '[]', 'active', ?, ?, 'f', '', 1, ?)";
    let params = json!([id, task.next_run_at_ms, task.created_at_ms, record]);
    host.sql(sql, params).expect("a statement");
    let applied = host.upgrade(&plugin).expect("it applies");
    assert_eq!(applied.len(), 1);
    host.answer_with("agent/dispatch", |_| {
        Ok(json!({"id": "r", "status": "created"}).into())
    });
    let context = host.context(plugin.manifest().name.clone(), json!({}).into());
    kodex_testkit::activate(&plugin, context).expect("it starts");
    let now_ms = ms("2026-01-05T12:00:00Z");
    clock.set_unix_ms(now_ms.unsigned_abs());
    call_hook(
        &plugin,
        "heartbeat",
        json!({"now_unix_ms": now_ms, "ticket": 1}),
    )
    .expect("a beat");
    let rows = host.sql("SELECT CAST(SUM(n) AS BIGINT) AS n FROM passed", json!([]));
    assert_eq!(rows.expect("a query").raw().rows[0][0], json!(3).into());
}
