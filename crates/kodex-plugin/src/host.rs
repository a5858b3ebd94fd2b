//! What a plugin calls: the [`Host`] trait.
//!
//! Like [`Plugin`](crate::Plugin) it has one uniform method, so a new host service is a row in a
//! table and never a change of the trait. Each service checks its permission on the other side.

use std::{future::Future, pin::Pin};

use crate::Json;

/// The way from a plugin back to its host. One value belongs to one plugin; the host knows whose it
/// is, so no request names its sender.
pub trait Host: Send + Sync + 'static {
    /// Asks for a service by its wire method, for example `clock/now`.
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a>;

    /// Says that a call of the plugin begins under a number, by which [`Host::request`] may name it as
    /// `call`. Told from where the call is made, before the plugin can ask for anything. Never blocks.
    fn began(&self, number: u64) {
        let _ = number;
    }

    /// Says that a call is over, answered or not, and closes what was opened under its number; the
    /// number of a transaction or a cursor closes that one. Never blocks.
    fn ended(&self, number: u64) {
        let _ = number;
    }

    /// Writes a line to the plugin's log. Never blocks and never fails; too much is dropped and
    /// counted.
    fn log(&self, level: LogLevel, message: &str, fields: &Json);
}

/// A pending answer from the host.
pub type HostCall<'a> = Pin<Box<dyn Future<Output = Result<Json, HostError>> + Send + 'a>>;

/// How important a log line is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// Normal events.
    Info,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
}

/// Why the host refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// Stable code, for example `host.method.unknown`.
    pub code: String,
    /// For people; safe to show to the plugin's author.
    pub message: String,
}

impl HostError {
    /// An error with code and text.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// The host has no such service.
    #[must_use]
    pub fn unknown_method(method: &str) -> Self {
        Self::new(
            "host.method.unknown",
            format!("the host has no method {method:?}"),
        )
    }
}

/// A host that offers nothing, for plugins that ask for nothing.
///
/// ```
/// use kodex_plugin::{Host, host::NoHost, host::LogLevel, Json};
/// NoHost.log(LogLevel::Info, "not seen by anyone", &Json::object());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn request<'a>(&'a self, method: &'a str, _: Json) -> HostCall<'a> {
        let error: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(std::future::ready(Err(HostError::unknown_method(method))));
        error
    }

    fn log(&self, _: LogLevel, _: &str, _: &Json) {}
}
