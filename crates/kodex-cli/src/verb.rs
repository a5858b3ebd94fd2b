//! What a verb is. The table of all verbs is in [`crate::commands`]; adding one is adding one file
//! and one row.

use std::{future::Future, pin::Pin};

use clap::{ArgMatches, Command, FromArgMatches};

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
};

/// A verb: its arguments, and what it does with them.
pub(crate) trait Verb: clap::Args + FromArgMatches {
    const NAME: &'static str;
    /// Whether it stays until it is told to end: it then listens to signals itself, keeps a log, and has more
    /// than one thread.
    const STAYS: bool = false;

    /// Does the work. What it prints is in `invocation.out` when it returns.
    fn run(self, invocation: &mut Invocation) -> impl Future<Output = Result<Exit, Problem>>;
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Exit, Problem>> + 'a>>;

/// One row of the verb table.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) stays: bool,
    pub(crate) command: fn() -> Command,
    pub(crate) run: for<'a> fn(&'a ArgMatches, &'a mut Invocation) -> Answer<'a>,
}

/// The row of a verb.
pub(crate) const fn row<V: Verb>() -> Row {
    Row {
        name: V::NAME,
        stays: V::STAYS,
        command: || V::augment_args(Command::new(V::NAME)),
        run: |matches, invocation| {
            Box::pin(async move {
                let verb = V::from_arg_matches(matches)
                    .map_err(|error| Problem::usage("usage", error.to_string()))?;
                verb.run(invocation).await
            })
        },
    }
}
