//! One word for one idea: the words that the glossary replaces do not stand in the documents.
//!
//! Only words that are wrong in every sentence are listed; the rest needs a reader.

use super::text::{has_word, prose};
use super::{Finding, Repository};

const GLOSSARY: &str = "docs/glossary.md";

/// What not to write, and what to write.
const REPLACED: &[(&str, &str)] = &[
    ("add-on", "plugin"),
    ("add-ons", "plugins"),
    ("addon", "plugin"),
    ("plug-in", "plugin"),
    ("plug-ins", "plugins"),
    ("lock file", "lockfile"),
    ("heart beat", "heartbeat"),
    ("in-memory registry", "catalog"),
    ("registry of loaded plugins", "catalog"),
    ("dispatch a run", "start a run"),
    ("circuit-breaker", "circuit breaker"),
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    if repository.file(GLOSSARY).is_none() {
        findings.push(Finding::about(GLOSSARY, "is missing"));
    }
    for file in repository
        .with_ending(&["md"])
        .filter(|file| file.path != GLOSSARY)
    {
        for (at, line) in prose(file.text()).iter().enumerate() {
            let line = line.to_lowercase();
            for (word, instead) in REPLACED.iter().filter(|(word, _)| has_word(&line, word)) {
                findings.push(Finding::new(
                    file,
                    at + 1,
                    format!("`{word}`: the glossary says `{instead}`"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_glossarys_words_are_used() {
        super::super::check(
            super::check,
            &[
                ("docs/glossary.md", "Not *add-on*."),
                ("a.md", "An Add-on and a `plug-in`.\nThe lockfile.\n"),
            ],
            &["a.md:1: `add-on`: the glossary says `plugin`"],
        );
        super::super::check(super::check, &[], &["docs/glossary.md: is missing"]);
    }
}
