//! Leases: every change of a row is one that a lease, its end or people allow, and what was written was
//! written by the holder.

use std::collections::BTreeMap;

use kodex_store::queue::{JobState, LEASE_RAN_OUT};

use super::{Violation, violation};
use crate::history::{By, Change, History, Stand, left_by, said_by};

/// Follows each row from its first change to its last.
pub(super) fn transitions(history: &History, found: &mut Vec<Violation>) {
    let mut last: BTreeMap<&str, &Stand> = BTreeMap::new();
    for change in &history.changes {
        let job = change.job.as_str();
        if last.get(job).copied() != change.before.as_ref() {
            let text = format!(
                "change {} does not begin where the one before it ended",
                change.n
            );
            found.push(violation("ends", job, text));
        }
        match &change.after {
            Some(after) => {
                if let Some(before) = &change.before {
                    step(change, before, after, found);
                } else if after.state != JobState::Pending || after.token != 0 {
                    found.push(violation(
                        "token",
                        job,
                        "it did not begin as pending without a token",
                    ));
                }
                last.insert(job, after);
            }
            None => {
                found.push(violation("ends", job, "its row was removed"));
                last.remove(job);
            }
        }
    }
}

fn step(change: &Change, before: &Stand, after: &Stand, found: &mut Vec<Violation>) {
    let mut say = |rule, text: String| found.push(violation(rule, &change.job, text));
    let n = change.n;
    let is_claim = after.state == JobState::Running && before.state == JobState::Pending;
    match after.token.cmp(&before.token) {
        std::cmp::Ordering::Less => say(
            "token",
            format!(
                "change {n}: the token falls from {} to {}",
                before.token, after.token
            ),
        ),
        std::cmp::Ordering::Equal if is_claim => {
            say(
                "token",
                format!("change {n}: a lease with the old token {}", after.token),
            );
        }
        std::cmp::Ordering::Greater if !is_claim => {
            if before.state == JobState::Running && after.state == JobState::Running {
                let (one, other) = (&before.holder, &after.holder);
                say(
                    "lease",
                    format!("change {n}: {other:?} took it while {one:?} held it"),
                );
            } else {
                say("token", format!("change {n}: a new token without a lease"));
            }
        }
        _ => {}
    }
    let was_held = before.state == JobState::Running;
    if was_held && after.state == JobState::Running && before.holder != after.holder {
        say(
            "lease",
            format!("change {n}: the holder changes within a lease"),
        );
    }
    if before.state.is_over() {
        let is_revived =
            after.state == JobState::Pending && after.generation == before.generation + 1;
        if !is_revived {
            let (from, to) = (before.state.as_str(), after.state.as_str());
            say(
                "ends",
                format!("change {n}: it was {from} and becomes {to}"),
            );
        }
    } else if after.generation != before.generation {
        say(
            "ends",
            format!("change {n}: a new generation of what had not ended"),
        );
    }
    if after.state == JobState::Completed && !was_held {
        say(
            "lease",
            format!("change {n}: it is completed, and nobody held it"),
        );
    }
    let is_taken_back = was_held
        && after.state != JobState::Running
        && after.n_crashes > before.n_crashes
        && after.reason.as_deref() == Some(LEASE_RAN_OUT);
    if is_taken_back && before.until_ms.is_some_and(|until| until > change.at_ms) {
        let left = before.until_ms.unwrap_or_default() - change.at_ms;
        say(
            "lease",
            format!("change {n}: it was taken back {left} ms before its lease was over"),
        );
    }
}

/// What an attempt left, in the row or beside it, was left while it held the row.
pub(super) fn zombies(history: &History, found: &mut Vec<Violation>) {
    for change in &history.changes {
        let (Some(before), Some(after)) = (&change.before, &change.after) else {
            continue;
        };
        for by in words(before, after) {
            if !by.holds(before) {
                let text = format!(
                    "change {}: {by:?} wrote it, which {:?} held with token {} in attempt {}",
                    change.n, before.holder, before.token, before.attempt
                );
                found.push(violation("zombie", &change.job, text));
            }
        }
    }
    for mark in &history.marks {
        if !mark.by.holds(&mark.stand) {
            let what = mark.effect.as_deref().unwrap_or("a line of its log");
            let text = format!(
                "entry {}: {:?} wrote {what}, and {:?} held it with token {} in attempt {}",
                mark.n, mark.by, mark.stand.holder, mark.stand.token, mark.stand.attempt
            );
            found.push(violation("zombie", &mark.job, text));
        }
    }
}

/// Whose words came into a row with a change.
fn words(before: &Stand, after: &Stand) -> Vec<By> {
    let left = |stand: &Stand| stand.left.as_deref().and_then(left_by);
    let text = |stand: &Stand| stand.text.as_deref().and_then(said_by);
    let mut words = Vec::new();
    // A completed run keeps the words of the attempt that the agent made, which another one delivers; and
    // what goes at a revival is nobody's.
    if before.left != after.left && left(before) != left(after) {
        words.extend(left(after));
    }
    if before.text != after.text {
        words.extend(text(after));
    }
    words
}
