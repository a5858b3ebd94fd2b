//! `kodex-bench NAME`: measures one area and prints one JSON line per figure.
#![expect(clippy::disallowed_methods, reason = "a bench measures with the machine's clock and starts its peers")]

mod dispatch;
mod report;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Args {
    bench: Bench,
    /// Fewer rounds; under a minute.
    #[arg(long)]
    quick: bool,
    /// Exit with 1 when a target is missed.
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    Dispatch,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut report = report::Report::default();
    match args.bench {
        Bench::Dispatch => dispatch::run(&mut report, args.quick)?,
    }
    if args.check && report.n_missed > 0 {
        std::process::exit(1);
    }
    Ok(())
}
