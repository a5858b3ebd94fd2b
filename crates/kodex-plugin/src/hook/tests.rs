//! What holds for every known hook.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// The types of one hook, at work.
pub(super) type Types = fn(&Value, &Value) -> Passed;

/// A payload and a reply after they went through their types, and how those are called.
pub(super) struct Passed {
    name: &'static str,
    payload: Result<Value, String>,
    reply: Result<Value, String>,
    payload_type: &'static str,
    reply_type: &'static str,
}

pub(super) fn types<H: Hook>(payload: &Value, reply: &Value) -> Passed {
    Passed {
        name: H::NAME,
        payload: pass::<H::Payload>(payload),
        reply: pass::<H::Reply>(reply),
        payload_type: std::any::type_name::<H::Payload>(),
        reply_type: std::any::type_name::<H::Reply>(),
    }
}

fn pass<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, String> {
    let read: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(read).map_err(|error| error.to_string())
}

fn origin() -> Value {
    json!({
        "session_id": "s1", "turn_id": "t1", "event": "PreToolUse", "time": 1_795_000_000_000_u64,
        "cwd": "/work", "transcript": "/t.jsonl", "model": "m", "permission_mode": "default",
        "agent_id": "a1", "agent_type": "reviewer", "native": {"hook_event_name": "PreToolUse"}
    })
}

fn with(mut fields: Value, more: &Value) -> Value {
    if let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) {
        fields.extend(more.clone());
    }
    fields
}

/// A full payload and a full reply of each hook. `Null` as reply: whatever.
fn examples() -> BTreeMap<&'static str, (Value, Value)> {
    let call = json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_call_id": "c1"});
    let stop = json!({"stop_active": true, "last_message": "Done."});
    let advice = json!({"context": "c", "keep_working": "k", "stop": "s", "notice": "n"});
    let verdict = json!({"decision": "ask", "reason": "r", "input": {"a": 1}, "context": "c", "notice": "n", "stop": true});
    let session = json!({"source": "resume", "reason": "logout", "previous_session_id": "s0"});
    let change =
        json!({"path": "/a", "previous": "/b", "change": "changed", "source": "user_settings"});
    let prompt = json!({"prompt": "hello", "context": ["c"], "refusal": "no"});
    let task = json!({"task_id": "1", "title": "t", "description": "d"});
    let plugin = json!({"plugin": "a", "version": "0.1.0", "hook": "h", "code": "c", "message": "m", "until_unix_ms": 5});
    let compaction = json!({"compact_trigger": "auto", "instructions": "i", "summary": "s"});
    let model = json!({"from": "a", "to": "b"});
    let result = with(
        json!({"tool_output": {"stdout": "x"}, "duration_ms": 3, "context": ["c"], "feedback": ["f"]}),
        &call,
    );
    let tree = json!({"name": "n", "path": "/w"});
    let expansion = json!({"command": "review", "arguments": "all", "prompt": "p"});
    let answer = json!({"text": "t", "thinking": "h", "response": {"id": 1}});
    let choice = json!({"tools": ["Bash"]});
    let elicited = json!({"action": "accept", "content": {"a": 1}});
    let elicit_result = with(json!({"server": "s"}), &elicited);
    let report = json!({
        "title": "t", "metrics": [{"label": "l", "value": "v", "tone": "good"}],
        "record_sets": [{"title": "t", "fields": [{"key": "k", "label": "l"}],
            "records": [{"id": "1", "values": {"k": "v"}}], "empty_text": "none"}]
    });
    let full = |fields: &Value| with(origin(), fields);
    let nothing = Value::Null;
    BTreeMap::from([
        (
            "agent.error",
            (full(&json!({"error": "e", "kind": "k"})), nothing.clone()),
        ),
        ("agent.interrupt", (full(&stop), nothing.clone())),
        ("agent.stop", (full(&stop), advice.clone())),
        ("breaker.open", (plugin.clone(), nothing.clone())),
        ("compact.after", (full(&compaction), nothing.clone())),
        (
            "compact.before",
            (full(&compaction), json!({"instructions": "keep names"})),
        ),
        ("config.changed", (full(&change), verdict.clone())),
        ("cwd.changed", (full(&change), nothing.clone())),
        ("dir.added", (full(&change), nothing.clone())),
        ("file.changed", (full(&change), nothing.clone())),
        (
            "heartbeat",
            (
                json!({"now_unix_ms": 1, "ticket": 7}),
                json!({"n_started": 2}),
            ),
        ),
        ("instructions.loaded", (full(&change), nothing.clone())),
        (
            "mcp.elicit",
            (
                full(&json!({"server": "s", "message": "m", "schema": {"type": "object"}})),
                elicited,
            ),
        ),
        (
            "mcp.elicit.result",
            (full(&elicit_result), full(&elicit_result)),
        ),
        (
            "memory.write",
            (
                json!({"memory_id": "1", "action": "written", "kind": "k", "subject": "s"}),
                nothing.clone(),
            ),
        ),
        (
            "model.request",
            (
                full(&json!({"request": {"messages": []}})),
                full(&json!({"request": 1})),
            ),
        ),
        ("model.response", (full(&answer), full(&answer))),
        ("model.switch.after", (full(&model), nothing.clone())),
        ("model.switch.before", (full(&model), verdict.clone())),
        (
            "notify",
            (
                full(&json!({"message": "m", "title": "t", "kind": "idle"})),
                nothing.clone(),
            ),
        ),
        (
            "permission.denied",
            (
                full(&with(call.clone(), &json!({"reason": "r"}))),
                nothing.clone(),
            ),
        ),
        (
            "permission.request",
            (
                full(&with(call.clone(), &json!({"suggestions": []}))),
                verdict.clone(),
            ),
        ),
        ("plugin.failed", (plugin.clone(), nothing.clone())),
        ("plugin.loaded", (plugin, nothing.clone())),
        (
            "prompt.contribute",
            (
                full(&json!({"part": "user", "prompt": "p"})),
                json!({"messages": [{"text": "t"}]}),
            ),
        ),
        ("prompt.expand", (full(&expansion), full(&expansion))),
        ("prompt.gate", (full(&prompt), verdict.clone())),
        ("prompt.submit", (full(&prompt), full(&prompt))),
        ("report", (json!({"now_unix_ms": 1}), report)),
        (
            "schedule.due",
            (
                json!({"task_id": "1", "due_at_unix_ms": 2, "plugin": "p"}),
                nothing.clone(),
            ),
        ),
        ("session.end", (full(&session), nothing.clone())),
        ("session.fork", (full(&session), nothing.clone())),
        (
            "session.start",
            (
                full(&session),
                json!({"context": "c", "env": {"A": "b"}, "notice": "n"}),
            ),
        ),
        ("session.switch", (full(&session), nothing.clone())),
        ("session.tree", (full(&session), nothing.clone())),
        (
            "shell.env",
            (full(&json!({"command": "ls"})), json!({"env": {"A": "b"}})),
        ),
        (
            "subagent.start",
            (full(&json!({"prompt": "p"})), verdict.clone()),
        ),
        ("subagent.stop", (full(&stop), advice.clone())),
        ("task.completed", (full(&task), advice.clone())),
        ("task.created", (full(&task), advice.clone())),
        ("teammate.idle", (full(&stop), advice.clone())),
        ("tool.after", (full(&result), full(&result))),
        (
            "tool.batch",
            (
                full(
                    &json!({"calls": [with(call.clone(), &json!({"tool_output": 1, "tool_error": "e"}))]}),
                ),
                advice.clone(),
            ),
        ),
        ("tool.before", (full(&call), verdict)),
        (
            "tool.decided",
            (
                full(&with(
                    call.clone(),
                    &json!({"decision": "deny", "reason": "r"}),
                )),
                nothing.clone(),
            ),
        ),
        (
            "tool.failed",
            (
                full(&with(call, &json!({"tool_error": "e", "duration_ms": 1}))),
                advice,
            ),
        ),
        ("tool.select", (full(&choice), full(&choice))),
        (
            "workspace.open",
            (full(&json!({"roots": ["/a"]})), nothing.clone()),
        ),
        ("worktree.create", (full(&tree), json!({"path": "/w"}))),
        ("worktree.remove", (full(&tree), nothing)),
    ])
}

#[test]
fn the_table_is_sorted_and_every_row_is_complete() {
    assert!(SPECS.windows(2).all(|pair| pair[0].name < pair[1].name));
    for spec in SPECS {
        assert!(crate::HookName::new(spec.name).is_ok(), "{}", spec.name);
        assert!(
            spec.summary.ends_with('.'),
            "{}: a summary is a sentence",
            spec.name
        );
        assert!(!spec.timeout.is_zero(), "{}", spec.name);
        assert_eq!(super::spec(spec.name).name, spec.name);
    }
}

/// Every field of every payload and reply is known by its canonical name, and none is lost.
#[test]
fn full_payloads_and_replies_pass_unchanged() {
    let examples = examples();
    for types in table::TYPES {
        let name = types(&Value::Null, &Value::Null).name;
        let (payload, reply) = &examples[name];
        let passed = types(payload, reply);
        assert_eq!(passed.payload.as_ref(), Ok(payload), "{name}: payload");
        assert_eq!(passed.reply.as_ref(), Ok(reply), "{name}: reply");
    }
    assert_eq!(examples.len(), SPECS.len());
}

#[test]
fn unknown_fields_are_passed_over() {
    let newer = json!({"from_the_future": {"a": [1]}});
    for types in table::TYPES {
        let name = types(&Value::Null, &Value::Null).name;
        let (payload, reply) = &examples()[name];
        let passed = types(&with(payload.clone(), &newer), &with(reply.clone(), &newer));
        assert_eq!(passed.payload.as_ref(), Ok(payload), "{name}");
        assert_eq!(passed.reply.as_ref(), Ok(reply), "{name}");
    }
}

/// The mode decides what a reply can be.
#[test]
fn replies_fit_the_mode() {
    for types in table::TYPES {
        let passed = types(&Value::Null, &Value::Null);
        let reply = passed.reply_type;
        let fits = match spec(passed.name).combine {
            Combine::Chain => reply == passed.payload_type,
            Combine::Decide => reply.ends_with("::Verdict"),
            Combine::Observe => reply.ends_with("::Ignored"),
            Combine::Collect | Combine::First => {
                !reply.ends_with("::Verdict") && !reply.ends_with("::Ignored")
            }
        };
        assert!(fits, "{}: {reply}", passed.name);
    }
}

#[test]
fn the_modes_of_the_hooks_that_matter_most() {
    for (name, combine, seconds) in [
        ("tool.before", Combine::Decide, 2),
        ("permission.request", Combine::Decide, 2),
        ("prompt.gate", Combine::Decide, 2),
        ("prompt.submit", Combine::Chain, 1),
        ("tool.after", Combine::Chain, 1),
        ("prompt.contribute", Combine::Collect, 2),
        ("session.start", Combine::Collect, 2),
        ("session.end", Combine::Observe, 2),
        ("agent.stop", Combine::Collect, 2),
        ("mcp.elicit", Combine::First, 30),
        ("heartbeat", Combine::Collect, 30),
        ("prompt.preprocess", Combine::Collect, 30),
    ] {
        let spec = spec(name);
        assert_eq!(
            (spec.combine, spec.timeout),
            (combine, Duration::from_secs(seconds)),
            "{name}"
        );
    }
    assert!(
        known("prompt.preprocess").is_none(),
        "plugins of the first runtime rely on it"
    );
}

#[test]
fn wrong_names_are_put_right_only_when_close() {
    for (name, want) in [
        ("tool.befor", Some("tool.before")),
        ("tool_before", Some("tool.before")),
        ("ToolBefore", Some("tool.before")),
        ("session-start", Some("session.start")),
        ("promt.submit", Some("prompt.submit")),
        ("prompt.preprocess", None),
        ("PreToolUse", Some("tool.before")),
        ("my.own.hook", None),
        ("", None),
    ] {
        assert_eq!(suggest(name), want, "{name}");
    }
    for (_, ours) in FOREIGN {
        assert!(known(ours).is_some(), "{ours}");
    }
}
