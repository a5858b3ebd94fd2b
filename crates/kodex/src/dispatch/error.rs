//! How a dispatch or a tool call as a whole fails. Failures of single plugins stand in the outcome.

use kodex_plugin::{HookName, NameError, PluginError, PluginName};

/// Why a dispatch has no outcome.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// The hook's name breaks the rule for hook names.
    #[error(transparent)]
    BadHook(#[from] NameError),
    /// A plugin failed, and the caller asked to stop at the first failure.
    #[error("Plugin '{plugin}' failed on hook '{hook}': {error}")]
    PluginFailed {
        /// The plugin.
        plugin: PluginName,
        /// The hook.
        hook: HookName,
        /// How it failed.
        error: PluginError,
    },
    /// Too many events and tool calls are under way.
    #[error("hook '{hook}' was not dispatched: {error}")]
    Busy {
        /// The hook.
        hook: HookName,
        /// What was waited for.
        error: PluginError,
    },
    /// A typed payload cannot be written as JSON.
    #[error("the payload of hook '{hook}' cannot be written as JSON: {text}")]
    Payload {
        /// The hook.
        hook: &'static str,
        /// What is wrong.
        text: String,
    },
}

impl DispatchError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::BadHook(error) => error.code(),
            Self::PluginFailed { error, .. } | Self::Busy { error, .. } => &error.code,
            Self::Payload { .. } => "dispatch.payload.unserialisable",
        }
    }
}

/// Why a tool call has no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// No plugin offers this tool.
    #[error("no plugin offers the tool '{name}'")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// A tool with a similar name.
        similar: Option<String>,
    },
    /// The input does not fit the tool's schema, or the tool refused it. The model may see this.
    #[error("tool '{tool}' of plugin '{plugin}' refuses its input: {issues}")]
    Input {
        /// The plugin.
        plugin: PluginName,
        /// The tool.
        tool: String,
        /// At most five issues as `path: what`, joined by `; `.
        issues: String,
    },
    /// The output does not fit the tool's schema.
    #[error(
        "tool '{tool}' of plugin '{plugin}' gave an output that breaks its own schema: {issues}"
    )]
    Output {
        /// The plugin.
        plugin: PluginName,
        /// The tool.
        tool: String,
        /// At most five issues.
        issues: String,
    },
    /// A schema of the tool is no usable JSON Schema.
    #[error("the {side} schema of tool '{tool}' of plugin '{plugin}' is not usable: {text}")]
    Schema {
        /// The plugin.
        plugin: PluginName,
        /// The tool.
        tool: String,
        /// `input` or `output`.
        side: &'static str,
        /// What is wrong.
        text: String,
    },
    /// The tool acts for a conversation, and the host knows none.
    #[error(
        "tool '{tool}' of plugin '{plugin}' acts for a conversation, and no caller is known for this call"
    )]
    Caller {
        /// The plugin.
        plugin: PluginName,
        /// The tool.
        tool: String,
    },
    /// The call failed. What the model should see is [`ToolError::for_model`].
    #[error("tool '{tool}' of plugin '{plugin}' failed: {error}")]
    Failed {
        /// The plugin.
        plugin: PluginName,
        /// The tool.
        tool: String,
        /// How it failed.
        error: PluginError,
    },
}

impl ToolError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unknown { .. } => "tool.unknown",
            Self::Input { .. } => "tool.input.invalid",
            Self::Output { .. } => "tool.output.invalid",
            Self::Schema { .. } => "tool.schema.invalid",
            Self::Caller { .. } => "tool.caller.unknown",
            Self::Failed { error, .. } => &error.code,
        }
    }

    /// The text that a model may see: what it can act on, without internals of the plugin.
    #[must_use]
    pub fn for_model(&self) -> String {
        match self {
            Self::Input { issues, .. } => format!("invalid input: {issues}"),
            Self::Unknown { name, .. } => format!("there is no tool {name:?}"),
            Self::Output { .. }
            | Self::Schema { .. }
            | Self::Caller { .. }
            | Self::Failed { .. } => {
                format!("the tool failed ({})", self.code())
            }
        }
    }
}
