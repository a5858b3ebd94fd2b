//! Whether a reply has the form that its hook demands.

use kodex_plugin::{
    Combine, Json, Limits, Reply,
    hook::{self, Verdict},
    json,
};

/// Why the host would refuse a reply for its size or depth.
pub(super) fn size_fault(reply: &Reply) -> Option<String> {
    let text = reply.0.as_ref()?.text();
    let refusal = json::check(text.as_bytes(), &Limits::default()).err()?;
    Some(refusal.to_string())
}

/// Why the reply is no reply to this hook.
pub(super) fn reply_fault(hook: &str, payload: &Json, reply: &Reply) -> Option<String> {
    let reply = reply.0.as_ref().filter(|reply| !reply.is_null())?;
    match hook::spec(hook).combine {
        Combine::Decide => {
            let error = reply.to::<Verdict>().err()?;
            Some(format!("it is no verdict: {error}"))
        }
        Combine::Chain => lost(payload, reply),
        Combine::Observe | Combine::Collect | Combine::First => None,
    }
}

/// In a chain the reply is what the next plugin is given, so it must have all that came in.
fn lost(payload: &Json, reply: &Json) -> Option<String> {
    let given = payload.value().as_object()?;
    let Some(passed_on) = reply.value().as_object() else {
        return Some("it is no object, which the next plugin of the chain expects".into());
    };
    let missing = given.keys().find(|key| !passed_on.contains_key(*key))?;
    Some(format!(
        "it lacks {missing:?}, which the next plugin of the chain expects"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(hook: &str, payload: Value, reply: Option<Value>, want: Option<&str>) {
        let reply = Reply(reply.map(Json::from));
        match (reply_fault(hook, &Json::from(payload), &reply), want) {
            (None, None) => {}
            (Some(fault), Some(words)) => assert!(fault.contains(words), "{fault} / {words}"),
            (got, want) => panic!("{hook} {reply:?}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn replies_have_the_form_of_their_hook() {
        let call = || json!({"tool_name": "a", "tool_input": {}});
        check("tool.before", call(), None, None);
        check("tool.before", call(), Some(Value::Null), None);
        check(
            "tool.before",
            call(),
            Some(json!({"decision": "ask", "reason": "r"})),
            None,
        );
        check(
            "tool.before",
            call(),
            Some(json!({"decison": "deny"})),
            Some("no verdict"),
        );
        check(
            "tool.before",
            call(),
            Some(json!("deny")),
            Some("no verdict"),
        );
        let prompt = || json!({"prompt": "a", "cwd": "/"});
        check(
            "prompt.submit",
            prompt(),
            Some(json!({"prompt": "b", "cwd": "/", "x": 1})),
            None,
        );
        check(
            "prompt.submit",
            prompt(),
            Some(json!({"prompt": "b"})),
            Some("lacks \"cwd\""),
        );
        check(
            "prompt.submit",
            prompt(),
            Some(json!("b")),
            Some("no object"),
        );
        check("prompt.submit", json!(7), Some(json!("b")), None);
        check("some.other", call(), Some(json!("anything")), None);
        check("session.end", json!({}), Some(json!(7)), None);
    }

    #[test]
    fn size_is_that_of_the_front_door() {
        assert_eq!(size_fault(&Reply::nothing()), None);
        assert_eq!(size_fault(&Reply::from(json!("a"))), None);
        let long = Reply::from(json!("a".repeat(2 << 20)));
        assert!(size_fault(&long).is_some());
    }
}
