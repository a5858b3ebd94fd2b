//! A file holds one idea: at most 700 lines beside its tests.

use super::text::production_lines;
use super::{Finding, Repository};

const LONGEST: usize = 700;

/// Files that are longer. The list may only shrink.
const KNOWN: &[&str] = &[
    // One file on purpose: it is copied beside a plugin, which then needs nothing else.
    "examples/todo-node/kodex.mjs",
    "sdks/typescript/kodex.mjs",
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    findings(repository, KNOWN)
}

fn findings(repository: &Repository, known: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut long = Vec::new();
    for file in repository.with_ending(&["rs", "py", "js", "mjs", "ts", "sh"]) {
        let n_lines = production_lines(file.text()).count();
        if n_lines <= LONGEST || file.is_test() || file.is_generated() {
            continue;
        }
        long.push(file.path.as_str());
        if !known.contains(&file.path.as_str()) {
            let message = format!("{n_lines} lines beside its tests; {LONGEST} are the most");
            findings.push(Finding::new(file, 0, message));
        }
    }
    for path in known.iter().filter(|path| !long.contains(path)) {
        findings.push(Finding::about(
            path,
            "no longer too long: take it off the list of known files",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(known: &'static [&'static str], n_lines: usize, expected: &[&str]) {
        let text = "x\n".repeat(n_lines) + "#[cfg(test)]\nmod tests {\n}\n";
        let rule = match known {
            [] => |repository: &Repository| findings(repository, &[]),
            _ => |repository: &Repository| findings(repository, &["a.rs"]),
        };
        super::super::check(rule, &[("a.rs", &text), ("tests/b.rs", &text)], expected);
    }

    #[test]
    fn the_list_of_known_files_only_shrinks() {
        check(&[], LONGEST, &[]);
        check(
            &[],
            LONGEST + 1,
            &["a.rs: 701 lines beside its tests; 700 are the most"],
        );
        check(&["a.rs"], LONGEST + 1, &[]);
        let shorter = "a.rs: no longer too long: take it off the list of known files";
        check(&["a.rs"], LONGEST, &[shorter]);
    }
}
