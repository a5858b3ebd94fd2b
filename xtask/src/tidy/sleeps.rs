//! Tests wait for what they wait for, with a deadline; they never hope that some time is enough.

use super::text::{numbered, test_lines};
use super::{File, Finding, Repository};

/// What a line says that must sleep, because it is the program that hangs on purpose.
const ON_PURPOSE: &str = "hangs on purpose";

const RUST: &[&str] = &["thread::sleep(", "tokio::time::sleep(", "time::sleep("];
const OTHERS: &[&str] = &["time.sleep(", "asyncio.sleep("];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    repository.files.iter().flat_map(findings).collect()
}

fn findings(file: &File) -> Vec<Finding> {
    let lines: Vec<(usize, &str)> = match (file.is_rust(), file.is_test()) {
        (true, true) => numbered(file.text()).collect(),
        (true, false) => test_lines(file.text()).collect(),
        (false, true) if file.has_ending(&["py", "js", "mjs", "ts"]) => {
            numbered(file.text()).collect()
        }
        (false, _) => Vec::new(),
    };
    let words = if file.is_rust() { RUST } else { OTHERS };
    let sleeps = lines.into_iter().filter(|(_, line)| {
        words.iter().any(|word| line.contains(word)) && !line.contains(ON_PURPOSE)
    });
    sleeps
        .map(|(number, _)| {
            Finding::new(file, number, "a test sleeps; wait for the condition itself")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    fn check(path: &str, text: &str, expected: &[&str]) {
        super::super::check(super::check, &[(path, text)], expected);
    }

    #[test]
    fn sleeps_in_tests_are_found() {
        let sleep = concat!("std::thread::", "sleep(x);");
        let found = "a test sleeps; wait for the condition itself";
        check(
            "crates/a/tests/it/b.rs",
            sleep,
            &[&format!("crates/a/tests/it/b.rs:1: {found}")],
        );
        check("crates/a/src/b.rs", sleep, &[]);
        let inside = format!("#[cfg(test)]\nmod tests {{\n{sleep}\n}}\n");
        check(
            "crates/a/src/b.rs",
            &inside,
            &[&format!("crates/a/src/b.rs:3: {found}")],
        );
        let python = concat!("time", ".sleep(1)");
        check(
            "sdks/python/tests/test_a.py",
            python,
            &[&format!("sdks/python/tests/test_a.py:1: {found}")],
        );
        check(
            "sdks/python/tests/test_a.py",
            &format!("{python}  # hangs on purpose"),
            &[],
        );
        check("fixtures/hang/plugin.py", python, &[]);
    }
}
