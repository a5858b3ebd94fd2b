//! A way to the server that one node has for itself: it carries bytes, until it is told to do something else
//! with them.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToNode,
}

/// What is wrong with the way.
#[derive(Debug, Default)]
struct Trouble {
    /// Nothing goes this way; it arrives when this is over.
    stalls: Option<Way>,
    /// Nobody is there.
    gone: bool,
    /// The next word of the server that something was committed is swallowed, and the connection with it.
    swallows: bool,
    n_swallowed: u32,
    /// Both sides of the connections that may be open.
    open: Vec<TcpStream>,
}

/// See the module. Its threads end with the connections, the one that listens with the program.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    trouble: Arc<Mutex<Trouble>>,
}

impl Door {
    pub(super) fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let trouble: Arc<Mutex<Trouble>> = Arc::default();
        let shared = trouble.clone();
        thread::spawn(move || {
            for node in listener.incoming().flatten() {
                if lock(&shared).gone {
                    continue;
                }
                // A server that has no place for it hangs up, as it would without this door.
                let _ = carry_both(node, server, &shared);
            }
        });
        Ok(Self { address, trouble })
    }

    /// Ends every connection.
    pub(super) fn cut(&self) {
        for stream in lock(&self.trouble).open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends every connection and lets nobody in.
    pub(super) fn shut(&self) {
        lock(&self.trouble).gone = true;
        self.cut();
    }

    pub(super) fn stall(&self, way: Way) {
        lock(&self.trouble).stalls = Some(way);
    }

    pub(super) fn swallow(&self) {
        lock(&self.trouble).swallows = true;
    }

    /// How often the word of a commit was swallowed.
    pub(super) fn n_swallowed(&self) -> u32 {
        lock(&self.trouble).n_swallowed
    }

    pub(super) fn heal(&self) {
        let mut trouble = lock(&self.trouble);
        trouble.gone = false;
        trouble.stalls = None;
        trouble.swallows = false;
    }
}

fn lock(trouble: &Mutex<Trouble>) -> MutexGuard<'_, Trouble> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry_both(
    node: TcpStream,
    server: SocketAddr,
    trouble: &Arc<Mutex<Trouble>>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    node.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut shared = lock(trouble);
    // Those that ended by themselves are of no interest any more.
    shared.open.retain(|stream| stream.peer_addr().is_ok());
    shared.open.extend([node.try_clone()?, server.try_clone()?]);
    drop(shared);
    for (from, to, way) in [
        (node.try_clone()?, server.try_clone()?, Way::ToServer),
        (server, node, Way::ToNode),
    ] {
        let trouble = trouble.clone();
        thread::spawn(move || carry(from, to, way, &trouble));
    }
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream, way: Way, trouble: &Mutex<Trouble>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        let part = &bytes[..n];
        while lock(trouble).stalls == Some(way) {
            // Nothing says when it is over but the next look.
            thread::sleep(Duration::from_millis(5));
        }
        if way == Way::ToNode && is_swallowed(part, trouble) {
            break;
        }
        if to.write_all(part).is_err() {
            break;
        }
    }
    for side in [from, to] {
        let _ = side.shutdown(Shutdown::Both);
    }
}

/// Whether these are the words of a commit that the node is not to hear.
fn is_swallowed(part: &[u8], trouble: &Mutex<Trouble>) -> bool {
    let mut trouble = lock(trouble);
    let is_told = trouble.swallows && says_committed(part);
    if is_told {
        trouble.swallows = false;
        trouble.n_swallowed += 1;
    }
    is_told
}

/// Whether the server says that a change is done and no transaction is open: the end of a statement that
/// changed rows, or of a transaction, and then that it is idle.
fn says_committed(part: &[u8]) -> bool {
    let has = |word: &[u8]| part.windows(word.len()).any(|window| window == word);
    let is_idle = has(b"Z\0\0\0\x05I");
    let tags: [&[u8]; 4] = [b"COMMIT\0", b"UPDATE ", b"INSERT 0 ", b"SELECT "];
    is_idle && tags.iter().any(|tag| has(tag))
}

#[cfg(test)]
mod tests {
    use super::says_committed;

    #[test]
    fn the_words_of_a_commit_are_known() {
        for (part, want) in [
            (&b"C\0\0\0\x0dUPDATE 3\0Z\0\0\0\x05I"[..], true),
            (b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I", true),
            (b"C\0\0\0\x0dUPDATE 3\0Z\0\0\0\x05T", false),
            (b"C\0\0\0\x0dUPDATE 3\0", false),
            (b"Z\0\0\0\x05I", false),
        ] {
            assert_eq!(says_committed(part), want, "{part:?}");
        }
    }
}
