//! `kodex dev`: keeps the plugins loaded while somebody works on them, and shows what each change
//! to a file did.

use kodex::{DispatchOptions, Finding, Json, Reloaded, Runtime};

use crate::{
    input,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{
        event::{self, Event},
        json, outcome, style,
    },
    verb::Verb,
    watch::Watch,
};

/// Watch the plugins and reload what changes, until Ctrl-C
#[derive(Debug, clap::Args)]
pub(crate) struct Dev {
    /// Call this hook at the start and after every change
    #[arg(long, value_name = "HOOK")]
    emit: Option<String>,
    /// What the plugins are given: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON",
        default_value = "{}",
        requires = "emit",
        allow_negative_numbers = true
    )]
    payload: String,
}

impl Verb for Dev {
    const NAME: &'static str = "dev";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let ready = invocation.config()?;
        let payload = input::json("--payload", &self.payload, &ready.guard.limits).await?;
        // Before loading: what changes meanwhile is seen afterwards.
        let mut watch = Watch::start(&ready.plugin_dirs)?;
        let runtime = invocation.open_thoroughly().await?;
        let plugins = runtime
            .manifests()
            .iter()
            .map(|manifest| manifest.name.to_string())
            .collect();
        show(&Event::Loaded { plugins }, invocation)?;
        let mut known = Vec::new();
        show_new(&mut known, &runtime, invocation)?;
        self.call(&payload, &runtime, invocation).await?;
        loop {
            if let Err(exit) = invocation.flush() {
                return Ok(exit);
            }
            if invocation.reader_left {
                return Ok(Exit::Fine);
            }
            watch.changed().await;
            let reloaded = runtime.reload().await;
            watch.set_busy(reloaded.as_ref().is_ok_and(|reloaded| !reloaded.is_empty()));
            match reloaded {
                Ok(reloaded) if reloaded.is_empty() => show_new(&mut known, &runtime, invocation)?,
                Ok(Reloaded {
                    added,
                    changed,
                    removed,
                }) => {
                    show(
                        &Event::Changed {
                            added,
                            changed,
                            removed,
                        },
                        invocation,
                    )?;
                    show_new(&mut known, &runtime, invocation)?;
                    self.call(&payload, &runtime, invocation).await?;
                }
                Err(error) => {
                    let (code, message) = (error.code().to_owned(), error.to_string());
                    show(&Event::Refused { code, message }, invocation)?;
                }
            }
        }
    }
}

impl Dev {
    async fn call(
        &self,
        payload: &Json,
        runtime: &Runtime,
        invocation: &mut Invocation,
    ) -> Result<(), Problem> {
        let Some(hook) = &self.emit else {
            return Ok(());
        };
        let outcome = runtime
            .emit_with(hook, payload.clone(), &DispatchOptions::default())
            .await?;
        match invocation.globals.json {
            true => show(
                &Event::Replied {
                    outcome: outcome::Whole::from(&outcome),
                },
                invocation,
            ),
            false => {
                invocation
                    .out
                    .push_str(&json::document(&outcome::replies(&outcome))?);
                Ok(())
            }
        }
    }
}

/// Shows the findings that were not there before, and forgets those that are gone.
fn show_new(
    known: &mut Vec<Finding>,
    runtime: &Runtime,
    invocation: &mut Invocation,
) -> Result<(), Problem> {
    let now = runtime.doctor().findings;
    for finding in now.iter().filter(|found| !known.contains(found)) {
        show(
            &Event::Found {
                finding: finding.clone(),
            },
            invocation,
        )?;
    }
    if !known.is_empty() && now.is_empty() && !invocation.globals.json {
        invocation.out.push_str(&style::paint(
            "all is well again\n",
            style::GOOD,
            invocation.stdout,
        ));
    }
    *known = now;
    Ok(())
}

fn show(event: &Event, invocation: &mut Invocation) -> Result<(), Problem> {
    let shown = match invocation.globals.json {
        true => serde_json::to_string(event)? + "\n",
        false => event::shown(event, invocation.stdout),
    };
    invocation.out.push_str(&shown);
    Ok(())
}
