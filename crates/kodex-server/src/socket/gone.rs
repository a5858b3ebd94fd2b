//! Whether the other side of a connection is there, as against one that has only said all it wanted to say: an
//! end of what can be read tells nothing, an end of what can be written does.

use std::{
    io,
    os::{fd::AsFd as _, unix::net},
};

use tokio::{io::Interest, net::UnixStream};

/// A second handle on a connection, to be told about its end. It neither reads nor writes, so what it hears
/// about the connection is nobody else's to miss.
#[derive(Debug)]
pub(super) struct Gone(UnixStream);

impl Gone {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let own = net::UnixStream::from(stream.as_fd().try_clone_to_owned()?);
        // It shares everything with the first one, so this changes nothing.
        own.set_nonblocking(true)?;
        UnixStream::from_std(own).map(Self)
    }

    /// Waits until nobody can take an answer any more.
    pub(super) async fn wait(&self) {
        loop {
            match self.0.ready(Interest::WRITABLE).await {
                Ok(ready) if !ready.is_write_closed() => {}
                Ok(_) | Err(_) => return,
            }
            // There is room to write, which is no news. The next word is that there is more, or the end.
            let _ = self.0.try_io(Interest::WRITABLE, || {
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::Shutdown,
        os::unix::net,
        time::Duration,
    };

    use tokio::{net::UnixStream, time::timeout};

    use super::Gone;

    /// What the other side does, and whether it is gone then.
    async fn check(what: &str, act: impl FnOnce(net::UnixStream), want: bool) {
        let (here, mut there) = net::UnixStream::pair().expect("a pair");
        here.set_nonblocking(true).expect("a mode");
        let here = UnixStream::from_std(here).expect("a stream");
        let gone = Gone::of(&here).expect("a handle");
        there.write_all(b"asked").expect("sent");
        let soon = async {
            // Before and while it waits.
            let waiting = timeout(Duration::from_millis(50), gone.wait()).await;
            assert!(waiting.is_err(), "{what}: it was there before");
            act(there);
            timeout(Duration::from_millis(500), gone.wait()).await
        };
        assert_eq!(soon.await.is_ok(), want, "{what}");
    }

    #[tokio::test]
    async fn only_who_cannot_be_answered_is_gone() {
        let keep = |there: net::UnixStream| std::mem::forget(there);
        check("goes", drop, true).await;
        check("stays", keep, false).await;
        check(
            "says more",
            |mut there| {
                there.write_all(&[7; 10_000]).expect("sent");
                keep(there);
            },
            false,
        )
        .await;
        check(
            "has said everything",
            |there| {
                there.shutdown(Shutdown::Write).expect("shut");
                keep(there);
            },
            false,
        )
        .await;
        check(
            "has said everything and goes",
            |there| {
                there.shutdown(Shutdown::Write).expect("shut");
                drop(there);
            },
            true,
        )
        .await;
        check(
            "hears nothing and says nothing",
            |there| there.shutdown(Shutdown::Both).expect("shut"),
            true,
        )
        .await;
    }

    /// The second handle must not take what the first one waits for.
    #[tokio::test]
    async fn a_full_connection_is_written_to_as_soon_as_there_is_room() {
        let (here, mut there) = net::UnixStream::pair().expect("a pair");
        here.set_nonblocking(true).expect("a mode");
        let here = UnixStream::from_std(here).expect("a stream");
        let gone = Gone::of(&here).expect("a handle");
        let (_, mut write) = here.into_split();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            there.read_to_end(&mut all).map(|n| (n, there))
        });
        let written = async {
            use tokio::io::AsyncWriteExt as _;
            write.write_all(&vec![7; 4 << 20]).await.expect("taken");
            write.shutdown().await.expect("shut");
        };
        tokio::select! {
            written = timeout(Duration::from_secs(20), written) => written.expect("in time"),
            () = gone.wait() => panic!("nobody went"),
        }
        let (n, _there) = reader.join().expect("a thread").expect("read");
        assert_eq!(n, 4 << 20);
    }
}
