//! What an embedder decides about a resident runtime: ready values.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kodex::{HeartbeatSettings, Limits, SystemClock, contract::Clock, store::Store};

/// How a runtime stays.
#[derive(Clone)]
pub struct Options {
    /// The store of the runtime: asked for counts and whether it is there.
    pub store: Arc<dyn Store>,
    /// Where the socket is; none for no socket. Its folder must be closed to others.
    pub socket: Option<PathBuf>,
    /// Where probes and metrics are answered; none for nowhere.
    pub http: Option<SocketAddr>,
    /// Whether that address may be one that other machines reach.
    pub expose_http: bool,
    /// How long from one heartbeat to the next.
    pub beat: Duration,
    /// Bounds on one heartbeat.
    pub heartbeat: HeartbeatSettings,
    /// How long what runs may go on after the end was asked for.
    pub grace: Duration,
    /// Bounds on what comes over the socket.
    pub limits: Limits,
    /// What the runtime was made from, as a digest; a client with another one does not speak of the same
    /// plugins.
    pub config: String,
    /// For points in time that are shown.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("socket", &self.socket)
            .field("http", &self.http)
            .field("beat", &self.beat)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Neither socket nor HTTP, a beat each minute, half a minute of grace.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            socket: None,
            http: None,
            expose_http: false,
            beat: Duration::from_secs(60),
            heartbeat: HeartbeatSettings::default(),
            grace: Duration::from_secs(30),
            limits: Limits::default(),
            config: String::new(),
            clock: Arc::new(SystemClock),
        }
    }
}
