//! Backends: each turns a package into a live [`Plugin`](kodex_plugin::Plugin).
//!
//! `native` hands through Rust code of the embedding program; `worker` runs a child process that
//! speaks the lines of `contract/WIRE.md`. After a package is opened nothing branches on the kind.
//! This crate orders nothing, retries no call and keeps no metrics; that is the runtime's.

#[cfg(feature = "worker")]
pub mod python;
#[cfg(feature = "worker")]
pub mod supervise;
#[cfg(feature = "worker")]
pub mod sweep;
