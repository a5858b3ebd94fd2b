//! Frames to the worker. One write call per frame while the pipe has room; what does not fit waits
//! in a bounded buffer that the pump drains.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use rustix::io::Errno;
use tokio::{io::AsyncWrite, net::unix::pipe};

/// This many frames of the longest kind may wait for a worker that reads slowly.
const MAX_WAITING_FRAMES: usize = 8;
/// Frames that may be sent together are, up to so many bytes: less than any pipe holds.
const TOGETHER: usize = 16 << 10;
/// Room beyond that for cancel messages and the like, which must not wait for payloads.
const CONTROL_ROOM: usize = 64 << 10;
/// Buffers above this size are given back after use.
const KEEP: usize = 64 << 10;

/// How far a frame got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Into the pipe, or nowhere because the pipe is broken.
    Done,
    /// Into the buffer: the pump has to drain it.
    Buffered,
}

/// When a frame has to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// At once.
    Now,
    /// At once, and there is room for it when there is none for payloads.
    Control,
    /// When the pump comes by, so that it can leave with others in one write.
    Together,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The frame is longer than a line may be.
    TooLong,
    /// Too much waits already.
    Full,
}

#[derive(Debug)]
pub(super) struct Outbound {
    pipe: Option<pipe::Sender>,
    frame: Vec<u8>,
    waiting: Vec<u8>,
    written: usize,
    /// Since when bytes wait without any of them being read.
    waiting_since: Option<Instant>,
    broken_at: Option<Instant>,
    longest: usize,
}

impl Outbound {
    pub(super) fn new(pipe: pipe::Sender, longest: usize) -> Self {
        Self {
            pipe: Some(pipe),
            frame: Vec::with_capacity(1 << 10),
            waiting: Vec::new(),
            written: 0,
            waiting_since: None,
            broken_at: None,
            longest,
        }
    }

    /// Sends one line that `build` writes, without its newline.
    pub(super) fn send(
        &mut self,
        now: impl Fn() -> Instant,
        urgency: Urgency,
        build: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Sent, Refused> {
        self.frame.clear();
        build(&mut self.frame);
        if self.frame.len() > self.longest {
            self.frame = Vec::new();
            return Err(Refused::TooLong);
        }
        self.frame.push(b'\n');
        let n_waiting = self.waiting.len() - self.written;
        let together = urgency == Urgency::Together && n_waiting + self.frame.len() <= TOGETHER;
        if !together {
            self.flush(&now);
        }
        let n_written = if self.waiting.is_empty() && !together {
            self.write_now(&now)
        } else {
            0
        };
        let rest = &self.frame[n_written.min(self.frame.len())..];
        if rest.is_empty() || self.broken_at.is_some() {
            self.shrink();
            return Ok(Sent::Done);
        }
        let extra = match urgency {
            Urgency::Control => CONTROL_ROOM,
            Urgency::Now | Urgency::Together => 0,
        };
        let room = MAX_WAITING_FRAMES * (self.longest + 1) + extra;
        // A frame that was begun must be finished, whatever the bound says.
        if n_written == 0 && self.waiting.len() - self.written + rest.len() > room {
            return Err(Refused::Full);
        }
        self.waiting.extend_from_slice(rest);
        self.waiting_since.get_or_insert_with(now);
        self.shrink();
        Ok(Sent::Buffered)
    }

    fn write_now(&mut self, now: &impl Fn() -> Instant) -> usize {
        match write(self.pipe.as_ref(), &self.frame) {
            Ok(n) => n,
            Err(Broken) => {
                self.broken_at.get_or_insert_with(now);
                0
            }
        }
    }

    /// Writes of what waits as much as the pipe takes at once.
    pub(super) fn flush(&mut self, now: impl Fn() -> Instant) {
        if self.waiting.is_empty() {
            return;
        }
        match write(self.pipe.as_ref(), &self.waiting[self.written..]) {
            Ok(0) => {}
            Ok(n) => {
                self.written += n;
                self.waiting_since = Some(now());
            }
            Err(Broken) => {
                self.broken_at.get_or_insert_with(now);
            }
        }
        if self.written == self.waiting.len() || self.broken_at.is_some() {
            self.forget_waiting();
        }
    }

    /// Nothing waits any more. The buffer stays, unless it has grown large.
    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.waiting.shrink_to(KEEP);
        self.written = 0;
        self.waiting_since = None;
    }

    fn shrink(&mut self) {
        if self.frame.capacity() > KEEP {
            self.frame = Vec::with_capacity(1 << 10);
        }
    }

    /// Writes what waits. Ready when nothing waits any more or never will be read.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        now: impl Fn() -> Instant,
    ) -> Poll<()> {
        while self.written < self.waiting.len() {
            let Some(pipe) = &mut self.pipe else {
                break;
            };
            let rest = &self.waiting[self.written..];
            let result: Poll<io::Result<usize>> = Pin::new(pipe).poll_write(cx, rest);
            match result {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    self.waiting_since = Some(now());
                    // What is written is given back in big steps: copying stays cheap, and the
                    // buffer does not grow for as long as something waits.
                    if self.written > KEEP && self.written * 2 > self.waiting.len() {
                        self.waiting.drain(..self.written);
                        self.written = 0;
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.broken_at = Some(now());
                    break;
                }
            }
        }
        self.forget_waiting();
        Poll::Ready(())
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// When writing failed: the other side closed its end.
    pub(super) fn broken_at(&self) -> Option<Instant> {
        self.broken_at
    }

    /// Closes the pipe: the worker reads its end.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        self.waiting = Vec::new();
        self.written = 0;
        self.waiting_since = None;
    }
}

/// Nobody reads the pipe any more.
struct Broken;

/// One write that does not wait; how many bytes the pipe took.
fn write(pipe: Option<&pipe::Sender>, bytes: &[u8]) -> Result<usize, Broken> {
    let pipe = pipe.ok_or(Broken)?;
    loop {
        return match rustix::io::write(pipe, bytes) {
            Ok(n) => Ok(n),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(0),
            Err(_) => Err(Broken),
        };
    }
}

/// Writes a text as a JSON string.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing a text into memory cannot fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Writes a JSON document so that it stays on its line: outside strings a line break is a blank, and
/// inside strings JSON has none.
pub(super) fn push_document(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let start = out.len();
    out.extend_from_slice(bytes);
    // Almost no document has any, and looking for one byte is much faster than replacing.
    if bytes.contains(&b'\n') || bytes.contains(&b'\r') {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

/// Writes a whole number.
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a frame notes since when it waits; no test here looks at it"
)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Sends frames of these urgencies and lengths, and gives the lengths of what arrives: at once,
    /// and after a flush.
    async fn check(frames: &[(Urgency, usize)], want: (usize, usize)) {
        let (mut receiver, sender) = io::pipe().expect("a pipe");
        let sender = std::os::fd::OwnedFd::from(sender);
        let sender = pipe::Sender::from_owned_fd(sender).expect("a sender");
        let mut outbound = Outbound::new(sender, 1 << 20);
        for (urgency, len) in frames {
            let sent = outbound.send(Instant::now, *urgency, |out| out.resize(len - 1, b'x'));
            assert!(sent.is_ok());
        }
        let mut arrived = |n_expected: usize| {
            let mut bytes = vec![0; n_expected + 1];
            // Nothing is read where nothing may be: the pipe would wait.
            if n_expected == 0 {
                0
            } else {
                receiver.read(&mut bytes).expect("bytes")
            }
        };
        let at_once = arrived(want.0);
        outbound.flush(Instant::now);
        assert_eq!((at_once, arrived(want.1)), want, "{frames:?}");
        assert!(!outbound.has_waiting() && outbound.waiting_since().is_none());
    }

    #[tokio::test]
    async fn frames_leave_together_in_their_order_and_never_pile_up() {
        use Urgency::{Control, Now, Together};
        check(&[(Now, 10)], (10, 0)).await;
        check(&[(Together, 10)], (0, 10)).await;
        check(&[(Now, 10), (Together, 20), (Together, 30)], (10, 50)).await;
        // Whoever cannot wait takes along what stands before it.
        check(&[(Together, 10), (Control, 20)], (30, 0)).await;
        check(&[(Together, 10), (Now, 20), (Together, 5)], (30, 5)).await;
        // So does a frame that is too large to wait with the others.
        check(&[(Together, 10), (Together, TOGETHER)], (10 + TOGETHER, 0)).await;
    }

    #[test]
    fn what_is_written_is_json_on_one_line() {
        for text in ["plain", "quote \" and \\ and \n", "ünï\u{1}", ""] {
            let mut out = Vec::new();
            push_text(&mut out, text);
            assert!(!out.contains(&b'\n'));
            assert_eq!(
                serde_json::from_slice::<String>(&out).expect("a text"),
                text
            );
        }
        let mut out = Vec::new();
        push_document(&mut out, "{\r\n \"a\":\n \"b\\n\"}");
        assert_eq!(out, b"{   \"a\":  \"b\\n\"}");
        for number in [0, 7, 10, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
