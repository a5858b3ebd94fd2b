//! A build without TLS: servers that ask for it are refused before anything is sent.

use tokio_postgres::NoTls;

use super::{Mode, Wanted};

/// How a connection is made.
pub(in crate::postgres) type Connect = NoTls;

/// # Errors
/// What is wrong, where TLS is asked for.
pub(in crate::postgres) fn connect(wanted: &Wanted) -> Result<Connect, String> {
    match wanted.mode {
        Mode::Disable | Mode::Prefer => Ok(NoTls),
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => Err(
            "its sslmode asks for TLS, which this build does not speak; \
             reach the server through a local proxy that does, or over a private network with sslmode=disable"
                .to_owned(),
        ),
    }
}

/// There is no handshake that could fail.
pub(in crate::postgres) fn advice(_: &(dyn std::error::Error + 'static)) -> &'static str {
    ""
}
