//! Writes the files that are generated from the crates' tables and types, or says which are not fresh.
//!
//! `kodex-codegen <repository> [--check]`, started by `cargo xtask codegen`. It is a package of its
//! own so that `xtask` itself needs none of our crates. It decides nothing: what a page says stands in
//! the crate that the page describes.
#![expect(
    clippy::print_stderr,
    reason = "a program for developers talks to a terminal"
)]

mod cli;
mod errors;
mod hooks;
mod page;
mod schemas;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// The folder of the repository
    repository: PathBuf,
    /// Write nothing; fail when a file is not what it would be
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut pages = schemas::pages()?;
    pages.extend([cli::page(), errors::page(), hooks::page()?]);
    if !arguments.check {
        page::write(&arguments.repository, &pages)?;
        eprintln!("{} files written", pages.len());
        return Ok(ExitCode::SUCCESS);
    }
    let stale = page::stale(&arguments.repository, &pages)?;
    for path in &stale {
        eprintln!("{path} is not fresh: run `cargo xtask codegen`");
    }
    Ok(if stale.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
