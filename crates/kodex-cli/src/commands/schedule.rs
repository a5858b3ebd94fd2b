//! `kodex schedule`: scheduled tasks, for people. Each verb is a request to the scheduler plugin.

use std::{
    fmt::Write as _,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use kodex::Json;
use serde_json::{Map, Value, json};

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json as as_json, table, text},
    verb::Verb,
};

/// Make, show and change scheduled tasks
///
/// The plugin kodex-scheduler keeps them. It is there when the configuration has a table
/// [plugin.kodex-scheduler]; `kodex upgrade` makes its tables.
#[derive(Debug, clap::Args)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a task
    Add {
        /// What the agent is asked
        task: String,
        /// Where its answers go, such as file:report.md or command:mail
        #[arg(long, value_name = "KIND:ADDRESS")]
        to: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        how: How,
        /// Everybody may see what is said there
        #[arg(long)]
        public: bool,
        /// Adding the same key again gives the same task
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// List tasks
    List,
    /// Show a task, its latest runs, and its times that passed without one
    Show {
        /// The task
        id: String,
    },
    /// Change a task
    Update {
        /// The task
        id: String,
        /// What the agent is asked
        #[arg(long, value_name = "TEXT")]
        task: Option<String>,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        how: How,
    },
    /// Let a task rest
    Pause {
        /// The task
        id: String,
    },
    /// Let a task go on that rests or is blocked
    Resume {
        /// The task
        id: String,
    },
    /// Delete a task
    Delete {
        /// The task
        id: String,
    },
    /// Let a task run once at the next heartbeat
    RunNow {
        /// The task
        id: String,
    },
    /// Show when a task, or a schedule that is not there yet, runs next
    Next {
        /// The task
        #[arg(conflicts_with_all = ["cron", "every", "after", "at", "daily", "weekly", "monthly", "json_form"])]
        id: Option<String>,
        #[command(flatten)]
        when: When,
        /// How many moments
        #[arg(long, value_name = "N", default_value_t = 5)]
        count: u32,
    },
}

/// When: one of the forms.
#[derive(Debug, clap::Args)]
struct When {
    /// By a cron expression of five fields, such as "0 9 * * MON-FRI"
    #[arg(long, value_name = "EXPRESSION", group = "form")]
    cron: Option<String>,
    /// Every so often, such as 90m or 2h
    #[arg(long, value_name = "SPAN", group = "form")]
    every: Option<String>,
    /// Once, after a while
    #[arg(long = "in", value_name = "SPAN", group = "form", id = "after")]
    after: Option<String>,
    /// Once: 2027-01-31T09:00 by the zone's clocks, or with the distance from UTC
    #[arg(long, value_name = "MOMENT", group = "form")]
    at: Option<String>,
    /// Every day at a time
    #[arg(long, value_name = "HH:MM", group = "form")]
    daily: Option<String>,
    /// Every week: days and a time, such as "mon,thu 09:00"
    #[arg(long, value_name = "DAYS HH:MM", group = "form")]
    weekly: Option<String>,
    /// Every month: a day and a time, such as "31 09:00"
    #[arg(long, value_name = "DAY HH:MM", group = "form")]
    monthly: Option<String>,
    /// The scheduler's own form as JSON, for everything else
    #[arg(
        long = "schedule",
        value_name = "JSON",
        group = "form",
        id = "json_form"
    )]
    json_form: Option<String>,
    /// The zone of its clocks, such as Europe/Paris (default: the scheduler's)
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// What happens on a day whose clocks jump over the time: skip or shift
    #[arg(long, value_name = "CHOICE")]
    gap: Option<String>,
}

/// What happens to occurrences that are late or come too early.
#[derive(Debug, clap::Args)]
struct How {
    /// What happens to missed occurrences: skip_late, one or all
    #[arg(long, value_name = "CHOICE")]
    catch_up: Option<String>,
    /// What happens to those that come due while a run goes on: skip, queue or allow
    #[arg(long, value_name = "CHOICE")]
    overlap: Option<String>,
}

impl Verb for Schedule {
    const NAME: &'static str = "schedule";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let by = |id: String| json!({"task_id": id});
        match self.what {
            What::Add {
                task,
                to,
                when,
                how,
                public,
                key,
            } => {
                let Some((kind, address)) = to.split_once(':') else {
                    return Err(usage(format!(
                        "--to {to:?} is not KIND:ADDRESS, such as file:report.md"
                    )));
                };
                let schedule = when.intent()?.ok_or_else(|| usage(NO_FORM.to_owned()))?;
                let mut params = json!({
                    "task": task,
                    "schedule": schedule,
                    "destination": {"kind": kind, "address": address},
                    "visibility": if public { "public" } else { "private" },
                    "call_id": key.unwrap_or_else(unique),
                });
                how.into_params(&mut params);
                one(invocation, "scheduler.add", params, "will run").await
            }
            What::List => list(invocation).await,
            What::Show { id } => show(invocation, by(id)).await,
            What::Update {
                id,
                task,
                when,
                how,
            } => {
                let mut params = by(id);
                if let Some(task) = task {
                    params["task"] = task.into();
                }
                if let Some(schedule) = when.intent()? {
                    params["schedule"] = schedule;
                }
                how.into_params(&mut params);
                one(invocation, "scheduler.update", params, "is changed").await
            }
            What::Pause { id } => one(invocation, "scheduler.pause", by(id), "rests").await,
            What::Resume { id } => one(invocation, "scheduler.resume", by(id), "goes on").await,
            What::Delete { id } => one(invocation, "scheduler.delete", by(id), "is deleted").await,
            What::RunNow { id } => {
                one(
                    invocation,
                    "scheduler.run_now",
                    by(id),
                    "runs at the next heartbeat",
                )
                .await
            }
            What::Next { id, when, count } => {
                let params = match (id, when.intent()?) {
                    (Some(id), None) => json!({"task_id": id, "count": count}),
                    (None, Some(schedule)) => json!({"schedule": schedule, "count": count}),
                    _ => return Err(usage("name a task, or say when".to_owned())),
                };
                next(invocation, params).await
            }
        }
    }
}

const NO_FORM: &str =
    "say when: --cron, --every, --in, --at, --daily, --weekly, --monthly or --schedule";

fn usage(text: String) -> Problem {
    Problem::usage("usage", text)
}

/// A key that no other call has.
fn unique() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("cli-{:016x}{:016x}", half(), half())
}

impl How {
    fn into_params(self, params: &mut Value) {
        for (name, choice) in [("catch_up", self.catch_up), ("overlap", self.overlap)] {
            if let Some(choice) = choice {
                params[name] = choice.into();
            }
        }
    }
}

impl When {
    /// What was typed in the scheduler's form; none when nothing was.
    fn intent(self) -> Result<Option<Value>, Problem> {
        let mut intent = match self {
            Self {
                cron: Some(expression),
                ..
            } => json!({"kind": "cron", "expression": expression}),
            Self {
                every: Some(ref span),
                ..
            } => json!({"kind": "interval", "every": units("--every", span)?}),
            Self {
                after: Some(ref span),
                ..
            } => {
                json!({"kind": "one_off", "timing": {"after": units("--in", span)?}})
            }
            Self {
                at: Some(ref at), ..
            } => json!({"kind": "one_off", "timing": {"at": moment(at)}}),
            Self {
                daily: Some(time), ..
            } => {
                json!({"kind": "recurring", "frequency": "daily", "time": time})
            }
            Self {
                weekly: Some(ref text),
                ..
            } => {
                let (days, time) = parted("--weekly", text)?;
                let days: Result<Vec<_>, _> = days.split(',').map(weekday).collect();
                json!({"kind": "recurring", "frequency": "weekly", "weekdays": days?, "time": time})
            }
            Self {
                monthly: Some(ref text),
                ..
            } => {
                let (day, time) = parted("--monthly", text)?;
                let day: u8 = day
                    .parse()
                    .map_err(|_| usage(format!("--monthly: {day:?} is no day of a month")))?;
                json!({"kind": "recurring", "frequency": "monthly", "day_of_month": day, "time": time})
            }
            Self {
                json_form: Some(ref text),
                ..
            } => serde_json::from_str(text)
                .map_err(|error| usage(format!("--schedule is no JSON: {error}")))?,
            Self {
                zone: None,
                gap: None,
                ..
            } => return Ok(None),
            _ => return Err(usage(NO_FORM.to_owned())),
        };
        for (name, said) in [("timezone", self.zone), ("gap", self.gap)] {
            if let Some(said) = said {
                intent[name] = said.into();
            }
        }
        Ok(Some(intent))
    }
}

/// A span in one unit, as the scheduler wants it.
fn units(flag: &str, span: &str) -> Result<Value, Problem> {
    let at = span
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(span.len());
    let (number, unit) = span.split_at(at);
    let unit = match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        _ => {
            return Err(usage(format!(
                "{flag} {span:?} is no span; write it as 90m, 2h or 1d"
            )));
        }
    };
    let number: u64 = number.parse().map_err(|_| {
        usage(format!(
            "{flag} {span:?} begins with no whole number; write it as 90m or 2h"
        ))
    })?;
    Ok(json!({"value": number, "unit": unit}))
}

/// A moment with its distance from UTC stays a text; a local one becomes date and time.
fn moment(text: &str) -> Value {
    let text = text.trim();
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let is_local = !time.is_empty() && time.chars().all(|c| c.is_ascii_digit() || c == ':');
    match is_local {
        true => json!({"date": date, "time": time.get(..5).unwrap_or(time)}),
        false => json!(text),
    }
}

fn parted<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str), Problem> {
    let parted = text.trim().rsplit_once(char::is_whitespace);
    let (days, time) =
        parted.ok_or_else(|| usage(format!("{flag} {text:?} lacks a time, such as 09:00")))?;
    Ok((days.trim(), time))
}

fn weekday(word: &str) -> Result<&'static str, Problem> {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let typed = word.trim().to_ascii_lowercase();
    let found = DAYS
        .into_iter()
        .find(|day| typed.len() >= 3 && day.starts_with(typed.as_str()));
    found.ok_or_else(|| {
        usage(format!(
            "--weekly: {word:?} is no day of the week; write mon, tue, ..."
        ))
    })
}

/// Asks the scheduler.
async fn ask(
    invocation: &mut Invocation,
    hook: &str,
    params: Value,
) -> Result<Map<String, Value>, Problem> {
    invocation.need_store()?;
    if !invocation.config()?.has_scheduler() {
        let text = "the scheduler is not among the plugins";
        return Err(Problem::usage("schedule.disabled", text)
            .help("write a table [plugin.kodex-scheduler] into .kodex/config.toml, then run `kodex upgrade` once"));
    }
    let runtime = invocation.open().await?;
    let outcome = runtime.emit(hook, Json::from(params)).await;
    let outcome =
        outcome.map_err(|error| Problem::failed(error.code().to_owned(), error.to_string()))?;
    let own = outcome
        .entries
        .into_iter()
        .find(|entry| entry.plugin.as_str() == kodex_scheduler::NAME);
    match own.map(|entry| entry.result) {
        Some(Ok(reply)) => match reply.0.map(Json::into_value) {
            Some(Value::Object(answer)) => Ok(answer),
            _ => Err(Problem::failed(
                "reply.invalid",
                "the scheduler gave no answer",
            )),
        },
        Some(Err(error)) => Err(Problem::failed(error.code.to_string(), error.message)),
        None => Err(
            Problem::failed("schedule.disabled", "the scheduler could not be loaded")
                .help("`kodex doctor` says why"),
        ),
    }
}

/// A request that gives one task.
async fn one(
    invocation: &mut Invocation,
    hook: &str,
    params: Value,
    told: &str,
) -> Result<Exit, Problem> {
    let answer = ask(invocation, hook, params).await?;
    invocation.out = match invocation.globals.json {
        true => as_json::document(&answer)?,
        false => {
            let task = &answer["task"];
            let mut line = format!("{} {told}: {}", word(task, "id"), word(task, "schedule"));
            if let Some(next) = task["next_run_at"].as_str() {
                let _ = write!(line, ", next {next}");
            }
            format!("{}\n", text::line(&line))
        }
    };
    Ok(Exit::Fine)
}

async fn list(invocation: &mut Invocation) -> Result<Exit, Problem> {
    let mut tasks: Vec<Value> = Vec::new();
    let mut after = Value::Null;
    let mut n_malformed = 0;
    loop {
        let page = ask(invocation, "scheduler.list", json!({"after": after})).await?;
        tasks.extend(
            page.get("tasks")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
        );
        n_malformed += page.get("malformed").and_then(Value::as_u64).unwrap_or(0);
        after = page.get("after").cloned().unwrap_or_default();
        if after.is_null() {
            break;
        }
    }
    if n_malformed > 0 {
        eprintln!("warning: {n_malformed} tasks cannot be read and rest; see `kodex report`");
    }
    if invocation.globals.json {
        invocation.out = as_json::document(&tasks)?;
        return Ok(Exit::Fine);
    }
    let row = |task: &Value| {
        let to = &task["destination"];
        ["id", "status", "schedule", "timezone"]
            .map(|name| word(task, name))
            .into_iter()
            .chain([
                task["next_run_at"].as_str().unwrap_or("-").to_owned(),
                format!("{}:{}", word(to, "kind"), word(to, "address")),
            ])
            .collect::<Vec<_>>()
    };
    let rows: Vec<_> = tasks.iter().map(row).collect();
    invocation.out = match invocation.stdout.is_terminal {
        true => table::shown(
            &["ID", "STATUS", "SCHEDULE", "ZONE", "NEXT", "TO"],
            &rows,
            invocation.stdout,
        ),
        false => rows.iter().fold(String::new(), |mut out, row| {
            let cells: Vec<_> = row.iter().map(|cell| text::line(cell)).collect();
            let _ = writeln!(out, "{}", cells.join("\t"));
            out
        }),
    };
    Ok(Exit::Fine)
}

async fn show(invocation: &mut Invocation, params: Value) -> Result<Exit, Problem> {
    let answer = ask(invocation, "scheduler.show", params).await?;
    if invocation.globals.json {
        invocation.out = as_json::document(&answer)?;
        return Ok(Exit::Fine);
    }
    let task = &answer["task"];
    let mut out = format!("{}\n", word(task, "id"));
    for name in [
        "status",
        "reason",
        "schedule",
        "timezone",
        "next_run_at",
        "run_now_at",
        "last_run_at",
        "catch_up",
        "overlap",
        "visibility",
        "created_at",
    ] {
        if let Some(value) = task[name].as_str() {
            let _ = writeln!(
                out,
                "  {:<12} {}",
                name.replace('_', " "),
                text::line(value)
            );
        }
    }
    let _ = writeln!(out, "\n{}", text::block(&word(task, "task")));
    let runs = answer
        .get("runs")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for run in &runs {
        let _ = write!(
            out,
            "\n{} {}",
            word(run, "scheduled_for"),
            word(run, "state")
        );
        for name in ["agent_run", "error"] {
            if let Some(value) = run[name].as_str() {
                let _ = write!(out, "  {}", text::line(value));
            }
        }
    }
    if !runs.is_empty() {
        out.push('\n');
    }
    without_run(&answer, &mut out);
    invocation.out = out;
    Ok(Exit::Fine)
}

/// Occurrences that had no run: how many for which reason, and the latest of them.
fn without_run(answer: &Map<String, Value>, out: &mut String) {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).into_iter();
    for (nth, count) in list("without_run_counts").flatten().enumerate() {
        let begin = if nth == 0 { "\nwithout a run:" } else { "," };
        let (outcome, reason) = (word(count, "outcome"), word(count, "reason"));
        let _ = write!(
            out,
            "{begin} {} {outcome} ({})",
            count["n"],
            reason.replace('_', " ")
        );
    }
    let mut rows = list("without_run").flatten().peekable();
    if rows.peek().is_some() {
        out.push('\n');
    }
    for row in rows {
        let _ = write!(out, "{} ", word(row, "scheduled_for"));
        if let Some(until) = row["until"].as_str() {
            let _ = write!(out, "to {until}: {} ", row["n"]);
        }
        let reason = word(row, "reason").replace('_', " ");
        let _ = writeln!(out, "{}  {reason}", word(row, "outcome"));
    }
}

async fn next(invocation: &mut Invocation, params: Value) -> Result<Exit, Problem> {
    let answer = ask(invocation, "scheduler.next", params).await?;
    invocation.out = match invocation.globals.json {
        true => as_json::document(&answer)?,
        false => {
            let mut out = format!(
                "{}\n",
                text::line(
                    answer
                        .get("schedule")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                )
            );
            for moment in answer
                .get("next")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let _ = writeln!(out, "{}  {}", word(moment, "local"), word(moment, "at"));
            }
            out
        }
    };
    Ok(Exit::Fine)
}

fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when() -> When {
        When {
            cron: None,
            every: None,
            after: None,
            at: None,
            daily: None,
            weekly: None,
            monthly: None,
            json_form: None,
            zone: None,
            gap: None,
        }
    }

    fn check(change: impl FnOnce(&mut When), want: Value) {
        let mut typed = when();
        change(&mut typed);
        let got = typed.intent().ok().flatten().unwrap_or_default();
        assert_eq!(got, want);
    }

    #[test]
    fn what_is_typed_becomes_the_schedulers_form() {
        let text = |text: &str| Some(text.to_owned());
        check(
            |w| w.cron = text("0 9 * * 1"),
            json!({"kind": "cron", "expression": "0 9 * * 1"}),
        );
        check(
            |w| w.every = text("90m"),
            json!({"kind": "interval", "every": {"value": 90, "unit": "minute"}}),
        );
        check(
            |w| w.after = text("2h"),
            json!({"kind": "one_off", "timing": {"after": {"value": 2, "unit": "hour"}}}),
        );
        check(
            |w| w.at = text("2027-01-31T09:00"),
            json!({"kind": "one_off", "timing": {"at": {"date": "2027-01-31", "time": "09:00"}}}),
        );
        check(
            |w| w.at = text("2027-01-31T09:00:00+01:00"),
            json!({"kind": "one_off", "timing": {"at": "2027-01-31T09:00:00+01:00"}}),
        );
        check(
            |w| {
                w.daily = text("09:00");
                w.zone = text("Europe/Paris");
                w.gap = text("shift");
            },
            json!({"kind": "recurring", "frequency": "daily", "time": "09:00", "timezone": "Europe/Paris", "gap": "shift"}),
        );
        check(
            |w| w.weekly = text("mon, Thursday 09:00"),
            json!({"kind": "recurring", "frequency": "weekly", "weekdays": ["monday", "thursday"], "time": "09:00"}),
        );
        check(
            |w| w.monthly = text("31 09:00"),
            json!({"kind": "recurring", "frequency": "monthly", "day_of_month": 31, "time": "09:00"}),
        );
        check(|_| {}, Value::Null);
        check(|w| w.weekly = text("xyz 09:00"), Value::Null);
        check(|w| w.monthly = text("09:00"), Value::Null);
        check(|w| w.every = text("soon"), Value::Null);
        check(|w| w.zone = text("UTC"), Value::Null);
    }
}
