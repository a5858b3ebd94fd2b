//! One live process as its callers see it: frames out, answers in.
//!
//! Whoever leads reads the pipe and hands each answer to its caller; see [`Leader`]. Locks are held
//! for the length of a system call at most, never across an await, and always in the order
//! inbound, table.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use kodex_plugin::{
    Clock, Host, Json, Limits, PluginError, Request,
    wire::{self, Frame, FrameError, Id, Log, code, method},
};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{
    WorkerTimes,
    answer::{self, Expected, Misfit},
    bucket::Verdict,
    flight::Flight,
    inbound::{Inbound, Read},
    lines::TooLong,
    outbound::{Outbound, Refused, Sent, push_document, push_number, push_text},
    table::{Answer, Barred, Delivered, Expired, Leader, Look, Table},
    tail::Tail,
};
use crate::{
    codes,
    supervise::{Group, Running},
};

/// Requests of the plugin that may wait for the pump.
const INBOX_MAX: usize = 256;

/// A message of the plugin that the pump answers.
#[derive(Debug)]
pub(super) enum Incoming {
    Request {
        id: Id,
        method: String,
        params: Json,
    },
    Cancel(Id),
}

/// Why a request was not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The process takes none, at least for the moment; another one may.
    Barred(Barred),
    /// No process would take this one now.
    Refused(PluginError),
}

impl Unsent {
    /// For requests that are not sent anywhere else.
    pub(super) fn into_error(self) -> PluginError {
        match self {
            Self::Barred(Barred::Closed(error)) | Self::Refused(error) => error,
            Self::Barred(Barred::OnProbation | Barred::Full) => {
                codes::TIMEOUT.error("an overdue call keeps the process busy")
            }
        }
    }
}

/// How far a leader got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drive {
    /// Lines were read; look again.
    Progress,
    /// The pipe is empty; the waker is registered.
    Pending,
    /// Only the pump can go on: the pipe ended, rests, or the process is given up.
    HandOver,
}

pub(super) struct Link {
    pub(super) group: Group,
    pub(super) limits: Limits,
    pub(super) times: WorkerTimes,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) host: Arc<dyn Host>,
    /// Wakes the pump: something changed that it has to look at.
    pub(super) pump: Notify,
    /// Wakes calls that wait for the end of a probation.
    calm: Notify,
    table: Mutex<Table>,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
    tail: Mutex<Tail>,
    inbox: Mutex<Vec<Incoming>>,
    cancels: AtomicBool,
    n_dropped: AtomicU64,
    /// Lines that were read, for the pump to see whether a leading caller still reads.
    n_read: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Takes over a started process, apart from its standard error.
    pub(super) fn new(
        running: Running,
        limits: Limits,
        times: WorkerTimes,
        clock: Arc<dyn Clock>,
        host: Arc<dyn Host>,
    ) -> (Self, tokio::net::unix::pipe::Receiver) {
        let link = Self {
            group: running.group,
            pump: Notify::new(),
            calm: Notify::new(),
            table: Mutex::new(Table::new()),
            inbound: Mutex::new(Inbound::new(running.stdout, &limits, times.flood_patience)),
            outbound: Mutex::new(Outbound::new(running.stdin, limits.frame_bytes)),
            tail: Mutex::new(Tail::new(limits.stderr_bytes)),
            inbox: Mutex::new(Vec::new()),
            cancels: AtomicBool::new(false),
            n_dropped: AtomicU64::new(0),
            n_read: AtomicU64::new(0),
            limits,
            times,
            clock,
            host,
        };
        (link, running.stderr)
    }

    pub(super) fn inbound(&self) -> MutexGuard<'_, Inbound> {
        lock(&self.inbound)
    }

    pub(super) fn outbound(&self) -> MutexGuard<'_, Outbound> {
        lock(&self.outbound)
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        lock(&self.tail)
    }

    pub(super) fn take_inbox(&self) -> Vec<Incoming> {
        std::mem::take(&mut *lock(&self.inbox))
    }

    /// The plugin said that it understands cancel messages.
    pub(super) fn allow_cancels(&self) {
        self.cancels.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.table().closed().is_some()
    }

    pub(super) fn n_read(&self) -> u64 {
        self.n_read.load(Ordering::Relaxed)
    }

    pub(super) fn n_discarded(&self) -> u64 {
        self.table().n_discarded
    }

    pub(super) fn n_dropped(&self) -> u64 {
        self.n_dropped.load(Ordering::Relaxed) + self.tail().n_dropped()
    }

    /// Sends one call. Fails without having sent anything.
    pub(super) fn call(self: &Arc<Self>, request: &Request<'_>) -> Result<Flight, Unsent> {
        let now = self.clock.now();
        let left = request.deadline.at.saturating_duration_since(now);
        let left = kodex_plugin::clock::millis(left);
        let until = self.clock.unix_ms().saturating_add(left);
        let payload = request.payload.text();
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
            out.push(b'}');
        })
    }

    /// Sends a request of the protocol itself and gives its whole result.
    pub(super) fn request(
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
        let (id, wake_pump) = {
            let mut table = self.table();
            let id = table
                .insert(deadline_at, expected)
                .map_err(|barred| match barred {
                    Barred::Full => Unsent::Refused(self.refused(Refused::Full)),
                    barred => Unsent::Barred(barred),
                })?;
            let early = |wakes_at: Instant| deadline_at < wakes_at;
            (id, table.pump_wakes_at.is_none_or(early))
        };
        let sent = self.send(false, |out| {
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
    pub(super) fn send(
        &self,
        control: bool,
        build: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Refused> {
        let mut outbound = self.outbound();
        let sent = outbound.send(|| self.clock.now(), control, build)?;
        let wake = sent == Sent::Buffered || outbound.broken_at().is_some();
        drop(outbound);
        if wake {
            self.pump.notify_one();
        }
        Ok(())
    }

    fn send_cancel(&self, id: u64) {
        if !self.cancels.load(Ordering::Relaxed) {
            return;
        }
        // A cancel that finds no room is as good as one that is not read: the process ends in time.
        let _ = self.send(true, |out| {
            out.extend_from_slice(
                b"{\"jsonrpc\":\"2.0\",\"method\":\"$/cancel\",\"params\":{\"id\":",
            );
            push_number(out, id);
            out.extend_from_slice(b"}}");
        });
    }

    /// Answers a request of the plugin. A plugin that reads no answers is found by the pump.
    pub(super) fn send_result(&self, id: &Id, result: &Json) {
        let sent = self.send(true, |out| {
            push_answer(out, id, "result");
            push_document(out, result.text());
            out.push(b'}');
        });
        if sent == Err(Refused::TooLong) {
            let text = format!("the answer has more than {} bytes", self.limits.frame_bytes);
            self.send_error(id, code::INTERNAL, "host.answer.too_long", &text);
        }
    }

    pub(super) fn send_error(&self, id: &Id, number: i64, code: &str, message: &str) {
        let _ = self.send(true, |out| {
            push_answer(out, id, "error");
            out.extend_from_slice(format!("{{\"code\":{number},\"message\":").as_bytes());
            push_text(out, message);
            out.extend_from_slice(b",\"data\":{\"code\":");
            push_text(out, code);
            out.extend_from_slice(b"}}}");
        });
    }

    /// Reads on behalf of everyone. Only who leads may call it.
    pub(super) fn drive(&self, cx: &mut Context<'_>) -> Drive {
        let mut inbound = self.inbound();
        if inbound.ended_at.is_some() || inbound.paused_until.is_some() {
            return Drive::HandOver;
        }
        match inbound.poll_read(cx) {
            Poll::Pending => Drive::Pending,
            Poll::Ready(Read::End) => {
                inbound.ended_at = Some(self.clock.now());
                Drive::HandOver
            }
            Poll::Ready(Read::Some) => match self.take_lines(&mut inbound) {
                true => Drive::Progress,
                false => Drive::HandOver,
            },
        }
    }

    /// Reads what the process left in the pipe when it ended.
    pub(super) fn drive_rest(&self) {
        let mut inbound = self.inbound();
        while inbound.read_rest() == Read::Some && self.take_lines(&mut inbound) {}
    }

    /// Goes on after a rest, with what was received before it.
    pub(super) fn resume(&self) {
        let mut inbound = self.inbound();
        inbound.paused_until = None;
        self.take_lines(&mut inbound);
    }

    /// Hands out the whole lines. Whether reading may go on.
    fn take_lines(&self, inbound: &mut Inbound) -> bool {
        let mut n_lines = 0;
        let outcome = loop {
            let line = match inbound.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break Ok(()),
                Err(TooLong) => break Err(answer::LineFault::TooLong.error(&self.limits)),
            };
            n_lines += 1;
            let n_bytes = line.len();
            match self.take_line(line) {
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

    fn take_line(&self, line: &[u8]) -> Result<Cost, PluginError> {
        let fault = |error: &FrameError| answer::line_fault(line, error).error(&self.limits);
        answer::door(line, &self.limits).map_err(|error| fault(&error))?;
        if let Some((id, reply)) = answer::quick_reply(line) {
            return Ok(self.deliver(id, false, |expected| match expected {
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
            }) => Ok(self.deliver(id, false, |expected| answer::read_result(result, expected))),
            Ok(Frame::Response {
                id: Id::Number(id),
                result: Err(error),
            }) => {
                let cancelled = error.code == code::CANCELLED;
                Ok(self.deliver(id, cancelled, |_| Err(answer::read_error(&error))))
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
                Misfit::BadError(id) => Ok(self.deliver(id, false, |_| Err(answer::bad_error()))),
                Misfit::StrangeId => Ok(self.discard()),
                Misfit::NoMessage => Err(fault(&error)),
            },
            Err(error) => Err(fault(&error)),
        }
    }

    fn deliver(&self, id: u64, cancelled: bool, answer: impl FnOnce(Expected) -> Answer) -> Cost {
        let mut table = self.table();
        let answer = match table.expected(id) {
            Some(expected) => answer(expected),
            None => Ok(None),
        };
        match table.deliver(id, answer) {
            Delivered::Wanted(waker) => {
                drop(table);
                if let Some(waker) = waker {
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

    pub(super) fn send_busy(&self, id: &Id) {
        self.send_error(
            id,
            code::RAISED,
            "host.busy",
            "too many requests wait for the host",
        );
    }

    fn drop_one(&self) {
        self.n_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A caller looks for its answer and reads for everyone if it is its turn.
    pub(super) fn poll_answer(&self, id: u64, cx: &mut Context<'_>) -> Poll<Answer> {
        loop {
            let look = self.table().look(id, cx.waker());
            match look {
                Look::Answered { answer, hand_over } => {
                    if hand_over {
                        self.pump.notify_one();
                    }
                    return Poll::Ready(answer);
                }
                Look::Follow => return Poll::Pending,
                Look::Lead { tell_pump } => {
                    if tell_pump {
                        self.pump.notify_one();
                    }
                    match self.drive(cx) {
                        Drive::Progress => {}
                        Drive::Pending => {
                            // The pump may have taken over in between; then it is its waker that
                            // must stand with the pipe.
                            if self.table().leader != Leader::Caller(id) {
                                self.pump.notify_one();
                            }
                            return Poll::Pending;
                        }
                        Drive::HandOver => {
                            self.table().leader = Leader::Pump;
                            self.pump.notify_one();
                        }
                    }
                }
            }
        }
    }

    /// The pump reads, as long as it leads.
    pub(super) fn poll_as_pump(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.table().leader != Leader::Pump {
                return Poll::Pending;
            }
            match self.drive(cx) {
                Drive::Progress => {}
                Drive::HandOver => return Poll::Ready(()),
                Drive::Pending => {
                    let waker = self.table().waker_of_leader();
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// A caller went away before it was answered.
    pub(super) fn abandon(&self, id: u64) {
        let (cancel, hand_over) = {
            let mut table = self.table();
            let cancel = table.abandon(id, self.clock.now(), self.times.cancel_grace);
            (cancel, table.step_down(id))
        };
        if cancel {
            self.send_cancel(id);
        }
        if cancel || hand_over {
            self.pump.notify_one();
        }
    }

    /// Moves on what is overdue and says when to look again, or that the process has to end.
    pub(super) fn expire(&self, now: Instant) -> Expired {
        let error = codes::TIMEOUT.error("the plugin did not answer before the deadline");
        let mut expired = self.table().expire(now, self.times.cancel_grace, &error);
        for id in &expired.cancel {
            self.send_cancel(*id);
        }
        for waker in expired.wakers.drain(..) {
            waker.wake();
        }
        expired
    }

    /// Gives the process up: everyone who waits gets the error. The first reason stays.
    pub(super) fn close(&self, error: &PluginError) {
        let wakers = self.table().close(error);
        for waker in wakers {
            waker.wake();
        }
        self.pump.notify_one();
        self.calm.notify_waiters();
    }

    /// Waits until it is known whether the process lives on.
    pub(super) async fn probation_over(&self) {
        loop {
            let calm = self.calm.notified();
            let mut calm = std::pin::pin!(calm);
            calm.as_mut().enable();
            if !self.table().is_on_probation() {
                return;
            }
            calm.await;
        }
    }

    pub(super) fn closed(&self) -> Option<PluginError> {
        self.table().closed().cloned()
    }
}

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
