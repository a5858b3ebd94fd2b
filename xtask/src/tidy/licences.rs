//! Every package in the dependency graph has a licence from the allow-list in `deny.toml`.
//!
//! `cargo deny` reads the same list and checks more; this rule holds on a machine without it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Finding, Repository};

const LIST: &str = "deny.toml";

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let Some(file) = repository.file(LIST) else {
        return vec![Finding::about(LIST, "is missing")];
    };
    let licences = match toml::from_str::<Deny>(file.text()) {
        Ok(deny) => deny.licenses,
        Err(error) => return vec![Finding::new(file, 0, error.to_string())],
    };
    let exceptions: BTreeMap<&str, &[String]> = licences
        .exceptions
        .iter()
        .map(|exception| (exception.package.as_str(), exception.allow.as_slice()))
        .collect();
    let mut findings = Vec::new();
    for package in &repository.packages {
        let more = exceptions
            .get(package.name.as_str())
            .copied()
            .unwrap_or_default();
        let is_allowed = |licence: &str| {
            licences
                .allow
                .iter()
                .chain(more)
                .any(|allowed| allowed == licence)
        };
        let written = package.license.as_deref().unwrap_or("none");
        if !is_satisfied(written, &is_allowed) {
            let (name, version) = (&package.name, &package.version);
            findings.push(Finding::new(
                file,
                0,
                format!("does not allow `{written}` of {name} {version}"),
            ));
        }
    }
    findings
}

/// Whether a licence expression can be satisfied with allowed licences. `OR` is a choice, `AND`
/// demands both and binds tighter; what cannot be read is not satisfied.
fn is_satisfied(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let result = either(&words, &mut at, is_allowed);
    result == Some(true) && at == words.len()
}

fn either(words: &[&str], at: &mut usize, is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut result = both(words, at, is_allowed)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        result |= both(words, at, is_allowed)?;
    }
    Some(result)
}

fn both(words: &[&str], at: &mut usize, is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut result = one(words, at, is_allowed)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        result &= one(words, at, is_allowed)?;
    }
    Some(result)
}

fn one(words: &[&str], at: &mut usize, is_allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let word = *words.get(*at)?;
    *at += 1;
    if word == "(" {
        let result = either(words, at, is_allowed)?;
        let is_closed = words.get(*at) == Some(&")");
        *at += 1;
        return is_closed.then_some(result);
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1)?;
        *at += 2;
        return Some(is_allowed(&format!("{word} WITH {exception}")));
    }
    Some(is_allowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Package;

    #[test]
    fn expressions_are_read() {
        let check = |expression: &str, expected: bool| {
            let is_allowed = |licence: &str| ["MIT", "ISC", "A WITH B"].contains(&licence);
            assert_eq!(
                is_satisfied(expression, &is_allowed),
                expected,
                "{expression}"
            );
        };
        check("MIT", true);
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0/MIT", true);
        check("MIT AND GPL-3.0", false);
        check("(GPL-3.0 OR ISC) AND MIT", true);
        check("GPL-3.0 OR ISC AND X", false);
        check("A WITH B", true);
        check("A", false);
        check("(MIT", false);
        check("", false);
    }

    #[test]
    fn a_package_with_another_licence_is_found() {
        let package = |name: &str, licence: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: licence.map(str::to_owned),
            source: None,
            features: BTreeMap::new(),
        };
        let list =
            "[licenses]\nallow = ['MIT']\nexceptions = [{ crate = 'c', allow = ['MPL-2.0'] }]\n";
        let packages = vec![
            package("a", Some("MIT")),
            package("b", Some("MPL-2.0")),
            package("c", Some("MPL-2.0")),
            package("d", None),
        ];
        super::super::check_with(
            check,
            &[("deny.toml", list)],
            packages,
            &[
                "deny.toml: does not allow `MPL-2.0` of b 1.0.0",
                "deny.toml: does not allow `none` of d 1.0.0",
            ],
        );
    }
}
