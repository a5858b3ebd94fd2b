//! The list of known hooks. A row here, an entry in the file of its family: that is a hook.

use super::*;

macro_rules! hooks {
    ($($marker:ident,)*) => {
        /// The known hooks, sorted by name.
        pub static SPECS: &[HookSpec] = &[$($marker::SPEC,)*];

        /// The schemas of payload and reply of each hook, with their files.
        #[cfg(feature = "schema")]
        pub(crate) static SCHEMAS: &[(&str, crate::schema::Write)] = &[$(
            ($marker::FILES[0], crate::schema::of::<<$marker as Hook>::Payload>),
            ($marker::FILES[1], crate::schema::of::<<$marker as Hook>::Reply>),
        )*];

        /// For tests: what becomes of a payload and of a reply that pass through their types.
        #[cfg(test)]
        pub(super) static TYPES: &[super::tests::Types] = &[$(super::tests::types::<$marker>,)*];
    };
}

hooks! {
    AgentError,
    AgentInterrupt,
    AgentStop,
    BreakerOpen,
    CompactAfter,
    CompactBefore,
    ConfigChanged,
    CwdChanged,
    DirAdded,
    FileChanged,
    Heartbeat,
    InstructionsLoaded,
    McpElicit,
    McpElicitResult,
    MemoryWrite,
    ModelRequest,
    ModelResponse,
    ModelSwitchAfter,
    ModelSwitchBefore,
    Notify,
    PermissionDenied,
    PermissionRequest,
    PluginFailed,
    PluginLoaded,
    PromptContribute,
    PromptExpand,
    PromptGate,
    PromptSubmit,
    Report,
    ScheduleDue,
    SessionEnd,
    SessionFork,
    SessionStart,
    SessionSwitch,
    SessionTree,
    ShellEnv,
    SubagentStart,
    SubagentStop,
    TaskCompleted,
    TaskCreated,
    TeammateIdle,
    ToolAfter,
    ToolBatch,
    ToolBefore,
    ToolDecided,
    ToolFailed,
    ToolSelect,
    WorkspaceOpen,
    WorktreeCreate,
    WorktreeRemove,
}
