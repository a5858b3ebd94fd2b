//! `kodex upgrade`: applies the migrations of plugins, or says what it would do.

use std::{fmt::Write as _, time::Duration};

use kodex::{StepCounts, StepState, UpgradeError, UpgradeEvent, UpgradeOptions, UpgradeReport};
use tokio::sync::mpsc;

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{finding, json, progress::Bar},
    verb::Verb,
};

/// Apply the migrations of plugins
#[derive(Debug, clap::Args)]
pub(crate) struct Upgrade {
    /// Say what would be done and change nothing
    #[arg(long)]
    plan: bool,
    /// Exit with 1 when a migration is not applied, and change nothing
    #[arg(long, conflicts_with = "plan")]
    check: bool,
    /// How many seconds to wait for another upgrade to end
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Record the SQL steps of a plugin up to this file as applied without running them, because its tables exist
    #[arg(long, value_name = "PLUGIN/FILE")]
    baseline: Option<String>,
}

impl Verb for Upgrade {
    const NAME: &'static str = "upgrade";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let options = self.options()?;
        invocation.mends_databases = true;
        let runtime = invocation.open().await?;
        let (tell, mut told) = mpsc::unbounded_channel();
        let watch = move |event| {
            // Nobody listens once this verb was given up.
            let _ = tell.send(event);
        };
        let mut bar =
            Bar::new(invocation.stderr.is_terminal && invocation.environment.wants_progress());
        let upgrade = runtime.upgrade(&options, &watch);
        tokio::pin!(upgrade);
        let done = loop {
            tokio::select! {
                biased;
                Some(event) = told.recv() => say(&event, &mut bar, invocation),
                done = &mut upgrade => break done,
                () = tokio::time::sleep(Duration::from_millis(120)) => bar.tick(),
            }
        };
        while let Ok(event) = told.try_recv() {
            say(&event, &mut bar, invocation);
        }
        drop(bar);
        let report = done.map_err(|error| refused(error, invocation))?;
        if invocation.globals.json {
            invocation.out = json::document(&report)?;
        } else if options.plan_only {
            invocation.out.push_str(&planned(&report));
        } else {
            invocation.out.push_str(&summary(&report));
        }
        Ok(if self.check && report.n_pending > 0 {
            Exit::Failed
        } else {
            Exit::Fine
        })
    }
}

impl Upgrade {
    fn options(&self) -> Result<UpgradeOptions, Problem> {
        let baseline = self
            .baseline
            .as_deref()
            .map(|text| match text.split_once('/') {
                Some((plugin, file)) => Ok((plugin.to_owned(), file.to_owned())),
                None => Err(Problem::usage(
                    "usage",
                    format!("--baseline {text:?} is not PLUGIN/FILE"),
                )),
            });
        Ok(UpgradeOptions {
            plan_only: self.plan || self.check,
            wait: Duration::from_secs(self.wait),
            baseline: baseline.transpose()?,
            ..UpgradeOptions::default()
        })
    }
}

/// Shows an event at once: whoever waits for a long step wants to know which one it is.
fn say(event: &UpgradeEvent, bar: &mut Bar, invocation: &mut Invocation) {
    let line = match event {
        UpgradeEvent::Waiting => "waiting for another upgrade to end\n".to_owned(),
        UpgradeEvent::Renamed { from, plugin } => {
            format!("took over the tables of {from} for {plugin}\n")
        }
        UpgradeEvent::StepBegins { id, nth, n_pending } => {
            bar.at(*nth - 1, *n_pending, id);
            format!("applying {id} ({nth} of {n_pending})\n")
        }
        UpgradeEvent::StepProgress { id, counts } => {
            bar.say(&format!("{id}: {}", shown(counts)));
            return;
        }
        UpgradeEvent::StepEnds { id, counts, took } => {
            format!(
                "applied {id}: {} ({} ms)\n",
                shown(counts),
                took.as_millis()
            )
        }
        _ => return,
    };
    if !invocation.globals.json {
        invocation.out.push_str(&line);
        // A reader that went away is noticed at the end.
        bar.beside(|| {
            let _ = invocation.flush();
        });
    }
}

fn shown(counts: &StepCounts) -> String {
    let StepCounts {
        scanned,
        migrated,
        existing,
        missing,
        skipped,
    } = counts;
    let mut text =
        format!("scanned {scanned}, migrated {migrated}, existing {existing}, missing {missing}");
    if let Some(skipped) = skipped {
        let _ = write!(text, ", skipped {skipped}");
    }
    text
}

fn planned(report: &UpgradeReport) -> String {
    let mut text = String::new();
    for plugin in &report.plugins {
        if let Some(from) = &plugin.renamed_from {
            let _ = writeln!(
                text,
                "would take over the tables of {from} for {}",
                plugin.plugin
            );
        }
        for step in plugin
            .steps
            .iter()
            .filter(|step| step.state == StepState::Pending)
        {
            let _ = writeln!(text, "would apply {}", step.id);
        }
    }
    for kept in &report.kept {
        let _ = writeln!(
            text,
            "keeps {}: {} applied, not among the plugins",
            kept.plugin, kept.n_applied
        );
    }
    text
}

/// Nothing when nothing was done.
fn summary(report: &UpgradeReport) -> String {
    let done = |state| matches!(state, StepState::Applied | StepState::Baseline);
    let is_silent = !report.plugins.iter().any(|plugin| {
        plugin.renamed_from.is_some() || plugin.steps.iter().any(|step| done(step.state))
    });
    if is_silent {
        String::new()
    } else {
        format!("done: {}\n", shown(&report.counts()))
    }
}

fn refused(error: UpgradeError, invocation: &Invocation) -> Problem {
    let problem = match &error {
        UpgradeError::NoStore { .. } => Problem::usage(error.code(), error.to_string()),
        _ => Problem::failed(error.code(), error.to_string()),
    };
    match error {
        UpgradeError::Journal { problems } => {
            for found in &problems {
                let found = kodex::Diagnostic::error(found.code(), found.to_string());
                finding::print(&found, None, invocation.stderr);
            }
            problem.help("mend the files named above, then run it again")
        }
        UpgradeError::Step { .. } => problem.help(
            "the steps before it are applied and stay; mend it and run `kodex upgrade` again",
        ),
        _ => problem,
    }
}
