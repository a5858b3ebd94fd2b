//! `cargo xtask test`: every test of the repository, in whatever language.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::cargo::{self, BUILD, cargo};
use crate::parts::Part;
use crate::postgres::{self, Cluster};
use crate::step::Step;
use crate::{chaos, docs, examples, setup};

const SCRIPTS: Duration = Duration::from_secs(10 * 60);

/// The parts of the test run, in order.
pub(crate) fn parts(root: &Path) -> Vec<Part> {
    let at = |work: fn(&Path) -> Result<()>| {
        let root = root.to_owned();
        move || work(&root)
    };
    vec![
        Part::new("setup", || setup::ensure(setup::TESTS)),
        Part::new("rust", at(rust)),
        Part::new("rust-docs", at(rust_docs)),
        Part::new("python-sdk", at(python_sdk)),
        Part::new("node", at(node)),
        Part::new("examples", at(examples::run)),
        Part::new("docs", at(docs::run)),
        Part::new("chaos", at(chaos::test)),
    ]
}

fn rust(root: &Path) -> Result<()> {
    let server = Cluster::start()?;
    if cargo::has_subcommand("nextest") {
        let arguments = [
            "nextest",
            "run",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
        ];
        return tests(&server, &arguments, root);
    }
    let arguments = [
        "test",
        "--workspace",
        "--all-features",
        "--lib",
        "--bins",
        "--tests",
        "--no-fail-fast",
    ];
    tests(&server, &arguments, root)
}

fn tests(server: &Cluster, arguments: &[&str], root: &Path) -> Result<()> {
    cargo(BUILD)
        .args(arguments)
        .dir(root)
        .env(postgres::VARIABLE, server.url())
        .run()
}

fn rust_docs(root: &Path) -> Result<()> {
    let arguments = [
        "test",
        "--workspace",
        "--all-features",
        "--doc",
        "--no-fail-fast",
    ];
    cargo(BUILD).args(arguments).dir(root).run()
}

fn python_sdk(root: &Path) -> Result<()> {
    Step::new("python3", SCRIPTS)
        .args(["-m", "unittest", "discover", "-s", "sdks/python/tests"])
        .dir(root)
        .env("PYTHONPATH", root.join("sdks/python/src"))
        // Compiled files beside the sources would be found by the next listing of this folder.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .run()
}

fn node(root: &Path) -> Result<()> {
    let tests = node_tests(&cargo::files(root)?);
    if tests.is_empty() {
        eprintln!("no file is named *.test.js or *.test.mjs");
        return Ok(());
    }
    Step::new("node", SCRIPTS)
        .arg("--test")
        .args(tests)
        .dir(root)
        .run()
}

fn node_tests(files: &[String]) -> Vec<PathBuf> {
    files
        .iter()
        // Elsewhere such a file is a template or a fixture.
        .filter(|file| file.starts_with("examples/") || file.starts_with("sdks/"))
        .filter(|file| file.ends_with(".test.js") || file.ends_with(".test.mjs"))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_in_javascript_are_found_by_their_names() {
        let files = [
            "examples/a/plugin.mjs",
            "examples/a/plugin.test.mjs",
            "sdks/b.test.js",
            "crates/c/templates/d.test.mjs",
        ];
        let files = files.map(str::to_owned);
        assert_eq!(
            node_tests(&files),
            ["examples/a/plugin.test.mjs", "sdks/b.test.js"].map(PathBuf::from)
        );
    }
}
