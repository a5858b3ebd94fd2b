//! Contributions as text: the same input gives the same bytes, and no plugin's text can pass for another's
//! or for the frame around them.

use std::fmt::Write as _;

use kodex_plugin::hook::PromptPart;

use super::{ContributedText, Contributions};

/// The elements of the frame. Where a text would open or close one of them, its `<` is spelled out.
const ELEMENTS: [&str; 3] = ["plugin-instructions", CONTEXT, "contribution"];
/// The element around what plugins add beside the words of a user.
pub(crate) const CONTEXT: &str = "plugin-context";

impl Contributions {
    /// Whether no plugin has something to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// All texts in one frame; empty when there are none. Goes into a message of its own, beside what the
    /// user wrote and never into it; the system part goes [below](Self::below) the agent's own rules.
    #[must_use]
    pub fn render(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let (element, about) = match self.part {
            PromptPart::System => (
                "plugin-instructions",
                "Added by plugins. What stands above goes before it.",
            ),
            PromptPart::User => (CONTEXT, "Added by plugins. The user did not write it."),
        };
        let mut out = format!("<{element}>\n{about}\n");
        for ContributedText { id, plugin, text } in &self.texts {
            let (id, plugin) = (attribute(id), attribute(plugin.as_str()));
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "<contribution id=\"{id}\" plugin=\"{plugin}\">\n{}\n</contribution>",
                within(text)
            );
        }
        let _ = write!(out, "</{element}>");
        out
    }

    /// The agent's own rules with the texts below them; the rules alone when there are none.
    #[must_use]
    pub fn below(&self, rules: &str) -> String {
        match self.is_empty() {
            true => rules.to_owned(),
            false => format!("{rules}\n\n{}", self.render()),
        }
    }
}

/// Names that Python plugins declare in code may hold anything but control characters.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

/// The text with every `<` spelled out that would begin one of the frame's own elements.
fn within(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        out.push_str(if is_frame(&from[1..]) { "&lt;" } else { "<" });
        rest = &from[1..];
    }
    out + rest
}

fn is_frame(after: &str) -> bool {
    let name = after.trim_start_matches(|c: char| c == '/' || c.is_whitespace());
    let begins = |element: &str| {
        name.as_bytes()
            .get(..element.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(element.as_bytes()))
    };
    ELEMENTS.iter().any(|element| begins(element))
}
