//! The `kodex` program as a library: verbs, rendering, configuration files.
//!
//! ```text
//! args      what was typed           -> Globals and one verb
//! config    files, flags, environment -> Ready: nothing left to resolve
//! session   Ready                    -> a Runtime, and its end, also on Ctrl-C
//! commands  one file per verb: parse, call, render; one row each in the verb table
//! render    JSON, tables, findings, and text that comes from plugins
//! ```
//!
//! It decides nothing about plugins; what another crate could do is not here. It is the only crate
//! that reads the environment and configuration files, and the only one that prints.
#![expect(
    clippy::print_stderr,
    reason = "a program that talks to people; the lint is for libraries"
)]

mod args;
mod codes;
mod commands;
mod config;
mod daemon;
mod environment;
mod health;
mod input;
mod invocation;
mod lifeline;
mod panic;
mod problem;
mod render;
mod session;
mod signals;
mod store;
mod template;
mod verb;
mod watch;
mod work;

#[cfg(feature = "schema")]
mod schemas;
#[cfg(feature = "schema")]
pub use schemas::schemas;

pub use args::command;
pub use codes::CODES;
pub use kodex_scheduler::CODES as SCHEDULER_CODES;
pub use kodex_server::CODES as SERVER_CODES;

use std::ffi::OsString;

/// Runs the program and gives its exit status.
#[must_use]
pub fn main(argv: impl IntoIterator<Item = OsString>) -> u8 {
    panic::install();
    let argv: Vec<OsString> = argv.into_iter().collect();
    if let Some(exit) = lifeline::held(&argv) {
        return exit.status();
    }
    match std::panic::catch_unwind(|| invocation::run(argv)) {
        Ok(exit) => exit.status(),
        Err(_) => problem::Exit::Internal.status(),
    }
}
