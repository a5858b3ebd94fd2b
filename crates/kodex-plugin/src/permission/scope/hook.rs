//! Hooks that a plugin may answer, and what it sees of them.

use std::{collections::BTreeSet, fmt};

use super::{Canonical, Clause, Fault, Grammar};
use crate::{
    HookName,
    permission::{
        access::{Accesses, accesses},
        clause::{covers_list, literal, quoted, set},
        error::Rule,
        text::Word,
        value::is_name,
    },
};

accesses! {
    /// What may be done with a hook. Whoever decides or changes also sees.
    HookAccess {
        /// Decide whether the agent goes on.
        Gate = "gate" implies [Observe],
        /// See the payload.
        Observe = "observe",
        /// Change the payload.
        Transform = "transform" implies [Observe],
    }
}

/// Which hooks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPattern {
    /// `*`: every hook.
    Any,
    /// `tool.*`: every hook below this name, at any depth; not the name itself.
    Family(String),
    /// One hook.
    Name(HookName),
}

impl HookPattern {
    /// Whether it covers the hook.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Family(family) => is_below(name, family),
            Self::Name(wanted) => wanted.as_str() == name,
        }
    }

    fn contains(&self, narrower: &Self) -> bool {
        match narrower {
            Self::Any => *self == Self::Any,
            Self::Name(name) => self.matches(name.as_str()),
            Self::Family(narrow) => match self {
                Self::Any => true,
                Self::Family(wide) => wide == narrow || is_below(narrow, wide),
                Self::Name(_) => false,
            },
        }
    }

    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        let text = word.text;
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(family) = text.strip_suffix(".*").filter(|_| !text.starts_with('"')) {
            check_dotted(word.part(0..family.len()))?;
            return Ok(Self::Family(family.to_owned()));
        }
        if !text.starts_with('"') {
            check_dotted(word)?;
        }
        let name = word.unquoted("")?.text;
        if name.contains('*') {
            let message = "a quoted hook is one name, without `*`";
            return Err(word.fault(Rule::TargetInvalid, message));
        }
        let name = HookName::new(name);
        name.map(Self::Name)
            .map_err(|error| word.fault(Rule::TargetInvalid, error.to_string()))
    }
}

impl fmt::Display for HookPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Family(family) => write!(f, "{family}.*"),
            Self::Name(name) if is_dotted(name.as_str()) => f.write_str(name.as_str()),
            Self::Name(name) => f.write_str(&quoted(name.as_str())),
        }
    }
}

/// What a subscription may match on, usually the name of a tool: a name, or a prefix and `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchPattern {
    /// This name.
    Name(String),
    /// Every name that starts with this text.
    Prefix(String),
}

impl MatchPattern {
    /// Whether it covers the name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
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

    /// A star is a wildcard with or without quotes; names that hold one do not exist.
    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        let text = word.unquoted("*")?;
        let is_wildcard = text.n_wild == 1 && text.text.ends_with('*');
        let n_stars = text.text.matches('*').count();
        let name = text.text.trim_end_matches('*');
        if name.is_empty() || n_stars != usize::from(is_wildcard) {
            let message = "`*` can stand only at the end of a name";
            return Err(word.fault(Rule::PatternWildcard, message));
        }
        Ok(match is_wildcard {
            true => Self::Prefix(name.to_owned()),
            false => Self::Name(name.to_owned()),
        })
    }
}

impl fmt::Display for MatchPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, star) = match self {
            Self::Name(name) => (literal(name), ""),
            Self::Prefix(prefix) => (literal(prefix), "*"),
        };
        match name.strip_suffix('"') {
            Some(open) => write!(f, "{open}{star}\""),
            None => write!(f, "{name}{star}"),
        }
    }
}

/// A field of the payload, such as `input.path`. A field includes everything inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(String);

impl FieldPath {
    /// The names from the outside in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether the other field is this one or inside it.
    #[must_use]
    pub fn contains(&self, narrower: &Self) -> bool {
        self == narrower || is_below(&narrower.0, &self.0)
    }

    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        check_dotted(word)?;
        Ok(Self(word.text.to_owned()))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Use of hooks: `hook:observe tool.after fields=[name,duration]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Hook {
    /// What may be done.
    pub accesses: Accesses<HookAccess>,
    /// Which hooks.
    pub target: HookPattern,
    /// The fields of the payload that are delivered; all when absent.
    pub fields: Option<BTreeSet<FieldPath>>,
    /// What the call must be about; anything when absent.
    pub matches: Option<BTreeSet<MatchPattern>>,
}

impl Grammar for Hook {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let fields = clause.take("fields");
        let matches = clause.take("match");
        Ok(Self {
            accesses: clause.accesses()?,
            target: HookPattern::parse(clause.target("hook:observe tool.after")?)?,
            fields: fields.map(|word| set(word, FieldPath::parse)).transpose()?,
            matches: matches
                .map(|word| set(word, MatchPattern::parse))
                .transpose()?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .target(&self.target)
            .list("fields", self.fields.as_ref())
            .list("match", self.matches.as_ref())
    }

    fn atoms(&self) -> Vec<Self> {
        let atom = |access| Self {
            accesses: Accesses::one(access),
            ..self.clone()
        };
        self.accesses.iter().map(atom).collect()
    }

    fn covers(&self, narrower: &Self) -> bool {
        let fields = (self.fields.as_ref(), narrower.fields.as_ref());
        let matches = (self.matches.as_ref(), narrower.matches.as_ref());
        self.accesses.covers(&narrower.accesses)
            && self.target.contains(&narrower.target)
            && covers_list(fields.0, fields.1, FieldPath::contains)
            && covers_list(matches.0, matches.1, MatchPattern::contains)
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent)
        .is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
}

fn is_dotted(text: &str) -> bool {
    text.len() <= 256
        && text
            .split('.')
            .all(|part| is_name(part.trim_start_matches('_'), "_-", 256) || part == "_")
}

fn check_dotted(word: Word<'_>) -> Result<(), Fault> {
    if is_dotted(word.text) {
        return Ok(());
    }
    let message = format!("`{}` is no name of words joined by dots", word.text);
    Err(word
        .fault(Rule::TargetInvalid, message)
        .with_hint("write for example `tool.after`; other names must be quoted"))
}
