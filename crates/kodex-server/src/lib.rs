//! The resident runtime behind `kodex serve`: it works off runs and jobs, beats, and can be asked how it is.
//!
//! ```text
//! serve     from a runtime to its drained end
//! beat      the heartbeat's ticks
//! resident  what all surfaces look at: readiness, counts, pulses
//! accept    connections of both surfaces as they come, so many at a time
//! http      probes and metrics for machines; nothing else, loopback unless told otherwise
//! socket    JSON-RPC over a Unix socket for the command line of the same user
//! webhook   answers of agent runs to HTTP
//! ```
//!
//! It holds no rules about plugins or work: those are the runtime's. It reads no environment, installs no
//! signal handlers and no log; whoever embeds it does.

mod accept;
mod beat;
mod client;
mod codes;
mod control;
mod error;
mod http;
mod metrics;
mod options;
pub mod outcome;
mod resident;
mod serve;
mod socket;
mod status;
mod webhook;

pub use client::{Client, ClientError};
pub use codes::CODES;
pub use control::Control;
pub use error::ServeError;
pub use options::Options;
pub use serve::serve;
pub use socket::wire;
pub use status::{PulseStatus, QueueStatus, Status, WorkStatus};
pub use webhook::{AllowedHost, BadHost, WebhookDelivery};
