//! Parameters and results of the services `agent/*` and `job/*`, and what a job is called with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Json;

/// Method names.
pub mod method {
    /// Asks for an agent run.
    pub const AGENT_DISPATCH: &str = "agent/dispatch";
    /// Reads a run of the plugin's own.
    pub const AGENT_GET: &str = "agent/get";
    /// Asks for the end of a run of the plugin's own.
    pub const AGENT_CANCEL: &str = "agent/cancel";
    /// Adds a job of the plugin's own.
    pub const JOB_ENQUEUE: &str = "job/enqueue";
    /// Reads a job of the plugin's own.
    pub const JOB_GET: &str = "job/get";
    /// Asks for the end of a job of the plugin's own.
    pub const JOB_CANCEL: &str = "job/cancel";
    /// Remembers that an effect of the running job has happened.
    pub const JOB_EFFECT: &str = "job/effect";
}

/// Bounds on a request for an agent run, in characters unless said otherwise.
pub mod bounds {
    /// Idempotency keys.
    pub const KEY: usize = 512;
    /// The input for the agent.
    pub const INPUT: usize = 32_000;
    /// Entries of `metadata`.
    pub const N_METADATA: usize = 20;
    /// A key of `metadata`.
    pub const METADATA_KEY: usize = 128;
    /// A value of `metadata`.
    pub const METADATA_VALUE: usize = 512;
    /// The address of a place.
    pub const ADDRESS: usize = 512;
    /// `attribution`.
    pub const ATTRIBUTION: usize = 160;
    /// Runs that one heartbeat or job may ask for.
    pub const N_DISPATCHES: u32 = 25;
}

/// A place where requests come from or answers go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// `session`, `file`, `webhook`, `command`, or what the embedder knows besides.
    pub kind: String,
    /// Which one of that kind: an opaque session, a path, an address, a configured name. One line.
    pub address: String,
}

/// Who may see what is said somewhere. What is not known is private.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Only those who take part.
    #[default]
    Private,
    /// Everybody.
    Public,
}

/// Whose stored credentials a run may use. The host binds it to the run and its destination when the run is
/// made; a binding from the caller is refused, as every unknown field is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The user.
    pub user: String,
    /// The scheduled task that the user agreed to; none for a conversation of the user alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// Parameters of `agent/dispatch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentDispatch {
    /// The ticket of the heartbeat or job that asks.
    pub ticket: u64,
    /// The same plugin and key always mean the same run. At most 512 characters.
    pub idempotency_key: String,
    /// Where the answer goes.
    pub destination: Destination,
    /// What the agent is asked to do. At most 32,000 characters.
    pub input: String,
    /// Short facts for whoever runs it: at most 20 lines of 128 and 512 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Where the wish came from; the destination when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Destination>,
    /// Who may see what is said at the destination.
    #[serde(default)]
    pub visibility: Visibility,
    /// Whose stored credentials the run may use; the system's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// What asked for the answer, in a few words, for its reader. At most 160 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<String>,
}

/// Result of `agent/dispatch` and `job/enqueue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Accepted {
    /// The run or job.
    pub id: String,
    /// Whether it is new.
    pub status: Novelty,
}

/// Whether something that was asked for is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Novelty {
    /// It was made.
    Created,
    /// It was there.
    AlreadyExists,
}

/// Parameters of `agent/get`, `agent/cancel`, `job/get` and `job/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ById {
    /// The run or job.
    pub id: String,
}

/// Where a run or job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Waits for its turn.
    Pending,
    /// Somebody is at it.
    Running,
    /// Paused on purpose; goes on by itself.
    AwaitingResume,
    /// Cannot go on until somebody changes something.
    Blocked,
    /// Done.
    Completed,
    /// Ended without success.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl RunStatus {
    /// Whether it never changes again by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::AwaitingResume => "awaiting_resume",
            Self::Blocked => "blocked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Result of `agent/get` and `job/get`; `{}` when the plugin has no such run or job. Nothing of the request is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Projection {
    /// The run or job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
    /// When the result was there, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_at_ms: Option<u64>,
    /// Why it failed or is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Result of `agent/cancel` and `job/cancel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CancelAsked {
    /// Whether it has ended, or will be told to.
    pub done: bool,
}

/// Parameters of `job/enqueue`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobEnqueue {
    /// Which of the plugin's jobs: what follows `job.` in its hook.
    pub name: String,
    /// What the job is called with; at most 256 KiB.
    #[serde(default)]
    pub params: Json,
    /// The same plugin, name and key always mean the same job. Without one, every call makes a new job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long to wait before it is due, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// How much it hurries.
    #[serde(default)]
    pub priority: JobPriority,
    /// Jobs of one plugin and lane never run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// How often it is tried, 5 times when absent; at most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

/// How much a job hurries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum JobPriority {
    /// Before all others.
    Urgent,
    /// As most.
    #[default]
    Normal,
    /// When nothing else is due.
    Low,
}

/// The payload of a hook `job.<name>`: one attempt at a job. It is delivered at least once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobCall {
    /// The job.
    pub id: String,
    /// What it is called with.
    #[serde(default)]
    pub params: Json,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The right to ask for agent runs and to record effects, until this call is over.
    pub ticket: u64,
    /// What happened in the session, for a job that is triggered by its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionProjection>,
}

/// Parameters of `job/effect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobEffect {
    /// The ticket of the job.
    pub ticket: u64,
    /// Which effect of it; at most 512 characters.
    pub key: String,
    /// What to tell those who ask again.
    #[serde(default)]
    pub value: Json,
}

/// Result of `job/effect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EffectKnown {
    /// Nobody said so before, in no attempt.
    pub first: bool,
    /// What the first one gave.
    #[serde(default)]
    pub value: Json,
}

/// What a job may know of a session that has ended: the current turn alone, cleaned by the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionProjection {
    /// The conversation.
    pub conversation_id: String,
    /// The exchange inside it that has ended.
    pub session_id: String,
    /// When it began, in milliseconds since 1970-01-01 UTC; 0 where that is not known. What was said earlier
    /// is context, and in private conversations nobody's business.
    #[serde(default)]
    pub began_at_ms: u64,
    /// When it ended, in milliseconds since 1970-01-01 UTC.
    pub completed_at_ms: u64,
    /// Where it took place.
    pub source: Option<Destination>,
    /// Who may see it.
    #[serde(default)]
    pub visibility: Visibility,
    /// What was said, in order.
    #[serde(default)]
    pub messages: Vec<SessionMessage>,
    /// The tools that were called, in order.
    #[serde(default)]
    pub tools: Vec<SessionTool>,
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SessionRole {
    /// A person.
    User,
    /// The agent.
    Assistant,
}

/// What a text may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Authority {
    /// The wish of whoever began the turn.
    Instruction,
    /// Something that was there: other people's words, earlier messages.
    #[default]
    Context,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionMessage {
    /// Who said it.
    pub role: SessionRole,
    /// The text.
    pub text: String,
    /// What it may be used for.
    #[serde(default)]
    pub authority: Authority,
    /// Who exactly, where the host knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// When, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
}

/// A tool that was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionTool {
    /// Its name.
    pub name: String,
    /// Whether it failed.
    #[serde(default)]
    pub is_error: bool,
    /// What it answered, where that may be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
