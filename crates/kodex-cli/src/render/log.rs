//! The log on standard error, for `-v` and `KODEX_LOG`. Without them nothing is installed.
//!
//! A line that cannot be written, because the disk is full or whoever read it is gone, is lost and nothing
//! else: the log's own words about that would end the program.

use crate::{config::LogFormat, invocation::Screen};

/// What a program that stays says of itself when nobody asks for more or less.
const USUAL: &str = "info";

/// Starts the log. `KODEX_LOG` holds filters such as `kodex=debug`; each `-v` adds a level.
pub(crate) fn install(n_verbose: u8, filters: Option<&str>, stderr: Screen) {
    let level = match n_verbose {
        0 => None,
        1 => Some("info"),
        2 => Some("debug"),
        _ => Some("trace"),
    };
    let Some(filters) = level.or(filters) else {
        return;
    };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(stderr.is_styled)
        .with_env_filter(tracing_subscriber::EnvFilter::new(filters))
        .finish();
    // Only tests that run several invocations in one process come here twice.
    let _ = tracing_subscriber::util::SubscriberInitExt::try_init(subscriber);
}

/// Starts the log of a program that stays: always there, on standard error.
pub(crate) fn install_to_stay(
    n_verbose: u8,
    filters: Option<&str>,
    format: LogFormat,
    stderr: Screen,
) {
    let level = match n_verbose {
        0 => filters.unwrap_or(USUAL),
        1 => "debug",
        _ => "trace",
    };
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(level));
    let _ = match format {
        LogFormat::Text => {
            let log = log.with_ansi(stderr.is_styled).finish();
            tracing_subscriber::util::SubscriberInitExt::try_init(log)
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).finish();
            tracing_subscriber::util::SubscriberInitExt::try_init(log)
        }
    };
}
