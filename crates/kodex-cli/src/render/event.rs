//! What `kodex dev` tells: plugins that came, changed and went, and what was found about them.

use std::fmt::Write as _;

use kodex::{Diagnostic, Finding, Severity};
use serde::Serialize;

use super::{finding, outcome, style, text};
use crate::invocation::Screen;

/// What happened; in the JSON form, one on each line.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The plugins at the start.
    Loaded { plugins: Vec<String> },
    /// What a reload changed.
    Changed {
        added: Vec<String>,
        changed: Vec<String>,
        removed: Vec<String>,
    },
    /// Something that was not wrong, or not known, before.
    Found { finding: Finding },
    /// In strict mode: the change was refused, the plugins stay as they were.
    Refused { code: String, message: String },
    /// What the plugins replied.
    Replied { outcome: outcome::Whole },
}

/// An event for people; replies are shown as a list by the caller.
pub(crate) fn shown(event: &Event, screen: Screen) -> String {
    let mut out = String::new();
    let mut line = |word: &str, style, names: &[String]| {
        for name in names {
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "{} {}",
                style::paint(word, style, screen),
                text::line(name)
            );
        }
    };
    match event {
        Event::Loaded { plugins } => {
            line("loaded", style::GOOD, plugins);
            out.push_str("watching; Ctrl-C ends\n");
        }
        Event::Changed {
            added,
            changed,
            removed,
        } => {
            line("added", style::GOOD, added);
            line("changed", style::NAME, changed);
            line("removed", style::severity(Severity::Warning), removed);
        }
        Event::Found { finding } => {
            out.push_str(&finding::shown(&finding::placed(finding), None, screen))
        }
        Event::Refused { code, message } => {
            let found = Diagnostic::error(code.as_str(), message.as_str());
            out.push_str(&finding::shown(&found, None, screen));
        }
        Event::Replied { .. } => {}
    }
    out
}
