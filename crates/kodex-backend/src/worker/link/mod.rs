//! One live process as its callers see it: frames out ([`say`]), answers in ([`hear`]).
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

use kodex_plugin::{Clock, Host, Json, Limits, PluginError, wire::Id};
use tokio::sync::Notify;

use super::{
    WorkerTimes,
    inbound::{Inbound, Read},
    outbound::Outbound,
    table::{Answer, Expired, Leader, Look, Table},
    tail::Tail,
};
use crate::{
    codes,
    supervise::{Group, Running},
};

mod hear;
mod say;

pub(super) use say::Unsent;

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

    /// Reads on behalf of everyone. Only who leads may call it; a caller says which request is its
    /// own, because it looks for its answer itself and needs not be woken.
    pub(super) fn drive(&self, own: Option<u64>, cx: &mut Context<'_>) -> Drive {
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
            Poll::Ready(Read::Some) => match self.take_lines(&mut inbound, own) {
                true => Drive::Progress,
                false => Drive::HandOver,
            },
        }
    }

    /// Reads what the process left in the pipe when it ended.
    pub(super) fn drive_rest(&self) {
        let mut inbound = self.inbound();
        while inbound.read_rest() == Read::Some && self.take_lines(&mut inbound, None) {}
    }

    /// Goes on after a rest, with what was received before it.
    pub(super) fn resume(&self) {
        let mut inbound = self.inbound();
        inbound.paused_until = None;
        self.take_lines(&mut inbound, None);
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
                    match self.drive(Some(id), cx) {
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
            match self.drive(None, cx) {
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
