//! What the dashboard shows of schedules: numbers, ids and labels, never what a task says.

use std::collections::BTreeMap;

use kodex_plugin::{
    HostError,
    hook::{Record, RecordField, RecordSet, ReportMetric, ReportReply, Tone},
    wire::work::Visibility,
};

use crate::{
    claim,
    moment::{self, Ms},
    run::RunState,
    store::{Counts, Found, PassedRow, Tables, Tally},
    task::Task,
};

/// Rows of each table.
const N_ROWS: usize = 5;

/// Builds the report.
///
/// # Errors
/// The database failed.
pub async fn report(tables: &Tables<'_>, now_ms: Ms) -> Result<ReportReply, HostError> {
    let counts = tables.counts(now_ms).await?;
    let listed = tables.listed(N_ROWS).await?;
    let mut names = BTreeMap::new();
    let of_runs: Vec<_> = listed
        .running
        .iter()
        .filter_map(|row| Some(row.run.as_ref()?.task_id.as_str()))
        .collect();
    let passed = tables.latest_passed(N_ROWS).await?;
    let of_passed = passed.iter().map(|row| row.task_id.as_str());
    let of_both: Vec<_> = of_runs.into_iter().chain(of_passed).collect();
    for found in tables.tasks_of(&of_both).await? {
        if let Found::Task(kept) = found {
            names.insert(kept.task.id.clone(), author(&kept.task));
        }
    }
    let running = listed.running.iter().map(|row| run_record(row, &names));
    Ok(ReportReply {
        title: Some("Scheduler".to_owned()),
        metrics: metrics(counts, &tables.tallies().await?),
        record_sets: vec![
            set(
                "Upcoming",
                &["task", "author", "destination", "next run", "cadence"],
                listed
                    .upcoming
                    .iter()
                    .map(|found| task_record(found, "next run"))
                    .collect(),
                "Nothing is scheduled.",
            ),
            set(
                "Blocked",
                &["task", "author", "destination", "updated"],
                listed
                    .blocked
                    .iter()
                    .map(|found| task_record(found, "updated"))
                    .collect(),
                "Nothing is blocked.",
            ),
            set(
                "Running",
                &["run", "task", "author", "scheduled for", "status"],
                running.collect(),
                "Nothing is running.",
            ),
            set(
                "Without a run",
                &["task", "author", "from", "until", "number", "reason"],
                passed
                    .iter()
                    .map(|row| passed_record(row, &names))
                    .collect(),
                "Every occurrence had its run.",
            ),
        ],
    })
}

fn metrics(counts: Counts, tallies: &[Tally]) -> Vec<ReportMetric> {
    let of = |outcome: &str| -> i64 {
        let own = tallies.iter().filter(|tally| tally.outcome == outcome);
        own.map(|tally| tally.n).sum()
    };
    let (n_missed, n_skipped) = (of("missed"), of("skipped"));
    let metric = |label: &str, value: i64, tone: Tone| ReportMetric {
        label: label.to_owned(),
        value: value.to_string(),
        tone: Some(tone),
    };
    let if_any = |n: i64, tone: Tone| if n > 0 { tone } else { Tone::Neutral };
    vec![
        metric("active", counts.active, Tone::Good),
        metric(
            "blocked",
            counts.blocked,
            if_any(counts.blocked, Tone::Danger),
        ),
        metric("paused", counts.paused, Tone::Neutral),
        metric("due now", counts.due, if_any(counts.due, Tone::Warning)),
        metric(
            "running",
            counts.running,
            if_any(counts.running, Tone::Warning),
        ),
        metric(
            "malformed",
            counts.malformed,
            if_any(counts.malformed, Tone::Danger),
        ),
        metric("missed", n_missed, if_any(n_missed, Tone::Warning)),
        metric("skipped", n_skipped, Tone::Neutral),
    ]
}

fn set(title: &str, fields: &[&str], records: Vec<Record>, empty: &str) -> RecordSet {
    let field = |name: &&str| RecordField {
        key: (*name).to_owned(),
        label: (*name).to_owned(),
    };
    RecordSet {
        title: title.to_owned(),
        fields: fields.iter().map(field).collect(),
        records,
        empty_text: Some(empty.to_owned()),
    }
}

fn record<const N: usize>(id: &str, values: [(&str, String); N]) -> Record {
    let values = values
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Record {
        id: Some(id.to_owned()),
        values: values.collect(),
    }
}

fn task_record(found: &Found, time: &'static str) -> Record {
    let task = match found {
        Found::Task(kept) => &kept.task,
        Found::Malformed { id, .. } => {
            return record(
                id,
                [("task", id.clone()), ("author", "malformed".to_owned())],
            );
        }
    };
    let at = match time {
        "updated" => Some(task.updated_at_ms),
        _ => task.attend_at_ms(),
    };
    record(
        &task.id,
        [
            ("task", task.id.clone()),
            ("author", author(task)),
            ("destination", destination(task)),
            (time, at.map(moment::text).unwrap_or_default()),
            ("cadence", task.cadence.describe()),
        ],
    )
}

fn run_record(row: &claim::Row, authors: &BTreeMap<String, String>) -> Record {
    let Some(run) = &row.run else {
        return record(
            &row.id,
            [("run", row.id.clone()), ("status", "malformed".to_owned())],
        );
    };
    let status = match run.state {
        RunState::Pending => "pending (waits for its start)",
        other => other.as_str(),
    };
    let author = authors.get(&run.task_id).cloned();
    record(
        &run.id,
        [
            ("run", run.id.clone()),
            ("task", run.task_id.clone()),
            ("author", author.unwrap_or_else(|| "unknown".to_owned())),
            ("scheduled for", moment::text(run.scheduled_for_ms)),
            ("status", status.to_owned()),
        ],
    )
}

fn passed_record(row: &PassedRow, authors: &BTreeMap<String, String>) -> Record {
    let author = authors.get(&row.task_id).cloned();
    record(
        &format!("{}:{}", row.task_id, row.first_ms),
        [
            ("task", row.task_id.clone()),
            ("author", author.unwrap_or_else(|| "unknown".to_owned())),
            ("from", moment::text(row.first_ms)),
            ("until", moment::text(row.last_ms)),
            ("number", row.n.to_string()),
            ("reason", format!("{}: {}", row.outcome, row.reason)),
        ],
    )
}

/// A name, where there is one that can be shown.
fn author(task: &Task) -> String {
    let Some(creator) = &task.created_by else {
        return "unknown".to_owned();
    };
    let name = creator.name.as_deref().unwrap_or(&creator.id).trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return "unknown".to_owned();
    }
    name.to_owned()
}

/// Where a private conversation is belongs to those who take part.
fn destination(task: &Task) -> String {
    let kind = &task.destination.kind;
    match task.visibility {
        Visibility::Private => format!("private {kind}"),
        Visibility::Public => format!("{kind} {}", task.destination.address),
    }
}
