//! A panic is a bug of Kodex. Whoever meets one gets one line that is worth reporting.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::Write as _,
};

use crate::render::text;

/// Replaces the standard message. A backtrace follows only where the user asked for one.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let line = line(&place, info.payload_as_str().unwrap_or("no message"));
        // A panic here would abort the process, and a full disk below the log is no reason for that.
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "{line}");
        // Captures nothing unless RUST_BACKTRACE or RUST_LIB_BACKTRACE says so.
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            let _ = writeln!(stderr, "{trace}");
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
