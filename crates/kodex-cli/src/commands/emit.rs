//! `kodex emit`: calls a hook and prints what every plugin replies.

use kodex::{Combine, DispatchOptions};
use kodex_server::wire::EmitParams;

use crate::{
    daemon::Daemon,
    input,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, outcome},
    verb::Verb,
};

/// Call a hook and print every reply
#[derive(Debug, clap::Args)]
pub(crate) struct Emit {
    /// The hook, for example prompt.preprocess
    #[arg(allow_negative_numbers = true)]
    hook: String,
    /// What the plugins are given: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON",
        default_value = "{}",
        allow_negative_numbers = true
    )]
    payload: String,
    /// Stop at the first plugin that fails, and fail
    #[arg(long)]
    fail_fast: bool,
    /// Print the whole outcome, combined as the hook wants it
    #[arg(long)]
    outcome: bool,
    /// Ask only the plugins that offer this
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
}

impl Verb for Emit {
    const NAME: &'static str = "emit";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let limits = invocation.config()?.guard.limits.clone();
        let payload = input::json("--payload", &self.payload, &limits).await?;
        let params = |like| EmitParams {
            hook: self.hook.clone(),
            payload: payload.clone(),
            fail_fast: self.fail_fast,
            capability: self.capability.clone(),
            outcome: self.outcome,
            like,
        };
        if let Some(answer) = self.daemon.ask("emit", params, invocation).await? {
            invocation.out = json::document(&answer)?;
            return Ok(Exit::Fine);
        }
        let runtime = invocation.open().await?;
        let options = DispatchOptions {
            fail_fast: self.fail_fast,
            capability: self.capability,
            combine: (!self.outcome).then_some(Combine::Collect),
            ..DispatchOptions::default()
        };
        let outcome = runtime.emit_with(&self.hook, payload, &options).await?;
        invocation.out = match self.outcome {
            true => json::document(&outcome::Whole::from(&outcome))?,
            false => json::document(&outcome::replies(&outcome))?,
        };
        Ok(Exit::Fine)
    }
}
