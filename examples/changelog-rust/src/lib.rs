//! A changelog from commit messages: what the plugin says, and the loop that lets it speak.
//!
//! [`plugin`] is an ordinary [`Plugin`], so an agent in Rust could link it as it is. [`serve`] puts
//! any such plugin into a process of its own, where every agent can reach it.

use std::sync::Arc;

use kodex_plugin::{Define, Json, NameError, Plugin, PluginError, Reply, Tool};
use serde::Deserialize;
use serde_json::json;

mod changelog;
pub mod serve;

pub use changelog::draft;

/// The plugin, with the hook and the tool that `kodex.toml` declares.
///
/// # Errors
/// Never, as long as the names below are names.
pub fn plugin() -> Result<Arc<dyn Plugin>, NameError> {
    Define::new(
        "changelog-rust",
        env!("CARGO_PKG_VERSION"),
        "Drafts a changelog from commit messages and reminds of it after a commit.",
    )
    .tool(
        Tool::new(
            "draft_changelog",
            "Turns commit messages in the conventional form into a section of a changelog.",
        )?,
        draft_changelog,
    )
    .hook("tool.after", |request| Ok(remind(request.payload)))
    .build()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    commits: Vec<String>,
    #[serde(default = "unreleased")]
    version: String,
}

fn unreleased() -> String {
    "Unreleased".to_owned()
}

fn draft_changelog(input: &Json) -> Result<Json, PluginError> {
    let input: Input = input.to().map_err(|error| {
        PluginError::domain(format!("`commits` must be a list of texts: {error}"))
    })?;
    let (markdown, n_entries) = draft(&input.version, input.commits.iter().map(String::as_str));
    Ok(Json::from(
        json!({"markdown": markdown, "entries": n_entries}),
    ))
}

/// After a commit: the entry that it would have. A chain: the reply is the whole result, changed.
fn remind(payload: &Json) -> Reply {
    let message = payload.value()["tool_input"]["command"]
        .as_str()
        .and_then(committed);
    let Some((markdown, 1..)) = message.map(|message| draft("Unreleased", [message])) else {
        return Reply::nothing();
    };
    let mut result = payload.value().clone();
    let line = json!(format!("If CHANGELOG.md lacks it, add:\n\n{markdown}"));
    match result["context"].as_array_mut() {
        Some(context) => context.push(line),
        None => result["context"] = json!([line]),
    }
    Reply::from(result)
}

/// The message in `git commit -m "..."`.
fn committed(command: &str) -> Option<&str> {
    let (_, arguments) = command.split_once("git commit")?;
    let words = arguments.split_inclusive(' ');
    let is_message = |word: &str| {
        let word = word.trim_end();
        word == "--message"
            || (word.starts_with('-') && !word.starts_with("--") && word.ends_with('m'))
    };
    let before: usize = words
        .take_while(|word| !is_message(word))
        .map(str::len)
        .sum();
    let (_, rest) = arguments[before..].split_once(' ')?;
    let rest = rest.trim_start();
    let quote = rest
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))?;
    let (message, _) = rest[1..].split_once(quote)?;
    Some(message)
}
