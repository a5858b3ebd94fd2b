//! What a process says to the host: line by line, to whom it belongs.

use std::sync::atomic::Ordering;

use kodex_plugin::{
    Json, PluginError,
    wire::{self, Frame, FrameError, Id, Log, code, method},
};
use serde_json::value::RawValue;

use super::{INBOX_MAX, Incoming, Link, lock};
use crate::{
    codes,
    worker::{
        answer::{self, Expected, Misfit},
        bucket::Verdict,
        inbound::Inbound,
        lines::TooLong,
        table::{Answer, Delivered},
    },
};

/// Whether a line counts against the rate of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Answer,
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
                let cancelled = error.code == code::CANCELLED;
                Ok(self.deliver(id, own, cancelled, |_| Err(answer::read_error(&error))))
            }
            Ok(Frame::Response {
                id: Id::Text(_), ..
            }) => Ok(self.discard()),
            Ok(Frame::Request { id, method, params }) => {
                self.take_request(id, &method, params);
                Ok(Cost::Message)
            }
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

    fn discard(&self) -> Cost {
        self.table().n_discarded += 1;
        Cost::Message
    }

    fn take_request(&self, id: Id, method: &str, params: Option<&RawValue>) {
        let params = params.map_or_else(Json::object, |raw| Json::checked(raw.to_owned()));
        let method = method.to_owned();
        self.put(Incoming::Request { id, method, params });
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
                Ok(cancel) => self.put(Incoming::Cancel(cancel.id)),
                Err(_) => self.drop_one(),
            },
            _ => self.drop_one(),
        }
    }

    fn put(&self, incoming: Incoming) {
        let mut inbox = lock(&self.inbox);
        if inbox.len() < INBOX_MAX {
            inbox.push(incoming);
            drop(inbox);
            self.pump.notify_one();
            return;
        }
        drop(inbox);
        match incoming {
            Incoming::Request { id, .. } => self.send_busy(&id),
            Incoming::Cancel(_) => self.drop_one(),
        }
    }

    fn drop_one(&self) {
        self.n_dropped.fetch_add(1, Ordering::Relaxed);
    }
}
