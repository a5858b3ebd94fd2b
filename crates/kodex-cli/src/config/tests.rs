use std::path::Path;

use super::tidy;

/// The right side was printed by Python's `str(Path(text))`.
#[test]
fn paths_are_shown_as_python_shows_them() {
    for (path, want) in [
        ("", "."),
        (".", "."),
        ("./", "."),
        ("plugins", "plugins"),
        ("./plugins//mine/", "plugins/mine"),
        ("a/./b/.", "a/b"),
        ("a/../b", "a/../b"),
        ("./..", ".."),
        ("/a/./b", "/a/b"),
        ("//a/b", "//a/b"),
        ("///a", "/a"),
        ("//", "//"),
        ("/", "/"),
    ] {
        assert_eq!(
            tidy(Path::new(path)).display().to_string(),
            want,
            "{path:?}"
        );
    }
}
