//! `kodex runs`: agent runs and plugins' jobs, for people.

use std::fmt::Write as _;

use kodex::{
    PluginName, WorkError, WorkFilter, WorkItem, WorkKind, WorkLine,
    contract::wire::work::RunStatus, store::queue::JobState,
};
use serde::Serialize;

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, moment, table, text},
    verb::Verb,
};

/// Lines of a log in one question to the store.
const PAGE: usize = 1_000;

/// Show and steer agent runs and jobs of plugins
#[derive(Debug, clap::Args)]
pub(crate) struct Runs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the newest runs
    List {
        /// Jobs of plugins instead of agent runs
        #[arg(long)]
        jobs: bool,
        /// Only those of this plugin
        #[arg(long, value_name = "PLUGIN")]
        plugin: Option<String>,
        /// Only those in this state; may be repeated
        #[arg(long, value_name = "STATE")]
        state: Vec<State>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show one run or job, with its answer
    Show {
        /// Its id
        id: String,
    },
    /// Print the log of a run
    Logs {
        /// Its id
        id: String,
    },
    /// Ask for the end of a run or job
    Cancel {
        /// Its id
        id: String,
    },
    /// Try a run or job again that has ended or is blocked
    Retry {
        /// Its id
        id: String,
    },
}

/// The states as they are typed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum State {
    Pending,
    Running,
    Blocked,
    Completed,
    Failed,
    Dead,
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Running => Self::Running,
            State::Blocked => Self::Blocked,
            State::Completed => Self::Completed,
            State::Failed => Self::Failed,
            State::Dead => Self::Dead,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// What became of a wish, in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Steered {
    /// The run or job.
    id: String,
    /// Where it is now.
    status: RunStatus,
}

impl Verb for Runs {
    const NAME: &'static str = "runs";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let store = invocation.need_store()?;
        // No plugin is needed to look at what they asked for.
        let runtime = kodex::Runtime::builder().store(store).one_shot();
        let runtime = invocation.build(runtime).await?;
        let works = runtime.works();
        match self.what {
            What::List {
                jobs,
                plugin,
                state,
                limit,
            } => {
                let plugin = plugin.map(PluginName::new).transpose();
                let filter = WorkFilter {
                    kind: Some(if jobs { WorkKind::Job } else { WorkKind::Run }),
                    plugin: plugin.map_err(|error| Problem::usage("usage", error.to_string()))?,
                    states: state.into_iter().map(JobState::from).collect(),
                    limit,
                };
                let found = works.list(&filter).await.map_err(failed)?;
                invocation.out = match invocation.globals.json {
                    true => json::document(&found)?,
                    false => listed(&found, invocation),
                };
            }
            What::Show { id } => {
                let found = works.find(&id).await.map_err(failed)?;
                invocation.out = match invocation.globals.json {
                    true => json::document(&found)?,
                    false => shown(&found),
                };
            }
            What::Logs { id } => {
                let mut lines: Vec<WorkLine> = Vec::new();
                loop {
                    let after = lines.last().map_or(0, |line| line.number);
                    let page = works.logs(&id, after, PAGE).await.map_err(failed)?;
                    let is_last = page.len() < PAGE;
                    lines.extend(page);
                    if is_last {
                        break;
                    }
                }
                invocation.out = match invocation.globals.json {
                    true => json::document(&lines)?,
                    false => logged(&lines),
                };
            }
            What::Cancel { id } => {
                let is_over = works.cancel(&id).await.map_err(failed)?;
                let word = if is_over {
                    "cancelled"
                } else {
                    "will be told to end"
                };
                told(&id, word, &works, invocation).await?;
            }
            What::Retry { id } => {
                works.retry(&id).await.map_err(failed)?;
                told(&id, "is tried again", &works, invocation).await?;
            }
        }
        Ok(Exit::Fine)
    }
}

pub(crate) fn failed(error: WorkError) -> Problem {
    Problem::failed(error.code().to_owned(), error.to_string())
}

async fn told(
    id: &str,
    told: &str,
    works: &kodex::WorkList<'_>,
    invocation: &mut Invocation,
) -> Result<(), Problem> {
    invocation.out = match invocation.globals.json {
        true => json::document(&Steered {
            id: id.to_owned(),
            status: works.find(id).await.map_err(failed)?.status,
        })?,
        false => format!("{id} {told}\n"),
    };
    Ok(())
}

fn state_of(item: &WorkItem) -> String {
    let mut word = item.status.as_str().replace('_', " ");
    if item.dead {
        "dead".clone_into(&mut word);
    }
    match item.attempt {
        0 | 1 => word,
        n => format!("{word} ({n} of {})", item.max_attempts),
    }
}

fn listed(found: &[WorkItem], invocation: &Invocation) -> String {
    let row = |item: &WorkItem| {
        let to = item
            .destination
            .as_ref()
            .map(|to| format!("{}:{}", to.kind, to.address));
        vec![
            item.id.clone(),
            item.plugin.clone(),
            state_of(item),
            moment::shown(item.added_at_ms),
            to.unwrap_or_else(|| item.name.clone()),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    if invocation.stdout.is_terminal {
        return table::shown(
            &["ID", "PLUGIN", "STATE", "ASKED FOR", "FOR"],
            &rows,
            invocation.stdout,
        );
    }
    rows.iter().fold(String::new(), |mut out, row| {
        let cells: Vec<_> = row.iter().map(|cell| text::line(cell)).collect();
        let _ = writeln!(out, "{}", cells.join("\t"));
        out
    })
}

fn shown(item: &WorkItem) -> String {
    let at = |ms: Option<u64>| ms.map(moment::shown);
    let destination = item
        .destination
        .as_ref()
        .map(|to| format!("{}:{}", to.kind, to.address));
    let rows = [
        ("plugin", Some(item.plugin.clone())),
        (
            "job",
            (item.kind == WorkKind::Job).then(|| item.name.clone()),
        ),
        ("state", Some(state_of(item))),
        ("reason", item.reason.clone()),
        ("code", item.reason_code.clone()),
        ("to", destination),
        ("asked for", at(Some(item.added_at_ms))),
        ("due", at(Some(item.due_at_ms))),
        ("started", at(item.started_at_ms)),
        ("ended", at(item.ended_at_ms)),
        ("held by", item.holder.clone()),
        (
            "lost",
            (item.n_crashes > 0).then(|| format!("{} times", item.n_crashes)),
        ),
        (
            "tried anew",
            (item.generation > 0).then(|| format!("{} times", item.generation)),
        ),
    ];
    let mut out = format!("{}\n", item.id);
    for (name, value) in rows {
        if let Some(value) = value {
            let _ = writeln!(out, "  {name:<10} {}", text::line(&value));
        }
    }
    for (name, value) in [("input", &item.input), ("answer", &item.answer)] {
        if let Some(value) = value {
            let _ = write!(out, "\n{name}:\n{}\n", text::block(value));
        }
    }
    out
}

fn logged(lines: &[WorkLine]) -> String {
    lines.iter().fold(String::new(), |mut out, line| {
        let _ = writeln!(
            out,
            "{} {:<5} {}",
            moment::shown(line.at_ms),
            line.stream,
            text::line(&line.text)
        );
        out
    })
}
