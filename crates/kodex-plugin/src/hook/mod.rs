//! Hooks as data: a name, a payload, a reply and a combine mode.
//!
//! One dispatcher serves all hooks. A known hook has a row in [`SPECS`]; any other valid name works
//! too and collects every reply. [`Hook`] is the thin typed door over the uniform one.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

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
pub trait Hook {
    /// Canonical name.
    const NAME: &'static str;
    /// What the host sends.
    type Payload: Serialize + DeserializeOwned + Send + Sync;
    /// What one plugin answers.
    type Reply: Serialize + DeserializeOwned + Send + Sync;
}

/// The known hooks, sorted by name.
pub static SPECS: &[HookSpec] = &[];

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

/// The known hook that a wrong name probably means.
#[must_use]
pub fn suggest(name: &str) -> Option<&'static str> {
    crate::suggest::closest(name, SPECS.iter().map(|spec| spec.name))
}

/// The spec of a hook by its name; [`UNKNOWN`] for names that Kodex does not know.
#[must_use]
pub fn spec(name: &str) -> &'static HookSpec {
    known(name).unwrap_or(&UNKNOWN)
}
