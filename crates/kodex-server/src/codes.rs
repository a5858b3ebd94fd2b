//! What the stable codes of this crate mean and what to do.

/// The codes that this crate gives.
pub const CODES: &[(&str, &str)] = &[
    (
        "daemon.answer",
        "The answer of the resident runtime is too large or cannot be written. Ask for less at a time.",
    ),
    (
        "daemon.broken",
        "The resident runtime ended the connection or answered something else. Look at its log; whether it did what was asked is not known.",
    ),
    (
        "daemon.draining",
        "The resident runtime is about to end and begins nothing new. Try again when it is back, or pass `--no-daemon`.",
    ),
    (
        "daemon.foreign",
        "The socket is listened on by a process of another user. Nothing was said to it. Remove it, or name another one.",
    ),
    (
        "daemon.late",
        "The resident runtime did not answer in time. Look at its log and at `kodex status`.",
    ),
    (
        "daemon.message",
        "What was sent to the socket is no message: too long, no UTF-8, no JSON, nested too deeply, or no JSON-RPC 2.0 request with an id.",
    ),
    (
        "daemon.method",
        "The resident runtime has no such method. Its message lists those that there are.",
    ),
    (
        "daemon.other",
        "The resident runtime has another configuration or other plugins than were meant. The command line then works without it.",
    ),
    (
        "daemon.params",
        "The params of a method are not as they should be. The message says what is wrong.",
    ),
    (
        "daemon.stranger",
        "A process of another user asked. The socket is for the user who runs the resident runtime, and for root.",
    ),
    (
        "daemon.unusable",
        "The socket is there and cannot be used. Look at its permissions, or name another one.",
    ),
    (
        "serve.ended",
        "A part of the resident runtime ended by itself. A bug in Kodex; report it with the log.",
    ),
    (
        "serve.http.bind",
        "The address for probes and metrics cannot be listened on. Is its port taken? Choose another one with `--http`.",
    ),
    (
        "serve.http.exposed",
        "The address for probes and metrics can be reached by other machines. Use 127.0.0.1 or [::1], or pass `--expose-http`.",
    ),
    (
        "serve.running",
        "A resident runtime listens on this socket already. Use that one, end it, or name another socket.",
    ),
    (
        "serve.socket.bind",
        "The socket cannot be made. Look at the folder's permissions and at the space on its disk.",
    ),
    (
        "serve.socket.folder",
        "The folder of the socket belongs to somebody else or is open to others. `chmod 700` it, or name another socket.",
    ),
    (
        "serve.socket.taken",
        "Something that is no socket lies where the socket should be. Move it, or name another socket.",
    ),
];
