//! The socket of the command line: JSON-RPC 2.0, one message on each line, between processes of one user.
//!
//! Who may speak is decided by the system: the socket lies in a folder that only its user can enter, and the
//! kernel says which user a connection belongs to. There is no other password.
//!
//! A connection asks one thing at a time. Whoever goes away takes back what it asked; whoever has only said all
//! it wanted to say, by shutting down its writing half, gets its answers.

mod frame;
mod gone;
mod methods;
mod peer;
mod place;
mod rpc;
pub mod wire;

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use self::gone::Gone;
pub(crate) use self::{
    frame::{FrameError, read_frame},
    methods::ANSWER_BYTES,
    peer::check as check_peer,
    place::{Bound, connect},
    rpc::{Reply, Request},
};
use crate::{accept, resident::Resident};

/// Open connections.
const N_CONNECTIONS: usize = 64;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(30);
/// How long a message that was begun may take to be finished.
const FRAME_TIME: Duration = Duration::from_secs(5);
/// How long an answer may take to be taken.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// How long, and how many bytes, somebody is listened to who has had the last answer.
const PART_TIME: Duration = Duration::from_secs(1);
const PART_BYTES: u64 = 16 << 20;
/// What a message needs around the payload that it carries, whose bound is the runtime's.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Answers until it is dropped.
pub(crate) async fn serve(listener: Arc<UnixListener>, resident: Arc<Resident>) {
    let each = |stream| {
        let resident = resident.clone();
        async move { one(stream, &resident).await }
    };
    accept::serve(&*listener, N_CONNECTIONS, each).await;
}

async fn one(stream: UnixStream, resident: &Resident) {
    let peer = peer::check(&stream);
    let gone = Gone::of(&stream);
    if let Err(error) = &gone {
        // No descriptors are left. Who asks has its answers all the same; that it goes is not noticed.
        tracing::warn!(
            event = "unwatched",
            "a connection cannot be watched: {error}"
        );
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    if let Err(why) = peer {
        tracing::warn!(event = "stranger", "a connection was refused: {why}");
        if send(&mut write, &Reply::refusal(rpc::stranger())).await {
            part(&mut read, &mut write).await;
        }
        return;
    }
    let most = resident
        .options
        .limits
        .frame_bytes
        .saturating_add(ENVELOPE_BYTES);
    loop {
        let begun = timeout(IDLE, read.fill_buf()).await;
        if !matches!(begun, Ok(Ok(bytes)) if !bytes.is_empty()) {
            return;
        }
        let reply = match timeout(FRAME_TIME, read_frame(&mut read, most)).await {
            Ok(Ok(Some(line))) if line.trim_ascii().is_empty() => continue,
            Ok(Ok(Some(line))) => answered(&line, gone.as_ref().ok(), resident).await,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                // Where the next message begins is not known any more.
                if send(&mut write, &Reply::refusal(rpc::unreadable(&error))).await {
                    part(&mut read, &mut write).await;
                }
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

/// The answer to one message; none when the other side went away meanwhile.
async fn answered(line: &[u8], gone: Option<&Gone>, resident: &Resident) -> Option<Reply> {
    let request = match Request::read(line, &resident.options.limits) {
        Ok(request) => request,
        Err(reply) => return Some(reply),
    };
    let _busy = resident.busy();
    let method = request.method;
    let answer = methods::answer(resident, &method, request.params);
    let gone = async {
        match gone {
            Some(gone) => gone.wait().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        answer = answer => Some(Reply::new(request.id, answer)),
        () = gone => {
            tracing::info!(event = "taken_back", method, "whoever asked is gone; what was asked is given up");
            None
        }
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

/// Takes leave of somebody who may not be done with talking: a connection that is closed on words which were
/// not read breaks under whoever says them, and the last answer with it.
async fn part(read: &mut BufReader<OwnedReadHalf>, write: &mut OwnedWriteHalf) {
    let _ = write.shutdown().await;
    let mut rest = read.take(PART_BYTES);
    let _ = timeout(
        PART_TIME,
        tokio::io::copy(&mut rest, &mut tokio::io::sink()),
    )
    .await;
}
