//! `kodex completions`: what a shell needs to complete verbs and flags.

use clap_complete::Shell;

use crate::{
    args,
    invocation::Invocation,
    problem::{Exit, Problem},
    verb::Verb,
};

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Verb for Completions {
    const NAME: &'static str = "completions";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::command(), "kodex", &mut script);
        invocation.out = String::from_utf8_lossy(&script).into_owned();
        Ok(Exit::Fine)
    }
}
