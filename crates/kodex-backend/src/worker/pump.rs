//! What goes on in one process besides its calls: the log, deadlines, slow writes, requests to the
//! host, the end. One future per process, driven by its session.
//!
//! While a caller reads its own answers the pump only ticks; when the pipe is quiet it takes the
//! reading over and sleeps until something happens. It decides that a process has to end, and why;
//! ending it is the session's.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use kodex_plugin::PluginError;
use tokio::{
    net::unix::pipe,
    time::{sleep, timeout},
};

use super::{host_calls::HostCalls, link::Link, table::Leader};
use crate::codes;

/// How often the pump looks whether a caller that leads still reads. It bounds what a caller that
/// is never polled again can delay, and what a plugin says right after an answer is delayed.
const TICK: Duration = Duration::from_millis(5);
/// How long a process whose pipe is closed may take to be gone, before it counts as alive.
const AFTER_CLOSE: Duration = Duration::from_millis(100);
/// One read of standard error.
const LOG_PIECE: usize = 16 << 10;
/// Reads of standard error after the end, so that a grandchild that keeps writing delays nothing.
const LAST_LOG_READS: usize = 16;

/// Why the pump stopped.
#[derive(Debug)]
pub(super) enum Over {
    /// The process is gone.
    Gone,
    /// It has to go.
    Fault(PluginError),
}

pub(super) struct Pump {
    log: Option<pipe::Receiver>,
    calls: HostCalls,
    tick_at: Option<Instant>,
    /// What was read at the last tick.
    n_read: u64,
}

impl Pump {
    pub(super) fn new(link: &Link, log: pipe::Receiver) -> Self {
        Self {
            log: Some(log),
            calls: HostCalls::new(link.host.clone()),
            tick_at: None,
            n_read: 0,
        }
    }

    /// Runs until the process is gone or has to go. May be dropped and called again.
    pub(super) async fn run(&mut self, link: &Link) -> Over {
        loop {
            if let Some(error) = link.closed() {
                return Over::Fault(error);
            }
            // Calls that begin together leave together.
            link.outbound().flush(|| link.clock.now());
            let wakes_at = match self.plan(link) {
                Ok(wakes_at) => wakes_at,
                Err(error) => return Over::Fault(error),
            };
            self.calls.take(link);
            let draining = link.outbound().has_waiting();
            let reading = {
                let inbound = link.inbound();
                inbound.ended_at.is_none() && inbound.paused_until.is_none()
            };
            let now = link.clock.now();
            let nap = wakes_at.map(|at| at.saturating_duration_since(now));
            let (log, calls) = (&mut self.log, &mut self.calls);
            tokio::select! {
                biased;
                () = link.pump.notified() => {}
                () = poll_fn(|cx| link.poll_as_pump(cx)), if reading => {}
                () = poll_fn(|cx| link.outbound().poll_drain(cx, || link.clock.now())), if draining => {}
                () = calls.finish_one(link) => {}
                () = read_log(log, link) => {}
                () = link.group.ended() => return Over::Gone,
                () = nap_for(nap) => {}
            }
        }
    }

    /// Finds out what is due, and when to look again.
    fn plan(&mut self, link: &Link) -> Result<Option<Instant>, PluginError> {
        // Whoever begins a request from here on wakes the pump, so nothing is missed.
        link.table().pump_wakes_at = None;
        let now = link.clock.now();
        let mut alarm = Alarm::default();
        self.plan_reading(link, now, &mut alarm)?;
        plan_writing(link, now, &mut alarm)?;
        let expired = link.expire(now);
        if expired.end {
            return Err(codes::KILLED.error(
                "the process was ended because a call overran its deadline and was not given up \
                 when it was cancelled",
            ));
        }
        alarm.at(expired.next_at);
        alarm.at(self.plan_leader(link, now));
        link.table().pump_wakes_at = alarm.0;
        Ok(alarm.0)
    }

    fn plan_reading(
        &mut self,
        link: &Link,
        now: Instant,
        alarm: &mut Alarm,
    ) -> Result<(), PluginError> {
        let paused_until = link.inbound().paused_until;
        if paused_until.is_some_and(|until| until <= now) {
            link.resume();
        }
        let inbound = link.inbound();
        alarm.at(inbound.paused_until);
        if let Some(since) = inbound.partial_since() {
            let due_at = since + link.limits.frame_timeout;
            alarm.at(Some(due_at));
            if due_at <= now {
                return Err(codes::FRAME_STALLED.error(format!(
                    "the process began a line, wrote {} bytes of it and did not finish it within {:?}",
                    inbound.partial().len(),
                    link.limits.frame_timeout
                )));
            }
        }
        if let Some(ended_at) = inbound.ended_at {
            let due_at = ended_at + AFTER_CLOSE;
            alarm.at(Some(due_at));
            if due_at <= now {
                return Err(codes::STDOUT_CLOSED.error(
                    "the process closed its standard output and is still running; no answer can come any more",
                ));
            }
        }
        Ok(())
    }

    /// Who reads from now on. The pump takes over from a caller that read nothing for a tick, and
    /// when nobody waits for an answer any more.
    fn plan_leader(&mut self, link: &Link, now: Instant) -> Option<Instant> {
        let mut table = link.table();
        if table.leader == Leader::Pump {
            self.tick_at = None;
            return None;
        }
        match self.tick_at {
            Some(tick_at) if now < tick_at => return Some(tick_at),
            Some(_) if link.n_read() == self.n_read => {
                table.leader = Leader::Pump;
                self.tick_at = None;
                return None;
            }
            Some(_) | None => {}
        }
        self.n_read = link.n_read();
        self.tick_at = Some(now + TICK);
        self.tick_at
    }

    /// Reads what a process that is gone left in its pipes.
    pub(super) fn read_rest(&mut self, link: &Link) {
        link.drive_rest();
        self.read_last_log(link);
    }

    /// Reads what stands in the log now.
    pub(super) fn read_last_log(&mut self, link: &Link) {
        let Some(log) = &self.log else {
            return;
        };
        let mut piece = vec![0; LOG_PIECE];
        for _ in 0..LAST_LOG_READS {
            match rustix::io::read(log, &mut piece[..]) {
                Ok(n) if n > 0 => link.tail().push(&piece[..n]),
                _ => return,
            }
        }
    }
}

/// The earliest of several moments.
#[derive(Debug, Default)]
struct Alarm(Option<Instant>);

impl Alarm {
    fn at(&mut self, at: Option<Instant>) {
        self.0 = match (self.0, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
    }
}

fn plan_writing(link: &Link, now: Instant, alarm: &mut Alarm) -> Result<(), PluginError> {
    let outbound = link.outbound();
    if let Some(since) = outbound.waiting_since() {
        let due_at = since + link.times.write_timeout;
        alarm.at(Some(due_at));
        if due_at <= now {
            return Err(codes::WRITE_STALLED.error(format!(
                "the process read nothing from its standard input for {:?} though something waits there",
                link.times.write_timeout
            )));
        }
    }
    if let Some(broken_at) = outbound.broken_at() {
        let due_at = broken_at + AFTER_CLOSE;
        alarm.at(Some(due_at));
        if due_at <= now {
            return Err(codes::STDIN_CLOSED.error(
                "the process closed its standard input and is still running; no call can reach it any more",
            ));
        }
    }
    Ok(())
}

async fn nap_for(nap: Option<Duration>) {
    match nap {
        Some(nap) => sleep(nap).await,
        None => std::future::pending().await,
    }
}

/// One read of the log. Never ready again once it is closed.
async fn read_log(log: &mut Option<pipe::Receiver>, link: &Link) {
    let Some(pipe) = log else {
        return std::future::pending().await;
    };
    if pipe.readable().await.is_err() {
        *log = None;
        return;
    }
    let mut piece = [0; LOG_PIECE];
    match pipe.try_read(&mut piece) {
        Ok(0) => *log = None,
        Ok(n) => link.tail().push(&piece[..n]),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(_) => *log = None,
    }
}

/// Waits for something at most this long; whether it came.
pub(super) async fn within(span: Duration, future: impl Future<Output = ()>) -> bool {
    timeout(span, future).await.is_ok()
}
