//! The same calls as lines of JSON-RPC 2.0 between two processes.
//!
//! `contract/WIRE.md` describes the exchange for authors of SDKs; this module is its Rust form.

mod frame;
pub mod store;
mod v1;
pub mod work;

pub use frame::{
    ErrorDetail, ErrorObject, Frame, FrameError, Id, parse, write_error, write_notification,
    write_request, write_result,
};
pub use v1::*;
