//! Connections as they come, so many at a time: one loop for every listener of the resident runtime. What is
//! said on a connection is not its business.

use std::{future::Future, io, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};

/// After an error of the system that is not one connection's: no files left, for example.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections come from.
pub(crate) trait Listener {
    /// One of them.
    type Stream: Send + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Has each connection served by a task of its own, until this is dropped; they go with it. Who comes when all
/// places are taken waits with the system, so `each` must bound how long a connection may stay idle.
pub(crate) async fn serve<L: Listener, F>(
    listener: &L,
    n_places: usize,
    each: impl Fn(L::Stream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = std::sync::Arc::new(Semaphore::new(n_places));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Nobody closes it.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.next().await {
            Ok(stream) => {
                let served = each(stream);
                connections.spawn(async move {
                    let _place = place;
                    served.await;
                });
            }
            Err(error) => {
                tracing::warn!(
                    event = "accept_failed",
                    "a connection was not accepted: {error}"
                );
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use tokio::sync::Semaphore;

    use super::{Listener, serve};

    /// Every third connection fails, as if no files were left.
    #[derive(Default)]
    struct Failing(AtomicUsize);

    impl Listener for Failing {
        type Stream = usize;

        async fn next(&self) -> io::Result<usize> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                n if n % 3 == 0 => Err(io::Error::other("no files")),
                n => Ok(n),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_served_at_a_time_and_errors_end_nothing() {
        let (now, most, n_all) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Semaphore::new(0)),
        );
        let each = |_| {
            let (now, most, n_all) = (now.clone(), most.clone(), n_all.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // By a clock that stands still while there is anything to do: all places are taken until then.
                tokio::time::sleep(Duration::from_secs(1)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                n_all.add_permits(1);
            }
        };
        let listener = Failing::default();
        tokio::select! {
            () = serve(&listener, 4, each) => {}
            served = n_all.acquire_many(20) => drop(served.expect("open")),
        }
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }
}
