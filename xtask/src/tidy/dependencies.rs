//! A dependency that no source file names is not needed. Where a package compiles the documents, they
//! are its source.

use super::manifests::{Kind, dependencies};
use super::text::has_word;
use super::{Finding, Repository};

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &repository.files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        for (kind, name) in dependencies(file.text()) {
            if !is_used(repository, folder, kind, &name) {
                let message = format!("`{name}` is not named in any source file of this package");
                findings.push(Finding::about(&file.path, message));
            }
        }
    }
    findings
}

fn is_used(repository: &Repository, folder: &str, kind: Kind, name: &str) -> bool {
    let word = name.replace('-', "_");
    let mut compiles_documents = false;
    let is_named = repository.rust().any(|source| {
        let inside = source.path.strip_prefix(folder);
        let Some(inside) = inside.and_then(|path| path.strip_prefix('/')) else {
            return false;
        };
        compiles_documents |= source.text().contains(".md\")");
        let can_use = kind == Kind::Test || inside.starts_with("src/") || inside == "build.rs";
        can_use && has_word(source.text(), &word)
    });
    let mut documents = repository.with_ending(&["md"]);
    is_named || compiles_documents && documents.any(|page| has_word(page.text(), &word))
}

#[cfg(test)]
mod tests {
    fn check(source: (&str, &str), expected: &[&str]) {
        let manifest = "[dependencies]\nserde-x = '1'\n[dev-dependencies]\nserde = '1'\n";
        let files = [("crates/a/Cargo.toml", manifest), source];
        super::super::check(super::check, &files, expected);
    }

    const NORMAL: &str =
        "crates/a/Cargo.toml: `serde-x` is not named in any source file of this package";
    const TEST: &str =
        "crates/a/Cargo.toml: `serde` is not named in any source file of this package";

    #[test]
    fn each_dependency_is_named_where_it_may_be_used() {
        check(
            ("crates/a/src/lib.rs", "use serde_x::A; use serde::B;"),
            &[],
        );
        check(("crates/a/src/lib.rs", "use serde_x::A;"), &[TEST]);
        check(
            ("crates/a/tests/it/main.rs", "use serde_x::A; use serde::B;"),
            &[NORMAL],
        );
        check(
            ("crates/b/src/lib.rs", "use serde_x::A; use serde::B;"),
            &[NORMAL, TEST],
        );
    }

    #[test]
    fn compiled_documents_are_source() {
        let files = |source: &'static str| {
            [
                ("docs/a.md", "use serde::A;"),
                ("x/Cargo.toml", "[dependencies]\nserde = '1'"),
                ("x/src/lib.rs", source),
            ]
        };
        let compiles = "#[doc = include_str!(\"../../docs/a.md\")]";
        super::super::check(super::check, &files(compiles), &[]);
        let found = "x/Cargo.toml: `serde` is not named in any source file of this package";
        super::super::check(super::check, &files(""), &[found]);
    }
}
