//! `docs/reference/errors.md`: every stable code and what it means.

use crate::page::{Page, cell};

const INTRODUCTION: &str = "# Error codes

Codes are stable: scripts may compare them.
Texts are for people and may change.
`kodex explain <code>` prints the same entries.
";

/// A heading, what its codes have in common, and the codes with their meanings.
type Section = (
    &'static str,
    &'static str,
    Vec<(&'static str, &'static str)>,
);

/// The command line's codes come first, as its users meet them first.
fn sections() -> Vec<Section> {
    let first = (
        "The command line",
        "What `kodex` itself finds wrong: what was typed, files, configuration.",
        kodex_cli::CODES.to_vec(),
    );
    let served = (
        "The resident runtime",
        "What `kodex serve` and its socket give, and the command line where it speaks to that socket.",
        kodex_cli::SERVER_CODES.to_vec(),
    );
    let scheduled = (
        "The scheduler",
        "What the plugin kodex-scheduler answers to people and to models.",
        kodex_cli::SCHEDULER_CODES.to_vec(),
    );
    let below = kodex::codes()
        .into_iter()
        .map(|table| (table.title, table.about, table.codes));
    [first, served, scheduled]
        .into_iter()
        .chain(below)
        .collect()
}

pub(crate) fn page() -> Page {
    let mut text = INTRODUCTION.to_owned();
    for (title, about, codes) in sections() {
        text += &format!("\n## {title}\n\n{about}\n\n| code | meaning |\n|---|---|\n");
        for (code, meaning) in codes {
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
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    #[test]
    fn no_code_means_two_things() {
        let mut seen = BTreeSet::new();
        for (code, meaning) in sections().into_iter().flat_map(|section| section.2) {
            assert!(seen.insert(code), "{code} stands in two tables");
            assert!(!meaning.is_empty(), "{code} says nothing");
        }
    }

    #[test]
    fn meanings_become_sentences() {
        assert_eq!(sentence("a line is no JSON"), "A line is no JSON.");
        assert_eq!(sentence("`run` is missing."), "`run` is missing.");
    }

    /// Texts of the sources that have the form of a code and are none.
    const OTHERS: &[&str] = &[
        "heartbeat.last",
        "json.decoder",
        "kodex.agent",
        "kodex.jobs",
        "kodex.plugins",
        "kodex.sock",
        "kodex.state",
        "session.completed",
    ];
    /// Endings of the files that the sources name.
    const ENDINGS: &[&str] = &[
        "cfg", "db", "jq", "json", "md", "mjs", "py", "sh", "sql", "toml", "ts", "txt",
    ];
    /// What stands in for the host in tests of plugins.
    const STANDINS: &[&str] = &["testing.py", "_fake_db.py", "_fake_work.py", "tests.rs"];

    /// Names of hooks and of files have the same form.
    fn is_other(text: &str) -> bool {
        let ending = text.rsplit('.').next().unwrap_or_default();
        OTHERS.contains(&text)
            // The hooks by which people ask the scheduler.
            || text.starts_with("scheduler.")
            || kodex_plugin::hook::known(text).is_some()
            || ENDINGS.contains(&ending)
    }

    fn is_code(text: &str) -> bool {
        let mut words = text.split('.');
        words.clone().count() > 1
            && words.all(|word| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            })
    }

    /// What stands between double quotation marks on lines that are no comments, without tests.
    fn texts(source: &str) -> impl Iterator<Item = &str> {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        source
            .lines()
            .filter(|line| !line.trim_start().starts_with(['/', '#']))
            .flat_map(|line| line.split('"').skip(1).step_by(2))
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !["tests", "suite", "templates"].contains(&name.as_str()) {
                sources(&path, found);
            } else if [".rs", ".py"].iter().any(|ending| name.ends_with(ending))
                && !STANDINS.contains(&name.as_str())
            {
                found.push(path);
            }
        }
    }

    /// Reads the sources: a code that is given and stands in no table could not be explained.
    #[test]
    fn every_code_that_is_given_stands_in_a_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        for of in [
            "kodex",
            "kodex-backend",
            "kodex-cli",
            "kodex-server",
            "kodex-plugin",
            "kodex-store",
        ] {
            sources(&root.join("crates").join(of).join("src"), &mut files);
        }
        sources(&root.join("sdks/python/src"), &mut files);
        let known: BTreeSet<_> = sections()
            .into_iter()
            .flat_map(|section| section.2)
            .map(|(code, _)| code)
            .collect();
        let mut given = BTreeMap::new();
        for file in files {
            let source = fs::read_to_string(&file).expect("a source");
            for text in texts(&source).filter(|text| is_code(text) && !is_other(text)) {
                given.insert(text.to_owned(), file.clone());
            }
        }
        assert!(given.len() > 150, "the sources are written in another way");
        given.retain(|code, _| !known.contains(code.as_str()));
        assert!(given.is_empty(), "in no table: {given:#?}");
    }
}
