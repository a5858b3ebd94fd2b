//! Tools: names, schemas on both sides, and what a model may see of a failure.

use std::sync::Arc;

use kodex::{
    Define, Json, Plugin, PluginError, Tool,
    contract::{tool::Caller, wire::work::Destination},
};
use serde_json::json;

use crate::{json, runtime};

fn counter() -> Arc<dyn Plugin> {
    let mut count = Tool::new("count", "Counts words.").expect("a name");
    count.input_schema = Some(Json::from(json!({
        "type": "object",
        "properties": {"text": {"type": "string"}, "mode": {"enum": ["ok", "refuse", "raise", "lie"]}},
        "required": ["text"],
        "additionalProperties": false
    })));
    count.output_schema = Some(Json::from(json!({"type": "integer"})));
    let mut broken = Tool::new("broken", "Has a bad schema.").expect("a name");
    broken.input_schema = Some(Json::from(json!({"type": 7})));
    Define::new("word-count", "1.0.0", "Counts.")
        .tool(count, |input| {
            let input = input.value();
            match input["mode"].as_str() {
                Some("refuse") => Err(PluginError::domain("there are no words")),
                Some("raise") => Err(PluginError::raised("secret path /etc/shadow")),
                Some("lie") => Ok(Json::from(json!("three"))),
                _ => Ok(Json::from(json!(
                    input["text"]
                        .as_str()
                        .unwrap_or_default()
                        .split_whitespace()
                        .count()
                ))),
            }
        })
        .tool(broken, |_| Ok(Json::null()))
        .build()
        .expect("a plugin")
}

#[tokio::test]
async fn a_tool_is_called_by_either_name() {
    let runtime = runtime(vec![counter()]).await;
    let names: Vec<_> = runtime.tools().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["wordCount_broken", "wordCount_count"]);
    for name in ["wordCount_count", "word-count/count"] {
        assert_eq!(
            runtime
                .call_tool(name, &json(r#"{"text":"a b c"}"#))
                .await
                .expect("3")
                .text(),
            "3"
        );
    }
}

#[tokio::test]
async fn every_way_to_fail_has_its_code_and_shows_the_model_no_internals() {
    let runtime = runtime(vec![counter()]).await;
    for (tool, input, code, for_model) in [
        (
            "wordCount_count",
            r#"{"text":1}"#,
            "tool.input.invalid",
            "/text: 1 is not of type",
        ),
        (
            "wordCount_count",
            "{}",
            "tool.input.invalid",
            "\"text\" is a required property",
        ),
        (
            "wordCount_count",
            r#"{"text":"a","mode":"refuse"}"#,
            "tool.input.invalid",
            "there are no words",
        ),
        (
            "wordCount_count",
            r#"{"text":"a","mode":"raise"}"#,
            "plugin.raised",
            "the tool failed (plugin.raised)",
        ),
        (
            "wordCount_count",
            r#"{"text":"a","mode":"lie"}"#,
            "tool.output.invalid",
            "the tool failed",
        ),
        (
            "wordCount_broken",
            "{}",
            "tool.schema.invalid",
            "the tool failed",
        ),
        ("wordCount_cuont", "{}", "tool.unknown", "there is no tool"),
    ] {
        let error = runtime.call_tool(tool, &json(input)).await.unwrap_err();
        assert_eq!(error.code(), code, "{input}: {error}");
        let shown = error.for_model();
        assert!(shown.contains(for_model), "{input}: {shown}");
        assert!(!shown.contains("shadow"), "{shown}");
    }
}

#[tokio::test]
async fn at_most_five_issues_are_reported() {
    let runtime = runtime(vec![counter()]).await;
    let input = json(r#"{"text":"a","b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"mode":9}"#);
    let error = runtime
        .call_tool("wordCount_count", &input)
        .await
        .unwrap_err();
    assert!(error.to_string().matches("; ").count() <= 4, "{error}");
}

#[tokio::test]
async fn what_acts_for_a_conversation_is_there_for_a_caller_alone() {
    let mut here = Tool::new("here", "Says where it is called.").expect("a name");
    here.needs_caller = true;
    let plain = Tool::new("plain", "Works anywhere.").expect("a name");
    let plugin = Define::new("asks", "1.0.0", "Asks.")
        .tool(here, |_| Ok(Json::from(json!("called"))))
        .tool(plain, |_| Ok(Json::null()))
        .build()
        .expect("a plugin");
    let runtime = runtime(vec![plugin]).await;
    let caller = Caller {
        call_id: "1".to_owned(),
        source: Destination {
            kind: "session".to_owned(),
            address: "s-1".to_owned(),
        },
        visibility: Default::default(),
        direct: false,
        actor: None,
    };
    let names = |caller| {
        let tools = runtime.tools_for(caller).into_iter();
        tools.map(|(name, ..)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["asks_plain"]);
    assert_eq!(names(Some(&caller)), ["asks_here", "asks_plain"]);
    let refused = runtime.call_tool("asks/here", &json("{}")).await;
    let refused = refused.expect_err("nobody is known");
    assert_eq!(refused.code(), "tool.caller.unknown");
    let called = runtime
        .call_tool_as("asks/here", &json("{}"), &caller)
        .await;
    assert_eq!(called.expect("called").text(), "\"called\"");
}
