//! Kodex, the plugin runtime for coding agents.
//!
//! Embed a [`Runtime`]: it finds plugins, loads them, and dispatches hooks and tool calls to them
//! under a guard, so that no plugin can take the host down.
//!
//! Data flows one way through five stages, and the modules are that pipeline:
//!
//! ```text
//! discover -> load -> register -> dispatch -> observe
//! Candidate   Loaded  Catalog     Outcome     Record, metrics, report
//! ```
//!
//! | stage | module | fails with |
//! |---|---|---|
//! | [`discover`] | where plugins may be; nothing is executed | never |
//! | `load` | manifest, settings, backend | [`LoadError`] in strict mode |
//! | `register` | the immutable catalog, swapped whole | conflicts stand in the ledger |
//! | `dispatch` | guard, call, combine | [`DispatchError`], [`ToolError`] |
//! | `observe` | ledger, metrics, doctor, explain | never |
//!
//! Start with [`Runtime::builder`]; `examples/embed` is a small agent around it.
//!
//! The library reads no environment, no home folder and no wall clock; the embedder hands in ready
//! values.
#![warn(missing_docs)]

mod builder;
mod clock;
mod codes;
pub mod contribute;
pub mod discover;
mod dispatch;
mod host;
mod journal;
#[cfg(feature = "worker")]
pub mod lifeline;
mod load;
mod observe;
mod register;
pub mod report;
mod runtime;
mod settings;
mod tasks;
mod transfer;
mod upgrade;
mod work;

pub use builder::Builder;
pub use clock::SystemClock;
pub use codes::{CodeTable, codes};
pub use contribute::{ContributedText, Contributions, LeftOut, Turn, TurnInput};
pub use dispatch::{
    Breaker, BreakerSettings, BreakerState, DispatchError, DispatchOptions, Entry, Folded, Outcome,
    Override, Ruling, ToolError, Typed,
};
#[cfg(feature = "worker")]
pub use kodex_backend::python;
pub use kodex_plugin::hook::{Decision, Verdict};
pub use kodex_plugin::{
    self as contract, Call, Combine, Context, Define, Diagnostic, Failure, Hook, Json, JsonError,
    Limits, Manifest, Plugin, PluginError, PluginName, Position, Reply, Request, RequestKind,
    Severity, Tool,
};
pub use kodex_store as store;
pub use load::LoadError;
#[cfg(feature = "worker")]
pub use load::Python;
pub use observe::{
    Doctor, DoctorPlugin, Explanation, Finding, KeyMetrics, PluginMetrics, Reason, Record, Status,
    Why,
};
pub use report::PluginReport;
pub use runtime::{Reloaded, Runtime};
pub use settings::{GuardSettings, PluginSettings};
pub use transfer::{PluginTransferred, TableTransferred, TransferError, Transferred};
pub use upgrade::{
    Kept, PluginUpgrade, StepCounts, StepReport, StepState, UpgradeError, UpgradeEvent,
    UpgradeOptions, UpgradeReport,
};
pub use work::{
    AgentRunner, Deliver, DeliverError, FileDelivery, Followers, HeartbeatSettings, Pending, Pulse,
    PulseOutcome, PulsePlugin, Run, RunEnd, RunLog, SessionRef, Sessions, WorkError, WorkFilter,
    WorkHealth, WorkItem, WorkKind, WorkLine, WorkList, WorkSettings, Working,
};
#[cfg(feature = "worker")]
pub use work::{CommandDelivery, CommandLine, CommandRunner};
