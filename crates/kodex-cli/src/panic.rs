//! A panic is a bug of Kodex. Whoever meets one gets one line that is worth reporting.

use std::backtrace::{Backtrace, BacktraceStatus};

use crate::render::text;

/// Replaces the standard message. A backtrace follows only where the user asked for one.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        eprintln!(
            "{}",
            line(&place, info.payload_as_str().unwrap_or("no message"))
        );
        // Captures nothing unless RUST_BACKTRACE or RUST_LIB_BACKTRACE says so.
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            eprintln!("{trace}");
        }
    }));
}

fn line(place: &str, message: &str) -> String {
    let (version, message) = (env!("CARGO_PKG_VERSION"), text::line(message));
    format!(
        "error[internal]: this is a bug in Kodex; please report this line: kodex {version} panicked at {place}: {message}"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_one_line_whatever_the_message_holds() {
        let line = super::line("src/x.rs:1:2", "two\nlines\x1b[2J");
        assert!(line.starts_with("error[internal]: "), "{line}");
        assert!(
            line.contains("src/x.rs:1:2") && line.contains(env!("CARGO_PKG_VERSION")),
            "{line}"
        );
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
