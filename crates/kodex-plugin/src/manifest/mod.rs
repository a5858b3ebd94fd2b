//! The declaration of a plugin: who it is, how it runs, what it answers, offers and asks for.
//!
//! Two steps: the *raw* form mirrors the file key by key and rejects what it does not know; the
//! *ready* form, [`Manifest`], has every option resolved. `kodex.toml`, its JSON form and what a
//! plugin declares in code all become the same [`Manifest`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{CapabilityName, HookName, Permission, PluginName, Tool};

mod code;
mod parse;
mod raw;
mod report;
mod rules;
mod shape;
mod tree;
mod variable;
mod version;
mod write;

#[cfg(test)]
mod tests;

pub use code::CODES;
pub use parse::{MANIFEST_BYTES_MAX, Parsed, parse_json, parse_toml};
pub use raw::{
    RawDatabase, RawHook, RawManifest, RawPermission, RawPlugin, RawRequires, RawRun, RawTool,
};
pub use variable::is_loader_variable;
pub use version::Version;

/// The version of the manifest format that this crate reads.
pub const MANIFEST_VERSION: u32 = 1;

/// Everything a plugin declares, normalised.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Manifest {
    /// The plugin's identity.
    pub name: PluginName,
    /// Its version, as written and, where it is one, as a semantic version.
    pub version: Version,
    /// One sentence for people.
    pub description: String,
    /// What it offers, sorted, without duplicates.
    pub capabilities: Vec<CapabilityName>,
    /// The contract versions it works with, for example `>=1, <2`; any when absent.
    pub api: Option<semver::VersionReq>,
    /// How its code runs.
    pub run: Run,
    /// The hooks it answers, in the order of the file.
    pub hooks: Vec<Subscription>,
    /// The tools it offers, in the order of the file.
    pub tools: Vec<Tool>,
    /// What it asks to be allowed.
    pub permissions: Vec<PermissionRequest>,
    /// Its use of SQL, if any.
    pub database: Option<Database>,
    /// What must be on the machine.
    pub requires: Requires,
}

impl Manifest {
    /// A manifest that declares nothing but an identity and a way to run.
    #[must_use]
    pub fn new(name: PluginName, version: Version, description: &str, run: Run) -> Self {
        Self {
            name,
            version,
            description: description.to_owned(),
            capabilities: Vec::new(),
            api: None,
            run,
            hooks: Vec::new(),
            tools: Vec::new(),
            permissions: Vec::new(),
            database: None,
            requires: Requires::default(),
        }
    }

    /// Whether the plugin declares its hooks one by one. Plugins in the form of the first Python
    /// runtime do not; they are asked on every hook.
    #[must_use]
    pub fn is_catch_all(&self) -> bool {
        self.hooks.iter().any(Subscription::is_catch_all)
    }
}

/// The one way in which a plugin's code runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Run {
    /// Python in a worker process, through the SDK that Kodex carries.
    Python {
        /// File relative to the plugin's root, or `module:object` of an installed package.
        entry: String,
        /// Names of environment variables that pass to the worker.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
    },
    /// Any program that reads and writes lines of JSON.
    Process {
        /// Program and arguments. A program with a `/` is relative to the plugin's root; a bare
        /// name is looked for on the path.
        command: Vec<String>,
        /// Names of environment variables that pass to the worker.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
    },
    /// A program started once per hook, in the convention of Claude Code.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// Names of environment variables that pass to the program.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
    },
    /// A WebAssembly component.
    Wasm {
        /// File relative to the plugin's root.
        entry: String,
    },
    /// A server that speaks the Model Context Protocol over standard input and output.
    Mcp {
        /// Program and arguments.
        command: Vec<String>,
        /// Names of environment variables that pass to the server.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
    },
    /// Rust code compiled into the program that embeds the runtime.
    Native,
    /// No code at all: a manifest without `[run]`, for a plugin that only declares. It answers no
    /// hook, offers no tool and has no word in the manifest.
    #[serde(skip)]
    None,
}

/// The words that `run.kind` may be.
const KINDS: &[&str] = &["python", "process", "command", "wasm", "mcp", "native"];

/// The same for people.
fn run_kinds() -> String {
    KINDS.join(", ")
}

impl Run {
    /// The word in the manifest.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Python { .. } => "python",
            Self::Process { .. } => "process",
            Self::Command { .. } => "command",
            Self::Wasm { .. } => "wasm",
            Self::Mcp { .. } => "mcp",
            Self::Native => "native",
            Self::None => "none",
        }
    }
}

/// The wish to answer one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The hook, or `*` for every hook.
    pub on: HookName,
    /// Lower runs earlier; 0 when not said.
    pub priority: i32,
    /// How long one answer may take; the hook's usual time when absent.
    pub timeout: Option<Duration>,
    /// In a chain: a failure stops the chain instead of being passed over.
    pub required: bool,
}

impl Subscription {
    /// The usual wish: priority 0, the hook's timeout, not required.
    #[must_use]
    pub fn new(on: HookName) -> Self {
        Self {
            on,
            priority: 0,
            timeout: None,
            required: false,
        }
    }

    /// Whether it stands for every hook.
    #[must_use]
    pub fn is_catch_all(&self) -> bool {
        self.on.as_str() == "*"
    }
}

/// One permission that a manifest asks for, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionRequest {
    /// What it asks for, normalised.
    pub allow: Permission,
    /// Why, in the author's words. A change of this text alone asks nobody again.
    pub reason: String,
}

/// A plugin's use of SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Folder of the journal, relative to the plugin's root.
    pub migrations: String,
    /// The plugin's earlier name, whose journal and tables this one takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<PluginName>,
}

/// What must be on the machine for the plugin to work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Requires {
    /// Programs that must be found on the path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bin: Vec<String>,
}
