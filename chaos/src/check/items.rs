//! Items: what was accepted is there and ended as it should, what was refused is not, and effects happened
//! once.

use std::collections::{BTreeMap, BTreeSet};

use kodex_store::queue::{ATTEMPTS_EXHAUSTED, JobState};

use super::{Violation, violation};
use crate::history::{Answer, By, History, Kind, Row, What};

/// The effects of an item whose work was done.
pub(super) const EFFECTS: [&str; 2] = ["start", "done"];

fn rows(history: &History) -> BTreeMap<&str, &Row> {
    history
        .rows
        .iter()
        .map(|row| (row.id.as_str(), row))
        .collect()
}

/// What was accepted is there.
pub(super) fn lost(history: &History, found: &mut Vec<Violation>) {
    let rows = rows(history);
    for asked in &history.asked {
        let Answer::Accepted { id } = &asked.answer else {
            continue;
        };
        if !rows.contains_key(id.as_str()) {
            let text = format!("item {} was accepted and is not there", asked.item);
            found.push(violation("lost", id, text));
        }
    }
}

/// An agent run that the host accepted is there.
pub(super) fn runs_are_there(history: &History, found: &mut Vec<Violation>) {
    let rows = rows(history);
    for said in &history.said {
        if let What::Run { run } = &said.what
            && !rows.contains_key(run.as_str())
        {
            let text = format!(
                "job {} heard that it was accepted; it is not there",
                said.id
            );
            found.push(violation("lost", run, text));
        }
    }
}

/// Whoever asked twice heard of one job, and no two jobs are of one item.
pub(super) fn renamed(history: &History, found: &mut Vec<Violation>) {
    let mut ids: BTreeMap<(&str, bool), BTreeSet<&str>> = BTreeMap::new();
    for asked in &history.asked {
        if let Answer::Accepted { id } = &asked.answer {
            ids.entry((&asked.item, false)).or_default().insert(id);
        }
    }
    for row in &history.rows {
        if let Some(item) = &row.item {
            ids.entry((item, row.is_run)).or_default().insert(&row.id);
        }
    }
    for ((item, is_run), ids) in ids {
        if ids.len() > 1 {
            let what = if is_run { "runs" } else { "jobs" };
            let text = format!("the {what} {ids:?} are of one item, {item}");
            let first = ids.first().copied().unwrap_or_default();
            found.push(violation("renamed", first, text));
        }
    }
}

/// Every row has somebody who asked for it.
pub(super) fn ghost(history: &History, found: &mut Vec<Violation>) {
    let wanted: BTreeMap<&str, Kind> = history
        .asked
        .iter()
        .filter(|asked| matches!(asked.answer, Answer::Accepted { .. } | Answer::Lost { .. }))
        .map(|asked| (asked.item.as_str(), asked.kind))
        .collect();
    let slots: BTreeSet<&str> = history.slots.iter().map(|slot| slot.id.as_str()).collect();
    for row in &history.rows {
        let Some(item) = &row.item else {
            found.push(violation("ghost", &row.id, "nobody knows what it is for"));
            continue;
        };
        let is_wanted = match wanted.get(item.as_str()) {
            Some(kind) => !row.is_run || *kind == Kind::Run,
            None => row.is_run && slots.contains(item.as_str()),
        };
        if !is_wanted {
            let text = format!("item {item} was refused or never asked for");
            found.push(violation("ghost", &row.id, text));
        }
    }
}

/// Every row is over, as its kind ends.
pub(super) fn ends_as_its_kind(history: &History, found: &mut Vec<Violation>) {
    let kinds: BTreeMap<&str, Kind> = history
        .asked
        .iter()
        .map(|asked| (asked.item.as_str(), asked.kind))
        .collect();
    let mut cancelled = BTreeSet::new();
    for asked in &history.asked {
        if let Answer::Touched { id, cancel: true } = &asked.answer {
            cancelled.insert(id.as_str());
        }
    }
    for row in &history.rows {
        let state = row.stand.state;
        if !state.is_over() {
            let text = format!("it is {} at the end", state.as_str());
            found.push(violation("stuck", &row.id, text));
            continue;
        }
        let kind = row.item.as_deref().and_then(|item| kinds.get(item));
        let reason = row.stand.reason.as_deref().unwrap_or_default();
        let is_right = match state {
            JobState::Completed => row.is_run || kind != Some(&Kind::Hopeless),
            JobState::Cancelled => cancelled.contains(row.id.as_str()),
            JobState::Dead => {
                !row.is_run && kind == Some(&Kind::Hopeless) && reason == ATTEMPTS_EXHAUSTED
            }
            _ => false,
        };
        if !is_right {
            let kind = kind.map_or("scheduled", |kind| kind.as_str());
            let state = state.as_str();
            let text = format!("a {kind} item is {state} ({reason})");
            found.push(violation("end", &row.id, text));
        }
    }
}

/// Effects: recorded once each, all of a completed item, and everybody heard of the same.
pub(super) fn effects(history: &History, found: &mut Vec<Violation>) {
    let mut recorded: BTreeMap<(&str, &str), Vec<By>> = BTreeMap::new();
    for mark in &history.marks {
        if let Some(key) = &mark.effect {
            recorded.entry((&mark.job, key)).or_default().push(mark.by);
        }
    }
    for ((job, key), by) in &recorded {
        if by.len() > 1 {
            let text = format!("effect {key:?} is recorded {} times: {by:?}", by.len());
            found.push(violation("effect", *job, text));
        }
    }
    let is_done = |row: &&Row| !row.is_run && row.stand.state == JobState::Completed;
    for row in history.rows.iter().filter(is_done) {
        for key in EFFECTS {
            if !recorded.contains_key(&(row.id.as_str(), key)) {
                let text = format!("it is completed without its effect {key:?}");
                found.push(violation("effect", &row.id, text));
            }
        }
    }
    let mut n_first: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for said in &history.said {
        let What::Effect { key, first, value } = &said.what else {
            continue;
        };
        let known = recorded.get(&(said.id.as_str(), key.as_str()));
        if known.and_then(|by| by.first()) != Some(value) {
            let text = format!(
                "{:?} heard of effect {key:?} by {value:?}, recorded is {known:?}",
                said.by
            );
            found.push(violation("effect", &said.id, text));
        }
        if *first {
            *n_first.entry((&said.id, key)).or_default() += 1;
        }
    }
    for ((job, key), n) in n_first {
        if n > 1 {
            let text =
                format!("{n} attempts were told that they are the first with effect {key:?}");
            found.push(violation("effect", job, text));
        }
    }
}
