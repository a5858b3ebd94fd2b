//! Folders, files and settings around a session.

use serde::{Deserialize, Serialize};

use super::{Environment, Ignored, Origin, Verdict, hook};

hook! {
    /// Observed: the workspace is open whatever a plugin says to it.
    WorkspaceOpen = "workspace.open", Observe, Workspace => Ignored,
    "A workspace was opened, before any session in it."
}

hook! {
    /// Decided: agents let a hook keep a changed configuration from taking effect, and this is
    /// what guards against an agent that rewrites its own rules.
    ConfigChanged = "config.changed", Decide, Change => Verdict,
    "A configuration file changed and is about to take effect."
}

hook! {
    /// Observed: the text is already part of the prompt; adding to it is `prompt.contribute`.
    InstructionsLoaded = "instructions.loaded", Observe, Change => Ignored,
    "A file with instructions for the agent was read."
}

hook! {
    /// Observed: it has happened.
    CwdChanged = "cwd.changed", Observe, Change => Ignored,
    "The agent's working directory changed."
}

hook! {
    /// Observed: it has happened.
    DirAdded = "dir.added", Observe, Change => Ignored,
    "A folder was added to the workspace."
}

hook! {
    /// Observed: it has happened.
    FileChanged = "file.changed", Observe, Change => Ignored,
    "A watched file was created, changed or removed."
}

hook! {
    /// First: one plugin makes the working tree and says where it is; two would collide.
    WorktreeCreate = "worktree.create", First, Worktree => WorktreeReply,
    "The agent wants a working tree of its own and asks who makes it."
}

hook! {
    /// Observed: the agent is done with the tree whatever a plugin says.
    WorktreeRemove = "worktree.remove", Observe, Worktree => Ignored,
    "The agent no longer needs a working tree."
}

hook! {
    /// Collected: the variables of all plugins are put together, and one plugin's failure must not
    /// keep the others' from the shell.
    ShellEnv = "shell.env", Collect, Shell => Environment,
    "The agent is about to start a shell and asks for environment variables."
}

/// An opened workspace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Workspace {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The folders of the workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<String>,
}

/// Something around the session that changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Change {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The file or folder it is about, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it was before: the earlier working directory, the earlier path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What happened: `created`, `changed` or `removed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Which kind it is, in the agent's own word, such as `user_settings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A working tree of the repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Worktree {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What the agent calls the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is, once it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A working tree that a plugin made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorktreeReply {
    /// Where it is.
    pub path: String,
}

/// A shell that is about to start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Shell {
    /// Where the call comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What it will run, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}
