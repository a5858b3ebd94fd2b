//! Which user a connection belongs to, in the kernel's words.

use tokio::net::UnixStream;

/// Root may do everything anyway; a user's own processes are the user.
const ROOT: u32 = 0;

/// Refuses connections of other users.
///
/// # Errors
/// Who it is.
pub(crate) fn check(stream: &UnixStream) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if is_trusted(peer.uid(), own) => Ok(()),
        Ok(peer) => Err(format!("it belongs to user {}", peer.uid())),
        Err(error) => Err(format!("nobody knows whose it is: {error}")),
    }
}

fn is_trusted(peer: u32, own: u32) -> bool {
    peer == own || peer == ROOT
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_user_and_root_are_trusted() {
        for (peer, own, want) in [
            (1000, 1000, true),
            (0, 1000, true),
            (0, 0, true),
            (1001, 1000, false),
            (1000, 0, false),
            (u32::MAX, 1000, false),
        ] {
            assert_eq!(super::is_trusted(peer, own), want, "{peer} asks {own}");
        }
    }
}
