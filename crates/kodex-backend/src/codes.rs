//! The ways in which a worker fails, each with a stable code: one table.

use kodex_plugin::{Failure, PluginError};

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The stable code.
    pub code: &'static str,
    /// What kind of failure it is for the breaker.
    pub failure: Failure,
    /// What it means, and what to do.
    pub meaning: &'static str,
}

impl Code {
    pub(crate) fn error(&self, message: impl Into<String>) -> PluginError {
        PluginError::new(self.failure, self.code, message)
    }
}

macro_rules! codes {
    ($($name:ident $failure:ident $code:literal $meaning:literal)*) => {
        $(pub(crate) const $name: Code = Code {
            code: $code,
            failure: Failure::$failure,
            meaning: $meaning,
        };)*

        /// Every code that a worker's errors carry, in the order of a worker's life. Answers with
        /// an error of the plugin's own carry the plugin's code instead.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    INACTIVE Unavailable "worker.inactive" "a call came before the plugin was activated; only an embedder with a bug does that"
    SPAWN_NOT_FOUND Unavailable "worker.spawn.not_found" "the program to start is not there; install it, or correct `run.command`"
    SPAWN_DENIED Unavailable "worker.spawn.denied" "the program is there but may not be started; make the file executable"
    SPAWN_FAILED Unavailable "worker.spawn.failed" "the system could not start the program; the message says what it refused"
    HANDSHAKE_TIMEOUT Unavailable "worker.handshake.timeout" "the process did not answer `initialize` in time; do slow work at the first call"
    HANDSHAKE_REFUSED Unavailable "worker.handshake.refused" "the plugin answered `initialize` with an error: it cannot start; mend what its message says"
    HANDSHAKE_INVALID Protocol "worker.handshake.invalid" "the answer to `initialize` does not have the form of the contract; compare it with the contract"
    HANDSHAKE_VERSION Protocol "worker.handshake.version" "the process speaks another contract version; update the plugin's SDK or Kodex, whichever is older"
    HANDSHAKE_NAME Protocol "worker.handshake.name" "the process is another plugin than the one asked for; let code and manifest give the same name"
    BANNER Protocol "worker.banner" "the process wrote something else than messages on standard output; write logs and greetings to standard error"
    FRAME_SYNTAX Protocol "worker.frame.syntax" "a line is no JSON, or JSON that no other reader would accept; write messages only, one on each line"
    FRAME_ENVELOPE Protocol "worker.frame.envelope" "a line is JSON but no message; compare it with the contract"
    FRAME_TOO_LONG TooLarge "worker.frame.too_long" "a line is longer than allowed; send less at a time, or raise `limits.frame_bytes`"
    FRAME_TOO_DEEP TooLarge "worker.frame.too_deep" "a line nests deeper than allowed; make it flatter, or raise `limits.depth`"
    FRAME_STALLED Protocol "worker.frame.stalled" "a line was begun and not finished in time; write each line in one go and flush it"
    FLOOD Protocol "worker.flood" "the process sent more messages than allowed for too long; log less, or raise `limits.messages_per_second`"
    STDOUT_CLOSED Protocol "worker.stdout.closed" "the process closed standard output and lives on; keep it open as long as the process lives"
    STDIN_CLOSED Protocol "worker.stdin.closed" "the process closed standard input and lives on; keep it open as long as the process lives"
    WRITE_STALLED Protocol "worker.write.stalled" "the process did not read its standard input in time; read while calls are under way"
    WRITE_FULL RejectedLimit "worker.write.full" "too many calls or bytes wait for the process already; the call was not sent; call it less, or make it faster"
    REQUEST_TOO_LONG RejectedLimit "worker.request.too_long" "the payload does not fit into one line; the call was not sent; send less, or raise `limits.frame_bytes`"
    REPLY_INVALID InvalidReply "worker.reply.invalid" "the answer to a call does not have the form of the contract; compare it with the contract"
    TIMEOUT Timeout "worker.timeout" "no answer came before the deadline; make it faster, or give the hook or tool a longer `timeout`"
    KILLED Crash "worker.killed" "the process was ended because of another call that overran its deadline; make that call obey its deadline"
    EXITED Crash "worker.exited" "the process exited by itself; the end of its log in `kodex doctor` says why"
    KILLED_BY_SIGNAL Crash "worker.killed_by_signal" "a signal from elsewhere ended the process; look for a lack of memory and at the end of its log"
    BACKING_OFF RejectedLimit "worker.backing_off" "the process ended unasked and waits for its restart; mend what ends it; the end of its log in `kodex doctor` says why"
    QUARANTINED Quarantined "worker.quarantined" "the process ended too often; mend it, then reload or restart the runtime"
    STOPPED Unavailable "worker.stopped" "the plugin was deactivated; nothing has to be done"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_of_one_family() {
        let mut codes: Vec<_> = CODES.iter().map(|code| code.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
        assert!(codes.iter().all(|code| code.starts_with("worker.")));
    }
}
