//! Every point of a crash has a test: the page that lists them and the tests agree.

use super::{Finding, Repository};

/// The page with the table.
const PAGE: &str = "docs/reference/crash-points.md";

/// Points that there are, from the first.
const N_POINTS: usize = 30;

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let Some(page) = repository.file(PAGE) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let rows: Vec<_> = page
        .text()
        .lines()
        .filter(|line| line.starts_with("| CP"))
        .collect();
    for nth in 1..=N_POINTS {
        let point = format!("CP{nth:02}");
        let begin = format!("| {point} |");
        let row: Vec<_> = rows.iter().filter(|row| row.starts_with(&begin)).collect();
        let [row] = row[..] else {
            let message = format!("{point} has {} rows; it must have one", row.len());
            findings.push(Finding::about(PAGE, message));
            continue;
        };
        let tests = tests(row);
        if tests.is_empty() {
            findings.push(Finding::about(PAGE, format!("{point} has no test")));
        }
        for (name, path) in &tests {
            let file = repository.file(path);
            let is_there = file.is_some_and(|file| file.text().contains(&format!("fn {name}(")));
            if !is_there {
                let message = format!("{point}: there is no test `{name}` in {path}");
                findings.push(Finding::about(PAGE, message));
            }
        }
        for file in repository.rust().filter(|file| is_test(&file.path)) {
            for name in named(file.text(), &format!("fn cp{nth:02}_")) {
                if !tests.iter().any(|(known, _)| *known == name) {
                    let message = format!("{point} does not name `{name}` of {}", file.path);
                    findings.push(Finding::about(PAGE, message));
                }
            }
        }
    }
    findings
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/")
}

/// The tests of a row, with their files: links whose texts are names.
fn tests(row: &str) -> Vec<(&str, &str)> {
    let links = row.split("[`").skip(1);
    links
        .filter_map(|link| {
            let (name, rest) = link.split_once("`](../../")?;
            Some((name, rest.split_once(')')?.0))
        })
        .collect()
}

/// The functions of a file whose declarations begin so.
fn named<'t>(text: &'t str, begin: &str) -> Vec<&'t str> {
    let starts = text.match_indices(begin).map(|(at, _)| at + "fn ".len());
    starts
        .filter_map(|at| text[at..].split('(').next())
        .collect()
}

#[cfg(test)]
mod tests {
    const TESTS: &str = "crates/a/tests/crashes.rs";

    fn check(change: impl Fn(String) -> String, expected: &[&str]) {
        let row = |nth| format!("| CP{nth:02} | dies | [`cp{nth:02}_a`](../../{TESTS}) |\n");
        let page = change((1..=super::N_POINTS).map(row).collect());
        let tests: String = (1..=super::N_POINTS)
            .map(|nth| format!("fn cp{nth:02}_a() {{}}\n"))
            .collect();
        super::super::check(
            super::check,
            &[(super::PAGE, &page), (TESTS, &tests)],
            expected,
        );
    }

    #[test]
    fn every_point_has_a_row_with_tests_that_are_there() {
        check(|page| page, &[]);
        check(
            |page| page.replace("| CP07 |", "| CP7 |"),
            &["docs/reference/crash-points.md: CP07 has 0 rows; it must have one"],
        );
        check(
            |page| page.replace("`cp30_a`", "`cp30_b`"),
            &[
                "docs/reference/crash-points.md: CP30: there is no test `cp30_b` in crates/a/tests/crashes.rs",
                "docs/reference/crash-points.md: CP30 does not name `cp30_a` of crates/a/tests/crashes.rs",
            ],
        );
        check(
            |page| page.replace("[`cp02_a`]", "[cp02]"),
            &[
                "docs/reference/crash-points.md: CP02 has no test",
                "docs/reference/crash-points.md: CP02 does not name `cp02_a` of crates/a/tests/crashes.rs",
            ],
        );
    }
}
