//! Histories made by hand: a sound one that passes, and one for each promise that was not kept, which must
//! be found.

use kodex_chaos::{
    check::{RULES, check, story},
    history::{Answer, Asked, By, Change, History, Kind, Mark, Row, Said, Slot, Stand, Task, What},
};
use kodex_store::queue::JobState::{self, *};

const MINUTE: i64 = 60_000;

fn by(host: u32, attempt: u32) -> By {
    By { host, attempt }
}

fn stand(state: JobState, token: u64, attempt: u32) -> Stand {
    Stand {
        state,
        token,
        holder: None,
        until_ms: None,
        attempt,
        generation: 0,
        n_slices: 0,
        n_crashes: 0,
        reason: None,
        text: None,
        left: None,
    }
}

fn held(host: u32, token: u64, attempt: u32, until_ms: u64) -> Stand {
    Stand {
        holder: Some(format!("{host}-x")),
        until_ms: Some(until_ms),
        ..stand(Running, token, attempt)
    }
}

fn left(stand: Stand, by: By) -> Stand {
    Stand {
        left: Some(format!(
            "{{\"host\":{},\"attempt\":{}}}",
            by.host, by.attempt
        )),
        ..stand
    }
}

fn crashed(stand: Stand) -> Stand {
    Stand {
        n_crashes: 1,
        reason: Some("lease_ran_out".to_owned()),
        ..stand
    }
}

/// The changes of one job, each of which begins where the one before it ended.
fn chain(history: &mut History, job: &str, stands: &[(u64, Stand)]) {
    history.changes.retain(|change| change.job != job);
    let mut before = None;
    for (at_ms, after) in stands {
        history.changes.push(Change {
            n: *at_ms,
            at_ms: *at_ms,
            job: job.to_owned(),
            before: before.replace(after.clone()),
            after: Some(after.clone()),
        });
    }
    if let (Some(row), Some((_, last))) = (
        history.rows.iter_mut().find(|row| row.id == job),
        stands.last(),
    ) {
        row.stand = last.clone();
    }
}

/// Node 1 dies with the first attempt, node 2 completes the second.
fn path() -> Vec<(u64, Stand)> {
    vec![
        (10, stand(Pending, 0, 0)),
        (20, held(1, 1, 1, 100)),
        (120, crashed(stand(Pending, 1, 1))),
        (130, crashed(held(2, 2, 2, 230))),
        (140, left(crashed(stand(Completed, 2, 2)), by(2, 2))),
    ]
}

fn asked(item: &str, kind: Kind, answer: Answer) -> Asked {
    Asked {
        at_ms: 1,
        item: item.to_owned(),
        kind,
        answer,
    }
}

fn accepted(id: &str) -> Answer {
    Answer::Accepted { id: id.to_owned() }
}

fn mark(n: u64, key: &str, by: By, stand: Stand) -> Mark {
    Mark {
        n,
        job: "job".to_owned(),
        effect: Some(key.to_owned()),
        by,
        stand,
    }
}

fn said(by: By, what: What) -> Said {
    Said {
        id: "job".to_owned(),
        by,
        what,
    }
}

fn heard(who: By, first: bool, value: By) -> Said {
    let key = "start".to_owned();
    said(who, What::Effect { key, first, value })
}

fn slot(n: i64, run: &str) -> Slot {
    let at_ms = MINUTE * n;
    Slot {
        id: format!("task:{at_ms}"),
        task: "task".to_owned(),
        at_ms,
        state: "completed".to_owned(),
        reason: None,
        run: Some(run.to_owned()),
    }
}

fn row(id: &str, item: &str, is_run: bool) -> Row {
    Row {
        id: id.to_owned(),
        is_run,
        item: Some(item.to_owned()),
        stand: stand(Completed, 1, 1),
    }
}

/// One job that two nodes worked on, one that is refused, one task with two occurrences.
fn sound() -> History {
    let mut history = History {
        asked: vec![
            asked(
                "item",
                Kind::Plain,
                Answer::Lost {
                    why: "cut".to_owned(),
                },
            ),
            asked("item", Kind::Plain, accepted("job")),
            asked(
                "bad",
                Kind::Invalid,
                Answer::Refused {
                    code: "job.invalid".to_owned(),
                },
            ),
        ],
        marks: vec![
            mark(30, "start", by(1, 1), held(1, 1, 1, 100)),
            mark(135, "done", by(2, 2), crashed(held(2, 2, 2, 230))),
        ],
        said: vec![
            said(by(1, 1), What::Begin),
            heard(by(1, 1), true, by(1, 1)),
            heard(by(2, 2), false, by(1, 1)),
        ],
        rows: vec![
            row("job", "item", false),
            row("run-1", &format!("task:{MINUTE}"), true),
            row("run-2", &format!("task:{}", 2 * MINUTE), true),
        ],
        tasks: vec![Task {
            id: "task".to_owned(),
            anchor_ms: MINUTE,
            every_ms: MINUTE,
            next_ms: 3 * MINUTE,
            now_ms: 3 * MINUTE - 1,
            is_strict: true,
        }],
        slots: vec![slot(1, "run-1"), slot(2, "run-2")],
        ..History::default()
    };
    chain(&mut history, "job", &path());
    history
}

/// Spoils a sound history, which must be found by this rule and about this subject.
fn finds(rule: &str, subject: &str, spoil: impl Fn(&mut History)) {
    let mut history = sound();
    spoil(&mut history);
    let found = check(&history);
    assert!(
        found
            .iter()
            .any(|one| one.rule == rule && one.subject == subject),
        "{rule} {subject}: {found:#?}\n{}",
        story(&history, subject)
    );
}

#[test]
fn a_sound_history_has_no_violations() {
    assert_eq!(check(&sound()), []);
    assert_eq!(check(&History::default()), []);
}

#[test]
fn what_was_accepted_and_is_lost_is_found() {
    finds("lost", "job", |history| {
        history.rows.retain(|row| row.id != "job")
    });
    finds("lost", "run-9", |history| {
        let run = "run-9".to_owned();
        history.said.push(said(by(2, 2), What::Run { run }));
    });
    finds("lost", "task", |history| {
        history.rows.retain(|row| row.id != "run-2")
    });
    finds("renamed", "job", |history| {
        history
            .asked
            .push(asked("item", Kind::Plain, accepted("other")));
    });
    finds("renamed", "job", |history| {
        history.rows.push(row("other", "item", false))
    });
}

#[test]
fn what_was_refused_and_is_there_is_found() {
    finds("ghost", "g", |history| {
        history.rows.push(row("g", "bad", false))
    });
    finds("ghost", "g", |history| {
        history.rows.push(row("g", "never", false))
    });
    finds("ghost", "g", |history| {
        history.rows.push(row("g", "item", true))
    });
    finds("ghost", "job", |history| history.rows[0].item = None);
}

#[test]
fn ends_that_are_none_and_ends_that_come_twice_are_found() {
    finds("stuck", "job", |history| {
        chain(history, "job", &path()[..2])
    });
    finds("end", "job", |history| {
        history.rows[0].stand.state = Dead;
        history.rows[0].stand.reason = Some("poison".to_owned());
    });
    finds("end", "job", |history| {
        history.rows[0].stand.state = Cancelled
    });
    finds("ends", "job", |history| {
        let mut path = path();
        path.push((150, crashed(stand(Failed, 2, 2))));
        chain(history, "job", &path);
    });
    finds("ends", "job", |history| {
        // Two nodes say the end of one attempt each, and both are taken.
        let last = history.changes.last().cloned().expect("a change");
        history.changes.push(last);
    });
    finds("ends", "job", |history| {
        let mut path = path();
        path.push((150, crashed(stand(Pending, 2, 0))));
        chain(history, "job", &path);
    });
    finds("ends", "job", |history| {
        history.changes.push(Change {
            n: 900,
            at_ms: 900,
            job: "job".to_owned(),
            before: history.changes.last().and_then(|last| last.after.clone()),
            after: None,
        });
    });
}

#[test]
fn a_revival_is_a_new_generation_and_nothing_else() {
    let mut history = sound();
    let mut path = path();
    let revived = Stand {
        generation: 1,
        ..stand(Pending, 2, 0)
    };
    let again = Stand {
        generation: 1,
        ..held(1, 3, 1, 300)
    };
    let done = Stand {
        generation: 1,
        ..left(stand(Completed, 3, 1), by(1, 1))
    };
    path.extend([(200, revived), (210, again), (220, done)]);
    chain(&mut history, "job", &path);
    assert_eq!(check(&history), []);
}

#[test]
fn a_token_that_falls_or_stays_is_found() {
    finds("token", "job", |history| {
        let mut path = path();
        path[3].1.token = 0;
        chain(history, "job", &path);
    });
    finds("token", "job", |history| {
        let mut path = path();
        path[3].1.token = 1;
        chain(history, "job", &path);
    });
    finds("token", "job", |history| {
        let mut path = path();
        path[2].1.token = 2;
        chain(history, "job", &path);
    });
    finds("token", "job", |history| {
        let mut path = path();
        path[0].1.token = 7;
        chain(history, "job", &path);
    });
}

#[test]
fn two_leases_at_once_are_found() {
    finds("lease", "job", |history| {
        // Node 2 takes it while node 1 holds it.
        let mut path = path();
        path.remove(2);
        chain(history, "job", &path);
    });
    finds("lease", "job", |history| {
        // The same under the same token.
        let mut path = path();
        path.insert(2, (50, held(2, 1, 1, 150)));
        chain(history, "job", &path);
    });
    finds("lease", "job", |history| {
        // Taken back while the lease was good.
        let mut path = path();
        path[1].1.until_ms = Some(121);
        chain(history, "job", &path);
    });
    finds("lease", "job", |history| {
        let mut path = path();
        path.remove(3);
        chain(history, "job", &path);
    });
}

#[test]
fn what_a_zombie_writes_is_found() {
    finds("zombie", "job", |history| {
        // Node 1 comes back and ends what node 2 holds.
        let mut path = path();
        path[4].1 = left(crashed(stand(Completed, 2, 2)), by(1, 1));
        chain(history, "job", &path);
    });
    finds("zombie", "job", |history| {
        // The same node with its earlier attempt.
        let mut path = path();
        path[4].1 = left(crashed(stand(Completed, 2, 2)), by(2, 1));
        chain(history, "job", &path);
    });
    finds("zombie", "job", |history| {
        // Node 1 comes back and has what node 2 holds tried again.
        let mut path = path();
        path[4].1 = Stand {
            text: Some(r#"no luck {"host": 1, "attempt": 1}"#.to_owned()),
            ..crashed(stand(Pending, 2, 2))
        };
        chain(history, "job", &path);
    });
    finds("zombie", "job", |history| history.marks[1].by = by(1, 1));
    finds("zombie", "job", |history| {
        history.marks[0].stand = crashed(stand(Pending, 1, 1));
    });
    finds("zombie", "job", |history| {
        let line = Mark {
            effect: None,
            ..mark(136, "", by(1, 1), crashed(held(2, 2, 2, 230)))
        };
        history.marks.push(line);
    });
}

#[test]
fn effects_that_are_doubled_missing_or_told_wrong_are_found() {
    finds("effect", "job", |history| {
        let again = history.marks[0].clone();
        history.marks.push(again);
    });
    finds("effect", "job", |history| history.marks.truncate(1));
    finds("effect", "job", |history| {
        history.said.push(heard(by(2, 2), true, by(1, 1)));
    });
    finds("effect", "job", |history| {
        history.said.push(heard(by(2, 2), false, by(2, 2)));
    });
    finds("effect", "job", |history| {
        let (key, value) = ("never".to_owned(), by(1, 1));
        let what = What::Effect {
            key,
            first: true,
            value,
        };
        history.said.push(said(by(1, 1), what));
    });
}

#[test]
fn occurrences_that_are_lost_doubled_or_nowhere_are_found() {
    // A lost one.
    finds("slot", "task", |history| history.slots.truncate(1));
    finds("slot", "task", |history| {
        history.tasks[0].next_ms = 4 * MINUTE
    });
    // A doubled one: two rows, two runs, one run for two.
    finds("slot", "task", |history| {
        let mut again = slot(2, "run-1");
        again.id.push_str(":1");
        history.slots.push(again);
    });
    finds("slot", "task", |history| {
        history
            .rows
            .push(row("run-3", &format!("task:{MINUTE}"), true));
    });
    finds("slot", "task", |history| {
        history.slots[1].run = Some("run-1".to_owned())
    });
    // One beside the grid, before the first, behind the task.
    finds("slot", "task", |history| history.slots[0].at_ms += 1);
    finds("slot", "task", |history| history.slots[0].at_ms = 0);
    finds("slot", "task", |history| {
        history.tasks[0].next_ms = 2 * MINUTE
    });
    // One that nobody says anything about, one that is not over, one that is still to come.
    finds("slot", "task", |history| history.slots[0].run = None);
    finds("slot", "task", |history| {
        history.slots[0].run = None;
        history.slots[0].state = "skipped".to_owned();
    });
    finds("stuck", "task", |history| {
        history.slots[0].state = "running".to_owned()
    });
    finds("stuck", "task", |history| {
        history.tasks[0].now_ms = 3 * MINUTE
    });
}

#[test]
fn occurrences_that_were_passed_over_for_a_reason_pass() {
    let mut history = sound();
    history.slots[0] = Slot {
        state: "skipped".to_owned(),
        reason: Some("too late".to_owned()),
        run: None,
        ..slot(1, "")
    };
    history.rows.retain(|row| row.id != "run-1");
    assert_eq!(check(&history), []);
    history.tasks[0].is_strict = false;
    history.slots.remove(0);
    assert_eq!(check(&history), []);
}

#[test]
fn a_cancelled_item_may_be_cancelled_and_a_hopeless_one_dead() {
    let mut history = sound();
    let id = "job".to_owned();
    let touched = Answer::Touched { id, cancel: true };
    history.asked.push(asked("item", Kind::Plain, touched));
    let mut stands = path();
    stands[4].1 = crashed(stand(Cancelled, 2, 2));
    chain(&mut history, "job", &stands);
    assert_eq!(check(&history), []);

    let mut history = sound();
    history
        .asked
        .iter_mut()
        .for_each(|asked| asked.kind = Kind::Hopeless);
    stands[4].1 = stand(Dead, 2, 2);
    stands[4].1.reason = Some("attempts_exhausted".to_owned());
    chain(&mut history, "job", &stands);
    assert_eq!(check(&history), []);
}

#[test]
fn the_story_of_a_subject_names_everything_that_is_known_of_it() {
    let history = sound();
    let told = story(&history, "job");
    for part in [
        "driver",
        "item (plain)",
        "held by 1-x",
        "lease_ran_out",
        "Effect",
        "at the end",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(story(&history, "task").contains("run-2"));
    assert!(RULES.iter().all(|(_, what)| what.contains('P')));
}
