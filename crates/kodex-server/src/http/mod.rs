//! Probes and metrics over HTTP: a few questions without a body, answered on this machine. Nothing can be
//! changed here.
//!
//! A connection asks one thing, within a few seconds, with a short head; only so many are open at a time.

mod answer;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{accept, error::ServeError, resident::Resident};

/// Open connections; probes and scrapers need two or three.
const N_CONNECTIONS: usize = 64;
/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may take as a whole.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// The longest head, in bytes.
const HEAD_BYTES: usize = 16 << 10;
/// The most lines of a head.
const N_HEADERS: usize = 64;

/// Listens, on this machine alone unless `expose` is set. Gives the address with its port.
pub(crate) async fn listen(
    address: SocketAddr,
    expose: bool,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    if !address.ip().is_loopback() && !expose {
        return Err(ServeError::HttpExposed { address });
    }
    let bind = |source| ServeError::HttpBind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    Ok((listener, address))
}

/// Answers until it is dropped. A slow client gives its place back soon.
pub(crate) async fn serve(listener: TcpListener, resident: Arc<Resident>) {
    let each = |stream| {
        let resident = resident.clone();
        async move {
            if timeout(CONNECTION_TIME, one(stream, &resident))
                .await
                .is_err()
            {
                tracing::debug!("a connection took too long");
            }
        }
    };
    accept::serve(&listener, N_CONNECTIONS, each).await;
}

async fn one(stream: TcpStream, resident: &Resident) {
    let answer = service_fn(|request| answer::answer(request, resident));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(N_HEADERS)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}
