//! What a process says to the host: line by line, to whom it belongs.

use std::sync::atomic::Ordering;

use kodex_plugin::{
    Json, PluginError,
    host::LogLevel,
    wire::{self, ErrorObject, Frame, FrameError, Id, Log, code, method},
};
use serde_json::value::RawValue;

use super::{INBOX_MAX, Incoming, Link, lock};
use crate::{
    codes,
    worker::{
        answer::{self, Expected, Misfit},
        bucket::{self, Verdict},
        inbound::Inbound,
        lines::TooLong,
        table::{Answer, Delivered},
    },
};

/// Whether a line counts against the rate of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Answer,
    /// A request that will be served.
    Request,
    /// What nobody asked for.
    Message,
}

/// Parameters of a cancel message from the plugin, whose ids may be texts.
#[derive(serde::Deserialize)]
struct CancelOwn {
    id: Id,
}

impl Link {
    /// Hands out the whole lines. Whether reading may go on. Who waits for `own` is reading here.
    pub(super) fn take_lines(&self, inbound: &mut Inbound, own: Option<u64>) -> bool {
        let mut n_lines = 0;
        let outcome = loop {
            let line = match inbound.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break Ok(()),
                Err(TooLong) => break Err(answer::LineFault::TooLong.error(&self.limits)),
            };
            n_lines += 1;
            let n_bytes = line.len();
            match self.take_line(line, own) {
                Ok(Cost::Answer) => {}
                // Requests are bounded by those that run and wait; their rate only pauses reading.
                Ok(Cost::Request) => match inbound.requests.take(self.clock.now(), n_bytes) {
                    Verdict::Fine => {}
                    Verdict::Pause(span) => {
                        inbound.paused_until = Some(self.clock.now() + span);
                        break Ok(());
                    }
                    Verdict::Flood => {
                        inbound.paused_until = Some(self.clock.now() + bucket::PAUSE);
                        break Ok(());
                    }
                },
                Ok(Cost::Message) => match inbound.bucket.take(self.clock.now(), n_bytes) {
                    Verdict::Fine => {}
                    Verdict::Pause(span) => {
                        inbound.paused_until = Some(self.clock.now() + span);
                        break Ok(());
                    }
                    Verdict::Flood => break Err(self.flood()),
                },
                Err(error) => break Err(error),
            }
        };
        self.n_read.fetch_add(n_lines, Ordering::Relaxed);
        inbound.note_partial(n_lines > 0, || self.clock.now());
        match outcome {
            Ok(()) => inbound.paused_until.is_none(),
            Err(error) => {
                self.close(&error);
                false
            }
        }
    }

    fn flood(&self) -> PluginError {
        codes::FLOOD.error(format!(
            "the process sent more than {} messages a second for too long",
            self.limits.messages_per_second
        ))
    }

    fn take_line(&self, line: &[u8], own: Option<u64>) -> Result<Cost, PluginError> {
        let fault = |error: &FrameError| answer::line_fault(line, error).error(&self.limits);
        answer::door(line, &self.limits).map_err(|error| fault(&error))?;
        if let Some((id, reply)) = answer::quick_reply(line) {
            return Ok(self.deliver(id, own, false, |expected| match expected {
                Expected::Reply => Ok(Some(Json::checked(reply.to_owned()))),
                Expected::Result => Err(codes::HANDSHAKE_INVALID.error(
                    "the plugin answered a request of the protocol with the reply to a call",
                )),
            }));
        }
        match wire::parse(line, &self.limits) {
            Ok(Frame::Response {
                id: Id::Number(id),
                result: Ok(result),
            }) => Ok(self.deliver(id, own, false, |expected| {
                answer::read_result(result, expected)
            })),
            Ok(Frame::Response {
                id: Id::Number(id),
                result: Err(error),
            }) => {
                self.log_traceback(&error);
                let cancelled = error.code == code::CANCELLED;
                Ok(self.deliver(id, own, cancelled, |_| Err(answer::read_error(&error))))
            }
            Ok(Frame::Response {
                id: Id::Text(_), ..
            }) => Ok(self.discard()),
            Ok(Frame::Request { id, method, params }) => Ok(self.take_request(id, &method, params)),
            Ok(Frame::Notification { method, params }) => {
                self.take_notification(&method, params);
                Ok(Cost::Message)
            }
            Err(error @ FrameError::Envelope(_)) => match answer::misfit(line) {
                Misfit::BadError(id) => {
                    Ok(self.deliver(id, own, false, |_| Err(answer::bad_error())))
                }
                Misfit::StrangeId => Ok(self.discard()),
                Misfit::NoMessage => Err(fault(&error)),
            },
            Err(error) => Err(fault(&error)),
        }
    }

    fn deliver(
        &self,
        id: u64,
        own: Option<u64>,
        cancelled: bool,
        answer: impl FnOnce(Expected) -> Answer,
    ) -> Cost {
        let mut table = self.table();
        match table.deliver(id, answer) {
            Delivered::Wanted(waker) => {
                drop(table);
                // Waking itself would cost the caller one more turn of its runtime.
                if own != Some(id)
                    && let Some(waker) = waker
                {
                    waker.wake();
                }
                Cost::Answer
            }
            Delivered::Late => {
                table.n_discarded += u64::from(!cancelled);
                drop(table);
                self.calm.notify_waiters();
                Cost::Answer
            }
            Delivered::Unknown => {
                table.n_discarded += 1;
                Cost::Message
            }
        }
    }

    /// Where the plugin's code raised is its author's business, and goes to the plugin's log.
    fn log_traceback(&self, error: &ErrorObject) {
        let traceback = error
            .data
            .as_ref()
            .and_then(|data| data.traceback.as_deref());
        if let Some(traceback) = traceback.filter(|text| !text.is_empty()) {
            self.host
                .log(LogLevel::Info, traceback.trim_end(), &Json::object());
        }
    }

    fn discard(&self) -> Cost {
        self.table().n_discarded += 1;
        Cost::Message
    }

    fn take_request(&self, id: Id, method: &str, params: Option<&RawValue>) -> Cost {
        let params = params.map_or_else(Json::object, |raw| Json::checked(raw.to_owned()));
        let method = method.to_owned();
        match self.put(Incoming::Request { id, method, params }) {
            true => Cost::Request,
            false => Cost::Message,
        }
    }

    fn take_notification(&self, method: &str, params: Option<&RawValue>) {
        let params = params.map_or("{}", RawValue::get);
        match method {
            method::LOG => match serde_json::from_str::<Log>(params) {
                Ok(log) => {
                    let fields = log.fields.unwrap_or_else(Json::object);
                    self.host.log(log.level, &log.message, &fields);
                }
                Err(_) => self.drop_one(),
            },
            method::CANCEL => match serde_json::from_str::<CancelOwn>(params) {
                Ok(cancel) => {
                    self.put(Incoming::Cancel(cancel.id));
                }
                Err(_) => self.drop_one(),
            },
            _ => self.drop_one(),
        }
    }

    /// Hands on what the plugin wants; says whether there was room.
    fn put(&self, incoming: Incoming) -> bool {
        let mut inbox = lock(&self.inbox);
        if inbox.len() < INBOX_MAX {
            inbox.push(incoming);
            drop(inbox);
            self.pump.notify_one();
            return true;
        }
        drop(inbox);
        match incoming {
            Incoming::Request { id, .. } => self.send_busy(&id),
            Incoming::Cancel(_) => self.drop_one(),
        }
        false
    }

    /// Says to the host that a request begins.
    pub(in crate::worker) fn began(&self, id: u64) {
        self.host.began(id);
    }

    /// Says to the host that a request is over.
    pub(in crate::worker) fn ended(&self, id: u64) {
        self.host.ended(id);
    }

    fn drop_one(&self) {
        self.n_dropped.fetch_add(1, Ordering::Relaxed);
    }
}
