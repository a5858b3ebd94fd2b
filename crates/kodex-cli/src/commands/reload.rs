//! `kodex reload`: has the resident runtime look at the plugins again.

use kodex_server::wire::NoParams;
use serde::{Deserialize, Serialize};

use crate::{
    daemon::At,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{event, json},
    verb::Verb,
};

/// Have the resident runtime load plugins again that changed
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    at: At,
}

/// What changed, by plugin name.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Changed {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Verb for Reload {
    const NAME: &'static str = "reload";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let changed: Changed = self.at.ask("reload", &NoParams {}, invocation).await?;
        invocation.out = match invocation.globals.json {
            true => json::document(&changed)?,
            false => {
                let Changed {
                    added,
                    changed,
                    removed,
                } = changed;
                let is_same = added.is_empty() && changed.is_empty() && removed.is_empty();
                let event = event::Event::Changed {
                    added,
                    changed,
                    removed,
                };
                match is_same {
                    true => "nothing changed\n".to_owned(),
                    false => event::shown(&event, invocation.stdout),
                }
            }
        };
        Ok(Exit::Fine)
    }
}
