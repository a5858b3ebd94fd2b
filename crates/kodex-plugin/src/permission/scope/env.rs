//! Environment variables.

use std::fmt;

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    error::Rule,
    text::Word,
};

accesses! {
    /// What may be done with environment variables.
    EnvAccess {
        /// See the value.
        Read = "read",
    }
}

/// A name, or all names that start alike. Never all names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvPattern {
    /// This variable.
    Name(String),
    /// Every variable that starts with this text, which ends in `_`.
    Prefix(String),
}

impl EnvPattern {
    /// Whether it covers the variable.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            // The prefix alone, such as `AWS_`, is a name of its own and is covered.
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }

    fn contains(&self, narrower: &Self) -> bool {
        match narrower {
            Self::Name(name) => self.matches(name),
            Self::Prefix(narrow) => match self {
                Self::Name(_) => false,
                Self::Prefix(wide) => narrow.starts_with(wide),
            },
        }
    }

    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        let text = word.text;
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(front) => (front, true),
            None => (text, false),
        };
        if is_prefix && !(name.ends_with('_') && name.contains(|c: char| c != '_')) {
            return Err(word
                .fault(
                    Rule::EnvWildcard,
                    "a wildcard needs a prefix that ends in `_`",
                )
                .with_hint("name the variables, or write a prefix such as `GITHUB_*`"));
        }
        let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            return Err(word
                .fault(Rule::EnvName, format!("`{text}` is no name of a variable"))
                .with_hint("a name has letters, digits and `_`, and starts with no digit"));
        }
        Ok(match is_prefix {
            true => Self::Prefix(name.to_owned()),
            false => Self::Name(name.to_owned()),
        })
    }
}

impl fmt::Display for EnvPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Access to environment variables: `env:read CI`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Env {
    /// What may be done.
    pub accesses: Accesses<EnvAccess>,
    /// Which variables.
    pub name: EnvPattern,
}

impl Grammar for Env {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        Ok(Self {
            accesses: clause.accesses()?,
            name: EnvPattern::parse(clause.target("env:read CI")?)?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words()).target(&self.name)
    }

    fn atoms(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn covers(&self, narrower: &Self) -> bool {
        self.name.contains(&narrower.name)
    }
}
