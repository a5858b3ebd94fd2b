//! Requests of people, which reach the plugin as hooks of its own: `kodex schedule ...` sends them.
//!
//! They are hooks and not tools because no model may call them: only a host emits hooks. Each takes an
//! object and gives one.
//!
//! | hook | takes | gives |
//! |---|---|---|
//! | `scheduler.add` | what the tool takes, `destination`, `visibility`, `call_id` | `task` |
//! | `scheduler.list` | `after`: the last page's `after` | `tasks`, `truncated`, `after`, `malformed` |
//! | `scheduler.show` | `task_id` | `task`, its latest `runs`, its latest occurrences `without_run`, and those counted by reason |
//! | `scheduler.update` | what the tool takes | `task` |
//! | `scheduler.pause`, `.resume`, `.delete`, `.run_now` | `task_id` | `task` |
//! | `scheduler.next` | `task_id` or `schedule`, `count` up to 50 | `schedule` in words, `next`: moments |

use kodex_plugin::{
    Context, Json, Request,
    db::Db,
    wire::work::{Destination, Visibility},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cadence::{Cadence, Intent},
    desk::{ById, Create, Desk, Passed, Update, Wisher, compact, counted},
    moment::{self, Ms, timestamp},
    refusal::Refusal,
    settings::Settings,
    store::{PassedRow, Tables, Tally},
    task::Task,
    tools::read,
};

/// The hooks of people's requests.
pub const HOOKS: [&str; 9] = [
    "scheduler.add",
    "scheduler.delete",
    "scheduler.list",
    "scheduler.next",
    "scheduler.pause",
    "scheduler.resume",
    "scheduler.run_now",
    "scheduler.show",
    "scheduler.update",
];

/// Runs that are shown with a task.
const N_RUNS: usize = 10;

/// Occurrences without a run that are shown with a task.
const N_PASSED: usize = 10;

/// Moments that are shown of a schedule.
const MOST_NEXT: usize = 50;

/// Bounds on a destination, the same that a run has.
const ADDRESS_CHARS: usize = kodex_plugin::wire::work::bounds::ADDRESS;

#[derive(Deserialize)]
struct Add {
    destination: Destination,
    #[serde(default)]
    visibility: Visibility,
    /// The same for a request that is made again.
    call_id: String,
    #[serde(flatten)]
    wish: Map,
}

type Map = serde_json::Map<String, Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    after: Option<After>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    created_at_ms: Ms,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    #[serde(default)]
    task_id: Option<String>,
    #[serde(default)]
    schedule: Option<Value>,
    #[serde(default)]
    count: Option<usize>,
}

/// Answers a request.
///
/// # Errors
/// [`Refusal`] says what is wrong.
pub async fn call(
    context: &Context,
    settings: &Settings,
    request: Request<'_>,
    now_ms: Ms,
) -> Result<Value, Refusal> {
    let db = Db::of(context);
    let mut wisher = Wisher {
        conversation: None,
        visibility: Visibility::default(),
        direct: false,
        actor: None,
        call_id: String::new(),
        terms: settings.people_terms(),
    };
    let input = request.payload;
    if request.name == "scheduler.add" {
        let Add {
            destination,
            visibility,
            call_id,
            wish,
        } = read(input)?;
        check_place("destination", &destination)?;
        if call_id.is_empty() {
            return Err(Refusal::Input("call_id: must not be empty".to_owned()));
        }
        let wish: Create = read(&Json::from(Value::Object(wish)))?;
        (wisher.visibility, wisher.call_id) = (visibility, call_id);
        let desk = desk(&db, &wisher, now_ms);
        return Ok(shown(&desk.create(wish, destination).await?));
    }
    let desk = desk(&db, &wisher, now_ms);
    Ok(match request.name {
        "scheduler.list" => list(&desk, &read(input)?).await?,
        "scheduler.show" => show(&desk, &read(input)?).await?,
        "scheduler.next" => next(&desk, read(input)?).await?,
        "scheduler.update" => shown(&desk.update(read::<Update>(input)?).await?),
        "scheduler.pause" => shown(&desk.pause(&read::<ById>(input)?.task_id).await?),
        "scheduler.resume" => shown(&desk.resume(&read::<ById>(input)?.task_id).await?),
        "scheduler.delete" => shown(&desk.delete(&read::<ById>(input)?.task_id).await?),
        "scheduler.run_now" => shown(&desk.run_now(&read::<ById>(input)?.task_id).await?),
        unknown => return Err(Refusal::Input(format!("there is no request {unknown:?}"))),
    })
}

fn desk<'d>(db: &'d Db, wisher: &'d Wisher, now_ms: Ms) -> Desk<'d> {
    Desk { db, wisher, now_ms }
}

/// What people see of a task: also where it answers and who made it.
fn full(task: &Task) -> Value {
    let mut shown = compact(task);
    shown["destination"] = json!(task.destination);
    shown["created_at"] = json!(moment::text(task.created_at_ms));
    shown["created_by"] = json!(task.created_by);
    shown["generation"] = json!(task.generation);
    shown
}

fn shown(task: &Task) -> Value {
    json!({"task": full(task)})
}

async fn list(desk: &Desk<'_>, wish: &List) -> Result<Value, Refusal> {
    let after = wish
        .after
        .as_ref()
        .map(|after| (after.created_at_ms, after.id.as_str()));
    let page = desk.list(after).await?;
    let last = page.tasks.last().filter(|_| page.truncated);
    let after = last.map(|task| json!({"created_at_ms": task.created_at_ms, "id": task.id}));
    let passed = desk.passed(&page.tasks).await?;
    let shown = |task: &Task| counted(full(task), passed.get(&task.id));
    let tasks: Vec<_> = page.tasks.iter().map(shown).collect();
    Ok(json!({
        "tasks": tasks,
        "truncated": page.truncated,
        "after": after,
        "malformed": page.n_malformed,
    }))
}

async fn show(desk: &Desk<'_>, wish: &ById) -> Result<Value, Refusal> {
    let task = desk.show(&wish.task_id).await?;
    let rows = Tables(desk.db).runs_of(&task.id, N_RUNS).await?;
    let runs: Vec<_> = rows
        .iter()
        .map(|row| match &row.run {
            None => json!({"id": row.id, "state": "malformed"}),
            Some(run) => json!({
                "id": run.id,
                "state": run.state.as_str(),
                "scheduled_for": moment::text(run.scheduled_for_ms),
                "attempt": run.attempt,
                "agent_run": run.agent_run_id,
                "started_at": run.started_at_ms.map(moment::text),
                "completed_at": run.completed_at_ms.map(moment::text),
                "error": run.error,
            }),
        })
        .collect();
    let tables = Tables(desk.db);
    let tallies = tables.tallies_of(&[&task.id]).await?;
    let counts = Passed::of(&tallies);
    let tally =
        |tally: &Tally| json!({"outcome": tally.outcome, "reason": tally.reason, "n": tally.n});
    let tallies: Vec<_> = tallies.iter().map(tally).collect();
    let passed = tables.passed_of(&task.id, N_PASSED).await?;
    let passed: Vec<_> = passed.iter().map(without_run).collect();
    let task = counted(full(&task), Some(&counts));
    Ok(json!({"task": task, "runs": runs, "without_run": passed, "without_run_counts": tallies}))
}

/// One occurrence that had no run, or several in a row.
fn without_run(row: &PassedRow) -> Value {
    json!({
        "scheduled_for": moment::text(row.first_ms),
        "until": (row.n > 1).then(|| moment::text(row.last_ms)),
        "n": row.n,
        "outcome": row.outcome,
        "reason": row.reason,
    })
}

async fn next(desk: &Desk<'_>, wish: Next) -> Result<Value, Refusal> {
    let now = timestamp(desk.now_ms);
    let (cadence, first) = match (&wish.task_id, &wish.schedule) {
        (Some(id), None) => {
            let task = desk.show(id).await?;
            let first = task.next_run_at_ms.map(timestamp);
            (task.cadence, first)
        }
        (None, Some(schedule)) => {
            let cadence = Intent::read(schedule)?.compile(now, &desk.wisher.terms)?;
            let first = cadence.next_after(now);
            (cadence, first)
        }
        _ => return Err(Refusal::Input("say either task_id or schedule".to_owned())),
    };
    let count = wish.count.unwrap_or(5).min(MOST_NEXT);
    let following = |at: &jiff::Timestamp| cadence.next_after(*at);
    let next: Vec<_> = std::iter::successors(first, following)
        .take(count)
        .map(|at| local(&cadence, at))
        .collect();
    Ok(json!({"schedule": cadence.describe(), "next": next}))
}

/// A moment with what the clocks of the cadence's zone show.
fn local(cadence: &Cadence, at: jiff::Timestamp) -> Value {
    let local = cadence
        .zone()
        .local(at)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string();
    json!({"at": at.to_string(), "local": local})
}

/// Refuses a place that no agent run could answer to.
pub(crate) fn check_place(what: &str, place: &Destination) -> Result<(), Refusal> {
    let is_line = |text: &str, most: usize| {
        let n_chars = text.chars().count();
        !text.trim().is_empty() && n_chars <= most && !text.chars().any(char::is_control)
    };
    if is_line(&place.kind, 64) && is_line(&place.address, ADDRESS_CHARS) {
        Ok(())
    } else {
        let text =
            format!("{what}: kind and address are one line each, of at most 64 and 512 characters");
        Err(Refusal::Input(text))
    }
}
