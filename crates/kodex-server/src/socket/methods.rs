//! What can be asked over the socket: one row for each method.

use std::time::Duration;

use kodex::{
    Combine, DispatchError, DispatchOptions, Json, LoadError, PluginName, ToolError, WorkError,
    WorkFilter, WorkKind, store::queue::JobState,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    rpc::{Answer, bad_params, unknown_method},
    wire::{
        Answered, CallParams, CancelAnswer, DRAINING, EmitParams, IdParams, Like, ListParams,
        LogsParams, NoParams, OTHER, Refusal, SessionParams,
    },
};
use crate::{outcome, resident::Resident};

/// Every method.
pub(super) const NAMES: &[&str] = &[
    "status",
    "heartbeat",
    "reload",
    "doctor",
    "emit",
    "call",
    "runs/list",
    "runs/show",
    "runs/logs",
    "runs/cancel",
    "runs/retry",
    "sessions/complete",
];
/// The most runs or lines in one answer.
const N_AT_ONCE: usize = 1_000;
/// Runs or lines when nobody says.
const N_USUAL: usize = 50;
/// The largest answer, in bytes.
pub(crate) const ANSWER_BYTES: usize = 32 << 20;

/// How long a question may take that only the store or this process is asked. What calls plugins has their bounds.
const TIME: Duration = Duration::from_secs(30);

/// Answers one request.
pub(super) async fn answer(resident: &Resident, method: &str, params: Json) -> Answer {
    let asked = ask(resident, method, params);
    let answer = match method {
        "emit" | "call" | "heartbeat" | "reload" => asked.await,
        _ => timeout(TIME, asked).await.unwrap_or_else(|_| {
            let text = format!(
                "`{method}` had no answer within {} s; is the store there?",
                TIME.as_secs()
            );
            Err(Refusal::new("daemon.late", text))
        }),
    }?;
    if answer.get().len() > ANSWER_BYTES {
        let text =
            format!("the answer to `{method}` has more than {ANSWER_BYTES} bytes; ask for less");
        return Err(Refusal::new("daemon.answer", text));
    }
    Ok(answer)
}

async fn ask(resident: &Resident, method: &str, params: Json) -> Answer {
    match method {
        "status" => {
            no_params(method, &params)?;
            written(&resident.status().await)
        }
        "heartbeat" => heartbeat(resident, method, &params).await,
        "reload" => reload(resident, method, &params).await,
        "doctor" => no_params(method, &params).and_then(|()| written(&resident.runtime.doctor())),
        "emit" => emit(resident, read(method, &params)?).await,
        "call" => call(resident, read(method, &params)?).await,
        "runs/list" => list(resident, read(method, &params)?).await,
        "runs/show" => {
            let IdParams { id } = read(method, &params)?;
            written(&resident.runtime.works().find(&id).await.map_err(work)?)
        }
        "runs/logs" => logs(resident, read(method, &params)?).await,
        "runs/cancel" => {
            let IdParams { id } = read(method, &params)?;
            let ended = resident.runtime.works().cancel(&id).await.map_err(work)?;
            written(&CancelAnswer { ended })
        }
        "runs/retry" => {
            let IdParams { id } = read(method, &params)?;
            resident.runtime.works().retry(&id).await.map_err(work)?;
            written(&NoParams {})
        }
        "sessions/complete" => session(resident, read(method, &params)?).await,
        unknown => Err(unknown_method(unknown)),
    }
}

async fn heartbeat(resident: &Resident, method: &str, params: &Json) -> Answer {
    no_params(method, params)?;
    stays(resident)?;
    written(&resident.pulse().await.map_err(work)?)
}

async fn reload(resident: &Resident, method: &str, params: &Json) -> Answer {
    no_params(method, params)?;
    stays(resident)?;
    written(&resident.reload().await.map_err(load)?)
}

async fn emit(resident: &Resident, params: EmitParams) -> Answer {
    stays(resident)?;
    is_like(resident, params.like.as_ref()).await?;
    let options = DispatchOptions {
        fail_fast: params.fail_fast,
        capability: params.capability,
        combine: (!params.outcome).then_some(Combine::Collect),
        ..DispatchOptions::default()
    };
    let dispatched = resident
        .runtime
        .emit_with(&params.hook, params.payload, &options);
    let failed = |error| with_refused(resident, dispatch(error));
    let outcome = dispatched.await.map_err(failed)?;
    // As text at once: a tree would put the keys into another order than the command line has on its own.
    let answer = match params.outcome {
        true => written(&outcome::Whole::from(&outcome)),
        false => written(&outcome::replies(&outcome)),
    };
    answered(resident, Json::checked(answer?))
}

async fn call(resident: &Resident, params: CallParams) -> Answer {
    stays(resident)?;
    is_like(resident, params.like.as_ref()).await?;
    let called = resident
        .runtime
        .call_tool_as(&params.tool, &params.input, params.caller.as_ref())
        .await;
    let failed = |error| with_refused(resident, tool(error));
    answered(resident, called.map_err(failed)?)
}

async fn session(resident: &Resident, params: SessionParams) -> Answer {
    stays(resident)?;
    is_like(resident, params.like.as_ref()).await?;
    let followers = resident.runtime.session_ended(params.session).await;
    let failed = |error| with_refused(resident, work(error));
    let followers = written(&followers.map_err(failed)?);
    answered(resident, Json::checked(followers?))
}

fn answered(resident: &Resident, answer: Json) -> Answer {
    let refused = refused(resident);
    written(&Answered { answer, refused })
}

fn with_refused(resident: &Resident, refusal: Refusal) -> Refusal {
    Refusal {
        refused: refused(resident),
        ..refusal
    }
}

/// Candidates that could not be loaded.
fn refused(resident: &Resident) -> Vec<kodex::Record> {
    let ledger = resident.runtime.ledger();
    let is_refused = |record: &&kodex::Record| record.status == kodex::Status::Error;
    ledger.iter().filter(is_refused).cloned().collect()
}

async fn list(resident: &Resident, params: ListParams) -> Answer {
    let unusable = |what: &str, text: &str| Refusal {
        usage: true,
        ..Refusal::new("daemon.params", format!("there is no {what} {text:?}"))
    };
    let kind = match params.kind.as_deref() {
        None => None,
        Some("run") => Some(WorkKind::Run),
        Some("job") => Some(WorkKind::Job),
        Some(other) => return Err(unusable("kind", other)),
    };
    let states = params.states.iter();
    let states = states.map(|word| JobState::of(word).ok_or_else(|| unusable("state", word)));
    let plugin = params.plugin.as_deref().map(PluginName::new);
    let filter = WorkFilter {
        kind,
        plugin: plugin.transpose().map_err(|error| work(error.into()))?,
        states: states.collect::<Result<_, _>>()?,
        limit: params.limit.unwrap_or(N_USUAL).min(N_AT_ONCE),
    };
    written(&resident.runtime.works().list(&filter).await.map_err(work)?)
}

async fn logs(resident: &Resident, params: LogsParams) -> Answer {
    let limit = params.limit.unwrap_or(N_AT_ONCE).min(N_AT_ONCE);
    let works = resident.runtime.works();
    let lines = works.logs(&params.id, params.after, limit).await;
    written(&lines.map_err(work)?)
}

/// Refuses to begin anything once the end was asked for.
fn stays(resident: &Resident) -> Result<(), Refusal> {
    match resident.control.is_stopping() {
        true => Err(Refusal::new(
            DRAINING,
            "the resident runtime is about to end",
        )),
        false => Ok(()),
    }
}

/// Refuses where this runtime is not what one made now would be.
async fn is_like(resident: &Resident, like: Option<&Like>) -> Result<(), Refusal> {
    let Some(like) = like else { return Ok(()) };
    if like.config != resident.options.config {
        return Err(Refusal::new(
            OTHER,
            "the resident runtime has another configuration",
        ));
    }
    match resident.runtime.changes().await {
        Ok(changes) if changes.is_empty() => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::new(
            OTHER,
            "plugins changed since the resident runtime loaded them; `kodex reload` takes them up",
        )),
    }
}

fn read<T: DeserializeOwned>(method: &str, params: &Json) -> Result<T, Refusal> {
    params.to().map_err(|error| bad_params(method, &error))
}

fn no_params(method: &str, params: &Json) -> Result<(), Refusal> {
    read(method, params).map(|NoParams {}| ())
}

fn written<T: Serialize>(value: &T) -> Result<Box<RawValue>, Refusal> {
    serde_json::value::to_raw_value(value).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_json::Error) -> Refusal {
    Refusal::new(
        "daemon.answer",
        format!("the answer cannot be written as JSON: {error}"),
    )
}

fn work(error: WorkError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}

fn load(error: LoadError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}

fn dispatch(error: DispatchError) -> Refusal {
    Refusal {
        usage: matches!(error, DispatchError::BadHook(_)),
        ..Refusal::new(error.code(), error.to_string())
    }
}

fn tool(error: ToolError) -> Refusal {
    Refusal {
        hint: outcome::advice(&error),
        ..Refusal::new(error.code(), error.to_string())
    }
}
