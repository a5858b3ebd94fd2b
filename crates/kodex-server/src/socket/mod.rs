//! The socket of the command line: JSON-RPC 2.0, one message on each line, between processes of one user.
//!
//! Who may speak is decided by the system: the socket lies in a folder that only its user can enter, and the
//! kernel says which user a connection belongs to. There is no other password.
//!
//! A connection asks one thing at a time; whoever hangs up takes back what it asked.

mod frame;
mod methods;
mod peer;
mod place;
mod rpc;
pub mod wire;

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

pub(crate) use self::{
    frame::{FrameError, read_frame},
    methods::ANSWER_BYTES,
    peer::check as check_peer,
    place::{Bound, connect},
    rpc::{Reply, Request},
};
use crate::resident::Resident;

/// Open connections.
const N_CONNECTIONS: usize = 64;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(30);
/// How long a message that was begun may take to be finished.
const FRAME_TIME: Duration = Duration::from_secs(5);
/// How long an answer may take to be taken.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// After an error of the system that is not one connection's.
const PAUSE: Duration = Duration::from_millis(100);
/// What a message needs around the payload that it carries, whose bound is the runtime's.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Answers until it is dropped.
pub(crate) async fn serve(listener: Arc<UnixListener>, resident: Arc<Resident>) {
    let places = Arc::new(Semaphore::new(N_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let resident = resident.clone();
                connections.spawn(async move {
                    let _place = place;
                    one(stream, &resident).await;
                });
            }
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn one(stream: UnixStream, resident: &Resident) {
    let peer = peer::check(&stream);
    let (read, mut write) = stream.into_split();
    if let Err(why) = peer {
        tracing::warn!(event = "stranger", "a connection was refused: {why}");
        let _ = send(&mut write, &Reply::refusal(rpc::stranger())).await;
        return;
    }
    let most = resident
        .options
        .limits
        .frame_bytes
        .saturating_add(ENVELOPE_BYTES);
    let mut read = BufReader::new(read);
    loop {
        let begun = timeout(IDLE, read.fill_buf()).await;
        if !matches!(begun, Ok(Ok(bytes)) if !bytes.is_empty()) {
            return;
        }
        let reply = match timeout(FRAME_TIME, read_frame(&mut read, most)).await {
            Ok(Ok(Some(line))) if line.trim_ascii().is_empty() => continue,
            Ok(Ok(Some(line))) => answered(&line, &mut read, resident).await,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                // Where the next message begins is not known any more.
                let _ = send(&mut write, &Reply::refusal(rpc::unreadable(&error))).await;
                return;
            }
            Err(_) => return,
        };
        let Some(reply) = reply else { return };
        if !send(&mut write, &reply).await {
            return;
        }
    }
}

/// The answer to one message; none when the other side hung up meanwhile.
async fn answered(
    line: &[u8],
    read: &mut BufReader<OwnedReadHalf>,
    resident: &Resident,
) -> Option<Reply> {
    let request = match Request::read(line, &resident.options.limits) {
        Ok(request) => request,
        Err(reply) => return Some(reply),
    };
    let _busy = resident.busy();
    let answer = methods::answer(resident, &request.method, request.params);
    tokio::select! {
        answer = answer => Some(Reply::new(request.id, answer)),
        () = hung_up(read) => None,
    }
}

/// Waits until the other side is gone. One that sends its next message early is still there.
async fn hung_up(read: &mut BufReader<OwnedReadHalf>) {
    let is_there = matches!(read.fill_buf().await, Ok(bytes) if !bytes.is_empty());
    if is_there {
        std::future::pending::<()>().await;
    }
}

/// Whether it was taken.
async fn send(write: &mut OwnedWriteHalf, reply: &Reply) -> bool {
    let line = reply.line();
    matches!(
        timeout(WRITE_TIME, write.write_all(line.as_bytes())).await,
        Ok(Ok(()))
    )
}
