//! Everything that leaves the worker, and the host as the plugin sees it.

use std::{
    collections::HashMap,
    future::poll_fn,
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use kodex_plugin::{
    Failure, Host, HostCall, HostError, Json, Limits, PluginError,
    host::LogLevel,
    wire::{self, ErrorDetail, ErrorObject, FrameError, Id, code, method},
};
use serde::Serialize;
use serde_json::{json, value::RawValue};

/// Why a request gets an error for its answer.
#[derive(Debug)]
pub(super) struct Problem {
    number: i64,
    code: String,
    message: String,
}

impl Problem {
    fn new(number: i64, code: &str, message: impl Into<String>) -> Self {
        Self {
            number,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn unknown(message: String) -> Self {
        Self::new(code::METHOD_NOT_FOUND, "method.unknown", message)
    }

    pub(super) fn params(error: impl std::fmt::Display) -> Self {
        let message = format!("the parameters do not fit: {error}");
        Self::new(code::INVALID_PARAMS, "params.invalid", message)
    }

    pub(super) fn version(got: u32) -> Self {
        let message = format!(
            "contract version {got} is not spoken here, only {}",
            wire::CONTRACT_VERSION
        );
        Self::new(
            code::INVALID_PARAMS,
            "contract.version.unsupported",
            message,
        )
    }

    pub(super) fn other_name(wanted: &str, name: &str) -> Self {
        let message = format!("this is {name:?}, not {wanted:?}");
        Self::new(code::INVALID_PARAMS, "plugin.name.different", message)
    }

    pub(super) fn initialized() -> Self {
        Self::new(
            code::INVALID_REQUEST,
            "wire.initialized",
            "the handshake was already made",
        )
    }

    pub(super) fn not_initialized() -> Self {
        Self::new(
            code::NOT_INITIALIZED,
            "not_initialized",
            "the handshake comes first",
        )
    }

    pub(super) fn cancelled() -> Self {
        Self::new(code::CANCELLED, "call.cancelled", "the call was cancelled")
    }

    pub(super) fn panicked(message: &str) -> Self {
        Self::new(
            code::RAISED,
            "plugin.raised",
            format!("the plugin panicked: {message}"),
        )
    }

    pub(super) fn too_long(limits: &Limits) -> Self {
        let message = format!("the line has more than {} bytes", limits.frame_bytes);
        Self::new(code::PARSE, "wire.frame.too_long", message)
    }

    pub(super) fn frame(error: &FrameError) -> Self {
        let number = match error {
            FrameError::Json(_) => code::PARSE,
            _ => code::INVALID_REQUEST,
        };
        Self::new(number, error.code(), error.to_string())
    }

    pub(super) fn plugin(error: PluginError) -> Self {
        let number = match error.failure {
            Failure::Domain => code::DOMAIN,
            Failure::Cancelled => code::CANCELLED,
            _ => code::RAISED,
        };
        Self::new(number, &error.code, error.message)
    }
}

/// The output, and the questions that the host has yet to answer.
pub(super) struct Outbox<W> {
    out: Mutex<Out<W>>,
    limit: usize,
}

struct Out<W> {
    writer: W,
    buffer: Vec<u8>,
    last_id: u64,
    asked: HashMap<u64, Option<Result<Json, HostError>>>,
}

impl<W: Write> Outbox<W> {
    pub(super) fn new(writer: W, limit: usize) -> Self {
        Self {
            out: Mutex::new(Out {
                writer,
                buffer: Vec::new(),
                last_id: 0,
                asked: HashMap::new(),
            }),
            limit,
        }
    }

    /// A handler that panicked while it logged left at most a whole line behind.
    fn out(&self) -> MutexGuard<'_, Out<W>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        let mut out = self.out();
        let Out { writer, buffer, .. } = &mut *out;
        writer.write_all(buffer)?;
        writer.flush()?;
        buffer.clear();
        Ok(())
    }

    pub(super) fn answer(&self, id: &Id, result: impl Serialize) -> io::Result<()> {
        let line = wire::write_result(id, result)?;
        if line.len() <= self.limit {
            self.add(&line);
            return Ok(());
        }
        let message = format!("the reply has more than {} bytes", self.limit);
        self.refuse(
            Some(id),
            &Problem::new(code::RAISED, "plugin.reply.too_large", message),
        )
    }

    pub(super) fn refuse(&self, id: Option<&Id>, problem: &Problem) -> io::Result<()> {
        let error = ErrorObject {
            code: problem.number,
            message: problem.message.clone(),
            data: Some(ErrorDetail {
                code: Some(problem.code.clone()),
                traceback: None,
            }),
        };
        let line = match id {
            Some(id) => wire::write_error(id, &error)?,
            // What was no request has no id to answer to.
            None => format!(
                "{}\n",
                json!({"jsonrpc": "2.0", "id": null, "error": error})
            )
            .into(),
        };
        self.add(&line);
        Ok(())
    }

    /// Takes an answer of the host; one that nobody waits for is dropped.
    pub(super) fn answered(&self, id: &Id, result: Result<&RawValue, ErrorObject>) {
        let Id::Number(id) = id else { return };
        if let Some(slot @ None) = self.out().asked.get_mut(id) {
            *slot = Some(match result {
                Ok(result) => Ok(Json::checked(result.to_owned())),
                Err(error) => {
                    let code = error.data.and_then(|data| data.code);
                    Err(HostError::new(
                        code.unwrap_or_else(|| "host.failed".into()),
                        error.message,
                    ))
                }
            });
        }
    }

    fn add(&self, line: &[u8]) {
        self.out().buffer.extend_from_slice(line);
    }

    fn ask(&self, method: &str, params: &Json) -> Result<Ticket<'_, W>, HostError> {
        let mut out = self.out();
        out.last_id += 1;
        let id = out.last_id;
        let line = wire::write_request(&Id::Number(id), method, params)
            .map_err(|error| HostError::new("params.invalid", error.to_string()))?;
        out.buffer.extend_from_slice(&line);
        out.asked.insert(id, None);
        Ok(Ticket { outbox: self, id })
    }
}

/// One question; forgotten when the call that asked is dropped.
struct Ticket<'a, W: Write> {
    outbox: &'a Outbox<W>,
    id: u64,
}

impl<W: Write> Drop for Ticket<'_, W> {
    fn drop(&mut self) {
        self.outbox.out().asked.remove(&self.id);
    }
}

impl<W: Write + Send + 'static> Host for Outbox<W> {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        Box::pin(async move {
            let ticket = self.ask(method, &params)?;
            // Nobody needs to be woken: after each line from the host everything is polled again.
            poll_fn(
                |_| match self.out().asked.get_mut(&ticket.id).and_then(Option::take) {
                    Some(answer) => Poll::Ready(answer),
                    None => Poll::Pending,
                },
            )
            .await
        })
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        let line = wire::Log {
            level,
            message: message.to_owned(),
            fields: Some(fields.clone()),
        };
        if let Ok(line) = wire::write_notification(method::LOG, line) {
            self.add(&line);
            // At once, so that it is not lost with a plugin that hangs. When the pipe is broken,
            // the next answer finds out.
            let _ = self.flush();
        }
    }
}
