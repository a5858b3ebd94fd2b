//! One input of a turn, and whether the plugins are asked for it.

use std::time::Duration;

use kodex_plugin::hook::Origin;

/// How an input comes to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TurnInput {
    /// The prompt that begins a turn.
    Fresh,
    /// A prompt after an answer in the same conversation.
    FollowUp,
    /// A message that is put into a run that is under way.
    Steering,
    /// A turn that was interrupted and goes on.
    Resumed {
        /// The agent's record says that the prompt, with its contributions, was complete.
        checkpoint: bool,
    },
}

/// What is done about contributions for an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// The plugins are asked, unless the store has what they said to this very input.
    Once,
    /// They are not asked; what they said is looked up.
    Replay,
    /// There are none.
    Never,
}

impl TurnInput {
    /// The rule.
    ///
    /// ```
    /// use kodex::{TurnInput, contribute::Ask};
    /// assert_eq!(TurnInput::Fresh.ask(), Ask::Once);
    /// assert_eq!(TurnInput::Steering.ask(), Ask::Never);
    /// assert_eq!(TurnInput::Resumed { checkpoint: true }.ask(), Ask::Replay);
    /// ```
    #[must_use]
    pub fn ask(self) -> Ask {
        match self {
            Self::Fresh | Self::FollowUp | Self::Resumed { checkpoint: false } => Ask::Once,
            Self::Resumed { checkpoint: true } => Ask::Replay,
            Self::Steering => Ask::Never,
        }
    }
}

/// How long what plugins said for a turn is kept: as long as an agent run may take.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);

/// An input of a turn, for [`Runtime::turn_contributions`](crate::Runtime::turn_contributions).
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// How it comes.
    pub input: TurnInput,
    /// What the user wrote. An input that is delivered again has the same text.
    pub prompt: String,
    /// Session, turn and place. Without `turn_id` nothing can be kept for a redelivery.
    pub origin: Origin,
    /// How long the texts are kept for a redelivery.
    pub keep_for: Duration,
}

impl Turn {
    /// An input with the usual time to keep its texts: a day.
    pub fn new(input: TurnInput, origin: Origin, prompt: impl Into<String>) -> Self {
        Self {
            input,
            prompt: prompt.into(),
            origin,
            keep_for: KEPT_FOR,
        }
    }
}
