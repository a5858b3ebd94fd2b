//! What a plugin offers, for routing. Never a right: rights are [permissions](crate::permission).

use crate::CapabilityName;

/// Trims, drops blanks, removes duplicates and sorts, as manifests declare it.
///
/// ```
/// let names = kodex_plugin::capability::normalise([" b ", "a", "", "b"]);
/// assert_eq!(names.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["a", "b"]);
/// ```
pub fn normalise<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<CapabilityName> {
    let mut names: Vec<_> = names
        .into_iter()
        .filter_map(|name| CapabilityName::new(name.trim()).ok())
        .collect();
    names.sort();
    names.dedup();
    names
}
