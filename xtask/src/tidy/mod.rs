//! The rules of the repository as ordinary code: one file per rule, one row in [`RULES`].
//!
//! A rule gets the repository's files as texts and returns findings; it reads nothing else. What
//! compilers and clippy can check is not checked here.

mod crashes;
mod dependencies;
mod files;
mod glossary;
mod headers;
mod layers;
mod length;
mod licences;
mod links;
mod manifests;
mod names;
mod orphans;
mod places;
mod sleeps;
mod stubs;
mod text;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::{self, Package};

/// What a rule looks at.
pub(crate) struct Repository {
    files: Vec<File>,
    /// The packages of the dependency graph, ours and others'.
    packages: Vec<Package>,
}

/// One file of the repository.
struct File {
    /// Relative to the repository, with `/`.
    path: String,
    bytes: Vec<u8>,
}

impl File {
    /// Its text; empty where it is none.
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    fn has_ending(&self, endings: &[&str]) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, ending)| endings.contains(&ending))
    }

    fn is_rust(&self) -> bool {
        self.has_ending(&["rs"])
    }

    /// Whether it holds nothing but tests.
    fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| part == "tests" || part == "suite") || self.path.ends_with("/tests.rs")
    }

    /// Whether a generator wrote it.
    fn is_generated(&self) -> bool {
        self.text()
            .lines()
            .take(3)
            .any(|line| line.contains("cargo xtask codegen"))
    }
}

impl Repository {
    fn with_ending<'a>(&'a self, endings: &'a [&'a str]) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |file| file.has_ending(endings))
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Something that breaks a rule.
#[derive(Debug)]
struct Finding {
    path: String,
    /// From 1; 0 where the whole file is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            message: message.into(),
        }
    }

    fn about(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: 0,
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

type Rule = fn(&Repository) -> Vec<Finding>;

/// Every rule with its name.
const RULES: &[(&str, Rule)] = &[
    ("crashes", crashes::check),
    ("dependencies", dependencies::check),
    ("files", files::check),
    ("glossary", glossary::check),
    ("headers", headers::check),
    ("layers", layers::check),
    ("length", length::check),
    ("licences", licences::check),
    ("links", links::check),
    ("manifests", manifests::check),
    ("names", names::check),
    ("orphans", orphans::check),
    ("places", places::check),
    ("sleeps", sleeps::check),
    ("stubs", stubs::check),
];

/// Checks every rule and prints every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let repository = read(root)?;
    let mut n_findings = 0;
    for (name, rule) in RULES {
        for finding in rule(&repository) {
            eprintln!("{finding} [{name}]");
            n_findings += 1;
        }
    }
    if n_findings > 0 {
        bail!("{n_findings} findings; the rules stand in xtask/src/tidy");
    }
    eprintln!(
        "{} files keep {} rules",
        repository.files.len(),
        RULES.len()
    );
    Ok(())
}

fn read(root: &Path) -> Result<Repository> {
    let files = cargo::files(root)?.into_iter().map(|path| {
        let bytes = std::fs::read(root.join(&path)).with_context(|| path.clone())?;
        Ok(File { path, bytes })
    });
    Ok(Repository {
        files: files.collect::<Result<_>>()?,
        packages: cargo::packages(root)?,
    })
}

/// Runs a rule over files given as path and text and compares its findings.
#[cfg(test)]
fn check(rule: Rule, files: &[(&str, &str)], expected: &[&str]) {
    check_with(rule, files, Vec::new(), expected);
}

#[cfg(test)]
fn check_with(rule: Rule, files: &[(&str, &str)], packages: Vec<Package>, expected: &[&str]) {
    let files = files.iter().map(|(path, text)| File {
        path: (*path).to_owned(),
        bytes: text.as_bytes().to_owned(),
    });
    let repository = Repository {
        files: files.collect(),
        packages,
    };
    let found: Vec<String> = rule(&repository).iter().map(Finding::to_string).collect();
    assert_eq!(found, expected);
}
