//! The contract between Kodex and a plugin.
//!
//! Everything that crosses between the two sides is defined here: [names](name), the
//! [manifest], [hooks](hook), [tools](tool), [permissions](permission), the traits
//! [`Plugin`] (the host calls in) and [`Host`] (the plugin calls out), and the [wire] frames
//! that carry the same calls to another process.
//!
//! It does no I/O, starts no thread, reads no clock and names no async runtime; it compiles for
//! `wasm32`. Its dependency list is closed and checked by `cargo xtask tidy`.
//!
//! ```
//! use kodex_plugin::{Define, Json, Reply};
//! use serde_json::json;
//!
//! let plugin = Define::new("greeter", "0.1.0", "Greets.")
//!     .hook("prompt.preprocess", |request| {
//!         let text = request.payload.value()["text"].as_str().unwrap_or_default();
//!         Ok(Reply::from(Json::from(json!({"text": format!("hello {text}")}))))
//!     })
//!     .build()?;
//! # Ok::<(), kodex_plugin::NameError>(())
//! ```
#![warn(missing_docs)]

pub mod agent;
pub mod capability;
pub mod clock;
mod codes;
pub mod db;
pub mod define;
pub mod diagnostic;
pub mod error;
pub mod hook;
pub mod host;
pub mod job;
pub mod json;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod permission;
pub mod plugin;
#[cfg(feature = "schema")]
pub mod schema;
pub mod span;
pub mod state;
pub mod suggest;
pub mod tool;
pub mod wire;

pub use clock::Clock;
pub use codes::CODES;
pub use define::Define;
pub use diagnostic::{Diagnostic, Position, Severity};
pub use error::{Failure, PluginError};
pub use hook::{Combine, Hook, HookSpec};
pub use host::{Host, HostCall, HostError};
pub use json::{Json, JsonError};
pub use limits::Limits;
pub use manifest::Manifest;
pub use name::{CapabilityName, HookName, NameError, PluginName, ToolName};
pub use permission::Permission;
pub use plugin::{Call, Context, Deadline, Health, Life, Plugin, Reply, Request, RequestKind};
pub use tool::Tool;
