//! The order in which plugins answer a hook: a pure function of what they declare.
//!
//! Lower priority first. Among equals, plugins in the form of the first Python runtime come first,
//! in discovery order, because that is the order they know; then the others by name in byte order,
//! which is the same on every machine and for every locale.

/// What the order looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: i32,
    /// `Some` for catch-all plugins; sorts before `None` by the explicit flag.
    named: bool,
    discovered: usize,
    name: String,
}

impl Rank {
    /// The rank of a catch-all plugin, by its place in discovery.
    pub(crate) fn catch_all(priority: i32, discovered: usize) -> Self {
        Self {
            priority,
            named: false,
            discovered,
            name: String::new(),
        }
    }

    /// The rank of a plugin that declared the hook, by its name.
    pub(crate) fn named(priority: i32, name: &str) -> Self {
        Self {
            priority,
            named: true,
            discovered: 0,
            name: name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_then_first_runtime_plugins_then_names_in_byte_order() {
        let mut ranks = [
            ("b", Rank::named(0, "b")),
            ("late", Rank::catch_all(5, 0)),
            ("second", Rank::catch_all(0, 7)),
            ("a-z", Rank::named(0, "a-z")),
            ("first", Rank::catch_all(0, 2)),
            ("a0", Rank::named(0, "a0")),
            ("early", Rank::named(-1, "zz")),
        ];
        ranks.sort_by(|a, b| a.1.cmp(&b.1));
        assert_eq!(
            ranks.map(|r| r.0),
            ["early", "first", "second", "a-z", "a0", "b", "late"]
        );
    }
}
