//! Why a wish about tasks is refused: for models and people, with stable codes.

use kodex_plugin::{Failure, HostError, PluginError};

use crate::{
    cadence::IntentError,
    task::{Inactive, NoNextRun, TEXT_CHARS},
};

/// Why a wish is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The input does not have its form.
    #[error("{0}")]
    Input(String),
    /// The schedule breaks rules.
    #[error("{0}")]
    Intent(#[from] IntentError),
    /// The text is blank or too long.
    #[error("the text of a task must have 1 to {TEXT_CHARS} characters")]
    Text,
    /// There is no such task, or it belongs to another conversation, which is not told apart.
    #[error("there is no task {0:?} here; list the tasks to see those there are")]
    NotFound(String),
    /// The host does not know the conversation.
    #[error("no conversation is known for this call, so there is nowhere to send answers to")]
    NoCaller,
    /// The host does not know the person.
    #[error(
        "nobody is known to ask for it, and a task belongs to somebody; the caller needs an `actor`"
    )]
    NoActor,
    /// The task cannot become active.
    #[error(transparent)]
    NoNextRun(#[from] NoNextRun),
    /// The task is not active.
    #[error(transparent)]
    Inactive(#[from] Inactive),
    /// Somebody else's credentials.
    #[error(
        "only the person who made the task, in a private conversation of their own, can let it use \
         their credentials"
    )]
    Credentials,
    /// The same call was made by somebody else, or for something else.
    #[error("a task was made by this call before, with another meaning")]
    Replay,
    /// The database failed.
    #[error("{}", .0.message)]
    Host(#[from] HostError),
}

/// The stable codes, sorted, with what each means and what to do.
pub const CODES: &[(&str, &str)] = &[
    (
        "schedule.caller.unknown",
        "The host does not know in which conversation a tool of the scheduler was called, or who asks for a task. Call it through an agent that is attached.",
    ),
    (
        "schedule.claim",
        "A claim on an occurrence was lost to another node. Nothing is to be done; the other node has it.",
    ),
    (
        "schedule.config",
        "The configuration of the scheduler is wrong. The message names the key.",
    ),
    (
        "schedule.contended",
        "Others changed the same tasks each time. Try again.",
    ),
    (
        "schedule.credentials",
        "Only the person who made a task can let it use their credentials, in a conversation with the agent alone.",
    ),
    (
        "schedule.input",
        "The input of a tool or request of the scheduler does not have its form. The message names the field.",
    ),
    (
        "schedule.intent",
        "A schedule breaks rules. The message names each field and its rule.",
    ),
    (
        "schedule.next_run.none",
        "The task has no next run. Give it a new schedule.",
    ),
    (
        "schedule.replay",
        "One call asked for two different tasks. Give each call an id of its own.",
    ),
    (
        "schedule.task.inactive",
        "Only an active task runs now. Resume it first.",
    ),
    (
        "schedule.task.not_found",
        "There is no such task in this conversation. List the tasks.",
    ),
    (
        "schedule.task.text",
        "The text of a task is blank or longer than 4,000 characters.",
    ),
];

impl Refusal {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Input(_) => "schedule.input",
            Self::Intent(_) => "schedule.intent",
            Self::Text => "schedule.task.text",
            Self::NotFound(_) => "schedule.task.not_found",
            Self::NoCaller | Self::NoActor => "schedule.caller.unknown",
            Self::NoNextRun(_) => "schedule.next_run.none",
            Self::Inactive(_) => "schedule.task.inactive",
            Self::Credentials => "schedule.credentials",
            Self::Replay => "schedule.replay",
            Self::Host(error) => &error.code,
        }
    }
}

impl From<Refusal> for PluginError {
    fn from(refusal: Refusal) -> Self {
        let failure = match &refusal {
            Refusal::Host(_) => Failure::Raised,
            _ => Failure::Domain,
        };
        Self::new(failure, refusal.code().to_owned(), refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn the_table_is_sorted() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
