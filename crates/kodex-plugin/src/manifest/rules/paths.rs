//! Paths inside the plugin: relative, written with `/`, and never leaving the root.

use super::{Path, Rules, Step, code};

impl Rules<'_> {
    pub(super) fn path(&mut self, at: &[Step], text: &str) {
        let here = Path(at);
        if text.trim().is_empty() {
            self.report.error(
                at,
                code::PATH_EMPTY,
                format!("`{here}` is empty"),
                "write a path relative to the plugin's root",
            );
        } else if let Some(problem) = leaves_root(text) {
            self.report.error(
                at,
                code::PATH_OUTSIDE,
                format!("`{here}` = {text:?} {problem}"),
                "write a path relative to the plugin's root, with '/' and without '..'",
            );
        }
    }
}

/// Why a path could mean something outside the plugin's root on any system, if it could.
fn leaves_root(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let drive = bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    if text.starts_with(['/', '\\']) || drive {
        return Some("is an absolute path");
    }
    if text.starts_with('~') {
        return Some("starts at a home folder");
    }
    if text.split(['/', '\\']).any(|part| part == "..") {
        return Some("leaves the plugin's root");
    }
    if text.contains('\\') {
        return Some("is written with '\\', which only one system reads as a separator");
    }
    text.chars()
        .any(char::is_control)
        .then_some("holds control characters")
}

#[cfg(test)]
mod tests {
    use super::leaves_root;

    #[test]
    fn only_relative_paths_stay_inside() {
        for good in ["plugin.py", "a/b.py", "./a", "a/..b/c", "a b/ü.py", "..."] {
            assert_eq!(leaves_root(good), None, "{good}");
        }
        for bad in [
            "/etc/passwd",
            "\\a",
            "C:\\a",
            "c:a",
            "..",
            "../a",
            "a/../../b",
            "a\\..\\b",
            "a\\b",
            "~/a",
            "a\0b",
        ] {
            assert!(leaves_root(bad).is_some(), "{bad}");
        }
    }
}
