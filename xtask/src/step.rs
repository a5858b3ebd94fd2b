//! One child process with a deadline.
//!
//! Children stay in this program's process group, so that an interrupt at the terminal reaches them.
//! At the deadline the child is asked to stop, and a little later it and everything below it is ended.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a child may take to clean up after it was asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// A program, its arguments and its deadline. Standard input is empty.
#[derive(Clone)]
pub(crate) struct Step {
    program: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    environment: Vec<(OsString, Option<OsString>)>,
    timeout: Duration,
    grace: Duration,
}

impl Step {
    pub(crate) fn new(program: impl AsRef<OsStr>, timeout: Duration) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            directory: None,
            environment: Vec::new(),
            timeout,
            grace: GRACE,
        }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    pub(crate) fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    /// Cuts it off from the settings of whoever started this program, and gives it a home of its own.
    pub(crate) fn for_nobody(self, home: &Path) -> Self {
        let names = std::env::vars_os().map(|(name, _)| name);
        let settings = names.filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("KODEX_") || name.starts_with("XDG_") || name == "PYTHONPATH"
        });
        // What was set on purpose stays.
        let settings = settings.filter(|name| self.environment.iter().all(|(set, _)| set != name));
        settings
            .collect::<Vec<_>>()
            .into_iter()
            .fold(self, Self::without_env)
            .env("HOME", home)
            // Compiled files beside the sources would be found by the next listing of this folder.
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }

    /// Runs it and shows all its output on standard error, because standard output belongs to what was
    /// asked for; anything but success is an error.
    pub(crate) fn run(&self) -> Result<()> {
        eprintln!("$ {self}");
        let mut command = self.command();
        command.stdout(std::io::stderr());
        let output = self.finish(command.spawn())?;
        if !output.status.success() {
            bail!("`{self}` ended with {}", output.status);
        }
        Ok(())
    }

    /// Runs it and keeps its output, whatever its exit status.
    pub(crate) fn output(&self) -> Result<Output> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.finish(command.spawn())
    }

    /// Runs it and keeps standard output, while standard error goes to the terminal; anything but
    /// success is an error.
    pub(crate) fn stdout(&self) -> Result<String> {
        let mut command = self.command();
        command.stdout(Stdio::piped());
        let output = self.finish(command.spawn())?;
        if !output.status.success() {
            bail!("`{self}` ended with {}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{self}` printed no UTF-8"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn finish(&self, spawned: std::io::Result<Child>) -> Result<Output> {
        let child = spawned.with_context(|| format!("`{self}` did not start"))?;
        let pid = child.id();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        match receiver.recv_timeout(self.timeout) {
            Ok(output) => output.with_context(|| format!("waiting for `{self}`")),
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that waits for `{self}` died"),
            Err(RecvTimeoutError::Timeout) => {
                let all = with_descendants(pid);
                for wish in [Signal::TERM, Signal::KILL] {
                    all.iter().for_each(|pid| signal(*pid, wish));
                    if receiver.recv_timeout(self.grace).is_ok() {
                        break;
                    }
                }
                bail!("`{self}` was ended: not done after {:?}", self.timeout)
            }
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        for argument in &self.arguments {
            let text = argument.to_string_lossy();
            if text.is_empty() || text.contains(|c: char| c.is_whitespace() || "'\"{}".contains(c))
            {
                write!(f, " '{text}'")?;
            } else {
                write!(f, " {text}")?;
            }
        }
        Ok(())
    }
}

fn signal(pid: u32, signal: Signal) {
    // Failure means that it has ended already, which is what was wanted.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// `root` and the processes below it, from `/proc`; `root` alone where there is no `/proc`.
fn with_descendants(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![root];
    };
    let processes: Vec<(u32, u32)> = entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        found.extend(
            processes
                .iter()
                .filter(|(_, parent)| *parent == above)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
}

/// The parent in a line of `/proc/<pid>/stat`. The program's name may hold spaces and brackets.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Step {
        Step::new("sh", timeout).args(["-c", script])
    }

    #[test]
    fn output_status_and_environment_pass_through() {
        let step = shell("echo \"$WORD\"; exit 3", GRACE).env("WORD", "hello");
        let output = step.output().unwrap();
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (&b"hello\n"[..], Some(3))
        );
        assert!(
            step.run()
                .unwrap_err()
                .to_string()
                .contains("exit status: 3")
        );
    }

    #[test]
    fn a_child_past_its_deadline_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        let script = "exec 9>\"$LOCK\"; flock 9; echo locked >&9; trap '' TERM; sleep 600 & wait";
        let mut step = shell(script, Duration::from_secs(1)).env("LOCK", &lock);
        step.grace = Duration::from_millis(200);
        let error = step.output().unwrap_err();
        assert!(error.to_string().contains("was ended"), "{error:#}");
        assert_eq!(fs::read_to_string(&lock).unwrap(), "locked\n");
        // Both shell and `sleep` hold the lock: it is free when both are gone.
        Step::new("flock", GRACE)
            .args(["--timeout", "5"])
            .arg(lock)
            .arg("true")
            .run()
            .unwrap();
    }

    #[test]
    fn the_parent_is_read_behind_a_strange_name() {
        assert_eq!(parent("12 (a) b (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent("nonsense"), None);
    }

    #[test]
    fn arguments_with_spaces_are_shown_quoted() {
        let step = Step::new("kodex", GRACE).args(["emit", "{\"a\": 1}"]);
        assert_eq!(step.to_string(), "kodex emit '{\"a\": 1}'");
    }
}
