//! One child process from its start to its end: text to its standard input, its output in lines, its whole
//! group ended at the deadline or when nobody waits for it any more.

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

use kodex_backend::supervise::{self, Exit, Group, Spec};
use kodex_store::queue::{LINE_BYTES, LogLine, LogStream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    time::Instant,
};

use super::runner::RunLog;

/// How long a group may take to go after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// Most bytes that a program may write before it is taken for one that floods.
const FLOOD_BYTES: usize = 64 << 20;
/// Bytes of output that go to the log as they come; of what follows only the end goes there.
const LOGGED_BYTES: usize = 4 << 20;
/// What a line costs besides its text: a flood of short ones is one as well.
const LINE_COST: usize = 64;
/// Bytes of the end of each stream that are kept.
const TAIL_BYTES: usize = 160 << 10;
/// How long lines wait for company on their way to the log.
const TOGETHER: Duration = Duration::from_millis(200);

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) cwd: PathBuf,
    pub(super) timeout: Duration,
}

/// How it went.
pub(super) struct Ran {
    pub(super) how: How,
    /// The end of the standard output.
    pub(super) out: String,
    /// The end of the standard error.
    pub(super) err: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By itself.
    Exit(Exit),
    /// Its time was over.
    Late,
    /// It wrote too much.
    Flood,
}

/// Runs a program. Dropping the future ends its group.
///
/// # Errors
/// What the system says when it cannot be started.
pub(super) async fn run(start: &Start, input: &str, log: Option<&RunLog>) -> io::Result<Ran> {
    let spec = Spec {
        program: start.program.clone(),
        args: start.args.clone(),
        env: start.env.clone(),
        cwd: start.cwd.clone(),
        mark: supervise::mark(),
    };
    let running = supervise::spawn(&spec)?;
    let group = running.group;
    let mut streams = Streams::new(running.stdout, running.stderr, log);
    let deadline = Instant::now() + start.timeout;
    // What a program does not read is its own affair.
    let feed = async {
        let mut stdin = running.stdin;
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        std::future::pending::<()>().await;
    };
    let how = tokio::select! {
        () = feed => How::Late,
        flood = streams.read() => match flood {
            Flow::Ended => wait(&group, deadline).await,
            Flow::Flooded => How::Flood,
        },
        // The leader's end ends the run, even where something that it started holds the pipes open.
        () = group.ended() => How::Exit(Exit::Unknown),
        () = tokio::time::sleep_until(deadline) => How::Late,
    };
    let grace = if matches!(how, How::Exit(_)) {
        Duration::ZERO
    } else {
        GRACE
    };
    let exit = group.end(grace).await;
    streams.rest().await;
    let how = match how {
        How::Exit(_) => How::Exit(exit),
        how => how,
    };
    let (out, err) = streams.finish().await;
    Ok(Ran { how, out, err })
}

async fn wait(group: &Group, deadline: Instant) -> How {
    tokio::select! {
        () = group.ended() => How::Exit(Exit::Unknown),
        () = tokio::time::sleep_until(deadline) => How::Late,
    }
}

enum Flow {
    Ended,
    Flooded,
}

/// The two outputs of a process.
struct Streams<'a> {
    out: Lines<pipe::Receiver>,
    err: Lines<pipe::Receiver>,
    log: Option<&'a RunLog>,
    waiting: Vec<LogLine>,
    n_logged: usize,
    n_dropped: usize,
}

impl<'a> Streams<'a> {
    fn new(out: pipe::Receiver, err: pipe::Receiver, log: Option<&'a RunLog>) -> Self {
        Self {
            out: Lines::new(out, LogStream::Out),
            err: Lines::new(err, LogStream::Err),
            log,
            waiting: Vec::new(),
            n_logged: 0,
            n_dropped: 0,
        }
    }

    /// Reads until both are closed or too much has come.
    async fn read(&mut self) -> Flow {
        let mut flush_at: Option<Instant> = None;
        while !(self.out.is_closed && self.err.is_closed) {
            if self.out.n_bytes + self.err.n_bytes > FLOOD_BYTES {
                return Flow::Flooded;
            }
            let due = flush_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                lines = self.out.more(), if !self.out.is_closed => self.waiting.extend(lines),
                lines = self.err.more(), if !self.err.is_closed => self.waiting.extend(lines),
                () = tokio::time::sleep_until(due), if flush_at.is_some() => {
                    self.flush().await;
                    flush_at = None;
                    continue;
                }
            }
            if !self.waiting.is_empty() && flush_at.is_none() {
                flush_at = Some(Instant::now() + TOGETHER);
            }
            if self.waiting.len() >= 500 {
                self.flush().await;
                flush_at = None;
            }
        }
        Flow::Ended
    }

    /// Reads what a process that has ended left in its pipes.
    async fn rest(&mut self) {
        // Something that it started may hold a pipe open, and everything it started is gone in a moment.
        let _ = tokio::time::timeout(Duration::from_millis(500), self.read()).await;
    }

    async fn flush(&mut self) {
        let lines = std::mem::take(&mut self.waiting);
        let Some(log) = self.log else { return };
        if self.n_logged > LOGGED_BYTES {
            self.n_dropped += lines.len();
            return;
        }
        self.n_logged += lines
            .iter()
            .map(|line| line.text.len() + LINE_COST)
            .sum::<usize>();
        log.write(lines).await;
    }

    async fn finish(mut self) -> (String, String) {
        for stream in [&mut self.out, &mut self.err] {
            self.waiting.extend(stream.last());
        }
        self.flush().await;
        if let (Some(log), true) = (self.log, self.n_dropped > 0) {
            log.note(format!("{} more lines are not in this log", self.n_dropped))
                .await;
        }
        (self.out.tail(), self.err.tail())
    }
}

/// One output in lines.
struct Lines<R> {
    from: R,
    stream: LogStream,
    chunk: Vec<u8>,
    line: Vec<u8>,
    tail: Vec<u8>,
    n_bytes: usize,
    n_lines: usize,
    /// Some of it is not in the log.
    is_cut: bool,
    is_closed: bool,
}

impl Lines<pipe::Receiver> {
    fn new(from: pipe::Receiver, stream: LogStream) -> Self {
        Self {
            from,
            stream,
            chunk: vec![0; 16 << 10],
            line: Vec::new(),
            tail: Vec::new(),
            n_bytes: 0,
            n_lines: 0,
            is_cut: false,
            is_closed: false,
        }
    }

    /// Reads once. Dropping it between two reads loses nothing.
    async fn more(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        let n = match self.from.read(&mut self.chunk).await {
            Ok(0) | Err(_) => {
                self.is_closed = true;
                return lines;
            }
            Ok(n) => n,
        };
        self.n_bytes += n;
        self.tail.extend_from_slice(&self.chunk[..n]);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
        if self.n_bytes + self.n_lines * LINE_COST > LOGGED_BYTES {
            // What is not logged any more is not taken apart either: a flood must not cost more than reading.
            self.line.clear();
            self.is_cut = true;
            return lines;
        }
        let chunk = std::mem::take(&mut self.chunk);
        for (at, part) in chunk[..n].split(|byte| *byte == b'\n').enumerate() {
            if at > 0 {
                self.n_lines += 1;
                lines.extend(self.last());
            }
            // The rest of a long line is not in the log; the answer has it.
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
        }
        self.chunk = chunk;
        lines
    }

    /// The line that has come so far.
    fn last(&mut self) -> Option<LogLine> {
        let line = std::mem::take(&mut self.line);
        let mut text = String::from_utf8_lossy(&line).replace('\0', "");
        text.truncate(text.floor_char_boundary(LINE_BYTES));
        let text = text.trim_end_matches('\r').to_owned();
        (!text.is_empty()).then_some(LogLine {
            stream: self.stream,
            text,
        })
    }

    fn tail(&self) -> String {
        let from = self.tail.len().saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(&self.tail[from..]).into_owned()
    }
}
