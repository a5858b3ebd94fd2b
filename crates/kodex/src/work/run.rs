//! Executes agent runs: first the runner, then, from what it left, the delivery of its answer.
//!
//! The answer is stored before it is delivered, so a crash in between repeats the delivery and not the
//! agent's work. A delivery has tries of its own: an agent that answered has done its part, however long the
//! place is away that its answer goes to.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
    time::Duration,
};

use kodex_plugin::Json;
use kodex_store::queue::{Claimed, check_payload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    end::Over,
    engine::{Node, raw},
    held::Held,
    request::RunRequest,
    runner::{DeliverError, Run, RunEnd, RunLog},
};

/// What is said when the agent had nothing to say.
const NO_ANSWER: &str = "The run ended without an answer.";
/// Longest answer that is kept, in bytes; of a longer one the end.
const ANSWER_BYTES: usize = 128 << 10;
/// The same as JSON, in which some characters are six bytes long, with room for what is kept beside it.
const ANSWER_JSON_BYTES: usize = kodex_store::queue::PAYLOAD_BYTES - 512;

/// What a run keeps between its slices.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// What the runner left for its next slice.
    Slice(Box<RawValue>),
    /// The answer, which is to be delivered.
    Answer(String),
    /// An answer whose delivery failed before.
    Undelivered(Undelivered),
}

/// An answer that could not be delivered yet.
#[derive(Debug, Serialize, Deserialize)]
struct Undelivered {
    answer: String,
    n_failed: u32,
    /// People who try a run again begin to count anew.
    generation: u32,
}

/// What stands in the result of a completed run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunResult {
    pub(super) answer: String,
}

pub(super) async fn execute(node: &Node, held: &Held, claimed: &Claimed) -> Over {
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
    let undelivered = |answer, n_failed| Undelivered {
        answer,
        n_failed,
        generation: job.generation,
    };
    let undelivered = match kept {
        Some(Kept::Answer(answer)) => undelivered(answer, 0),
        Some(Kept::Undelivered(kept)) if kept.generation == job.generation => kept,
        Some(Kept::Undelivered(kept)) => undelivered(kept.answer, 0),
        Some(Kept::Slice(left)) => {
            run.checkpoint = Some(Json::checked(left)).filter(|left| !left.value().is_null());
            match slice(node, &run, held).await {
                Slice::Answered(answer) => undelivered(answer, 0),
                Slice::Over(over) => return over,
            }
        }
        None => match slice(node, &run, held).await {
            Slice::Answered(answer) => undelivered(answer, 0),
            Slice::Over(over) => return over,
        },
    };
    deliver(node, &run, undelivered).await
}

/// What a slice came to.
enum Slice {
    /// An answer, which is stored.
    Answered(String),
    Over(Over),
}

/// Lets the runner work.
async fn slice(node: &Node, run: &Run, held: &Held) -> Slice {
    let works = &node.shared().works;
    let Some(runner) = &works.runner else {
        let text = "no agent is configured that could execute it; set `command` under [runner], or call `Builder::runner`";
        return Slice::Over(Over::Failed {
            code: "run.no_runner",
            text: text.to_owned(),
        });
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
    Slice::Over(match end {
        RunEnd::Completed { answer } => return keep(node, held, tidy(answer)).await,
        RunEnd::Failed { code, error } => Over::Failed { code, text: error },
        RunEnd::Retry { code, error, after } => Over::Retry {
            code: code.to_owned(),
            text: error,
            after: after.unwrap_or_else(|| pause(run.attempt)),
        },
        RunEnd::Blocked { reason } => Over::Blocked { text: reason },
        RunEnd::Continue { checkpoint, after } => go_on(run, checkpoint, after),
        RunEnd::Busy { after } => Over::Release { after },
    })
}

/// Stores an answer, and so that its run goes on with the delivery, here and now.
async fn keep(node: &Node, held: &Held, answer: String) -> Slice {
    let kept = Kept::Answer(answer);
    let Some(checkpoint) = raw(&kept) else {
        let text = "the answer is no JSON".to_owned();
        return Slice::Over(Over::Failed {
            code: "run.answer",
            text,
        });
    };
    match node.store.queue().keep(&held.lease, &checkpoint).await {
        Ok(true) => match kept {
            Kept::Answer(answer) => Slice::Answered(answer),
            Kept::Slice(_) | Kept::Undelivered(_) => unreachable!("it is an answer"),
        },
        Ok(false) => Slice::Over(Over::Nothing),
        Err(error) => {
            tracing::warn!(run = %held.lease.id, code = error.code(), "storing an answer: {error}");
            // The end of the claim is tried again for as long as the lease lasts, and takes the answer along.
            Slice::Over(Over::GoOn {
                checkpoint: Some(checkpoint),
                after: Duration::ZERO,
            })
        }
    }
}

fn go_on(run: &Run, checkpoint: Option<Json>, after: Duration) -> Over {
    // A run that goes on without anything to go on from is one that has begun, all the same.
    let left = checkpoint.unwrap_or_default();
    let checkpoint = raw(&Kept::Slice(left.raw().to_owned()));
    let judged = checkpoint
        .as_deref()
        .map(|kept| check_payload(&run.plugin, "checkpoint", kept));
    match judged {
        Some(Err(error)) => Over::Failed {
            code: "run.checkpoint",
            text: format!("what the runner left for its next slice cannot be kept: {error}"),
        },
        _ => Over::GoOn { checkpoint, after },
    }
}

/// Brings the answer to where it belongs. What may pass is tried again, without the agent.
async fn deliver(node: &Node, run: &Run, undelivered: Undelivered) -> Over {
    let works = &node.shared().works;
    let kind = run.destination.kind.as_str();
    let answer = &undelivered.answer;
    let delivered = match works.destinations.get(kind) {
        Some(door) => match contained(|| door.deliver(run, answer)).await {
            Ok(delivered) => delivered,
            Err(text) => Err(DeliverError {
                transient: true,
                message: format!("the delivery panicked: {text}"),
            }),
        },
        // Another one may.
        None => Err(DeliverError {
            transient: true,
            message: format!("this node knows no destination of kind {kind:?}"),
        }),
    };
    match delivered {
        Ok(()) => Over::Completed {
            result: raw(&RunResult {
                answer: undelivered.answer,
            }),
        },
        Err(error) if error.transient => again(node, run, undelivered, &error).await,
        Err(error) => Over::Failed {
            code: "run.delivery",
            text: format!("the answer was not delivered: {error}"),
        },
    }
}

/// Puts a delivery off, or gives it up when it was tried often enough.
async fn again(node: &Node, run: &Run, undelivered: Undelivered, error: &DeliverError) -> Over {
    let settings = &node.shared().works.settings;
    let n_failed = undelivered.n_failed.saturating_add(1);
    if n_failed >= settings.deliveries {
        let text = format!(
            "the answer was not delivered in {n_failed} tries; `kodex runs retry {}` tries again, without the agent: \
             {error}",
            run.id
        );
        let destinations = &node.shared().works.destinations;
        let code = match destinations.contains_key(run.destination.kind.as_str()) {
            true => "run.delivery",
            false => "run.destination",
        };
        return Over::Failed { code, text };
    }
    let after = settings.pause(n_failed);
    let ms = after.as_millis();
    run.log
        .note(format!(
            "delivery {n_failed} failed, the next one follows in {ms} ms: {error}"
        ))
        .await;
    Over::GoOn {
        checkpoint: raw(&Kept::Undelivered(Undelivered {
            n_failed,
            ..undelivered
        })),
        after,
    }
}

fn tidy(answer: String) -> String {
    let answer = answer.replace('\0', "");
    let text = answer.trim_end();
    if text.trim().is_empty() {
        return NO_ANSWER.to_owned();
    }
    let from = text.ceil_char_boundary(text.len().saturating_sub(ANSWER_BYTES));
    json_tail(&text[from..], ANSWER_JSON_BYTES).to_owned()
}

/// The end of a text that has no more than so many bytes as JSON.
fn json_tail(text: &str, most: usize) -> &str {
    let mut left = most;
    let mut from = text.len();
    for (at, c) in text.char_indices().rev() {
        let bytes = match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            plain => plain.len_utf8(),
        };
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => break,
        }
        from = at;
    }
    &text[from..]
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

#[cfg(test)]
mod tests {
    use super::{ANSWER_BYTES, ANSWER_JSON_BYTES, Kept, NO_ANSWER, Undelivered, raw, tidy};

    #[test]
    fn an_answer_always_fits() {
        for (answer, want) in [
            (String::new(), NO_ANSWER.len()),
            (" \n\0".to_owned(), NO_ANSWER.len()),
            ("a\0b \n".to_owned(), 2),
            ("a".repeat(ANSWER_BYTES + 9), ANSWER_BYTES),
            ("\u{e9}".repeat(ANSWER_BYTES), ANSWER_BYTES),
            ("\"".repeat(ANSWER_BYTES), ANSWER_JSON_BYTES / 2),
            ("\\\n".repeat(ANSWER_BYTES) + "x", ANSWER_JSON_BYTES / 2),
            ("\u{1b}".repeat(ANSWER_BYTES), ANSWER_JSON_BYTES / 6),
        ] {
            let start: String = answer.chars().take(5).collect();
            let answer = tidy(answer);
            assert_eq!(answer.len(), want, "{start:?}");
            let kept = Kept::Undelivered(Undelivered {
                answer,
                n_failed: u32::MAX,
                generation: u32::MAX,
            });
            let bytes = raw(&kept).expect("JSON").get().len();
            assert!(
                bytes <= kodex_store::queue::PAYLOAD_BYTES,
                "{start:?}: {bytes}"
            );
        }
    }
}
