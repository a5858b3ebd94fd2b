//! The repository holds text of a readable size.

use super::{Finding, Repository};

const LARGEST: usize = 256 * 1024;

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &repository.files {
        if file.bytes.len() > LARGEST {
            let message = format!("{} bytes; a file has at most {LARGEST}", file.bytes.len());
            findings.push(Finding::new(file, 0, message));
        }
        if file.bytes.contains(&0) || std::str::from_utf8(&file.bytes).is_err() {
            let message = "binary; let the test that needs it make it";
            findings.push(Finding::new(file, 0, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    #[test]
    fn large_and_binary_files_are_found() {
        let large = "a".repeat(super::LARGEST + 1);
        super::super::check(
            super::check,
            &[
                ("a.txt", "text, also ä"),
                ("b.txt", &large),
                ("c.bin", "\0asm"),
            ],
            &[
                "b.txt: 262145 bytes; a file has at most 262144",
                "c.bin: binary; let the test that needs it make it",
            ],
        );
    }
}
