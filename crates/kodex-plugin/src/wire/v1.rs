//! Methods and parameters of contract version 1.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Json, RequestKind, host::LogLevel, tool::Caller};

/// The contract version that this crate speaks.
pub const CONTRACT_VERSION: u32 = 1;

/// Optional parts of the contract that the host supports. A worker uses only what both sides name.
pub const HOST_FEATURES: &[&str] = &[
    "agent", "cancel", "clock", "db", "job", "log", "state", "step",
];

/// Method names.
pub mod method {
    /// Host to plugin: the handshake, first message of all.
    pub const INITIALIZE: &str = "initialize";
    /// Host to plugin: one request.
    pub const CALL: &str = "call";
    /// Host to plugin: finish and exit.
    pub const SHUTDOWN: &str = "shutdown";
    /// Host to inspector: import one file or object and say what it declares.
    pub const INSPECT: &str = "inspect";
    /// Either way: the sender no longer wants an answer.
    pub const CANCEL: &str = "$/cancel";
    /// Plugin to host: a line for the plugin's log.
    pub const LOG: &str = "log";
    /// Plugin to host: what time it is.
    pub const CLOCK_NOW: &str = "clock/now";
}

/// JSON-RPC error numbers.
pub mod code {
    /// The line is no JSON.
    pub const PARSE: i64 = -32700;
    /// The line is no request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// There is no such method, hook or tool.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters do not fit.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The other side has a bug.
    pub const INTERNAL: i64 = -32603;
    /// The plugin's code raised an error.
    pub const RAISED: i64 = -32000;
    /// A tool refuses its input; the model may see the text.
    pub const DOMAIN: i64 = -32001;
    /// The call was cancelled.
    pub const CANCELLED: i64 = -32002;
    /// A request came before `initialize`.
    pub const NOT_INITIALIZED: i64 = -32003;
    /// The plugin has no grant for this.
    pub const DENIED: i64 = -32004;
}

/// Version and features of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContractOffer {
    /// Contract version.
    pub version: u32,
    /// Named optional parts.
    #[serde(default)]
    pub features: Vec<String>,
}

/// Who a side is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Bounds that the host enforces, told so that a plugin can keep them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WireLimits {
    /// Longest line in bytes.
    pub frame_bytes: usize,
    /// Deepest nesting.
    pub depth: usize,
}

/// Parameters of `initialize`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Initialize {
    /// The host's contract version and features.
    pub contract: ContractOffer,
    /// Who the host is.
    pub host: Party,
    /// The plugin's name.
    pub plugin: String,
    /// The user's configuration for this plugin.
    pub context: Json,
    /// Granted permissions, in normal form.
    pub grants: Vec<String>,
    /// Bounds.
    pub limits: WireLimits,
}

/// Result of `initialize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Initialized {
    /// The plugin's contract version and the features it will use.
    pub contract: ContractOffer,
    /// Who the plugin is. The name must be the one the host asked for.
    pub plugin: Party,
}

/// Parameters of `call`, as the host writes them.
#[derive(Debug, Serialize)]
pub struct CallParams<'a> {
    /// Hook or tool.
    pub kind: RequestKind,
    /// Its name.
    pub name: &'a str,
    /// Payload or input, as raw JSON.
    pub payload: &'a RawValue,
    /// Time left, in milliseconds.
    pub timeout_ms: u64,
    /// The moment the answer is due, in milliseconds since 1970-01-01 UTC.
    pub deadline_unix_ms: u64,
    /// For tools: who calls and from where. Absent where the host does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<&'a Caller>,
}

/// Parameters of `call`, as a plugin reads them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallRequest {
    /// Hook or tool.
    pub kind: RequestKind,
    /// Its name.
    pub name: String,
    /// Payload or input.
    pub payload: Json,
    /// Time left, in milliseconds.
    pub timeout_ms: u64,
    /// The moment the answer is due, in milliseconds since 1970-01-01 UTC.
    pub deadline_unix_ms: u64,
    /// For tools: who calls and from where. Absent where the host does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
}

/// Result of `call`. Without `reply` the plugin has nothing to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallResult<'a> {
    /// The reply, as raw JSON; absent for none. The reply `null` is a reply.
    #[serde(borrow, default, deserialize_with = "super::frame::present")]
    pub reply: Option<&'a RawValue>,
}

/// Result of `call`, as a plugin writes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallReply {
    /// The reply; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Json>,
}

/// Parameters of `$/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cancel {
    /// The request that is no longer wanted.
    pub id: u64,
}

/// Parameters of `log`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Log {
    /// How important.
    pub level: LogLevel,
    /// The line.
    pub message: String,
    /// Named values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Json>,
}

/// Result of `clock/now`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Now {
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}
