//! Scripts as tables: what is said to a request, and what the table answers.

use kodex_plugin::{Failure, Reply};

use super::*;

const GRACE: Duration = Duration::from_millis(250);

/// Runs words on a table whose requests are due after 1,000 ms, and says what each came to.
///
/// `new`, `+200` (ms), `look1`, `answer1`, `drop1`, `expire`, `close`.
fn check(script: &str, want: &str) {
    let mut now = Instant::now();
    let mut table = Table::new();
    let error = || PluginError::new(Failure::Timeout, "late", "");
    let said = script.split_whitespace().map(|word| {
        let (verb, id) = word.split_at(
            word.find(|c: char| c.is_ascii_digit())
                .unwrap_or(word.len()),
        );
        let number = id.parse::<u64>().unwrap_or(0);
        match verb {
            "new" => match table.insert(now + Duration::from_secs(1), Expected::Reply) {
                Ok(id) => id.to_string(),
                Err(Barred::Closed(_)) => "closed".to_owned(),
                Err(Barred::OnProbation) => "probation".to_owned(),
                Err(Barred::Full) => "full".to_owned(),
            },
            "+" => {
                now += Duration::from_millis(number);
                "-".to_owned()
            }
            "look" => match table.look(number, Waker::noop()) {
                Look::Answered { answer: Ok(_), .. } => "ok".to_owned(),
                Look::Answered {
                    answer: Err(error), ..
                } => error.code.into_owned(),
                Look::Lead { .. } => "lead".to_owned(),
                Look::Follow => "follow".to_owned(),
            },
            "answer" => match table.deliver(number, |_| Ok(Reply::nothing().0)) {
                Delivered::Wanted(_) => "wanted".to_owned(),
                Delivered::Late => "late".to_owned(),
                Delivered::Unknown => "unknown".to_owned(),
            },
            "drop" => match table.abandon(number, now, GRACE) {
                true => "cancel".to_owned(),
                false => "-".to_owned(),
            },
            "expire" => {
                let expired = table.expire(now, GRACE, &error());
                let next = expired.next_at.map_or(-1, |at| {
                    i64::try_from((at - now).as_millis()).expect("a short time")
                });
                format!(
                    "{:?}{}{next}",
                    expired.cancel,
                    if expired.end { "end" } else { "" }
                )
            }
            "close" => {
                table.close(&error());
                "-".to_owned()
            }
            other => panic!("what is {other}?"),
        }
    });
    let said: Vec<String> = said.collect();
    assert_eq!(said.join(" "), want, "{script}");
    let n_waiting = table
        .entries
        .values()
        .filter(|entry| matches!(entry.caller, Caller::Waiting(_)))
        .count();
    assert_eq!(table.n_waiting, n_waiting, "{script}");
    let n_overdue = table.entries.values().filter(|entry| entry.overdue).count();
    assert_eq!(table.n_overdue, n_overdue, "{script}");
}

#[test]
fn every_request_ends_exactly_once() {
    for (script, want) in [
        ("new answer1 look1 answer1", "1 wanted ok unknown"),
        ("new answer1 answer1 look1", "1 wanted unknown ok"),
        (
            "answer7 new answer0 answer2 answer1",
            "unknown 1 unknown unknown wanted",
        ),
        // Answers come in any order.
        ("new new answer2 look1 look2", "1 2 wanted lead ok"),
        // A caller that leaves early leaves the process its time.
        ("new drop1 answer1 answer1", "1 cancel late unknown"),
        (
            "new +900 drop1 expire +250 expire",
            "1 - cancel []250 - []end0",
        ),
        ("new drop1 expire +1000 expire", "1 cancel []1000 - []end0"),
        // A deadline that passes is the caller's answer; the process has the grace.
        (
            "new +1000 expire look1 new +250 expire",
            "1 - [1]250 late probation - []end0",
        ),
        (
            "new +1000 expire answer1 look1 new",
            "1 - [1]250 late late 2",
        ),
        (
            "new +1000 expire look1 answer1 answer1",
            "1 - [1]250 late late unknown",
        ),
        (
            "new +1000 drop1 new answer1 new",
            "1 - cancel probation late 2",
        ),
        // What is answered in time is not dropped any more.
        ("new answer1 drop1 expire", "1 wanted - []-1"),
        // The end is everyone's answer.
        (
            "new new close look1 look2 new expire",
            "1 2 - late late closed []-1",
        ),
        (
            "new +1000 expire close look1 new",
            "1 - [1]250 - late closed",
        ),
    ] {
        check(script, want);
    }
}

#[test]
fn one_caller_leads_at_a_time() {
    for (script, want) in [
        // Alone, it takes the lead from the pump, but only at its first look.
        ("new look1 look1 answer1 look1", "1 lead lead wanted ok"),
        ("new new look1 look2", "1 2 follow follow"),
        ("new look1 new look2 look1", "1 lead 2 follow lead"),
        // With others waiting the pump goes on, and gives way to nobody who looked before.
        (
            "new look1 new look2 answer1 look1 look2",
            "1 lead 2 follow wanted ok follow",
        ),
        // With nobody waiting the next caller leads.
        (
            "new look1 answer1 look1 new look2",
            "1 lead wanted ok 2 lead",
        ),
    ] {
        check(script, want);
    }
}

#[test]
fn open_requests_are_bounded() {
    let now = Instant::now();
    let mut table = Table::new();
    let far = now + Duration::from_secs(60);
    for _ in 0..MAX_OPEN {
        let id = table.insert(far, Expected::Reply).expect("there is room");
        table.abandon(id, now, GRACE);
    }
    assert!(matches!(
        table.insert(far, Expected::Reply),
        Err(Barred::Full)
    ));
    table.deliver(1, |_| Ok(None));
    assert!(table.insert(far, Expected::Reply).is_ok());
}
