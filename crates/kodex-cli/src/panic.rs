//! A panic is a bug of Kodex. Whoever meets one gets one line that is worth reporting.

/// Replaces the standard message. A backtrace follows only where the user asked for one.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let text = info
            .payload_as_str()
            .unwrap_or("no message")
            .replace('\n', " ");
        eprintln!(
            "error[internal]: this is a bug in Kodex; please report this line: kodex {} panicked at {place}: {text}",
            env!("CARGO_PKG_VERSION"),
        );
        // Captures nothing unless RUST_BACKTRACE or RUST_LIB_BACKTRACE says so.
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            eprintln!("{trace}");
        }
    }));
}
