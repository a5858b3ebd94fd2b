//! Hooks as data: a name, a payload, a reply and a combine mode.
//!
//! One dispatcher serves all hooks. A known hook has a row in [`SPECS`]; any other valid name works
//! too and collects every reply. [`Hook`] is the thin typed door over the uniform one.
//!
//! To add a hook, define it in the file of its family and add it to the list in `table.rs`.
//! Payloads and replies tolerate fields they do not know, so that both can grow.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod agent;
mod compact;
mod mcp;
mod model;
mod notify;
mod origin;
mod permission;
mod prompt;
mod reply;
mod report;
mod runtime;
mod session;
mod table;
mod tool;
mod verdict;
mod workspace;

#[cfg(test)]
mod tests;

pub use agent::*;
pub use compact::*;
pub use mcp::*;
pub use model::*;
pub use notify::*;
pub use origin::Origin;
pub use permission::*;
pub use prompt::*;
pub use reply::{Advice, Environment, Ignored};
pub use report::*;
pub use runtime::*;
pub use session::*;
#[cfg(feature = "schema")]
pub(crate) use table::SCHEMAS;
pub use table::SPECS;
pub use tool::*;
pub use verdict::{Decision, Verdict};
pub use workspace::*;

/// How replies become one outcome, and what a failure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// Tell everyone in parallel, ignore replies; a failure is dropped and counted.
    Observe,
    /// Ask everyone in order and keep all replies; a failure leaves an error entry.
    Collect,
    /// Each reply is the next payload; a failure leaves the payload as it was, unless required.
    Chain,
    /// Allow, ask or deny; deny beats ask beats allow; a failure denies.
    Decide,
    /// The first reply wins; a failure asks the next one if the caller allows.
    First,
}

impl Combine {
    /// How long one answer may take where the hook does not say otherwise: the less of the agent's
    /// time it costs, the longer.
    #[must_use]
    pub const fn usual_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Observe | Self::Collect | Self::Decide => 2,
            Self::Chain => 1,
            Self::First => 30,
        })
    }
}

/// What the host promises to call.
#[derive(Debug, Clone, Copy)]
pub struct HookSpec {
    /// Canonical name.
    pub name: &'static str,
    /// How replies combine.
    pub combine: Combine,
    /// How long one answer may take when neither the subscription nor the operator says.
    pub timeout: Duration,
    /// One sentence: when it is called.
    pub summary: &'static str,
}

/// A hook with types: what the host sends, what a plugin answers.
///
/// ```
/// use kodex_plugin::{Hook, Json, hook::{ToolBefore, Verdict}};
/// let reply = Json::of(&Verdict::deny("not in this folder"))?;
/// let verdict: <ToolBefore as Hook>::Reply = reply.to()?;
/// assert_eq!((ToolBefore::NAME, verdict), ("tool.before", Verdict::deny("not in this folder")));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub trait Hook {
    /// Canonical name.
    const NAME: &'static str;
    /// What the host sends.
    type Payload: Serialize + DeserializeOwned + Send + Sync;
    /// What one plugin answers.
    type Reply: Serialize + DeserializeOwned + Send + Sync;
}

/// Defines a hook: `Marker = "name", Mode, Payload => Reply, "summary"`, and a timeout where the
/// mode's usual one does not fit. The doc comment says why it has this mode.
macro_rules! hook {
    (@timeout $combine:ident) => {
        crate::Combine::$combine.usual_timeout()
    };
    (@timeout $combine:ident $timeout:expr) => {{
        use std::time::Duration;
        $timeout
    }};
    (
        $(#[$doc:meta])*
        $marker:ident = $name:literal, $combine:ident, $payload:ty => $reply:ty,
        $summary:literal $(, $timeout:expr)?
    ) => {
        #[doc = concat!("`", $name, "`: ", $summary)]
        #[doc = ""]
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $marker;

        impl crate::Hook for $marker {
            const NAME: &'static str = $name;
            type Payload = $payload;
            type Reply = $reply;
        }

        impl $marker {
            /// The row of this hook in [`SPECS`](crate::hook::SPECS).
            pub const SPEC: crate::HookSpec = crate::HookSpec {
                name: $name,
                combine: crate::Combine::$combine,
                timeout: crate::hook::hook!(@timeout $combine $($timeout)?),
                summary: $summary,
            };

            /// The files of the two schemas.
            #[cfg(feature = "schema")]
            pub(crate) const FILES: [&'static str; 2] = [
                concat!("hooks/", $name, ".payload.json"),
                concat!("hooks/", $name, ".reply.json"),
            ];
        }
    };
}
use hook;

/// The spec of a hook that Kodex does not know: it collects.
pub const UNKNOWN: HookSpec = HookSpec {
    name: "",
    combine: Combine::Collect,
    timeout: Duration::from_secs(30),
    summary: "A hook that Kodex does not know; every reply is kept.",
};

/// The spec of a hook that Kodex knows.
#[must_use]
pub fn known(name: &str) -> Option<&'static HookSpec> {
    let at = SPECS.binary_search_by(|spec| spec.name.cmp(name)).ok()?;
    SPECS.get(at)
}

/// The spec of a hook by its name; [`UNKNOWN`] for names that Kodex does not know.
#[must_use]
pub fn spec(name: &str) -> &'static HookSpec {
    known(name).unwrap_or(&UNKNOWN)
}

/// Names that agents have for the commonest hooks, for authors who come from there.
const FOREIGN: &[(&str, &str)] = &[
    ("Notification", "notify"),
    ("PermissionRequest", "permission.request"),
    ("PostCompact", "compact.after"),
    ("PostToolUse", "tool.after"),
    ("PostToolUseFailure", "tool.failed"),
    ("PreCompact", "compact.before"),
    ("PreToolUse", "tool.before"),
    ("SessionEnd", "session.end"),
    ("SessionStart", "session.start"),
    ("Stop", "agent.stop"),
    ("SubagentStart", "subagent.start"),
    ("SubagentStop", "subagent.stop"),
    ("UserPromptSubmit", "prompt.submit"),
];

/// The known hook that a wrong name probably means.
///
/// ```
/// assert_eq!(kodex_plugin::hook::suggest("tool_befor"), Some("tool.before"));
/// assert_eq!(kodex_plugin::hook::suggest("PreToolUse"), Some("tool.before"));
/// assert_eq!(kodex_plugin::hook::suggest("prompt.preprocess"), None);
/// ```
#[must_use]
pub fn suggest(name: &str) -> Option<&'static str> {
    let foreign = FOREIGN.iter().find(|(theirs, _)| *theirs == name);
    match foreign {
        Some((_, ours)) => Some(ours),
        None => crate::suggest::closest(name, SPECS.iter().map(|spec| spec.name)),
    }
}
