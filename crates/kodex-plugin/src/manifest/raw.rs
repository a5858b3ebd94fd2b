//! The raw form: exactly the keys of the file.

use serde::{Deserialize, Serialize};

use super::{Database, Requires, Run};
use crate::Tool;

/// What stands in `kodex.toml` or its JSON form, key by key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawManifest {
    /// The format's version; 1.
    pub manifest: u32,
    /// Identity.
    pub plugin: RawPlugin,
    /// The way to run; a plugin without one has no code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Subscriptions.
    #[serde(default, rename = "hook", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<RawHook>,
    /// Tools.
    #[serde(default, rename = "tool", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Permissions asked for.
    #[serde(default, rename = "permission", skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<RawPermission>,
    /// Use of SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// What must be on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
}

/// The `[plugin]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPlugin {
    /// The identity.
    pub name: String,
    /// The version.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// What it offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Contract versions, for example `>=1, <2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
}

/// One `[[hook]]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawHook {
    /// The hook, or `*`.
    pub on: String,
    /// Lower runs earlier.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// A span such as `500ms`, `1s` or `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// In a chain: a failure stops the chain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// One `[[permission]]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPermission {
    /// A permission in the grammar of the reference.
    pub allow: String,
    /// Why it is needed.
    #[serde(default)]
    pub reason: String,
}
