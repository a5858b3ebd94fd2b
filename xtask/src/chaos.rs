//! `cargo xtask chaos`: builds the program that breaks nodes at work, and runs it on an engine.
//!
//! The program is `kodex-chaos`. A short run on each engine is a part of the tests; this one may be as long
//! as somebody likes, and repeats what a seed chose.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cargo::{AS_TESTED, build_binary};
use crate::postgres::{self, Cluster};
use crate::setup;
use crate::step::Step;

/// How long there are faults in a run of the tests, in seconds.
const SECONDS: u64 = 12;
/// Such a run on a busy machine, with the wait for calm and the check.
const RUN: Duration = Duration::from_secs(4 * 60);
const ENGINES: [&str; 2] = ["sqlite", "postgres"];

/// What somebody asks for.
#[derive(clap::Args)]
pub(crate) struct Wish {
    /// sqlite or postgres; both when none is named
    #[arg(long)]
    engine: Option<String>,
    /// How long there are faults
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// What was chosen once is chosen again; one of this moment when none is named
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds of faults, for example kill,freeze
    #[arg(long)]
    faults: Option<String>,
    /// Leave the folder with the logs of the nodes and the store
    #[arg(long)]
    keep: bool,
}

/// One run, as somebody wants it.
pub(crate) fn run(root: &Path, wish: &Wish) -> Result<ExitCode> {
    setup::ensure_quietly(setup::TESTS)?;
    let engines = match wish.engine.as_deref() {
        None => ENGINES.to_vec(),
        Some(engine) if ENGINES.contains(&engine) => vec![engine],
        Some(other) => bail!(
            "there is no engine `{other}`; there are: {}",
            ENGINES.join(", ")
        ),
    };
    let (chaos, kodex) = programs(
        root,
        &[
            "--package",
            "kodex-chaos",
            "--package",
            "kodex-cli",
            "--bins",
        ],
    )?;
    let mut code = ExitCode::SUCCESS;
    for engine in engines {
        let server = (engine == "postgres").then(Cluster::start).transpose()?;
        // No deadline but its own: whoever typed it can stop it, and it cleans up then.
        let mut command = Command::new(&chaos);
        command
            .arg("--kodex")
            .arg(&kodex)
            .args(["--engine", engine]);
        command.args(["--seconds", &wish.seconds.to_string()]);
        if let Some(seed) = wish.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        if let Some(faults) = &wish.faults {
            command.args(["--faults", faults]);
        }
        if wish.keep {
            command.arg("--keep");
        }
        if let Some(server) = &server {
            command.env(postgres::VARIABLE, server.url());
        }
        let status = command.status().context("starting kodex-chaos")?;
        if !status.success() {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// The short runs of the tests, on both engines.
pub(crate) fn test(root: &Path) -> Result<()> {
    let (chaos, kodex) = programs(root, AS_TESTED)?;
    let server = Cluster::start()?;
    let mut failed = Vec::new();
    for engine in ENGINES {
        let run = Step::new(&chaos, RUN)
            .arg("--kodex")
            .arg(&kodex)
            .args(["--engine", engine, "--seconds", &SECONDS.to_string()])
            .env(postgres::VARIABLE, server.url());
        if let Err(error) = run.run() {
            failed.push(format!("{error:#}"));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!(failed.join("; ")),
    }
}

/// The program that breaks nodes, and the one that it breaks.
fn programs(root: &Path, options: &[&str]) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
    let chaos = build_binary(root, "kodex-chaos", options)?;
    let kodex = build_binary(root, "kodex", options)?;
    Ok((chaos, kodex))
}
