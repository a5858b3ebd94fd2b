//! Every package of the workspace takes its versions, licence and lints from the workspace.

use toml::{Table, Value};

use super::{Finding, Repository};

const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Test,
}

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files.iter().filter(|file| is_member(&file.path)) {
        let table: Table = match file.text().parse() {
            Ok(table) => table,
            Err(error) => {
                findings.push(Finding::about(&file.path, error.to_string()));
                continue;
            }
        };
        let package = table.get("package");
        for key in INHERITED {
            if !package
                .and_then(|package| package.get(key))
                .is_some_and(is_inherited)
            {
                findings.push(Finding::about(
                    &file.path,
                    format!("`{key}.workspace = true` is missing"),
                ));
            }
        }
        if !table.get("lints").is_some_and(is_inherited) {
            findings.push(Finding::about(
                &file.path,
                "`[lints] workspace = true` is missing",
            ));
        }
        for (name, _) in dependency_values(&table).filter(|(_, value)| !is_inherited(value)) {
            let message = format!("the version of `{name}` belongs to the workspace");
            findings.push(Finding::about(&file.path, message));
        }
    }
    findings
}

/// Whether this is the manifest of a package of the workspace. Examples stand alone, as their
/// readers would have them, and so do the programs that benches compare with and what is built for
/// another target.
fn is_member(path: &str) -> bool {
    let folders = ["crates/", "plugins/", "xtask/", "benches/"];
    path.ends_with("/Cargo.toml")
        && folders.iter().any(|folder| path.starts_with(folder))
        && !path.starts_with("benches/peers/")
        && !path.contains("/tests/")
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The package's name, where the text is a package's manifest.
pub(super) fn package_name(text: &str) -> Option<String> {
    let table: Table = text.parse().ok()?;
    Some(table.get("package")?.get("name")?.as_str()?.to_owned())
}

/// What a package depends on; build dependencies count as normal ones.
pub(super) fn dependencies(text: &str) -> Vec<(Kind, String)> {
    let Ok(table) = text.parse::<Table>() else {
        return Vec::new();
    };
    sections(&table)
        .flat_map(|(kind, section)| section.keys().map(move |name| (kind, name.clone())))
        .collect()
}

fn dependency_values(table: &Table) -> impl Iterator<Item = (&String, &Value)> {
    sections(table).flat_map(|(_, section)| section.iter())
}

fn sections(table: &Table) -> impl Iterator<Item = (Kind, &Table)> {
    const NAMES: &[(Kind, &str)] = &[
        (Kind::Normal, "dependencies"),
        (Kind::Normal, "build-dependencies"),
        (Kind::Test, "dev-dependencies"),
    ];
    let targets = table.get("target").and_then(Value::as_table);
    let tables = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    std::iter::once(table).chain(tables).flat_map(|table| {
        NAMES
            .iter()
            .filter_map(|(kind, name)| Some((*kind, table.get(*name)?.as_table()?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = 'a'\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
        [dependencies]\nserde.workspace = true\n[lints]\nworkspace = true\n";

    fn check(path: &str, manifest: &str, expected: &[&str]) {
        super::super::check(super::check, &[(path, manifest)], expected);
    }

    #[test]
    fn what_can_be_inherited_is_inherited() {
        let path = "crates/a/Cargo.toml";
        check(path, GOOD, &[]);
        check(
            path,
            &GOOD.replace("edition.workspace = true", "edition = '2021'"),
            &["crates/a/Cargo.toml: `edition.workspace = true` is missing"],
        );
        check(
            path,
            &GOOD.replace("[lints]\nworkspace = true\n", ""),
            &["crates/a/Cargo.toml: `[lints] workspace = true` is missing"],
        );
        check(
            path,
            &GOOD.replace("serde.workspace = true", "serde = '1'"),
            &["crates/a/Cargo.toml: the version of `serde` belongs to the workspace"],
        );
    }

    #[test]
    fn examples_stand_alone() {
        check(
            "examples/embed/Cargo.toml",
            "[package]\nname = 'embed'\n",
            &[],
        );
    }

    #[test]
    fn dependencies_of_every_kind_are_listed() {
        let text = "[dependencies]\na = '1'\n[dev-dependencies]\nb = '1'\n\
            [target.'cfg(unix)'.build-dependencies]\nc = '1'\n";
        let expected = [(Kind::Normal, "a"), (Kind::Test, "b"), (Kind::Normal, "c")];
        assert_eq!(
            dependencies(text),
            expected.map(|(kind, name)| (kind, name.to_owned()))
        );
    }
}
