//! Ctrl-C and the request to terminate.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the program.
pub(crate) struct Signals {
    listened: Vec<(u8, Signal)>,
    unasked: Option<Signal>,
}

/// Look at the plugins again; only programs that stay listen to it.
pub(crate) const HANG_UP: u8 = 1;
const INTERRUPT: u8 = 2;
const TERMINATE: u8 = 15;
const FILE_TOO_LARGE: i32 = 25;

impl Signals {
    /// From here on these signals no longer end the process at once. Where listening is impossible
    /// they still do.
    pub(crate) fn listen() -> Self {
        let kinds = [
            (INTERRUPT, SignalKind::interrupt()),
            (TERMINATE, SignalKind::terminate()),
        ];
        let listen = |(number, kind)| signal(kind).ok().map(|signal| (number, signal));
        Self {
            listened: kinds.into_iter().filter_map(listen).collect(),
            unasked: None,
        }
    }

    /// The same with the request to look at the plugins again.
    pub(crate) fn listen_for_reload() -> Self {
        let mut signals = Self::listen();
        let hang_up = signal(SignalKind::hangup()).ok();
        signals
            .listened
            .extend(hang_up.map(|signal| (HANG_UP, signal)));
        // A file that may not grow any more is an error of the write that wants it to, and no reason to end. Nobody
        // asks for this one, but it is listened to for as long as this lives.
        signals.unasked = signal(SignalKind::from_raw(FILE_TOO_LARGE)).ok();
        signals
    }

    /// The number of the next signal.
    pub(crate) async fn next(&mut self) -> u8 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.listened {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
