//! A small agent that embeds Kodex.
//!
//! It sends each prompt through typed hooks, offers the plugins' tools to a stand-in for a model, asks
//! the gates before a tool runs, and goes on when a plugin takes its process down.
//!
//! Run it with `cargo run -p example-embed`.
#![expect(clippy::print_stdout, reason = "an agent talks to its user")]

use std::{error::Error, path::Path};

use kodex::{
    Decision, Define, Json, Python, Runtime, Tool,
    contract::hook::{Origin, Prompt, PromptSubmit, ToolBefore, ToolCall},
    python::{Search, Variables},
};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::temp_dir().join("kodex-example-embed");
    let runtime = Runtime::builder()
        .native(word_tools()?)
        .native(no_deleting()?)
        .plugin_dir(folder.join("plugins"))
        .python(Python::new(search(folder), cache))
        .build()
        .await?;
    for (name, plugin, tool) in runtime.tools() {
        println!("tool {name} of {plugin}: {}", tool.description);
    }
    for prompt in [
        "count the words",
        "please crash",
        "delete everything",
        "count once more please",
    ] {
        turn(&runtime, prompt).await?;
    }
    for plugin in runtime
        .metrics()
        .iter()
        .filter(|plugin| plugin.health.restarts > 0)
    {
        println!(
            "{} was restarted {} time(s)",
            plugin.plugin, plugin.health.restarts
        );
    }
    runtime.shutdown().await;
    Ok(())
}

/// One exchange between the user and the agent.
async fn turn(runtime: &Runtime, text: &str) -> Result<(), Box<dyn Error>> {
    println!("\nuser: {text}");
    // Any valid name is a hook; this one is the plugins' own, so it collects every reply.
    let outcome = runtime
        .emit("prompt.preprocess", Json::from(json!({ "text": text })))
        .await?;
    for (plugin, reply) in outcome.replies() {
        println!("  {plugin} says {}", reply.text());
    }
    for (plugin, error) in outcome.failures() {
        println!("  {plugin} failed ({}), the agent goes on", error.code);
    }
    let prompt = Prompt {
        origin: Origin::default(),
        prompt: text.to_owned(),
        context: Vec::new(),
        refusal: None,
    };
    let prompt = runtime
        .dispatch::<PromptSubmit>(&prompt)
        .await?
        .payload()
        .unwrap_or(prompt);
    let (tool, input) = model(&prompt);
    let call = ToolCall {
        origin: Origin::default(),
        tool_name: tool.to_owned(),
        tool_input: input.clone(),
        tool_call_id: None,
    };
    let ruling = runtime.dispatch::<ToolBefore>(&call).await?.ruling();
    if ruling.decision() != Decision::Allow {
        println!(
            "  {tool} is not run: {}",
            ruling.verdict.reason.unwrap_or_default()
        );
        return Ok(());
    }
    match runtime.call_tool(tool, &input).await {
        Ok(result) => println!("  {tool} -> {}", result.text()),
        Err(error) => println!("  {tool} failed, the model is told: {}", error.for_model()),
    }
    Ok(())
}

/// Stands in for a model: picks a tool for a prompt.
fn model(prompt: &Prompt) -> (&'static str, Json) {
    if prompt.prompt.contains("delete") {
        return ("words_delete", Json::object());
    }
    ("words_count", Json::from(json!({ "text": prompt.prompt })))
}

/// A plugin of the agent's own: Rust code, no process.
fn word_tools() -> Result<std::sync::Arc<dyn kodex::Plugin>, Box<dyn Error>> {
    let mut count = Tool::new("count", "Counts the words of a text.")?;
    count.input_schema = Some(Json::from(json!({
        "type": "object",
        "properties": { "text": { "type": "string" } },
        "required": ["text"]
    })));
    let plugin = Define::new("words", "0.1.0", "Counts words.").tool(count, |input| {
        let n_words = input.value()["text"]
            .as_str()
            .unwrap_or_default()
            .split_whitespace()
            .count();
        Ok(Json::from(json!({ "words": n_words })))
    });
    Ok(plugin.build()?)
}

/// A gate: it is asked before every tool call, and a denial stands whatever others say.
fn no_deleting() -> Result<std::sync::Arc<dyn kodex::Plugin>, Box<dyn Error>> {
    let plugin = Define::new("no-deleting", "0.1.0", "Denies tools that delete.").hook(
        "tool.before",
        |request| {
            let tool = request.payload.value()["tool_name"]
                .as_str()
                .unwrap_or_default();
            Ok(match tool.contains("delete") {
                true => json!({ "decision": "deny", "reason": "nothing is deleted here" }).into(),
                false => kodex::Reply::nothing(),
            })
        },
    );
    Ok(plugin.build()?)
}

/// How the interpreter is found: on this program's search path.
#[expect(
    clippy::disallowed_methods,
    reason = "the embedding program reads the environment, the library does not"
)]
fn search(cwd: &Path) -> Search {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Search {
        path: std::env::split_paths(&path).collect(),
        cwd: cwd.to_owned(),
        variables: Variables::read(|name| std::env::var_os(name)),
        ..Search::default()
    }
}
