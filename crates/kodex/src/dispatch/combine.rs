//! How replies become one outcome: pure functions, one per combine mode, without calls or clocks.

use kodex_plugin::{
    Json, PluginError, PluginName, Reply,
    hook::{Decision, Verdict},
};

use super::outcome::Ruling;

/// The reason that stands in a denial because a gate could not be asked.
pub(crate) const GATE_UNAVAILABLE: &str = "gate_unavailable";

/// Whether a reply has the form of a decision: nothing, or an object with `decision`.
pub(crate) fn check_decision(reply: &Reply) -> Result<(), String> {
    verdict(reply).map(drop)
}

fn verdict(reply: &Reply) -> Result<Option<Verdict>, String> {
    match &reply.0 {
        Some(json) if !json.is_null() => json.to::<Verdict>().map(Some).map_err(|error| {
            format!(
                "a decision is an object with \"decision\": \"allow\", \"ask\" or \"deny\": {error}"
            )
        }),
        _ => Ok(None),
    }
}

/// Adds one plugin's answer to the ruling so far. A gate that failed denies; a plugin that only
/// listens to everything is no gate, so its failure decides nothing.
pub(crate) fn decide(
    so_far: Ruling,
    plugin: &PluginName,
    result: &Result<Reply, PluginError>,
    is_gate: bool,
) -> Ruling {
    let next = match result {
        Ok(reply) => match verdict(reply) {
            Ok(Some(verdict)) => verdict,
            Ok(None) | Err(_) => return so_far,
        },
        Err(error) if is_gate => unavailable(plugin, error).verdict,
        Err(_) => return so_far,
    };
    let is_stricter = next.decision > so_far.verdict.decision;
    Ruling {
        plugin: if is_stricter {
            Some(plugin.clone())
        } else {
            so_far.plugin
        },
        verdict: so_far.verdict.and(next),
    }
}

/// The denial that stands for a gate which could not be asked.
pub(crate) fn unavailable(plugin: &PluginName, error: &PluginError) -> Ruling {
    let reason = format!("{GATE_UNAVAILABLE}: plugin '{plugin}': {error}");
    Ruling {
        verdict: Verdict::deny(reason),
        plugin: Some(plugin.clone()),
    }
}

/// Whether nothing can change a ruling any more.
pub(crate) fn is_final(ruling: &Ruling) -> bool {
    ruling.verdict.decision == Decision::Deny
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
        let mut ruling = Ruling::allow();
        for (index, word) in answers.split_whitespace().enumerate() {
            let plugin = PluginName::new(format!("p{index}")).expect("a name");
            let (word, is_gate) = match word.strip_prefix('*') {
                Some(word) => (word, false),
                None => (word, true),
            };
            let result = match word {
                "nothing" => Ok(Reply::nothing()),
                "fail" => Err(PluginError::new(Failure::Timeout, "call.timeout", "late")),
                decision => Ok(Reply::from(
                    json!({"decision": decision, "reason": decision}),
                )),
            };
            ruling = decide(ruling, &plugin, &result, is_gate);
        }
        let by = ruling.plugin.map_or(String::from("-"), |p| p.to_string());
        assert_eq!(
            format!("{:?} {by}", ruling.verdict.decision).to_lowercase(),
            want,
            "{answers}"
        );
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
        for bad in [
            json!("allow"),
            json!({"decision": "maybe"}),
            json!({}),
            json!([1]),
        ] {
            assert!(check_decision(&Reply::from(bad)).is_err());
        }
        assert!(check_decision(&Reply::nothing()).is_ok());
        assert!(check_decision(&Reply::from(json!(null))).is_ok());
        assert!(
            check_decision(&Reply::from(
                json!({"decision": "deny", "reason": "x", "more": 1})
            ))
            .is_ok()
        );
    }
}
