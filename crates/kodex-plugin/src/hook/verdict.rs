//! What plugins decide, and how several decisions become one.

use serde::{Deserialize, Serialize};

use crate::Json;

/// Whether something may happen. The stricter one is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may.
    Allow,
    /// A person decides.
    Ask,
    /// It may not.
    Deny,
}

/// The reply to a hook that decides.
///
/// `decision` must be there: a reply that misspells it is no permission but a failure. A plugin
/// without an opinion replies with nothing.
///
/// ```
/// use kodex_plugin::hook::{Decision, Verdict};
/// let all = Verdict::allow().and(Verdict::deny("not on Fridays")).and(Verdict::ask("sure?"));
/// assert_eq!(all.decision, Decision::Deny);
/// assert_eq!(all.reason.as_deref(), Some("not on Fridays"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verdict {
    /// Allow, ask or deny.
    pub decision: Decision,
    /// Why, for the model and the user. Expected with ask and deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A whole new input in place of the one that was asked about. Void when the decision is deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// Text that the model is given along the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Text for the user only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// Whether the agent should end its turn altogether.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop: bool,
}

impl Verdict {
    /// A decision and nothing else.
    #[must_use]
    pub fn new(decision: Decision) -> Self {
        Self {
            decision,
            reason: None,
            input: None,
            context: None,
            notice: None,
            stop: false,
        }
    }

    /// It may happen.
    #[must_use]
    pub fn allow() -> Self {
        Self::new(Decision::Allow)
    }

    /// A person decides, knowing why.
    pub fn ask(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::new(Decision::Ask)
        }
    }

    /// It may not happen, and why.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::new(Decision::Deny)
        }
    }

    /// This verdict and a later one as one: deny beats ask beats allow, the stricter one's reason
    /// stands, equally strict ones are joined. Of two new inputs the later one stands.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let reason = match self.decision.cmp(&later.decision) {
            std::cmp::Ordering::Less => later.reason,
            std::cmp::Ordering::Equal => join(self.reason, later.reason, "; "),
            std::cmp::Ordering::Greater => self.reason,
        };
        let decision = self.decision.max(later.decision);
        Self {
            decision,
            reason,
            input: later
                .input
                .or(self.input)
                .filter(|_| decision != Decision::Deny),
            context: join(self.context, later.context, "\n\n"),
            notice: join(self.notice, later.notice, "\n"),
            stop: self.stop || later.stop,
        }
    }
}

fn join(first: Option<String>, second: Option<String>, between: &str) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}{between}{second}")),
        (first, second) => first.or(second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_verdict_wins_whatever_the_order() {
        let verdict = |word: &str| match word {
            "allow" => Verdict::allow(),
            "ask" => Verdict::ask("ask"),
            _ => Verdict::deny(word),
        };
        for (words, decision, reason) in [
            ("allow allow", Decision::Allow, None),
            ("allow ask", Decision::Ask, Some("ask")),
            ("ask allow", Decision::Ask, Some("ask")),
            ("deny ask allow", Decision::Deny, Some("deny")),
            ("allow ask deny", Decision::Deny, Some("deny")),
            ("deny ask no", Decision::Deny, Some("deny; no")),
        ] {
            let all = words.split(' ').map(verdict).reduce(Verdict::and).unwrap();
            assert_eq!(
                (all.decision, all.reason.as_deref()),
                (decision, reason),
                "{words}"
            );
        }
    }

    #[test]
    fn a_denied_input_is_not_rewritten() {
        let rewrite = Verdict {
            input: Some(Json::object()),
            ..Verdict::allow()
        };
        assert!(rewrite.clone().and(Verdict::allow()).input.is_some());
        assert_eq!(rewrite.clone().and(Verdict::deny("no")).input, None);
        assert_eq!(Verdict::deny("no").and(rewrite).input, None);
    }

    #[test]
    fn a_reply_without_a_decision_is_no_verdict() {
        for text in [
            "{}",
            r#"{"decison": "deny"}"#,
            r#"{"decision": "block"}"#,
            "null",
            "\"deny\"",
        ] {
            assert!(serde_json::from_str::<Verdict>(text).is_err(), "{text}");
        }
        let text = r#"{"decision": "deny", "reason": "no", "newer": 1}"#;
        assert_eq!(
            serde_json::from_str::<Verdict>(text).unwrap(),
            Verdict::deny("no")
        );
    }
}
