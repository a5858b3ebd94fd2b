//! `kodex capabilities`: what the plugins offer together.

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, text},
    verb::Verb,
};

/// List what the plugins offer
#[derive(Debug, clap::Args)]
pub(crate) struct Capabilities {}

impl Verb for Capabilities {
    const NAME: &'static str = "capabilities";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let names: Vec<String> = invocation
            .open()
            .await?
            .capabilities()
            .into_keys()
            .collect();
        invocation.out = match (invocation.globals.json, invocation.stdout.is_terminal) {
            (true, _) => json::document(&names)?,
            (false, true) => names
                .iter()
                .map(|name| format!("{}\n", text::line(name)))
                .collect(),
            (false, false) => names.iter().map(|name| format!("{name}\n")).collect(),
        };
        Ok(Exit::Fine)
    }
}
