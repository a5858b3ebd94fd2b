//! Every Rust file says at its top what it is; a file of tests says it by its name.

use super::{Finding, Repository};

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let without = repository
        .rust()
        .filter(|file| !file.is_test())
        .filter(|file| {
            let first = file.text().lines().find(|line| !line.trim().is_empty());
            // A script on the first line is how a single file with its own dependencies starts.
            !first.is_some_and(|line| line.starts_with("//!") || line.starts_with("#!/"))
        });
    without
        .map(|file| {
            Finding::new(
                file,
                1,
                "does not begin with `//!`: what it is, why, what it refuses to do",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_begins_with_its_purpose() {
        super::super::check(
            super::check,
            &[
                ("a.rs", "//! Purpose.\n"),
                ("b.rs", "use std::fs;\n"),
                ("c.rs", ""),
                ("d.py", "import os\n"),
                ("a/tests/it/e.rs", "use std::fs;\n"),
            ],
            &[
                "b.rs:1: does not begin with `//!`: what it is, why, what it refuses to do",
                "c.rs:1: does not begin with `//!`: what it is, why, what it refuses to do",
            ],
        );
    }
}
