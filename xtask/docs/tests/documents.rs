//! What documents say to the contract: manifests in them are read as `kodex` would, and no page is
//! forgotten.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kodex_plugin::{Severity, manifest::parse_toml};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The documents of the repository, by their path in it.
fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for start in ["docs", "examples", "sdks", "contract", "crates"] {
        collect(&root(), Path::new(start), &mut found);
    }
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ] {
        read(&root(), Path::new(name), &mut found);
    }
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder of the repository") {
        let entry = entry.expect("an entry");
        let (path, name) = (folder.join(entry.file_name()), entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            if name != "target" && name != "node_modules" {
                collect(root, &path, found);
            }
        } else {
            read(root, &path, found);
        }
    }
}

fn read(root: &Path, path: &Path, found: &mut Vec<(String, String)>) {
    if path.extension().is_some_and(|ending| ending == "md") {
        let text = fs::read_to_string(root.join(path)).expect("a document");
        found.push((path.display().to_string(), text));
    }
}

/// The blocks whose first line begins with these words, with their line.
fn blocks<'a>(markdown: &'a str, words: &'a str) -> impl Iterator<Item = (usize, String)> + 'a {
    let is_wanted = move |line: &str| {
        let rest = line
            .strip_prefix("```")
            .and_then(|line| line.strip_prefix(words));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
    };
    let starts = markdown
        .lines()
        .enumerate()
        .filter(move |(_, line)| is_wanted(line));
    starts.map(move |(at, _)| {
        let inside = markdown
            .lines()
            .skip(at + 1)
            .take_while(|line| !line.starts_with("```"));
        (at + 1, inside.map(|line| format!("{line}\n")).collect())
    })
}

#[test]
fn manifests_in_documents_have_no_mistakes() {
    let mut n_manifests = 0;
    for (path, text) in documents() {
        for (line, manifest) in blocks(&text, "toml kodex") {
            n_manifests += 1;
            let parsed = parse_toml(&manifest, &path);
            let mistakes: Vec<_> = parsed
                .diagnostics
                .iter()
                .filter(|one| one.severity > Severity::Note)
                .collect();
            assert!(
                parsed.manifest.is_some() && mistakes.is_empty(),
                "{path}:{line}: {mistakes:?}"
            );
        }
    }
    assert!(
        n_manifests >= 3,
        "{n_manifests} manifests: are the blocks still marked?"
    );
}

#[test]
fn every_page_with_rust_is_a_documentation_test() {
    let listed = include_str!("../src/lib.rs");
    for (path, text) in documents() {
        let is_page = path == "README.md" || path.starts_with("docs/");
        if is_page && blocks(&text, "rust").next().is_some() {
            assert!(
                listed.contains(&format!("\"{path}\"")),
                "{path} has no row in xtask/docs/src/lib.rs"
            );
        }
    }
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let documents = documents();
    let (_, summary) = documents
        .iter()
        .find(|(path, _)| path == "docs/SUMMARY.md")
        .expect("the summary");
    for (path, _) in &documents {
        if let Some(page) = path
            .strip_prefix("docs/")
            .filter(|page| *page != "SUMMARY.md")
        {
            assert!(
                summary.contains(&format!("({page})")),
                "docs/SUMMARY.md does not list {page}"
            );
        }
    }
}
