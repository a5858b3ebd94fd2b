//! Backends: each turns a package into a live [`Plugin`](kodex_plugin::Plugin).
//!
//! `native` hands through Rust code of the embedding program; `worker` runs a child process that
//! speaks the lines of `contract/WIRE.md`. After a package is opened nothing branches on the kind.
//! This crate orders nothing, retries no call and keeps no metrics; that is the runtime's.

mod backend;
#[cfg(feature = "native")]
mod native;

#[cfg(feature = "worker")]
mod codes;
#[cfg(feature = "worker")]
pub mod environment;
#[cfg(feature = "worker")]
pub mod orphans;
#[cfg(feature = "worker")]
pub mod python;
#[cfg(feature = "worker")]
pub mod restarts;
#[cfg(feature = "suite")]
pub mod suite;
#[cfg(feature = "worker")]
pub mod supervise;
#[cfg(feature = "worker")]
pub mod sweep;
#[cfg(feature = "worker")]
pub mod worker;

pub use backend::{Backend, Command, Launch, OpenError, Package};
#[cfg(feature = "worker")]
pub use codes::{CODES, Code};
#[cfg(feature = "native")]
pub use native::NativeBackend;
#[cfg(feature = "worker")]
pub use worker::{Worker, WorkerBackend, WorkerOptions, WorkerTimes};
