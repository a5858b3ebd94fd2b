//! Commands as runners of agents and as destinations of their answers.
//!
//! A command gets the prompt (or the answer) on its standard input and facts in `KODEX_RUN_*` variables. Its
//! standard output is the answer, unless it writes a result file; see [`CommandRunner`].

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kodex_backend::supervise::Exit;
use kodex_plugin::Json;
use serde::Deserialize;

use super::{
    process::{self, How, Ran, Start},
    runner::{AgentRunner, Deliver, DeliverError, Pending, Run, RunEnd},
};

/// Longest tail of standard error in an error, in characters.
const TAIL_CHARS: usize = 800;
/// Largest result file.
const RESULT_BYTES: u64 = 256 << 10;
/// The exit status that means: not now, try again (EX_TEMPFAIL of sysexits).
const TRY_AGAIN: i32 = 75;

/// A program with its arguments, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program: an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment apart from what Kodex adds.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// After this its whole process group is ended.
    pub timeout: Duration,
}

impl CommandLine {
    fn start(&self, run: &Run, more: Vec<(&str, OsString)>) -> Start {
        let mut env = self.env.clone();
        let place = |place: &kodex_plugin::wire::work::Destination| {
            OsString::from(format!("{}:{}", place.kind, place.address))
        };
        let metadata = serde_json::to_string(&run.metadata).unwrap_or_default();
        let visibility = match run.visibility {
            kodex_plugin::wire::work::Visibility::Private => "private",
            kodex_plugin::wire::work::Visibility::Public => "public",
        };
        let facts = [
            ("KODEX_RUN_ID", OsString::from(&run.id)),
            ("KODEX_RUN_PLUGIN", run.plugin.as_str().into()),
            ("KODEX_RUN_ATTEMPT", run.attempt.to_string().into()),
            ("KODEX_RUN_SLICE", run.slice.to_string().into()),
            ("KODEX_RUN_DESTINATION", place(&run.destination)),
            ("KODEX_RUN_SOURCE", place(&run.source)),
            ("KODEX_RUN_VISIBILITY", visibility.into()),
            ("KODEX_RUN_METADATA", metadata.into()),
        ];
        for (name, value) in facts.into_iter().chain(more) {
            env.retain(|(known, _)| known != name);
            env.push((name.into(), value));
        }
        Start {
            program: self.program.clone(),
            args: self.args.clone(),
            env,
            cwd: self.cwd.clone(),
            timeout: self.timeout,
        }
    }

    fn shown(&self) -> String {
        self.program.display().to_string()
    }
}

/// Executes agent runs by a command, such as `claude -p` or `codex exec -`.
///
/// The exit status decides: 0 is done, 75 is tried again, anything else has failed. A command that wants to say
/// more writes JSON to the file named by `KODEX_RUN_RESULT`: `status` (`completed`, `failed`, `blocked`,
/// `retry` or `continue`), and as it needs them `answer`, `error`, `after_ms` and `checkpoint`. The checkpoint
/// of the last slice stands in the file named by `KODEX_RUN_CHECKPOINT`.
#[derive(Debug, Clone)]
pub struct CommandRunner {
    command: CommandLine,
}

impl CommandRunner {
    /// A runner around a command.
    #[must_use]
    pub fn new(command: CommandLine) -> Self {
        Self { command }
    }

    async fn execute(&self, run: &Run) -> RunEnd {
        let folder = match tempfile::Builder::new().prefix("kodex-run-").tempdir() {
            Ok(folder) => folder,
            Err(error) => return retry("run.folder", format!("no folder for the run: {error}")),
        };
        let result = folder.path().join("result.json");
        let mut more = vec![("KODEX_RUN_RESULT", OsString::from(&result))];
        if let Some(left) = &run.checkpoint {
            let path = folder.path().join("checkpoint.json");
            if let Err(error) = fs::write(&path, left.raw().get()) {
                return retry(
                    "run.folder",
                    format!("the checkpoint cannot be handed over: {error}"),
                );
            }
            more.push(("KODEX_RUN_CHECKPOINT", path.into()));
        }
        let start = self.command.start(run, more);
        run.log
            .note(format!("attempt {}: {}", run.attempt, self.command.shown()))
            .await;
        let ran = match process::run(&start, &run.input, Some(&run.log)).await {
            Ok(ran) => ran,
            Err(error) => return self.unstarted(&error),
        };
        let end = self.judge(ran, &result);
        run.log.note(told(&end)).await;
        end
    }

    fn unstarted(&self, error: &std::io::Error) -> RunEnd {
        let text = format!("{} cannot be started: {error}", self.command.shown());
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                failed("run.command", text)
            }
            // Too many files, too many processes: it may pass.
            _ => retry("run.command", text),
        }
    }

    fn judge(&self, ran: Ran, result: &Path) -> RunEnd {
        let what = self.command.shown();
        let code = match ran.how {
            How::Late => {
                let ms = self.command.timeout.as_millis();
                return failed(
                    "run.deadline",
                    with_tail(format!("{what} was ended after {ms} ms"), &ran),
                );
            }
            How::Flood => {
                return failed(
                    "run.flood",
                    with_tail(format!("{what} was ended because it wrote too much"), &ran),
                );
            }
            How::Exit(exit) => exit,
        };
        match declared(result) {
            Ok(Some(said)) => return said.end(ran.out),
            Ok(None) => {}
            Err(problem) => {
                return failed(
                    "run.result",
                    with_tail(format!("{what}: its result file {problem}"), &ran),
                );
            }
        }
        match code {
            Exit::Code(0) => RunEnd::Completed { answer: ran.out },
            Exit::Code(TRY_AGAIN) => retry(
                "run.try_again",
                with_tail(format!("{what} asked to be tried again"), &ran),
            ),
            Exit::Signal(_) | Exit::Unknown => {
                retry("run.exit", with_tail(format!("{what} {code}"), &ran))
            }
            Exit::Code(_) => failed("run.exit", with_tail(format!("{what} {code}"), &ran)),
        }
    }
}

impl AgentRunner for CommandRunner {
    fn run<'a>(&'a self, run: &'a Run) -> Pending<'a, RunEnd> {
        Box::pin(self.execute(run))
    }
}

fn failed(code: &'static str, error: String) -> RunEnd {
    RunEnd::Failed { code, error }
}

fn retry(code: &'static str, error: String) -> RunEnd {
    RunEnd::Retry {
        code,
        error,
        after: None,
    }
}

fn told(end: &RunEnd) -> String {
    match end {
        RunEnd::Completed { .. } => "completed".to_owned(),
        RunEnd::Failed { error, .. } => format!("failed: {error}"),
        RunEnd::Retry { error, .. } => format!("to be tried again: {error}"),
        RunEnd::Blocked { reason } => format!("blocked: {reason}"),
        RunEnd::Continue { .. } => "to be continued".to_owned(),
        RunEnd::Busy { .. } => "put off".to_owned(),
    }
}

/// The end of what a program said, for its error.
fn with_tail(text: String, ran: &Ran) -> String {
    let said = [&ran.err, &ran.out]
        .into_iter()
        .map(|said| said.trim())
        .find(|said| !said.is_empty());
    let Some(said) = said else { return text };
    let n = said.chars().count();
    let tail: String = said.chars().skip(n.saturating_sub(TAIL_CHARS)).collect();
    format!("{text}; the end of what it wrote: {tail}")
}

/// What a command writes about its run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    status: Status,
    #[serde(default)]
    answer: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    after_ms: Option<u64>,
    #[serde(default)]
    checkpoint: Option<Json>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Completed,
    Failed,
    Blocked,
    Retry,
    Continue,
}

impl Declared {
    fn end(self, out: String) -> RunEnd {
        let error = self
            .error
            .unwrap_or_else(|| "the command gave no reason".to_owned());
        let after = self.after_ms.map(Duration::from_millis);
        match self.status {
            Status::Completed => RunEnd::Completed {
                answer: self.answer.unwrap_or(out),
            },
            Status::Failed => failed("run.failed", error),
            Status::Blocked => RunEnd::Blocked { reason: error },
            Status::Retry => RunEnd::Retry {
                code: "run.try_again",
                error,
                after,
            },
            Status::Continue => RunEnd::Continue {
                checkpoint: self.checkpoint,
                after: after.unwrap_or_default(),
            },
        }
    }
}

fn declared(path: &Path) -> Result<Option<Declared>, String> {
    let length = match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err("is no file".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    if length > RESULT_BYTES {
        return Err(format!(
            "has {length} bytes; at most {RESULT_BYTES} are read"
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| format!("cannot be read: {error}"))
}

/// A destination of kind `command`: the address is the name of a configured command, which gets the answer
/// on its standard input. Status 0 is delivered, 75 is tried again, anything else is not.
#[derive(Debug, Clone, Default)]
pub struct CommandDelivery {
    commands: std::collections::BTreeMap<String, CommandLine>,
}

impl CommandDelivery {
    /// The configured commands by name.
    #[must_use]
    pub fn new(commands: impl IntoIterator<Item = (String, CommandLine)>) -> Self {
        Self {
            commands: commands.into_iter().collect(),
        }
    }

    async fn bring(&self, run: &Run, answer: &str) -> Result<(), DeliverError> {
        let name = &run.destination.address;
        let error = |transient, message: String| DeliverError { transient, message };
        let Some(command) = self.commands.get(name) else {
            let text = format!("no command {name:?} is configured under [destinations.command]");
            return Err(error(false, text));
        };
        let what = command.shown();
        let ran = process::run(&command.start(run, Vec::new()), answer, None).await;
        let ran =
            ran.map_err(|problem| error(true, format!("{what} cannot be started: {problem}")))?;
        match ran.how {
            How::Exit(Exit::Code(0)) => Ok(()),
            How::Exit(Exit::Code(TRY_AGAIN)) => Err(error(
                true,
                with_tail(format!("{what} asked to be tried again"), &ran),
            )),
            How::Exit(exit @ Exit::Code(_)) => {
                Err(error(false, with_tail(format!("{what} {exit}"), &ran)))
            }
            How::Exit(exit) => Err(error(true, with_tail(format!("{what} {exit}"), &ran))),
            How::Late => Err(error(
                true,
                format!("{what} was ended after {} ms", command.timeout.as_millis()),
            )),
            How::Flood => Err(error(false, format!("{what} wrote too much"))),
        }
    }
}

impl Deliver for CommandDelivery {
    fn deliver<'a>(
        &'a self,
        run: &'a Run,
        answer: &'a str,
    ) -> Pending<'a, Result<(), DeliverError>> {
        Box::pin(self.bring(run, answer))
    }
}
