//! Names that say nothing: as types, as endings of types, as files.

use super::text::numbered;
use super::{File, Finding, Repository};

const BANNED_TYPES: &[&str] = &[
    "Manager",
    "Helper",
    "Util",
    "Utils",
    "Common",
    "Core",
    "Base",
    "Service",
    "Processor",
    "Data",
    "Info",
    "Impl",
];

const BANNED_FILES: &[&str] = &[
    "util", "utils", "common", "core", "base", "helper", "helpers", "manager", "misc", "service",
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.rust() {
        findings.extend(banned_path(file));
        for (number, line) in numbered(file.text()) {
            let Some(name) = declared_type(line) else {
                continue;
            };
            if let Some(ending) = banned_ending(name) {
                let message = format!("`{name}` ends in `{ending}`, which says nothing about it");
                findings.push(Finding::new(file, number, message));
            }
        }
    }
    findings
}

fn banned_path(file: &File) -> Option<Finding> {
    let path = file.path.strip_suffix(".rs")?;
    let part = path.split('/').find(|part| BANNED_FILES.contains(part))?;
    Some(Finding::new(
        file,
        0,
        format!("a file or folder named `{part}` says nothing about it"),
    ))
}

/// The name of the type that a line declares.
fn declared_type(line: &str) -> Option<&str> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| word.starts_with("pub"));
    let keyword = words.next()?;
    if !["struct", "enum", "trait", "type", "union"].contains(&keyword) {
        return None;
    }
    let rest = words.next()?;
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    Some(&rest[..end])
}

fn banned_ending(name: &str) -> Option<&'static str> {
    BANNED_TYPES
        .iter()
        .copied()
        .find(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    fn check(path: &str, text: &str, expected: &[&str]) {
        super::super::check(super::check, &[(path, text)], expected);
    }

    #[test]
    fn types_are_named_after_what_they_are() {
        let message = |name: &str, ending: &str| {
            format!("a.rs:1: `{name}` ends in `{ending}`, which says nothing about it")
        };
        check(
            "a.rs",
            "pub struct PluginManager<T> {",
            &[&message("PluginManager", "Manager")],
        );
        check("a.rs", "pub(crate) enum Info{", &[&message("Info", "Info")]);
        check(
            "a.rs",
            "    trait CallBase: Send {",
            &[&message("CallBase", "Base")],
        );
        check("a.rs", "pub struct Database;", &[]);
        check("a.rs", "pub struct Metadata(String);", &[]);
        check("a.rs", "fn struct_of(manager: Manager) {}", &[]);
    }

    #[test]
    fn files_are_named_after_what_they_hold() {
        let message = "a file or folder named `utils` says nothing about it";
        check(
            "crates/a/src/utils.rs",
            "",
            &[&format!("crates/a/src/utils.rs: {message}")],
        );
        check(
            "crates/a/src/utils/b.rs",
            "",
            &[&format!("crates/a/src/utils/b.rs: {message}")],
        );
        check("crates/a/src/database.rs", "", &[]);
        // The first Python runtime has such a module; its plugins import it.
        check("sdks/python/src/kodex_plugin_system/base.py", "", &[]);
    }
}
