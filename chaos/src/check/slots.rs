//! Occurrences of scheduled tasks: one row each, on the grid of their task, each over, and none missing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Violation, violation};
use crate::history::{History, Slot};

const OVER: [&str; 4] = ["completed", "failed", "blocked", "skipped"];

/// Each task's occurrences stand on its grid, and of a strict one none is missing.
pub(super) fn grid(history: &History, found: &mut Vec<Violation>) {
    for task in &history.tasks {
        if task.next_ms <= task.now_ms {
            let text = format!(
                "it is {} and the occurrence {} is still to do",
                task.now_ms, task.next_ms
            );
            found.push(violation("stuck", &task.id, text));
        }
        let own: BTreeSet<i64> = history
            .slots
            .iter()
            .filter(|slot| slot.task == task.id)
            .map(|slot| slot.at_ms)
            .collect();
        let is_on = |at: &i64| *at >= task.anchor_ms && (*at - task.anchor_ms) % task.every_ms == 0;
        for at in own.iter().filter(|at| !is_on(at)) {
            let text = format!("{at} is no occurrence of it");
            found.push(violation("slot", &task.id, text));
        }
        for at in own.iter().filter(|at| **at >= task.next_ms) {
            let text = format!("{at} has its row, and the task stands before it");
            found.push(violation("slot", &task.id, text));
        }
        if !task.is_strict {
            continue;
        }
        let mut at = task.anchor_ms;
        while at < task.next_ms {
            if !own.contains(&at) {
                let text = format!("the occurrence {at} is lost: it has no row");
                found.push(violation("slot", &task.id, text));
            }
            at += task.every_ms;
        }
    }
}

/// Each occurrence has one row, which is over, and its own agent run.
pub(super) fn rows(history: &History, found: &mut Vec<Violation>) {
    let mut at: BTreeMap<(&str, i64), &Slot> = BTreeMap::new();
    let mut of_run: BTreeMap<&str, &Slot> = BTreeMap::new();
    let runs: BTreeSet<&str> = history
        .rows
        .iter()
        .filter(|row| row.is_run)
        .map(|row| row.id.as_str())
        .collect();
    for slot in &history.slots {
        if let Some(other) = at.insert((&slot.task, slot.at_ms), slot) {
            let text = format!(
                "occurrence {} has two rows, {} and {}",
                slot.at_ms, other.id, slot.id
            );
            found.push(violation("slot", &slot.task, text));
        }
        if !OVER.contains(&slot.state.as_str()) {
            let text = format!("occurrence {} is {} at the end", slot.id, slot.state);
            found.push(violation("stuck", &slot.task, text));
        }
        match (&slot.run, slot.state.as_str()) {
            (Some(run), _) => {
                if !runs.contains(run.as_str()) {
                    let text = format!(
                        "occurrence {} names the run {run}, which is not there",
                        slot.id
                    );
                    found.push(violation("lost", &slot.task, text));
                }
                if let Some(other) = of_run.insert(run, slot) {
                    let text = format!("{} and {} name one run", other.id, slot.id);
                    found.push(violation("slot", &slot.task, text));
                }
            }
            (None, "completed") => {
                let text = format!("occurrence {} is completed without a run", slot.id);
                found.push(violation("slot", &slot.task, text));
            }
            (None, _) if slot.reason.is_none() => {
                let text = format!("occurrence {} did not run and says nothing why", slot.id);
                found.push(violation("slot", &slot.task, text));
            }
            (None, _) => {}
        }
    }
    // The other way round: a run of an occurrence is named by it, or there would be two.
    let mut runs_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let of_slots = history.rows.iter().filter(|row| row.is_run);
    for row in of_slots {
        if let Some(item) = &row.item {
            runs_of.entry(item).or_default().push(&row.id);
        }
    }
    for slot in &history.slots {
        let own = runs_of.get(slot.id.as_str()).map_or(&[][..], Vec::as_slice);
        if own.len() > 1 {
            let text = format!("occurrence {} has {} runs: {own:?}", slot.id, own.len());
            found.push(violation("slot", &slot.task, text));
        }
    }
}
