//! What the host says to a process: calls, requests of the protocol, answers, cancel messages.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use kodex_plugin::{
    Json, PluginError, Request,
    wire::{Id, code, method},
};

use super::Link;
use crate::{
    codes,
    worker::{
        answer::Expected,
        flight::Flight,
        outbound::{Refused, Sent, Urgency, push_document, push_number, push_text},
        table::Barred,
    },
};

/// Why a request was not sent.
#[derive(Debug)]
pub(in crate::worker) enum Unsent {
    /// The process takes none, at least for the moment; another one may.
    Barred(Barred),
    /// No process would take this one now.
    Refused(PluginError),
}

impl Unsent {
    /// For requests that are not sent anywhere else.
    pub(in crate::worker) fn into_error(self) -> PluginError {
        match self {
            Self::Barred(Barred::Closed(error)) | Self::Refused(error) => error,
            Self::Barred(Barred::OnProbation | Barred::Full) => {
                codes::TIMEOUT.error("an overdue call keeps the process busy")
            }
        }
    }
}

impl Link {
    /// Sends one call. Fails without having sent anything.
    pub(in crate::worker) fn call(
        self: &Arc<Self>,
        request: &Request<'_>,
    ) -> Result<Flight, Unsent> {
        let now = self.clock.now();
        let left = request.deadline.at.saturating_duration_since(now);
        let left = kodex_plugin::clock::millis(left);
        let until = self.clock.unix_ms().saturating_add(left);
        let payload = request.payload.text();
        // A caller has texts and truth values alone, which always are JSON.
        let caller = request.caller.and_then(|caller| Json::of(caller).ok());
        self.begin(request.deadline.at, Expected::Reply, method::CALL, |out| {
            out.extend_from_slice(b"{\"kind\":\"");
            out.extend_from_slice(request.kind.as_str().as_bytes());
            out.extend_from_slice(b"\",\"name\":");
            push_text(out, request.name);
            out.extend_from_slice(b",\"payload\":");
            push_document(out, payload);
            out.extend_from_slice(b",\"timeout_ms\":");
            push_number(out, left);
            out.extend_from_slice(b",\"deadline_unix_ms\":");
            push_number(out, until);
            if let Some(caller) = &caller {
                out.extend_from_slice(b",\"caller\":");
                push_document(out, caller.text());
            }
            out.push(b'}');
        })
    }

    /// Sends a request of the protocol itself and gives its whole result.
    pub(in crate::worker) fn request(
        self: &Arc<Self>,
        method: &str,
        params: &str,
        deadline_at: Instant,
    ) -> Result<Flight, Unsent> {
        self.begin(deadline_at, Expected::Result, method, |out| {
            push_document(out, params);
        })
    }

    fn begin(
        self: &Arc<Self>,
        deadline_at: Instant,
        expected: Expected,
        method: &str,
        params: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Flight, Unsent> {
        let (id, urgency, wake_pump) = {
            let mut table = self.table();
            let id = table
                .insert(deadline_at, expected)
                .map_err(|barred| match barred {
                    Barred::Full => Unsent::Refused(self.refused(Refused::Full)),
                    barred => Unsent::Barred(barred),
                })?;
            let early = |wakes_at: Instant| deadline_at < wakes_at;
            let urgency = match table.is_alone(id) {
                true => Urgency::Now,
                // Its neighbours are as likely to be sent in this moment.
                false => Urgency::Together,
            };
            (id, urgency, table.pump_wakes_at.is_none_or(early))
        };
        self.began(id);
        let sent = self.send(urgency, |out| {
            out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
            push_number(out, id);
            out.extend_from_slice(b",\"method\":\"");
            out.extend_from_slice(method.as_bytes());
            out.extend_from_slice(b"\",\"params\":");
            params(out);
            out.push(b'}');
        });
        if let Err(refused) = sent {
            self.table().withdraw(id);
            self.ended(id);
            return Err(Unsent::Refused(self.refused(refused)));
        }
        if wake_pump {
            self.pump.notify_one();
        }
        Ok(Flight::new(Arc::clone(self), id))
    }

    fn refused(&self, refused: Refused) -> PluginError {
        match refused {
            Refused::TooLong => codes::REQUEST_TOO_LONG.error(format!(
                "the payload does not fit into one line of {} bytes; nothing was sent",
                self.limits.frame_bytes
            )),
            Refused::Full => codes::WRITE_FULL
                .error("too many calls wait for the process already; nothing was sent"),
        }
    }

    /// Sends one line. The pump takes over what the pipe does not take at once.
    pub(in crate::worker) fn send(
        &self,
        urgency: Urgency,
        build: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Refused> {
        let mut outbound = self.outbound();
        let sent = outbound.send(|| self.clock.now(), urgency, build)?;
        let wake = sent == Sent::Buffered || outbound.broken_at().is_some();
        drop(outbound);
        if wake {
            self.pump.notify_one();
        }
        Ok(())
    }

    pub(super) fn send_cancel(&self, id: u64) {
        if !self.cancels.load(Ordering::Relaxed) {
            return;
        }
        // A cancel that finds no room is as good as one that is not read: the process ends in time.
        let _ = self.send(Urgency::Control, |out| {
            out.extend_from_slice(
                b"{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\",\"params\":{\"id\":",
            );
            push_number(out, id);
            out.extend_from_slice(b"}}");
        });
    }

    /// Answers a request of the plugin. A plugin that reads no answers is found by the pump.
    pub(in crate::worker) fn send_result(&self, id: &Id, result: &Json) {
        let sent = self.send(Urgency::Control, |out| {
            push_answer(out, id, "result");
            push_document(out, result.text());
            out.push(b'}');
        });
        if sent == Err(Refused::TooLong) {
            let text = format!("the answer has more than {} bytes", self.limits.frame_bytes);
            self.send_error(id, code::INTERNAL, "host.answer.too_long", &text);
        }
    }

    pub(in crate::worker) fn send_error(&self, id: &Id, number: i64, code: &str, message: &str) {
        let _ = self.send(Urgency::Control, |out| {
            push_answer(out, id, "error");
            out.extend_from_slice(format!("{{\"code\":{number},\"message\":").as_bytes());
            push_text(out, message);
            out.extend_from_slice(b",\"data\":{\"code\":");
            push_text(out, code);
            out.extend_from_slice(b"}}}");
        });
    }

    pub(in crate::worker) fn send_busy(&self, id: &Id) {
        self.send_error(
            id,
            code::RAISED,
            "host.busy",
            "too many requests wait for the host",
        );
    }
}

fn push_answer(out: &mut Vec<u8>, id: &Id, member: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    match id {
        Id::Number(number) => push_number(out, *number),
        Id::Text(text) => push_text(out, text),
    }
    out.extend_from_slice(b",\"");
    out.extend_from_slice(member.as_bytes());
    out.extend_from_slice(b"\":");
}
