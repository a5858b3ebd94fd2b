//! Measures Kodex beside what users would pick instead, in the same run.
//!
//! `kodex-bench NAME` prints one JSON line per figure on standard output and nothing else there; the
//! machine stands on standard error. `docs/reference/performance.md` says how to run and read it.
//! The programs of this package are thin: everything is here, where they share it.
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures with the machine's clock, starts its peers, and finds them as a user would"
)]

pub mod allocations;
mod cold;
mod db;
mod dispatch;
mod machine;
mod memory;
mod migrate;
mod native;
mod peer;
mod programs;
mod report;
pub mod roles;
mod samples;
mod schedule;
mod size;
mod state;
mod stored;
mod work;
mod worker;
mod world;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use programs::Programs;
use report::Report;
use size::Size;

#[derive(Parser)]
#[command(about = "Measures Kodex beside what users would pick instead")]
struct Arguments {
    /// What to measure
    #[arg(required_unless_present = "list")]
    bench: Option<Bench>,
    /// Print the names of the benches
    #[arg(long)]
    list: bool,
    /// The folder into which `benches/peers/setup.sh` installed the peers
    #[arg(long, default_value = ".peers")]
    peers: PathBuf,
    /// Fewer rounds; under a minute
    #[arg(long)]
    quick: bool,
    /// How much to measure; `tiny` proves that the bench runs and measures nothing
    #[arg(long, default_value = "full", conflicts_with = "quick")]
    size: Size,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bench {
    /// Hooks of native plugins, in process
    Dispatch,
    /// Hooks of plugins in processes of their own
    Worker,
    /// Listing plugins from a cold process
    Cold,
    /// What an idle runtime holds in memory
    Memory,
    /// Comparing and applying migrations
    Migrate,
    /// Plugins' values by key
    State,
    /// Statements on plugins' own tables
    Db,
    /// Jobs claimed under leases and ended
    Work,
    /// Beats of the scheduler, and the next occurrence
    Schedule,
}

/// Runs the bench that the command line names and gives the exit status: 0 whatever is met, 1 with
/// `--check` and a missed target, and when something that is measured does not work.
pub fn main() -> u8 {
    run(&Arguments::parse()).unwrap_or_else(|error| {
        note(&format!("error: {error:#}"));
        1
    })
}

#[expect(
    clippy::print_stdout,
    reason = "the names of the benches are what was asked for"
)]
fn run(arguments: &Arguments) -> Result<u8> {
    let Some(bench) = arguments.bench.filter(|_| !arguments.list) else {
        for bench in Bench::value_variants() {
            println!(
                "{}",
                bench
                    .to_possible_value()
                    .map(|value| value.get_name().to_owned())
                    .unwrap_or_default()
            );
        }
        return Ok(0);
    };
    let programs = Programs::find(&std::path::absolute(&arguments.peers)?)?;
    note(&machine::description());
    note(&programs.description());
    let size = if arguments.quick {
        Size::Quick
    } else {
        arguments.size
    };
    let mut report = Report::default();
    match bench {
        Bench::Dispatch => dispatch::run(&mut report, size, &programs)?,
        Bench::Worker => worker::run(&mut report, size, &programs)?,
        Bench::Cold => cold::run(&mut report, size, &programs)?,
        Bench::Memory => memory::run(&mut report, size, &programs)?,
        Bench::Migrate => migrate::run(&mut report, size, &programs)?,
        Bench::State => state::run(&mut report, size, &programs)?,
        Bench::Db => db::run(&mut report, size, &programs)?,
        Bench::Work => work::run(&mut report, size, &programs)?,
        Bench::Schedule => schedule::run(&mut report, size, &programs)?,
    }
    Ok(u8::from(arguments.check && report.n_missed > 0))
}

/// Says something beside the figures.
#[expect(
    clippy::print_stderr,
    reason = "standard output belongs to the figures"
)]
fn note(text: &str) {
    eprintln!("{text}");
}
