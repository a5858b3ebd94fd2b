//! The raw form: exactly the keys of the file, nothing judged but their types.
//!
//! The rules that hold between and inside the values are in `rules`. A key that is added here needs
//! its row in `shape`; a test compares the two.

use serde::{Deserialize, Serialize};

use crate::{Json, tool::Annotations};

/// What stands in `kodex.toml` or its JSON form, key by key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawManifest {
    /// The format's version; 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1)))]
    pub manifest: u32,
    /// Identity.
    pub plugin: RawPlugin,
    /// The way to run; a plugin without one has no code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::Run>"))]
    pub run: Option<RawRun>,
    /// Subscriptions.
    #[serde(default, rename = "hook", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<RawHook>,
    /// Tools.
    #[serde(default, rename = "tool", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<RawTool>,
    /// Permissions asked for.
    #[serde(default, rename = "permission", skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<RawPermission>,
    /// Use of SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<RawDatabase>,
    /// What must be on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<RawRequires>,
}

/// The `[plugin]` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPlugin {
    /// The identity.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 64), regex(pattern = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"))
    )]
    pub name: String,
    /// The version, a semantic one.
    pub version: String,
    /// One sentence for people.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub description: String,
    /// What it offers, for routing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Contract versions, for example `>=1, <2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
}

/// The `[run]` table, before its kind is looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRun {
    /// The way to run.
    pub kind: String,
    /// For `python` and `wasm`: where the code is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// For `process`, `command` and `mcp`: program and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Names of environment variables to pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
}

/// One `[[hook]]` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawHook {
    /// The hook, or `*`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256)))]
    pub on: String,
    /// Lower runs earlier.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// A span such as `500ms`, `1s` or `2m`, at most ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^[0-9]+(ms|s|m)$")))]
    pub timeout: Option<String>,
    /// In a chain: a failure stops the chain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// One `[[tool]]` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawTool {
    /// Name inside the plugin.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 64), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_-]*$"))
    )]
    pub name: String,
    /// What it does, for the model.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub description: String,
    /// JSON Schema of the input; any object when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")
    )]
    pub input_schema: Option<Json>,
    /// JSON Schema of the output; anything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")
    )]
    pub output_schema: Option<Json>,
    /// Hints for review. They never grant anything.
    #[serde(default, skip_serializing_if = "is_default")]
    pub annotations: Annotations,
    /// A span such as `5s`, at most ten minutes; 30 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^[0-9]+(ms|s|m)$")))]
    pub timeout: Option<String>,
    /// It acts for a conversation: without a caller whom the host knows it is neither offered nor called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_caller: bool,
}

fn is_default(annotations: &Annotations) -> bool {
    *annotations == Annotations::default()
}

/// One `[[permission]]` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPermission {
    /// A permission in the grammar of the reference.
    pub allow: String,
    /// Why it is needed, on one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The `[database]` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawDatabase {
    /// Folder of the journal, relative to the plugin's root.
    pub migrations: String,
    /// The plugin's earlier name, whose journal and tables this one takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
}

/// The `[requires]` table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawRequires {
    /// Programs that must be found on the path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bin: Vec<String>,
}
