//! Executes agent runs: first the runner, then, from what it left, the delivery of its answer.
//!
//! The answer is stored before it is delivered, so a crash in between repeats the delivery and not the
//! agent's work.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
    time::Duration,
};

use kodex_plugin::Json;
use kodex_store::queue::Claimed;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    end::Over,
    engine::{Node, raw},
    request::RunRequest,
    runner::{Run, RunEnd, RunLog},
};

/// What is said when the agent had nothing to say.
const NO_ANSWER: &str = "The run ended without an answer.";
/// Longest answer that is kept, in bytes; of a longer one the end.
const ANSWER_BYTES: usize = 128 << 10;

/// What a run keeps between its slices.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// What the runner left for its next slice.
    Slice(Box<RawValue>),
    /// The answer, which is to be delivered.
    Answer(String),
}

/// What stands in the result of a completed run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunResult {
    pub(super) answer: String,
}

pub(super) async fn execute(node: &Node, claimed: &Claimed) -> Over {
    let job = &claimed.job;
    let malformed = |text: String| Over::Buried {
        code: "malformed",
        text,
    };
    let request: RunRequest = match serde_json::from_str(job.payload.get()) {
        Ok(request) => request,
        Err(error) => return malformed(format!("the stored request cannot be read: {error}")),
    };
    let kept = job
        .checkpoint
        .as_ref()
        .map(|kept| serde_json::from_str::<Kept>(kept.get()));
    let kept = match kept.transpose() {
        Ok(kept) => kept,
        Err(error) => {
            return malformed(format!("what the last slice left cannot be read: {error}"));
        }
    };
    let log = RunLog::new(node.store.clone(), claimed.lease.clone());
    let mut run = Run::new(&job.id, &job.plugin, request, log);
    run.attempt = job.attempt;
    run.slice = job.n_slices;
    match kept {
        Some(Kept::Answer(answer)) => deliver(node, &run, answer, job.attempt).await,
        Some(Kept::Slice(left)) => {
            run.checkpoint = Some(Json::checked(left));
            slice(node, &run).await
        }
        None => slice(node, &run).await,
    }
}

/// Lets the runner work.
async fn slice(node: &Node, run: &Run) -> Over {
    let works = &node.shared().works;
    let Some(runner) = &works.runner else {
        let text = "no agent is configured that could execute it; set `command` under [runner], or call `Builder::runner`";
        return Over::Failed {
            code: "run.no_runner",
            text: text.to_owned(),
        };
    };
    let end = match contained(|| runner.run(run)).await {
        Ok(end) => end,
        Err(text) => RunEnd::Retry {
            code: "run.panicked",
            error: format!("the runner panicked: {text}"),
            after: None,
        },
    };
    let pause = |n: u32| works.settings.pause(n);
    match end {
        RunEnd::Completed { answer } => Over::GoOn {
            checkpoint: raw(&Kept::Answer(tidy(answer))),
            after: Duration::ZERO,
        },
        RunEnd::Failed { code, error } => Over::Failed { code, text: error },
        RunEnd::Retry { code, error, after } => Over::Retry {
            code: code.to_owned(),
            text: error,
            after: after.unwrap_or_else(|| pause(run.attempt)),
        },
        RunEnd::Blocked { reason } => Over::Blocked { text: reason },
        RunEnd::Continue { checkpoint, after } => go_on(checkpoint, after),
        RunEnd::Busy { after } => Over::Release { after },
    }
}

fn go_on(checkpoint: Option<Json>, after: Duration) -> Over {
    let kept = checkpoint.map(|left| Kept::Slice(left.raw().to_owned()));
    let checkpoint = kept.as_ref().and_then(raw);
    match &checkpoint {
        Some(kept) if kept.get().len() > kodex_store::queue::PAYLOAD_BYTES => Over::Failed {
            code: "run.checkpoint",
            text: format!(
                "the runner left {} bytes for its next slice; at most {} are kept",
                kept.get().len(),
                kodex_store::queue::PAYLOAD_BYTES
            ),
        },
        _ => Over::GoOn { checkpoint, after },
    }
}

/// Brings the answer to where it belongs.
async fn deliver(node: &Node, run: &Run, answer: String, attempt: u32) -> Over {
    let works = &node.shared().works;
    let kind = run.destination.kind.as_str();
    let Some(door) = works.destinations.get(kind) else {
        return Over::Retry {
            code: "run.destination".to_owned(),
            text: format!("this node knows no destination of kind {kind:?}"),
            after: works.settings.pause(attempt),
        };
    };
    let delivered = match contained(|| door.deliver(run, &answer)).await {
        Ok(delivered) => delivered,
        Err(text) => Err(super::runner::DeliverError {
            transient: true,
            message: format!("the delivery panicked: {text}"),
        }),
    };
    match delivered {
        Ok(()) => Over::Completed {
            result: raw(&RunResult { answer }),
        },
        Err(error) if error.transient => Over::Retry {
            code: "run.delivery".to_owned(),
            text: format!("the answer was not delivered: {error}"),
            after: works.settings.pause(attempt),
        },
        Err(error) => Over::Failed {
            code: "run.delivery",
            text: format!("the answer was not delivered: {error}"),
        },
    }
}

fn tidy(answer: String) -> String {
    let answer = answer.replace('\0', "");
    let text = answer.trim_end();
    if text.trim().is_empty() {
        return NO_ANSWER.to_owned();
    }
    let from = text.ceil_char_boundary(text.len().saturating_sub(ANSWER_BYTES));
    text[from..].to_owned()
}

/// Runs an embedder's code; a panic, at once or while it is awaited, is an error.
async fn contained<'a, T>(
    call: impl FnOnce() -> super::runner::Pending<'a, T>,
) -> Result<T, String> {
    let mut pending = catch_unwind(AssertUnwindSafe(call)).map_err(|panic| text_of(&*panic))?;
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| pending.as_mut().poll(context))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(text_of(&*panic))),
        },
    )
    .await
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    crate::dispatch::panicked(panic).message
}
