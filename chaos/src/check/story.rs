//! Everything that a history knows of one job, run or task, for whoever has to find out why.

use std::fmt::Write as _;

use crate::history::{Answer, History, Stand};

/// The whole history of a subject, as lines.
#[must_use]
pub fn story(history: &History, subject: &str) -> String {
    let mut text = String::new();
    let row = history.rows.iter().find(|row| row.id == subject);
    let item = row.and_then(|row| row.item.as_deref());
    for asked in &history.asked {
        let id = match &asked.answer {
            Answer::Accepted { id } | Answer::Touched { id, .. } => Some(id.as_str()),
            Answer::Refused { .. } | Answer::Lost { .. } => None,
        };
        if id == Some(subject) || item == Some(&asked.item) {
            let (at, kind) = (asked.at_ms, asked.kind.as_str());
            let _ = writeln!(
                text,
                "  driver   {at:>7} ms  {} ({kind}): {:?}",
                asked.item, asked.answer
            );
        }
    }
    let mut entries: Vec<(u64, String)> = Vec::new();
    for change in history
        .changes
        .iter()
        .filter(|change| change.job == subject)
    {
        let shown = |stand: &Option<Stand>| stand.as_ref().map_or_else(|| "-".to_owned(), shown);
        let (before, after) = (shown(&change.before), shown(&change.after));
        entries.push((
            change.n,
            format!("at {}: {before}  =>  {after}", change.at_ms),
        ));
    }
    for mark in history.marks.iter().filter(|mark| mark.job == subject) {
        let what = mark.effect.as_deref().unwrap_or("(line)");
        entries.push((
            mark.n,
            format!("{what} by {:?} under {}", mark.by, shown(&mark.stand)),
        ));
    }
    entries.sort_unstable_by_key(|(n, _)| *n);
    for (n, entry) in entries {
        let _ = writeln!(text, "  store    {n:>7}     {entry}");
    }
    for (at, said) in history.said.iter().enumerate() {
        if said.id == subject {
            let _ = writeln!(text, "  attempt  {at:>7}     {:?} {:?}", said.by, said.what);
        }
    }
    if let Some(task) = history.tasks.iter().find(|task| task.id == subject) {
        let _ = writeln!(text, "  task     {task:?}");
        for slot in history.slots.iter().filter(|slot| slot.task == subject) {
            let _ = writeln!(text, "  slot     {slot:?}");
        }
    }
    if let Some(row) = row {
        let _ = writeln!(text, "  at the end           {}", shown(&row.stand));
    }
    text
}

fn shown(stand: &Stand) -> String {
    let mut text = format!(
        "{} token {} attempt {}",
        stand.state.as_str(),
        stand.token,
        stand.attempt
    );
    if let (Some(holder), Some(until)) = (&stand.holder, stand.until_ms) {
        let _ = write!(text, " held by {holder} until {until}");
    }
    if stand.generation > 0 {
        let _ = write!(text, " generation {}", stand.generation);
    }
    if let Some(reason) = &stand.reason {
        let _ = write!(text, " ({reason})");
    }
    if let Some(left) = &stand.left {
        let _ = write!(text, " left {left:?}");
    }
    text
}
