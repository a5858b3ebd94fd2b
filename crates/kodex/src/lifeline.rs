//! Processes of a runtime that could not end them: one that was killed, not ended.
//!
//! A [`Lifeline`] is a small process beside this one that does nothing but wait for its end, and then ends every
//! agent and worker that is left. It works without anything that the killed process would still have to do. What
//! it is, a program and its arguments, is the embedder's to say; in that program [`hold`] does the work. For the
//! case that both were killed there is [`end_orphans`], to be called at the next start.

use std::{ffi::OsString, io, path::PathBuf};

use kodex_backend::{
    orphans::{self, House},
    supervise::{self, Group, Spec},
};

/// Ends what runtimes of this user left that are not there any more; says how many processes that were. Blocks for
/// some milliseconds: it looks at every process of the machine.
pub fn end_orphans() -> usize {
    orphans::end()
}

/// What a lifeline's process does: waits until the one whose `name` it was given is gone, and ends what it left.
/// Blocks until then. Says how many processes that were; none when the name is none.
#[must_use]
pub fn hold(name: &str) -> Option<usize> {
    House::read(name).map(|house| orphans::wait_and_end(&house))
}

/// See the module. Dropping it ends its process.
#[derive(Debug)]
pub struct Lifeline(Group);

impl Lifeline {
    /// Starts a program that calls [`hold`] with the last of its arguments: the name of this process.
    ///
    /// # Errors
    /// What the system says when it cannot be started.
    pub fn start(program: PathBuf, mut args: Vec<OsString>) -> io::Result<Self> {
        args.push(House::own().to_string().into());
        let running = supervise::spawn(&Spec {
            program,
            args,
            env: Vec::new(),
            cwd: "/".into(),
            mark: supervise::mark(),
        })?;
        Ok(Self(running.group))
    }

    /// Waits until its process is gone, which it should not be.
    pub async fn lost(&self) {
        self.0.ended().await;
    }
}
