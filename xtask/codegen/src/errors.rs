//! `docs/reference/errors.md`: every stable code and what it means.

use crate::page::{Page, cell};

const INTRODUCTION: &str = "# Error codes

Codes are stable: scripts may compare them.
Texts are for people and may change.
`kodex explain <code>` prints the same entries.
";

/// One table of codes.
struct Section {
    title: &'static str,
    about: &'static str,
    codes: Vec<(&'static str, &'static str)>,
}

fn sections() -> Vec<Section> {
    vec![
        Section {
            title: "The command line",
            about: "What `kodex` itself finds wrong: what was typed, files, configuration.",
            codes: kodex_cli::CODES.to_vec(),
        },
        Section {
            title: "Manifests",
            about: "Findings while a manifest is read.",
            codes: kodex_plugin::manifest::CODES.to_vec(),
        },
        Section {
            title: "Permissions",
            about: "What is wrong with a permission that a manifest or a policy writes.",
            codes: kodex_plugin::permission::CODES.to_vec(),
        },
        Section {
            title: "Workers",
            about: "How a plugin in another process fails.",
            codes: kodex_backend::CODES
                .iter()
                .map(|code| (code.code, code.meaning))
                .collect(),
        },
    ]
}

pub(crate) fn page() -> Page {
    let mut text = INTRODUCTION.to_owned();
    for section in sections() {
        text += &format!(
            "\n## {}\n\n{}\n\n| code | meaning |\n|---|---|\n",
            section.title, section.about
        );
        for (code, meaning) in section.codes {
            text += &format!("| `{code}` | {} |\n", cell(&sentence(meaning)));
        }
    }
    Page::reference("errors", "the `CODES` tables of the crates", &text)
}

/// The meaning as a sentence, however its table writes it.
fn sentence(meaning: &str) -> String {
    let mut characters = meaning.chars();
    let first: String = characters
        .next()
        .map(|c| c.to_uppercase().collect())
        .unwrap_or_default();
    format!("{first}{}.", characters.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_code_means_two_things() {
        let mut seen = BTreeSet::new();
        for (code, meaning) in sections().into_iter().flat_map(|section| section.codes) {
            assert!(seen.insert(code), "{code} stands in two tables");
            assert!(!meaning.is_empty(), "{code} says nothing");
        }
    }

    #[test]
    fn meanings_become_sentences() {
        assert_eq!(sentence("a line is no JSON"), "A line is no JSON.");
        assert_eq!(sentence("`run` is missing."), "`run` is missing.");
    }
}
