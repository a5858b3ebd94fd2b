//! `cargo xtask`: everything that is done with this repository and is not the product itself.
//!
//! Continuous integration calls `cargo xtask ci` and a developer calls the same. Each subcommand is a
//! list of named parts; a part that fails never hides the others. No product logic lives here, and
//! this crate depends on none of ours, so it works when they do not compile.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "this program starts processes, reads the environment and talks to a terminal; that is its whole work"
)]

mod bench;
mod cargo;
mod chaos;
mod ci;
mod codegen;
mod docs;
mod examples;
mod parts;
mod postgres;
mod setup;
mod step;
mod test;
mod tidy;
mod wasm;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of Kodex")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find what the tests need on this machine and install what is missing (Debian packages)
    Setup {
        /// Also install what the benchmarks compare Kodex with, into `.peers`
        #[arg(long)]
        peers: bool,
    },
    /// Run the `kodex` binary of this checkout, after making sure that Python is there
    // `--help` and its like belong to `kodex`.
    #[command(disable_help_flag = true)]
    Kodex {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Set up, then build and run every test
    Test {
        /// Only these parts, for example `python-sdk`; all when none is named
        parts: Vec<String>,
    },
    /// Start a private Postgres, as the tests have it, and print its address; it is gone at the end
    Postgres {
        /// Runs beside it, with the address in KODEX_TEST_POSTGRES; without one it runs until Ctrl-C
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Break three nodes at work on one store, by faults that a seed chooses, and check what they did
    Chaos {
        #[command(flatten)]
        wish: chaos::Wish,
    },
    /// Everything that must hold before a change is merged
    Ci {
        /// Also run `cargo deny check` (needs cargo-deny on the path)
        #[arg(long)]
        deny: bool,
        /// Only these parts, for example `clippy`; all when none is named
        parts: Vec<String>,
    },
    /// Check the rules of the repository
    Tidy,
    /// Write the generated files
    Codegen {
        /// Write nothing; fail when a generated file is not what it would be
        #[arg(long)]
        check: bool,
    },
    /// Measure Kodex beside its peers; one JSON line per figure on standard output
    Bench {
        /// A benchmark, or `all`
        name: String,
        /// Fewer rounds, under a minute for each benchmark
        #[arg(long)]
        quick: bool,
        /// Exit with 1 when a target is missed
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let root = cargo::root()?;
    Ok(match task {
        Task::Setup { peers } => {
            setup::ensure(setup::TESTS)?;
            if peers {
                setup::peers(&root)?;
            }
            ExitCode::SUCCESS
        }
        Task::Kodex { arguments } => {
            setup::ensure_quietly(setup::PYTHON)?;
            cargo::run_kodex(&arguments)?
        }
        Task::Test { parts } => parts::run(test::parts(&root), &parts)?,
        Task::Postgres { command } => {
            setup::ensure_quietly(setup::POSTGRES)?;
            postgres::run(&command)?
        }
        Task::Chaos { wish } => chaos::run(&root, &wish)?,
        Task::Ci { deny, parts } => parts::run(ci::parts(&root, deny), &parts)?,
        Task::Tidy => tidy::run(&root).map(|()| ExitCode::SUCCESS)?,
        Task::Codegen { check: true } => codegen::check(&root).map(|()| ExitCode::SUCCESS)?,
        Task::Codegen { check: false } => codegen::write(&root).map(|()| ExitCode::SUCCESS)?,
        Task::Bench { name, quick, check } => bench::run(&root, &name, quick, check)?,
    })
}
