//! `kodex-chaos`: three real nodes on one store, under faults that a seed chooses, and the check of what
//! they did. `cargo xtask chaos` builds and starts it.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "this program starts processes, waits by the machine's clock and talks to a terminal"
)]

mod drive;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use drive::Orders;

/// Breaks three nodes at work on one store, and checks what they did.
#[derive(Parser)]
#[command(name = "kodex-chaos")]
struct Arguments {
    /// The program under test
    #[arg(long, value_name = "FILE")]
    kodex: PathBuf,
    /// `sqlite`, or `postgres` with the server that KODEX_TEST_POSTGRES names
    #[arg(long, default_value = "sqlite")]
    engine: String,
    /// How long there are faults, in seconds
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// What decides about everything that is chosen
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds of faults
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    faults: Vec<String>,
    /// Leave the folder with the logs of the nodes and the store
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let orders = Orders {
        kodex: arguments.kodex,
        engine: arguments.engine,
        time: Duration::from_secs(arguments.seconds),
        seed: arguments.seed.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.map_or(1, |since| u64::from(since.subsec_nanos()))
        }),
        faults: arguments.faults,
        keep: arguments.keep,
    };
    match drive::run(&orders) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
