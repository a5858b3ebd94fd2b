//! What the plugin says, and that its manifest and its binary say the same.

#![expect(
    clippy::disallowed_methods,
    reason = "the binary is tested as the host would start it"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use changelog_rust::{plugin, serve::serve};
use kodex_plugin::{Failure, Reply, manifest::parse_toml};
use kodex_testkit::{PluginSuite, call_hook, call_tool};
use serde_json::{Value, json};

#[test]
fn it_passes_the_suite() {
    let suite = PluginSuite::new()
        .with_input(
            "draft_changelog",
            json!({"commits": ["feat: a"], "version": "1.0.0"}),
        )
        .with_payload("tool.after", after("git commit -m 'fix: b'"));
    assert_eq!(suite.run(&plugin().unwrap()), []);
}

#[test]
fn the_file_declares_what_the_code_answers() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("kodex.toml");
    let parsed = parse_toml(&std::fs::read_to_string(file).unwrap(), "kodex.toml");
    assert_eq!(parsed.diagnostics, []);
    let (declared, built) = (parsed.manifest.unwrap(), plugin().unwrap());
    let built = built.manifest();
    assert_eq!(
        (&declared.name, &declared.version),
        (&built.name, &built.version)
    );
    assert_eq!(declared.description, built.description);
    let hooks = |manifest: &kodex_plugin::Manifest| -> Vec<String> {
        manifest
            .hooks
            .iter()
            .map(|hook| hook.on.to_string())
            .collect()
    };
    assert_eq!(hooks(&declared), hooks(built));
    let tools = |manifest: &kodex_plugin::Manifest| -> Vec<(String, String)> {
        let pair = |tool: &kodex_plugin::Tool| (tool.name.to_string(), tool.description.clone());
        manifest.tools.iter().map(pair).collect()
    };
    assert_eq!(tools(&declared), tools(built));
}

fn after(command: &str) -> Value {
    json!({"tool_name": "Bash", "tool_input": {"command": command}, "tool_output": "ok"})
}

#[test]
fn a_commit_is_followed_by_a_reminder() {
    let plugin = plugin().unwrap();
    let check = |payload: Value, want: Option<&str>| {
        let reply = call_hook(&*plugin, "tool.after", payload.clone()).unwrap();
        let text = reply.0.map(|reply| reply.value()["context"][0].clone());
        let want = want.map(|entry| {
            json!(format!(
                "If CHANGELOG.md lacks it, add:\n\n## Unreleased\n\n### {entry}\n"
            ))
        });
        assert_eq!(text, want, "{payload}");
    };
    check(after("git commit -m \"feat: a\""), Some("Added\n\n- A"));
    check(
        after("git add . && git commit -am 'fix(x): b' && git push"),
        Some("Fixed\n\n- x: B"),
    );
    check(after("git commit -m 'chore: c'"), None);
    check(after("git commit"), None);
    check(after("git commit -m"), None);
    check(after("git commit -m \u{201e}feat: a\u{201c}"), None);
    check(after("ls"), None);
    check(json!({"tool_input": {"command": ["git", "commit"]}}), None);
    check(json!([]), None);
}

#[test]
fn earlier_context_is_kept() {
    let mut payload = after("git commit -m 'feat: a'");
    payload["context"] = json!(["before"]);
    let reply = call_hook(&*plugin().unwrap(), "tool.after", payload).unwrap();
    let result = reply.0.unwrap().into_value();
    assert_eq!(result["context"][0], "before");
    assert_eq!(result["context"].as_array().map(Vec::len), Some(2));
    assert_eq!(result["tool_output"], "ok");
}

#[test]
fn the_tool_drafts_or_refuses() {
    let plugin = plugin().unwrap();
    let draft = |input: Value| call_tool(&*plugin, "draft_changelog", input);
    assert_eq!(
        draft(json!({"commits": ["feat: a", "nothing"]})),
        Ok(Reply::from(
            json!({"markdown": "## Unreleased\n\n### Added\n\n- A\n", "entries": 1})
        ))
    );
    for input in [
        json!({}),
        json!({"commits": "feat: a"}),
        json!({"commits": [], "extra": 1}),
    ] {
        assert_eq!(draft(input).unwrap_err().failure, Failure::Domain);
    }
}

#[test]
fn a_whole_session_may_come_in_one_piece() {
    let line = |id: u64, method: &str, params: Value| {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        format!("{message}\n")
    };
    let call = json!({
        "kind": "tool", "name": "draft_changelog", "payload": {"commits": []},
        "timeout_ms": 1000, "deadline_unix_ms": 0,
    });
    let handshake = json!({
        "contract": {"version": 1, "features": []},
        "host": {"name": "kodex", "version": "0.1.0"}, "plugin": "changelog-rust",
        "context": {}, "grants": [], "limits": {"frame_bytes": 1 << 20, "depth": 64},
    });
    let input = line(1, "initialize", handshake)
        + &line(2, "call", call.clone())
        + &line(3, "call", call.clone())
        + &line(4, "shutdown", Value::Null)
        + &line(5, "call", call);
    let (mut answers, output) = std::io::pipe().unwrap();
    serve(&*plugin().unwrap(), input.as_bytes(), output).unwrap();
    let mut text = String::new();
    answers.read_to_string(&mut text).unwrap();
    let read = |line| -> Value { serde_json::from_str(line).unwrap() };
    let ids: Vec<Value> = text
        .lines()
        .map(read)
        .inspect(|answer| assert!(answer.get("result").is_some(), "{answer}"))
        .map(|answer| answer["id"].clone())
        .collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[test]
fn the_binary_answers_lines_with_lines() {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_changelog-rust"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (worker.stdin.take().unwrap(), worker.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    let mut ask = |id: u64, method: &str, params: Value| -> Value {
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        writeln!(input, "{line}").unwrap();
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], id);
        answer["result"].clone()
    };
    let answer = ask(
        1,
        "initialize",
        json!({
            "contract": {"version": 1, "features": ["cancel"]},
            "host": {"name": "kodex", "version": "0.1.0"}, "plugin": "changelog-rust",
            "context": {}, "grants": [], "limits": {"frame_bytes": 1 << 20, "depth": 64},
        }),
    );
    assert_eq!(
        answer["plugin"],
        json!({"name": "changelog-rust", "version": "0.1.0"})
    );
    assert_eq!(answer["contract"]["features"], json!(["cancel"]));
    let call = json!({
        "kind": "tool", "name": "draft_changelog", "payload": {"commits": ["feat: a"]},
        "timeout_ms": 1000, "deadline_unix_ms": 0,
    });
    assert_eq!(ask(2, "call", call)["reply"]["entries"], 1);
    assert_eq!(ask(3, "shutdown", Value::Null), Value::Null);
    assert!(worker.wait().unwrap().success());
}
