//! What a test of a Kodex plugin needs, and nothing that production code should use.
//!
//! - [`FakeHost`] records what a plugin says to its host, answers from a table and keeps its values, its
//!   agent runs and its jobs.
//! - [`HandClock`] is a clock that only moves when the test moves it.
//! - [`call_hook`], [`call_tool`] and [`activate`] call a plugin without an async runtime.
//! - [`capture`] turns a panic into a value.
//! - [`PluginSuite`] runs the checks that every plugin should pass and lists what it finds.
//! - With the feature `sql`, [`FakeHost`] keeps the plugin's tables too, in a real database.
//!
//! It starts no process, opens no socket and reads no file besides that database; a plugin that lives
//! in a process of its own is tested through the runtime.
//!
//! ```
//! use kodex_plugin::{Define, Json, Reply};
//! use kodex_testkit::{PluginSuite, call_hook};
//! use serde_json::json;
//!
//! let plugin = Define::new("greeter", "0.1.0", "Greets.")
//!     .hook("prompt.preprocess", |request| {
//!         let text = request.payload.value()["text"].as_str().unwrap_or_default();
//!         Ok(Reply::from(json!({"text": format!("hello {text}")})))
//!     })
//!     .build()?;
//!
//! let reply = call_hook(&*plugin, "prompt.preprocess", json!({"text": "you"}))?;
//! assert_eq!(reply, Reply::from(json!({"text": "hello you"})));
//! assert_eq!(PluginSuite::new().run(&plugin), []);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod call;
mod capture;
mod clock;
mod host;
#[cfg(feature = "sql")]
mod sql;
mod suite;
mod values;
mod work;

pub use call::{CALL_LIMIT, activate, block_on, call_hook, call_tool, finish};
pub use capture::{Panicked, capture};
pub use clock::HandClock;
pub use host::{Asked, FakeHost, LogLine};
#[cfg(feature = "sql")]
pub use sql::AppliedStep;
pub use suite::PluginSuite;
pub use work::{FakeJob, FakeRun};
