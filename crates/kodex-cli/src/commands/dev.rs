//! `kodex dev`: keeps the plugins loaded while somebody works on them, and shows what each change
//! to a file did.

use std::fmt::Write as _;

use kodex::{DispatchOptions, Finding, Json, Reloaded, Runtime};
use serde::Serialize;

use crate::{
    input,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{finding, json, outcome, style, text},
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

/// What happened; in the JSON form, one on each line.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The plugins at the start.
    Loaded { plugins: Vec<String> },
    /// What a reload changed.
    Changed {
        added: Vec<String>,
        changed: Vec<String>,
        removed: Vec<String>,
    },
    /// Something that was not wrong, or not known, before.
    Found { finding: Finding },
    /// In strict mode: the change was refused, the plugins stay as they were.
    Refused { code: String, message: String },
    /// What the plugins replied.
    Replied { outcome: outcome::Whole },
}

impl Verb for Dev {
    const NAME: &'static str = "dev";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let ready = invocation.config()?;
        let payload = input::json("--payload", &self.payload, &ready.guard.limits)?;
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
            if invocation.flush().is_err() {
                return Ok(Exit::Failed);
            }
            watch.changed().await;
            match runtime.reload().await {
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
    if invocation.globals.json {
        invocation.out.push_str(&serde_json::to_string(event)?);
        invocation.out.push('\n');
        return Ok(());
    }
    let screen = invocation.stdout;
    let out = &mut invocation.out;
    let mut line = |word: &str, style, names: &[String]| {
        for name in names {
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "{} {}",
                style::paint(word, style, screen),
                text::line(name)
            );
        }
    };
    match event {
        Event::Loaded { plugins } => {
            line("loaded", style::GOOD, plugins);
            out.push_str("watching; Ctrl-C ends\n");
        }
        Event::Changed {
            added,
            changed,
            removed,
        } => {
            line("added", style::GOOD, added);
            line("changed", style::NAME, changed);
            line(
                "removed",
                style::severity(kodex::Severity::Warning),
                removed,
            );
        }
        Event::Found { finding } => {
            out.push_str(&finding::shown(&finding::placed(finding), None, screen))
        }
        Event::Refused { code, message } => {
            let found = kodex::Diagnostic::error(code.as_str(), message.as_str());
            out.push_str(&finding::shown(&found, None, screen));
        }
        // Shown as a list of replies by the caller.
        Event::Replied { .. } => {}
    }
    Ok(())
}
