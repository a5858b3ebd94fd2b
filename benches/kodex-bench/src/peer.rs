//! A peer that stays: a process that takes one sample for each line of JSON, in turns with Kodex.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A peer's process. It is ended with this value.
pub(crate) struct Peer {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What it said of itself when it was ready, for example its version.
    pub(crate) hello: Value,
}

impl Peer {
    /// Starts a peer and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| name.clone())?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name} has no pipes");
        };
        let mut peer = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
            hello: Value::Null,
        };
        peer.hello = peer.answer().with_context(|| name)?;
        Ok(peer)
    }

    /// Asks for one sample.
    pub(crate) fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.stdin, "{question}")
            .with_context(|| format!("asking a peer for {question}"))?;
        self.answer()
            .with_context(|| format!("a peer was asked for {question}"))
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("the peer ended; what it said stands above");
        }
        serde_json::from_str(&line).with_context(|| format!("no answer: {line}"))
    }

    /// The version of a package that the peer says it has.
    pub(crate) fn version(&self, package: &str) -> Option<String> {
        self.hello[package]
            .as_str()
            .map(|version| format!("{package} {version}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
