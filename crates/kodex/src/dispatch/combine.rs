//! How replies become one outcome: pure functions, one per combine mode, without calls or clocks.

use kodex_plugin::{Json, PluginError, PluginName, Reply};
use serde::Deserialize;

use super::outcome::{Decision, Verdict};

/// The reason that stands in a denial because a gate could not be asked.
pub(crate) const GATE_UNAVAILABLE: &str = "gate_unavailable";

#[derive(Deserialize)]
struct Ruling {
    decision: Decision,
    #[serde(default)]
    reason: Option<String>,
}

/// Whether a reply has the form of a decision: nothing, or an object with `decision`.
pub(crate) fn check_decision(reply: &Reply) -> Result<(), String> {
    ruling(reply).map(drop)
}

fn ruling(reply: &Reply) -> Result<Option<Ruling>, String> {
    match &reply.0 {
        Some(json) if !json.is_null() => json.to::<Ruling>().map(Some).map_err(|error| {
            format!("a decision is an object with \"decision\": \"allow\", \"ask\" or \"deny\": {error}")
        }),
        _ => Ok(None),
    }
}

/// Adds one plugin's answer to the decision so far: deny beats ask beats allow, and the first of
/// equals gives the reason. A gate that failed denies; a plugin that only listens to everything is
/// no gate, so its failure decides nothing.
pub(crate) fn decide(
    so_far: Verdict,
    plugin: &PluginName,
    result: &Result<Reply, PluginError>,
    is_gate: bool,
) -> Verdict {
    let ruled = match result {
        Ok(reply) => ruling(reply).ok().flatten(),
        Err(error) if is_gate => return unavailable(plugin, error),
        Err(_) => None,
    };
    match ruled {
        Some(ruled) if weight(ruled.decision) > weight(so_far.decision) => Verdict {
            decision: ruled.decision,
            reason: ruled.reason,
            plugin: Some(plugin.clone()),
        },
        _ => so_far,
    }
}

/// The denial that stands for a gate which could not be asked.
pub(crate) fn unavailable(plugin: &PluginName, error: &PluginError) -> Verdict {
    Verdict {
        decision: Decision::Deny,
        reason: Some(format!("{GATE_UNAVAILABLE}: plugin '{plugin}': {error}")),
        plugin: Some(plugin.clone()),
    }
}

fn weight(decision: Decision) -> u8 {
    match decision {
        Decision::Allow => 0,
        Decision::Ask => 1,
        Decision::Deny => 2,
    }
}

/// The next payload of a chain: the reply, or the payload as it was.
pub(crate) fn next_payload(reply: Reply) -> Option<Json> {
    reply.0.filter(|json| !json.is_null())
}

#[cfg(test)]
mod tests {
    use kodex_plugin::Failure;
    use serde_json::json;

    use super::*;

    /// Folds answers such as `allow ask fail nothing` and compares the decision.
    fn check(answers: &str, want: &str) {
        let mut verdict = Verdict::allow();
        for (index, word) in answers.split_whitespace().enumerate() {
            let plugin = PluginName::new(format!("p{index}")).expect("a name");
            let (word, is_gate) = match word.strip_prefix('*') {
                Some(word) => (word, false),
                None => (word, true),
            };
            let result = match word {
                "nothing" => Ok(Reply::nothing()),
                "fail" => Err(PluginError::new(Failure::Timeout, "call.timeout", "late")),
                decision => Ok(Reply::from(json!({"decision": decision, "reason": decision}))),
            };
            verdict = decide(verdict, &plugin, &result, is_gate);
        }
        let by = verdict.plugin.map_or(String::from("-"), |p| p.to_string());
        assert_eq!(format!("{:?} {by}", verdict.decision).to_lowercase(), want, "{answers}");
    }

    #[test]
    fn deny_beats_ask_beats_allow_in_any_order() {
        check("", "allow -");
        check("nothing nothing", "allow -");
        check("allow deny", "deny p1");
        check("deny allow", "deny p0");
        check("ask allow", "ask p0");
        check("ask deny ask", "deny p1");
        check("deny deny", "deny p0");
    }

    #[test]
    fn a_gate_that_fails_denies_and_a_listener_does_not() {
        check("allow fail allow", "deny p1");
        check("allow *fail allow", "allow -");
        check("*fail ask", "ask p1");
    }

    #[test]
    fn a_malformed_decision_is_no_decision() {
        for bad in [json!("allow"), json!({"decision": "maybe"}), json!({}), json!([1])] {
            assert!(check_decision(&Reply::from(bad)).is_err());
        }
        assert!(check_decision(&Reply::nothing()).is_ok());
        assert!(check_decision(&Reply::from(json!(null))).is_ok());
        assert!(check_decision(&Reply::from(json!({"decision": "deny", "reason": "x", "more": 1}))).is_ok());
    }
}
