//! The reference page is true: its examples read, its refusals are refused, its tables are whole.

use super::permission;
use crate::{
    Permission,
    permission::{CODES, Scope, Variable},
};

const PAGE: &str = include_str!("../../../../../docs/reference/permissions.md");

/// The lines of every fenced block with this mark.
fn block_lines(mark: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut is_inside = false;
    for line in PAGE.lines() {
        match (line.strip_prefix("```"), is_inside) {
            (Some(_), true) => is_inside = false,
            (Some(found), false) if found == mark => is_inside = true,
            (Some(_), false) => {}
            (None, true) if !line.is_empty() => lines.push(line),
            (None, _) => {}
        }
    }
    lines
}

#[test]
fn every_example_is_a_permission() {
    let lines = block_lines("permission");
    assert!(lines.len() >= 30, "only {} examples", lines.len());
    for line in lines {
        permission(line);
    }
}

#[test]
fn every_scope_has_an_example() {
    let examples: Vec<Scope> = block_lines("permission")
        .iter()
        .map(|line| permission(line).scope())
        .collect();
    let missing: Vec<_> = Scope::ALL
        .iter()
        .filter(|scope| !examples.contains(scope))
        .collect();
    assert!(missing.is_empty(), "no example of {missing:?}");
}

#[test]
fn normal_forms_are_as_written() {
    let lines = block_lines("permission-normal");
    assert!(!lines.is_empty());
    for line in lines {
        let (text, normal) = line.split_once(" -> ").expect("text -> normal form");
        assert_eq!(permission(text.trim()).to_string(), normal.trim());
    }
}

#[test]
fn comparisons_are_as_written() {
    let lines = block_lines("permission-wider");
    assert!(!lines.is_empty());
    for line in lines {
        let (wide, narrow) = line.split_once(" > ").expect("wider > narrower");
        let (wide, narrow) = (permission(wide.trim()), permission(narrow.trim()));
        assert!(wide.contains(&narrow) && !narrow.contains(&wide), "{line}");
    }
}

#[test]
fn refusals_have_the_code_beside_them() {
    let lines = block_lines("permission-refused");
    assert!(!lines.is_empty());
    for line in lines {
        let (code, text) = line.split_once(' ').expect("code text");
        let error = text.trim().parse::<Permission>().expect_err(line);
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn codes_and_variables_are_all_listed() {
    let listed = PAGE
        .lines()
        .filter(|line| line.starts_with("| `permission."));
    let rows = CODES
        .iter()
        .map(|(code, meaning)| format!("| `{code}` | {meaning} |"));
    assert_eq!(listed.collect::<Vec<_>>(), rows.collect::<Vec<_>>());
    assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for variable in Variable::ALL {
        let row = format!("| `${{{}}}` |", variable.name());
        assert!(PAGE.contains(&row), "{row} is missing");
    }
    for scope in Scope::ALL {
        let row = format!("| `{}` |", scope.word());
        assert!(PAGE.contains(&row), "{row} is missing");
    }
}
