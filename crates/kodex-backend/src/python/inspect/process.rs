//! One running inspector: requests go in a little ahead of their answers, and whatever ends the
//! exchange is blamed on the source at its front.

use std::{collections::VecDeque, ffi::OsString, io, time::Duration};

use tokio::{
    net::unix::pipe,
    time::{Instant, sleep_until, timeout},
};

use super::{
    InspectError, Inspection, Inspector, Subject,
    message::{self, Line, STRAY_LINES, flood, id_of, read_line, request},
};
use crate::{
    python::sdk,
    supervise::{self, Group, Spec},
    worker::{lines::Lines, tail::Tail},
};

/// Requests that may wait in the inspector's pipe. Without any, each source would cost a wake-up of
/// both sides more.
const N_AHEAD: usize = 16;

/// Requests are written ahead only up to about this many bytes, a pipe's default capacity.
const BYTES_AHEAD: usize = 64 << 10;

/// How long Python may take to start, on a loaded machine, before anything of a plugin runs.
const START: Duration = Duration::from_secs(20);

/// How long a process that closed its pipes may take to exit before it is ended.
const EXIT: Duration = Duration::from_millis(500);

/// How much of the log is read at a time, and how often that empties a full pipe.
const LOG_BYTES: usize = 8 << 10;
const PIPE_READS: usize = 16;

/// Why a process serves no more sources.
pub(super) enum Ending {
    /// All are done.
    Finished,
    /// The source after the last one done is to blame.
    Blamed(InspectError),
    /// Python or the SDK does not work; no source is to blame.
    Unusable(String),
}

pub(super) struct Process<'a> {
    inspector: &'a Inspector,
    group: Group,
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: Option<pipe::Receiver>,
    lines: Lines,
    log: Tail,
    outgoing: Vec<u8>,
    n_written: usize,
    is_up: bool,
    n_stray: usize,
}

/// What happened while waiting.
enum Happened {
    Nothing,
    /// Standard output has more bytes.
    Output,
    Ended,
    Late,
}

impl<'a> Process<'a> {
    pub(super) fn start(inspector: &'a Inspector) -> io::Result<Self> {
        let running = supervise::spawn(&Spec {
            program: inspector.program.clone(),
            args: vec![
                // Isolated: neither the folder nor variables nor the user's packages change what
                // is imported.
                OsString::from("-I"),
                inspector.sdk_dir.join(sdk::ENTRY).into(),
                OsString::from("--inspect"),
            ],
            env: inspector.env.clone(),
            cwd: inspector.cwd.clone(),
            mark: supervise::mark(),
        })?;
        Ok(Self {
            inspector,
            group: running.group,
            stdin: Some(running.stdin),
            stdout: running.stdout,
            stderr: Some(running.stderr),
            lines: Lines::new(inspector.limits.frame_bytes),
            log: Tail::new(inspector.limits.stderr_bytes),
            outgoing: Vec::new(),
            n_written: 0,
            is_up: false,
            n_stray: 0,
        })
    }

    /// Serves the subjects in order and appends an inspection for each that was answered.
    pub(super) async fn serve(
        mut self,
        subjects: &[Subject],
        done: &mut Vec<Inspection>,
    ) -> Ending {
        let ending = self.exchange(subjects, done).await;
        if matches!(ending, Ending::Finished) {
            // The end of its input is the inspector's sign to exit.
            self.stdin = None;
            let _ = timeout(EXIT, self.group.ended()).await;
        }
        self.group.end(Duration::ZERO).await;
        ending
    }

    async fn exchange(&mut self, subjects: &[Subject], done: &mut Vec<Inspection>) -> Ending {
        let mut turn = Turn {
            subjects,
            n_asked: 0,
            n_done: 0,
            refused: VecDeque::new(),
            done,
        };
        self.outgoing.extend(message::ready());
        let mut due_at = Instant::now() + START;
        loop {
            self.ask_ahead(&mut turn);
            turn.settle_refused();
            if turn.is_over() {
                return Ending::Finished;
            }
            let happened = match self.wait(due_at).await {
                // What it wrote last may have come between the two looks.
                Happened::Ended => self.fill(),
                other => other,
            };
            match happened {
                Happened::Nothing => {}
                Happened::Late => return self.late(),
                Happened::Ended => return self.ended().await,
                Happened::Output => {
                    let before = (self.is_up, turn.n_done);
                    if let Err(error) = self.read_answers(&mut turn) {
                        return Ending::Blamed(error);
                    }
                    if before != (self.is_up, turn.n_done) {
                        due_at = Instant::now() + self.inspector.deadline;
                    }
                }
            }
        }
    }

    /// Keeps a few requests in the pipe.
    fn ask_ahead(&mut self, turn: &mut Turn<'_>) {
        while turn.n_asked < turn.subjects.len()
            && turn.n_asked < turn.n_done + N_AHEAD
            && self.outgoing.len() - self.n_written < BYTES_AHEAD
        {
            let n = turn.n_asked;
            match request(id_of(n), &turn.subjects[n], &self.inspector.limits) {
                Ok(line) => self.outgoing.extend(line),
                Err(error) => turn.refused.push_back((n, error)),
            }
            turn.n_asked += 1;
        }
    }

    async fn wait(&mut self, due_at: Instant) -> Happened {
        let is_writing = self.n_written < self.outgoing.len();
        let (stdin, stderr) = (self.stdin.as_ref(), self.stderr.as_ref());
        // In this order: an answer that is there counts even at the last moment, and what a plugin
        // writes to its log without end keeps nobody from seeing that its time is over.
        tokio::select! {
            biased;
            _ = self.stdout.readable() => self.fill(),
            () = sleep_until(due_at) => Happened::Late,
            () = self.group.ended() => Happened::Ended,
            () = writable(stdin), if is_writing => {
                self.write();
                Happened::Nothing
            }
            () = readable(stderr) => {
                self.read_log();
                Happened::Nothing
            }
        }
    }

    fn fill(&mut self) -> Happened {
        match self.stdout.try_read(self.lines.room()) {
            Ok(0) => Happened::Ended,
            Ok(n) => {
                self.lines.filled(n);
                Happened::Output
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Happened::Nothing,
            Err(_) => Happened::Ended,
        }
    }

    fn write(&mut self) {
        let Some(stdin) = &self.stdin else {
            return;
        };
        match stdin.try_write(&self.outgoing[self.n_written..]) {
            Ok(n) => self.n_written += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It reads no more; that it ended, or the deadline, will say the rest.
            Err(_) => self.stdin = None,
        }
        if self.n_written == self.outgoing.len() {
            self.outgoing.clear();
            self.n_written = 0;
        }
    }

    /// Reads some of standard error; says whether there was any.
    fn read_log(&mut self) -> bool {
        let mut bytes = [0; LOG_BYTES];
        let Some(stderr) = &self.stderr else {
            return false;
        };
        match stderr.try_read(&mut bytes) {
            Ok(n @ 1..) => {
                self.log.push(&bytes[..n]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => self.stderr = None,
        }
        false
    }

    /// Takes the whole lines that are there.
    fn read_answers(&mut self, turn: &mut Turn<'_>) -> Result<(), InspectError> {
        let limits = &self.inspector.limits;
        loop {
            turn.settle_refused();
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(_) => return Err(flood(limits)),
            };
            match read_line(line, id_of(turn.n_done), limits)? {
                Line::Ready => self.is_up = true,
                Line::Answer(inspection) => turn.settle(inspection),
                Line::Stray => {
                    self.n_stray += 1;
                    if self.n_stray > STRAY_LINES {
                        return Err(flood(limits));
                    }
                }
            }
        }
    }

    fn late(&mut self) -> Ending {
        self.read_log();
        let last = self.last_words();
        if !self.is_up {
            let program = self.inspector.program.display();
            return Ending::Unusable(format!(
                "{program} did not start within {} s{last}",
                START.as_secs()
            ));
        }
        let span = self.inspector.deadline;
        Ending::Blamed(InspectError::new(
            InspectError::TIMEOUT,
            format!("it was not imported, built and activated within {span:?} and was ended{last}"),
        ))
    }

    async fn ended(&mut self) -> Ending {
        // Its output may end a moment before it does.
        let exited = timeout(EXIT, self.group.ended()).await.is_ok();
        let exit = self.group.end(Duration::ZERO).await;
        // What it wrote before it ended is in the pipe; what escaped it may write forever.
        let mut n_reads = PIPE_READS;
        while n_reads > 0 && self.read_log() {
            n_reads -= 1;
        }
        let last = self.last_words();
        if !self.is_up {
            let program = self.inspector.program.display();
            return Ending::Unusable(format!("{program} cannot run the SDK: it {exit}{last}"));
        }
        let what = match exited {
            true => format!("the process that imported it {exit}{last}"),
            false => format!("it closed the pipe to the host{last}"),
        };
        Ending::Blamed(InspectError::new(InspectError::EXITED, what))
    }

    fn last_words(&self) -> String {
        let line = self.log.last_line();
        line.map_or_else(String::new, |line| {
            format!("; the last line on standard error: {line}")
        })
    }
}

async fn readable(pipe: Option<&pipe::Receiver>) {
    match pipe {
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

async fn writable(pipe: Option<&pipe::Sender>) {
    match pipe {
        Some(pipe) => drop(pipe.writable().await),
        None => std::future::pending().await,
    }
}

/// The subjects of one process, and how far it is with them.
struct Turn<'a> {
    subjects: &'a [Subject],
    n_asked: usize,
    n_done: usize,
    /// Those that cannot be asked for, by their place.
    refused: VecDeque<(usize, InspectError)>,
    done: &'a mut Vec<Inspection>,
}

impl Turn<'_> {
    fn settle(&mut self, inspection: Inspection) {
        self.done.push(inspection);
        self.n_done += 1;
    }

    /// Gives those that cannot be asked for their place in the order.
    fn settle_refused(&mut self) {
        while self.refused.front().is_some_and(|(n, _)| *n == self.n_done) {
            if let Some((_, error)) = self.refused.pop_front() {
                self.settle(Err(error));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.n_done == self.subjects.len()
    }
}
