//! The judgement: each rule looks at the whole history and names what was violated, by whom.
//!
//! The rules are the promises of durable work, P1 to P8 of its design, in terms of what can be seen.

mod items;
mod leases;
mod slots;
mod story;

use crate::history::History;

pub use story::story;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule, a stable word.
    pub rule: &'static str,
    /// The job, run, task or occurrence.
    pub subject: String,
    /// What is wrong.
    pub text: String,
}

/// A rule: what it says, and what it finds.
type Rule = fn(&History, &mut Vec<Violation>);

/// Every rule with the promise that it watches.
pub const RULES: &[(&str, &str)] = &[
    ("lost", "what was accepted is there (P1)"),
    ("renamed", "the same item is always the same job (P1)"),
    (
        "ghost",
        "nothing is there that was refused or never asked for (P1)",
    ),
    ("stuck", "nothing lives on when all is over (P5, P8)"),
    ("end", "an item ends as its kind ends (P6)"),
    (
        "ends",
        "a generation ends exactly once, and what has ended stays so (P1)",
    ),
    (
        "token",
        "tokens rise with each lease and change with nothing else (P3)",
    ),
    (
        "lease",
        "a row is taken only when nobody holds it, and taken back only when its time is over (P3)",
    ),
    ("zombie", "whoever writes holds the last token (P4)"),
    (
        "effect",
        "an effect is recorded once and heard alike by all (P6)",
    ),
    (
        "slot",
        "an occurrence has one row, on its task's grid, and none is missing (P2, P7)",
    ),
];

const CHECKS: &[Rule] = &[
    items::lost,
    items::renamed,
    items::ghost,
    items::ends_as_its_kind,
    items::runs_are_there,
    items::effects,
    leases::transitions,
    leases::zombies,
    slots::grid,
    slots::rows,
];

/// Looks at a history with every rule.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in CHECKS {
        rule(history, &mut found);
    }
    found
}

fn violation(rule: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Violation {
    debug_assert!(RULES.iter().any(|(known, _)| *known == rule), "{rule}");
    Violation {
        rule,
        subject: subject.into(),
        text: text.into(),
    }
}
