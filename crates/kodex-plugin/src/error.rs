//! How a call into a plugin fails.

use std::borrow::Cow;

/// What kind of failure it was. The guard decides by this whether a breaker counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// The plugin ran and reported an error of its own, for example an exception.
    Raised,
    /// A tool reported that its input makes no sense to it; the plugin is healthy.
    Domain,
    /// The deadline passed.
    Timeout,
    /// The process or thread of the plugin ended, or a native plugin panicked.
    Crash,
    /// The plugin broke the protocol: bad frame, wrong version, banner on standard output.
    Protocol,
    /// The reply does not have the form that the hook or tool demands.
    InvalidReply,
    /// The reply is larger or deeper than allowed.
    TooLarge,
    /// The plugin could not be started or activated.
    Unavailable,
    /// The caller no longer wants the answer.
    Cancelled,
    /// Refused by an open breaker before the plugin was asked.
    RejectedBreaker,
    /// Refused by a full queue or a rate before the plugin was asked.
    RejectedLimit,
    /// Refused because the plugin is quarantined.
    Quarantined,
    /// The total budget of the event was spent before this plugin's turn.
    BudgetSpent,
}

impl Failure {
    /// Whether a circuit breaker counts this as a failure of the plugin.
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::Raised
            | Self::Timeout
            | Self::Crash
            | Self::Protocol
            | Self::InvalidReply
            | Self::TooLarge
            | Self::Unavailable => true,
            Self::Domain
            | Self::Cancelled
            | Self::RejectedBreaker
            | Self::RejectedLimit
            | Self::Quarantined
            | Self::BudgetSpent => false,
        }
    }

    /// The word used in metrics, reports and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "error",
            Self::Domain => "domain_error",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Protocol => "protocol",
            Self::InvalidReply => "invalid_reply",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::RejectedBreaker => "rejected_breaker",
            Self::RejectedLimit => "rejected_limit",
            Self::Quarantined => "quarantined",
            Self::BudgetSpent => "budget_spent",
        }
    }
}

/// One failed call: what kind, a stable code, and a text for people.
///
/// ```
/// use kodex_plugin::{Failure, PluginError};
/// let error = PluginError::raised("no such file");
/// assert_eq!(error.failure, Failure::Raised);
/// assert_eq!(error.to_string(), "no such file");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PluginError {
    /// The kind of failure.
    pub failure: Failure,
    /// Stable code, such as `worker.frame.too_long`.
    pub code: Cow<'static, str>,
    /// What happened, for people. It does not name the plugin; the caller knows it.
    pub message: String,
}

impl PluginError {
    /// A failure of the given kind with a stable code.
    pub fn new(
        failure: Failure,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            failure,
            code: code.into(),
            message: message.into(),
        }
    }

    /// The plugin's own error.
    pub fn raised(message: impl Into<String>) -> Self {
        Self::new(Failure::Raised, "plugin.raised", message)
    }

    /// A tool's word that its input is wrong. The model may see this text.
    pub fn domain(message: impl Into<String>) -> Self {
        Self::new(Failure::Domain, "tool.input.refused", message)
    }
}
