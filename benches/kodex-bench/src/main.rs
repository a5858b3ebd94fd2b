//! `kodex-bench NAME`: measures one area and prints one JSON line per figure.

use std::process::ExitCode;

fn main() -> ExitCode {
    kodex_bench::main().into()
}
