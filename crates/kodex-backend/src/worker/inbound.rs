//! The reading end of a worker's standard output: bytes to lines, one read at a time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use kodex_plugin::Limits;
use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe,
};

use super::{
    bucket::Bucket,
    lines::{Lines, TooLong},
};

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes; look for lines.
    Some,
    /// Nothing, and nothing will come.
    End,
}

#[derive(Debug)]
pub(super) struct Inbound {
    pipe: pipe::Receiver,
    lines: Lines,
    pub(super) bucket: Bucket,
    pub(super) requests: Bucket,
    /// Since when the line that has no end yet is being received.
    partial_since: Option<Instant>,
    /// Reading rests because the worker sends too much.
    pub(super) paused_until: Option<Instant>,
    pub(super) ended_at: Option<Instant>,
}

impl Inbound {
    pub(super) fn new(pipe: pipe::Receiver, limits: &Limits, patience: Duration) -> Self {
        Self {
            pipe,
            lines: Lines::new(limits.frame_bytes),
            bucket: Bucket::new(limits, patience),
            requests: Bucket::of_requests(limits, patience),
            partial_since: None,
            paused_until: None,
            ended_at: None,
        }
    }

    /// One read, when the pipe has something.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let mut room = ReadBuf::new(self.lines.room());
        match Pin::new(&mut self.pipe).poll_read(cx, &mut room) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                let n = room.filled().len();
                Poll::Ready(match result {
                    Ok(()) if n > 0 => {
                        self.lines.filled(n);
                        Read::Some
                    }
                    // A pipe that cannot be read any more has ended, whatever it says.
                    _ => Read::End,
                })
            }
        }
    }

    /// One read of what is in the pipe now, without asking the runtime: for the last words of a
    /// process that is gone.
    pub(super) fn read_rest(&mut self) -> Read {
        loop {
            return match rustix::io::read(&self.pipe, self.lines.room()) {
                Ok(n) if n > 0 => {
                    self.lines.filled(n);
                    Read::Some
                }
                Err(Errno::INTR) => continue,
                _ => Read::End,
            };
        }
    }

    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, TooLong> {
        self.lines.next_line()
    }

    /// To be called when all whole lines are taken; `had_lines` says whether there were any.
    pub(super) fn note_partial(&mut self, had_lines: bool, now: impl Fn() -> Instant) {
        if self.lines.partial().is_empty() {
            self.partial_since = None;
        } else if had_lines || self.partial_since.is_none() {
            self.partial_since = Some(now());
        }
    }

    pub(super) fn partial_since(&self) -> Option<Instant> {
        // While reading rests, it is not the worker who stalls.
        match self.paused_until {
            Some(_) => None,
            None => self.partial_since,
        }
    }

    pub(super) fn partial(&self) -> &[u8] {
        self.lines.partial()
    }
}
