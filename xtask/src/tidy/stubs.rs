//! What is in the repository is done: no stubs, no tests that do not run, no notes to do it later.

use super::text::numbered;
use super::{Finding, Repository};

const STUBS: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[", "ignore"),
    concat!("unittest.", "skip("),
    concat!("mark.", "skip("),
    concat!("test.", "skip("),
    concat!("test.", "only("),
    concat!("it.", "skip("),
];

const NOTES: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.with_ending(&["rs", "py", "js", "mjs", "ts", "sh", "toml"]) {
        for (number, line) in numbered(file.text()) {
            let stub = STUBS.iter().find(|stub| line.contains(**stub));
            if let Some(found) = stub.or_else(|| note(line)) {
                let message = format!("`{found}`: nothing is left for later");
                findings.push(Finding::new(file, number, message));
            }
        }
    }
    findings
}

/// The word with which a comment begins that leaves something for later.
fn note(line: &str) -> Option<&'static &'static str> {
    let line = line.trim_start();
    let comment = line.strip_prefix("//").or_else(|| line.strip_prefix('#'))?;
    NOTES
        .iter()
        .find(|note| comment.trim_start().starts_with(**note))
}

#[cfg(test)]
mod tests {
    #[test]
    fn stubs_and_notes_are_found() {
        let text = concat!(
            "fn a() { to",
            "do!() }\n#[ig",
            "nore]\n// TO",
            "DO: more\nlet x = TODOS;\n"
        );
        super::super::check(
            super::check,
            &[("a.rs", text)],
            &[
                concat!("a.rs:1: `to", "do!(`: nothing is left for later"),
                concat!("a.rs:2: `#[ig", "nore`: nothing is left for later"),
                concat!("a.rs:3: `TO", "DO`: nothing is left for later"),
            ],
        );
    }
}
