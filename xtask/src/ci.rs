//! `cargo xtask ci`: what must hold before a change is merged. Continuous integration runs this and
//! nothing else.

use std::path::Path;

use anyhow::{Result, bail};

use crate::cargo::{BUILD, QUESTION, cargo, packages};
use crate::parts::Part;
use crate::{codegen, test, tidy, wasm};

/// The parts, cheap ones first, so that a slip in formatting shows before the long builds.
pub(crate) fn parts(root: &Path, with_deny: bool) -> Vec<Part> {
    let at = |work: fn(&Path) -> Result<()>| {
        let root = root.to_owned();
        move || work(&root)
    };
    let mut parts = vec![
        Part::new("fmt", at(fmt)),
        Part::new("tidy", at(tidy::run)),
        Part::new("forbidden", at(forbidden)),
        Part::new("clippy", at(clippy)),
    ];
    parts.extend(test::parts(root));
    parts.extend([
        Part::new("codegen", at(codegen::check)),
        Part::new("doc", at(doc)),
        Part::new("features", at(features)),
        Part::new("wasm", at(wasm::run)),
    ]);
    if with_deny {
        parts.push(Part::new("deny", at(deny)));
    }
    parts
}

fn fmt(root: &Path) -> Result<()> {
    cargo(QUESTION)
        .args(["fmt", "--all", "--check"])
        .dir(root)
        .run()
}

fn clippy(root: &Path) -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--all-features"];
    cargo(BUILD)
        .args(arguments)
        .args(["--", "-D", "warnings"])
        .dir(root)
        .run()
}

fn doc(root: &Path) -> Result<()> {
    cargo(BUILD)
        .args(["doc", "--workspace", "--no-deps", "--all-features"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .dir(root)
        .run()
}

fn deny(root: &Path) -> Result<()> {
    cargo(QUESTION)
        .args(["deny", "--all-features", "check"])
        .dir(root)
        .run()
}

/// Packages that bring a C or C++ build or a second TLS stack with them.
const FORBIDDEN: &[&str] = &[
    "aws-lc-sys",
    "openssl-sys",
    "cmake",
    "bindgen",
    "native-tls",
];

fn forbidden(root: &Path) -> Result<()> {
    let arguments = [
        "tree",
        "--workspace",
        "--all-features",
        "--edges",
        "normal,build,dev",
    ];
    let tree = cargo(QUESTION)
        .args(arguments)
        .args(["--prefix", "none"])
        .dir(root)
        .stdout()?;
    let found = forbidden_in(&tree);
    if !found.is_empty() {
        let names = found.join(", ");
        bail!("in the dependency tree, and must not be: {names}; `cargo tree -i <name>` says why");
    }
    Ok(())
}

fn forbidden_in(tree: &str) -> Vec<&'static str> {
    let names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    FORBIDDEN
        .iter()
        .copied()
        .filter(|name| names.contains(name))
        .collect()
}

/// Each feature of each of our packages alone, and none at all, must compile without a warning.
fn features(root: &Path) -> Result<()> {
    let mut failures = Vec::new();
    for package in packages(root)?
        .iter()
        .filter(|package| package.source.is_none())
    {
        for feature in alone(package.features.keys().map(String::as_str)) {
            let step = cargo(BUILD)
                .args([
                    "clippy",
                    "--quiet",
                    "--package",
                    &package.name,
                    "--no-default-features",
                ])
                .args(["--features", feature, "--", "-D", "warnings"])
                .dir(root);
            if let Err(error) = step.run() {
                eprintln!("{error:#}");
                failures.push(format!("{} with `{feature}`", package.name));
            }
        }
    }
    if !failures.is_empty() {
        bail!("do not compile: {}", failures.join(", "));
    }
    Ok(())
}

/// The sets of features to try: none, then each; nothing for a package without features, because
/// there is only one way to build it.
fn alone<'a>(features: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut sets: Vec<&str> = features.filter(|feature| *feature != "default").collect();
    if !sets.is_empty() {
        sets.insert(0, "");
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_packages_are_found_by_their_whole_name() {
        let tree = "kodex v0.1.0 (/a)\nbindgen_helpers v1.0.0\ncmake v0.1.50\nserde v1.0.0 (*)\n";
        assert_eq!(forbidden_in(tree), ["cmake"]);
        assert!(forbidden_in("serde v1.0.0\n").is_empty());
    }

    #[test]
    fn each_feature_is_tried_alone() {
        assert_eq!(
            alone(["command", "default", "worker"].into_iter()),
            ["", "command", "worker"]
        );
        assert!(alone(["default"].into_iter()).is_empty());
        assert!(alone([].into_iter()).is_empty());
    }
}
