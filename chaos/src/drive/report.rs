//! What a run tells: what there was, what was done to it, and every promise that was not kept.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;
use kodex_chaos::{
    check::{Violation, check, story},
    history::{Answer, History},
};

use super::{Orders, calm::Calm, fault::Chaos};

/// Most violations that are told in full.
const N_TOLD: usize = 5;

/// Judges a history and prints what came out; whether nothing was violated.
pub(super) fn judge(
    orders: &Orders,
    chaos: &Chaos,
    history: &History,
    calm: &Calm,
    begun_at: Instant,
) -> Result<bool> {
    let violations = check(history);
    counts(chaos, history);
    let seconds = begun_at.elapsed().as_secs_f64();
    match calm.after {
        Some(after) => println!(
            "calm:   {:.1} s after the last fault; {seconds:.1} s in all",
            after.as_secs_f64()
        ),
        None => println!("calm:   never; {seconds:.1} s in all"),
    }
    if chaos.n_late_ends > 0 {
        println!(
            "late:   {} times a node did not end in time",
            chaos.n_late_ends
        );
    }
    for words in &chaos.unasked {
        println!("ended:  nobody asked it to: {words}");
    }
    for violation in violations.iter().take(N_TOLD) {
        tell(history, violation);
    }
    let is_sound = violations.is_empty()
        && calm.after.is_some()
        && chaos.n_late_ends == 0
        && chaos.unasked.is_empty();
    match is_sound {
        true => println!("nothing was violated"),
        false => println!(
            "\n{} violations; again with: {}",
            violations.len(),
            orders.again()
        ),
    }
    Ok(is_sound)
}

fn tell(history: &History, violation: &Violation) {
    let Violation {
        rule,
        subject,
        text,
    } = violation;
    println!("\nviolated: {rule}: {subject}: {text}");
    print!("{}", story(history, subject));
}

fn counts(chaos: &Chaos, history: &History) {
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for asked in &history.asked {
        let word = match asked.answer {
            Answer::Accepted { .. } => "accepted",
            Answer::Refused { .. } => "refused",
            Answer::Lost { .. } => "lost",
            Answer::Touched { .. } => "cancelled or retried",
        };
        *answers.entry(word).or_default() += 1;
    }
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for row in &history.rows {
        let kind = if row.is_run { "runs" } else { "jobs" };
        let word = format!("{kind} {}", row.stand.state.as_str());
        *states.entry(word).or_default() += 1;
    }
    for slot in &history.slots {
        *states
            .entry(format!("occurrences {}", slot.state))
            .or_default() += 1;
    }
    println!("asked:  {}", list(answers));
    println!("faults: {}", list(chaos.made.iter().copied()));
    println!("at end: {}", list(states));
    let (changes, marks, words) = (
        history.changes.len(),
        history.marks.len(),
        history.said.len(),
    );
    println!(
        "seen:   {changes} changes of rows, {marks} effects and lines, {words} words of attempts"
    );
    let crashes: u64 = history
        .rows
        .iter()
        .map(|row| u64::from(row.stand.n_crashes))
        .sum();
    let leases: u64 = history.rows.iter().map(|row| row.stand.token).sum();
    let doors = chaos.nodes.iter().filter_map(|node| node.door.as_ref());
    let n_swallowed: u32 = doors.map(super::door::Door::n_swallowed).sum();
    println!("leases: {leases}, of which {crashes} ran out; {n_swallowed} commits unheard");
}

fn list<K: std::fmt::Display, V: std::fmt::Display>(
    some: impl IntoIterator<Item = (K, V)>,
) -> String {
    let parts: Vec<String> = some
        .into_iter()
        .map(|(word, n)| format!("{n} {word}"))
        .collect();
    parts.join(", ")
}
