//! The limit: a blocking client of a worker that does the least, as one would write it for this alone.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Turn, payload};
use crate::{programs::command, samples::us};

/// What the client reads of an answer.
#[derive(Deserialize)]
struct Answer<'a> {
    id: u64,
    #[serde(borrow)]
    result: &'a RawValue,
}

/// A worker and its client. The worker is ended with this value.
pub(super) struct Bare {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    payload: String,
    line: Vec<u8>,
    n_sent: u64,
    n_answered: u64,
    has_ids: bool,
}

impl Bare {
    pub(super) fn start(program: &[PathBuf]) -> Result<Self> {
        let (program, arguments) = program.split_first().context("no program")?;
        Self::spawn(command(program).args(arguments), true)
    }

    /// A pipe there and back: what comes back is what was sent.
    pub(super) fn echo() -> Result<Self> {
        Self::spawn(&mut command("cat"), false)
    }

    fn spawn(command: &mut Command, has_ids: bool) -> Result<Self> {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| name.clone())?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name} has no pipes");
        };
        let stdout = BufReader::new(stdout);
        Ok(Self {
            child,
            stdin,
            stdout,
            payload: payload(),
            line: Vec::new(),
            n_sent: 0,
            n_answered: 0,
            has_ids,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Keeps as many calls in flight as there are lanes: each answer is followed by the next call.
    pub(super) fn turn(&mut self, lanes: usize, n_calls: usize) -> Result<Turn> {
        let n_calls = n_calls.max(lanes);
        let mut turn = Turn {
            us: Vec::with_capacity(n_calls),
            seconds: 0.0,
        };
        let mut sent_at = std::collections::VecDeque::with_capacity(lanes);
        let started_at = Instant::now();
        for at in 0..n_calls {
            while sent_at.len() < lanes.min(n_calls - at) {
                sent_at.push_back(Instant::now());
                self.send()?;
            }
            self.receive()?;
            turn.us
                .extend(sent_at.pop_front().map(|sent_at| us(sent_at.elapsed())));
        }
        turn.seconds = started_at.elapsed().as_secs_f64();
        Ok(turn)
    }

    fn send(&mut self) -> Result<()> {
        self.n_sent += 1;
        self.line.clear();
        let (id, payload) = (self.n_sent, &self.payload);
        writeln!(
            self.line,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"call","params":{payload}}}"#
        )?;
        Ok(self.stdin.write_all(&self.line)?)
    }

    fn receive(&mut self) -> Result<()> {
        self.n_answered += 1;
        self.line.clear();
        self.stdout.read_until(b'\n', &mut self.line)?;
        if !self.has_ids {
            return Ok(());
        }
        let answer: Answer<'_> =
            serde_json::from_slice(&self.line).context("the answer of a bare worker")?;
        if answer.id != self.n_answered || !answer.result.get().contains("approve") {
            bail!(
                "not the answer to call {}: {}",
                self.n_answered,
                answer.result
            );
        }
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
