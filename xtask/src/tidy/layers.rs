//! Which of our crates may use which, and which crates of others the contract may use.

use super::manifests::{Kind, dependencies, package_name};
use super::{Finding, Repository};

/// The table of ARCHITECTURE.md: a crate, and what it may use outside its tests.
const MAY_USE: &[(&str, &[&str])] = &[
    ("kodex-plugin", &[]),
    ("kodex-package", &["kodex-plugin"]),
    ("kodex-sandbox", &["kodex-plugin"]),
    ("kodex-store", &["kodex-plugin"]),
    ("kodex-dialect", &["kodex-plugin"]),
    ("kodex-testkit", &["kodex-plugin", "kodex-store"]),
    (
        "kodex-backend",
        &[
            "kodex-plugin",
            "kodex-package",
            "kodex-sandbox",
            "kodex-dialect",
        ],
    ),
    (
        "kodex",
        &[
            "kodex-plugin",
            "kodex-package",
            "kodex-backend",
            "kodex-store",
            "kodex-dialect",
        ],
    ),
    ("kodex-registry", &["kodex-plugin", "kodex-package"]),
    (
        "kodex-server",
        &["kodex", "kodex-registry", "kodex-dialect"],
    ),
    (
        "kodex-cli",
        &[
            "kodex",
            "kodex-registry",
            "kodex-server",
            "kodex-scheduler",
            "kodex-memory",
        ],
    ),
    ("kodex-scheduler", &["kodex-plugin"]),
    ("kodex-memory", &["kodex-plugin"]),
    ("kodex-chaos", &["kodex-plugin", "kodex-store"]),
    ("xtask", &[]),
    (
        "kodex-codegen",
        &["kodex-plugin", "kodex-backend", "kodex", "kodex-cli"],
    ),
    ("kodex-docs", &["kodex", "kodex-plugin"]),
    (
        "kodex-bench",
        &[
            "kodex-plugin",
            "kodex-backend",
            "kodex",
            "kodex-cli",
            "kodex-store",
            "kodex-scheduler",
        ],
    ),
];

/// What tests of any crate may use besides: fakes, workers, and databases of their own.
const TESTS_MAY_USE: &[&str] = &["kodex-testkit", "kodex-backend", "kodex-store"];

/// What an example may use: the crates meant for others.
const EXAMPLES_MAY_USE: &[&str] = &["kodex", "kodex-plugin", "kodex-testkit"];

/// What the contract may use of others' crates. A new name here is a decision about every plugin and
/// every guest, not about one commit.
const CONTRACT_MAY_USE: &[&str] = &[
    "schemars",
    "semver",
    "serde",
    "serde_json",
    "sha2",
    "strsim",
    "thiserror",
    "toml",
    "unicode-normalization",
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository
        .files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.toml"))
    {
        let Some(name) = package_name(file.text()) else {
            continue;
        };
        let row = MAY_USE.iter().find(|(package, _)| *package == name);
        let allowed = match row {
            Some((_, allowed)) => *allowed,
            None if file.path.starts_with("examples/") => EXAMPLES_MAY_USE,
            None if !is_ours(&name) => continue,
            None => {
                let message = format!("`{name}` has no row in the table of layers");
                findings.push(Finding::about(&file.path, message));
                continue;
            }
        };
        for (kind, used) in dependencies(file.text()) {
            let is_allowed = match (is_ours(&used), kind) {
                (true, Kind::Normal) => allowed.contains(&used.as_str()),
                (true, Kind::Test) => {
                    // A crate names itself to turn a feature on for its own tests.
                    used == name
                        || allowed.contains(&used.as_str())
                        || TESTS_MAY_USE.contains(&used.as_str())
                }
                (false, Kind::Normal) if name == "kodex-plugin" => {
                    CONTRACT_MAY_USE.contains(&used.as_str())
                }
                (false, _) => true,
            };
            if !is_allowed {
                let message = format!("`{name}` may not use `{used}`");
                findings.push(Finding::about(&file.path, message));
            }
        }
    }
    findings
}

fn is_ours(name: &str) -> bool {
    name == "kodex" || name == "xtask" || name.starts_with("kodex-")
}

#[cfg(test)]
mod tests {
    fn check(manifest: &str, expected: &[&str]) {
        super::super::check(super::check, &[("crates/a/Cargo.toml", manifest)], expected);
    }

    #[test]
    fn only_what_the_table_allows_is_used() {
        check(
            "[package]\nname = 'kodex-registry'\n[dependencies]\nkodex-plugin.workspace = true\nserde = '1'",
            &[],
        );
        check(
            "[package]\nname = 'kodex-registry'\n[dependencies]\nkodex = { workspace = true }",
            &["crates/a/Cargo.toml: `kodex-registry` may not use `kodex`"],
        );
        check(
            "[package]\nname = 'kodex-registry'\n[target.'cfg(unix)'.dependencies]\nkodex = '1'",
            &["crates/a/Cargo.toml: `kodex-registry` may not use `kodex`"],
        );
    }

    #[test]
    fn tests_may_use_the_testkit() {
        let text = "[package]\nname = 'kodex-memory'\n[dev-dependencies]\nkodex-testkit = '1'\nkodex = '1'";
        check(
            text,
            &["crates/a/Cargo.toml: `kodex-memory` may not use `kodex`"],
        );
    }

    #[test]
    fn the_list_of_the_contract_is_closed() {
        check(
            "[package]\nname = 'kodex-plugin'\n[dependencies]\nserde = '1'\ntokio = '1'",
            &["crates/a/Cargo.toml: `kodex-plugin` may not use `tokio`"],
        );
        check(
            "[package]\nname = 'kodex-plugin'\n[dev-dependencies]\nproptest = '1'",
            &[],
        );
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        check(
            "[package]\nname = 'kodex-extra'",
            &["crates/a/Cargo.toml: `kodex-extra` has no row in the table of layers"],
        );
        check("[workspace]\nmembers = []", &[]);
    }
}
