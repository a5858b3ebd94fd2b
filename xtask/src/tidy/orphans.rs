//! A Rust file that no module names is never compiled, and a test in it never runs.

use super::text::numbered;
use super::{Finding, Repository};

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.rust() {
        let Some((name, parents)) = module_of(&file.path) else {
            continue;
        };
        let is_named = parents
            .iter()
            .filter_map(|parent| repository.file(parent))
            .any(|parent| numbered(parent.text()).any(|(_, line)| declares(line, &name)));
        if !is_named {
            let message = format!("never compiled: its parent says no `mod {name};`");
            findings.push(Finding::new(file, 0, message));
        }
    }
    findings
}

/// The module that a file is, and the files that may declare it. Nothing for the root of a crate.
fn module_of(path: &str) -> Option<(String, Vec<String>)> {
    let (package, inside) = ["/src/", "/tests/"].iter().find_map(|folder| {
        let at = path.find(folder)? + folder.len();
        Some((&path[..at], &path[at..]))
    })?;
    let inside = inside.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let (folder, name) = inside.rsplit_once('/').unwrap_or(("", inside));
    let is_test = package.ends_with("/tests/");
    let is_root =
        ["main", "lib"].contains(&name) || folder == "bin" || (is_test && folder.is_empty());
    if is_root {
        return None;
    }
    let parents = match folder {
        "" => vec![format!("{package}lib.rs"), format!("{package}main.rs")],
        _ => vec![
            format!("{package}{folder}/mod.rs"),
            format!("{package}{folder}/main.rs"),
            format!("{package}{folder}.rs"),
        ],
    };
    Some((name.to_owned(), parents))
}

fn declares(line: &str, name: &str) -> bool {
    let declared = line
        .trim()
        .strip_suffix(';')
        .and_then(|line| line.rsplit_once("mod "));
    declared.is_some_and(|(_, declared)| declared == name || declared == format!("r#{name}"))
}

#[cfg(test)]
mod tests {
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        super::super::check(super::check, files, expected);
    }

    #[test]
    fn a_module_is_declared_by_its_parent() {
        check(&[("c/src/lib.rs", "mod a;"), ("c/src/a.rs", "")], &[]);
        check(
            &[
                ("c/src/lib.rs", "pub(crate) mod a;"),
                ("c/src/a/mod.rs", "mod b;"),
                ("c/src/a/b.rs", ""),
            ],
            &[],
        );
        check(
            &[("c/src/lib.rs", "mod ab;"), ("c/src/b.rs", "")],
            &["c/src/b.rs: never compiled: its parent says no `mod b;`"],
        );
    }

    #[test]
    fn a_forgotten_test_file_is_found() {
        check(
            &[("c/tests/it/main.rs", "mod a;"), ("c/tests/it/a.rs", "")],
            &[],
        );
        check(
            &[("c/tests/it/main.rs", ""), ("c/tests/it/a.rs", "")],
            &["c/tests/it/a.rs: never compiled: its parent says no `mod a;`"],
        );
        check(
            &[
                ("c/tests/alone.rs", ""),
                ("c/src/bin/tool.rs", ""),
                ("c/examples/x.rs", ""),
            ],
            &[],
        );
    }
}
