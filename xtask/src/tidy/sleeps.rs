//! Tests wait for what they wait for, with a deadline; they never hope that some time is enough.
//!
//! A sleep in a Rust test carries a comment that says why it is none of that, for example that it
//! paces a loop around a condition. Tests in other languages are not read: most sleeps there are in
//! the code of plugins that hang on purpose.

use super::text::{numbered, test_lines};
use super::{File, Finding, Repository};

const SLEEPS: &[&str] = &["thread::sleep(", "time::sleep("];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let rust = repository.rust();
    // Fixtures misbehave on purpose.
    rust.filter(|file| !file.path.starts_with("fixtures/"))
        .flat_map(findings)
        .collect()
}

fn findings(file: &File) -> Vec<Finding> {
    let lines: Vec<(usize, &str)> = if file.is_test() {
        numbered(file.text()).collect()
    } else {
        test_lines(file.text()).collect()
    };
    let mut findings = Vec::new();
    let mut before = "";
    for (number, line) in lines {
        let sleeps = SLEEPS.iter().any(|word| line.contains(word));
        if sleeps && !line.contains("// ") && !before.trim_start().starts_with("// ") {
            let message = "a test sleeps; wait for the condition itself, or say why in a comment";
            findings.push(Finding::new(file, number, message));
        }
        before = line;
    }
    findings
}

#[cfg(test)]
mod tests {
    fn check(path: &str, text: &str, lines: &[u32]) {
        let found = "a test sleeps; wait for the condition itself, or say why in a comment";
        let expected: Vec<String> = lines
            .iter()
            .map(|n| format!("{path}:{n}: {found}"))
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        super::super::check(super::check, &[(path, text)], &expected);
    }

    #[test]
    fn sleeps_in_tests_are_found() {
        let sleep = concat!("std::thread::", "sleep(x);");
        check("crates/a/tests/it/b.rs", sleep, &[1]);
        check("crates/a/src/b.rs", sleep, &[]);
        check("fixtures/tests/b.rs", sleep, &[]);
        check(
            "crates/a/src/b.rs",
            &format!("#[cfg(test)]\nmod tests {{\n{sleep}\n}}\n"),
            &[3],
        );
    }

    #[test]
    fn a_sleep_with_a_reason_is_allowed() {
        let sleep = concat!("tokio::time::", "sleep(x).await;");
        check(
            "crates/a/tests/b.rs",
            &format!("// Between two looks.\n{sleep}"),
            &[],
        );
        check(
            "crates/a/tests/b.rs",
            &format!("{sleep} // Between two looks."),
            &[],
        );
        check("crates/a/tests/b.rs", &format!("x();\n{sleep}"), &[2]);
    }
}
