//! Small values by key.

use std::fmt;

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    clause::covers_most,
    error::Rule,
    text::Word,
    value::{self, is_name},
};

accesses! {
    /// What may be done with state.
    StateAccess {
        /// Get and list values.
        Read = "read",
        /// Set and delete values, and take locks.
        Write = "write",
    }
}

/// Whose values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateSpace {
    /// `self/*`: the plugin's own.
    Own,
    /// `session/*`: the plugin's own, for the life of one session.
    Session,
    /// `shared/<topic>`: shared by the plugins that name the topic.
    Shared(String),
}

impl StateSpace {
    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        let text = word.text;
        let topic = text.strip_prefix("shared/");
        match (text, topic) {
            ("self/*", _) => Ok(Self::Own),
            ("session/*", _) => Ok(Self::Session),
            (_, Some(topic)) if is_name(topic, "._-", 64) => Ok(Self::Shared(topic.to_owned())),
            _ => Err(word
                .fault(
                    Rule::TargetInvalid,
                    format!("`{text}` is no space for values"),
                )
                .with_hint("write `self/*`, `session/*` or `shared/<topic>`")),
        }
    }
}

impl fmt::Display for StateSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("self/*"),
            Self::Session => f.write_str("session/*"),
            Self::Shared(topic) => write!(f, "shared/{topic}"),
        }
    }
}

/// Use of state: `state:write self/*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct State {
    /// What may be done.
    pub accesses: Accesses<StateAccess>,
    /// Whose values.
    pub space: StateSpace,
    /// Most keys.
    pub max_keys: Option<u64>,
    /// Longest life of a value, in milliseconds.
    pub ttl: Option<u64>,
}

impl Grammar for State {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let accesses: Accesses<StateAccess> = clause.accesses()?;
        let space = StateSpace::parse(clause.target("state:write self/*")?)?;
        let writes = accesses.contains(StateAccess::Write);
        let max_keys = clause.take_if(writes, "max_keys", "`write`")?;
        let ttl = clause.take_if(writes, "ttl", "`write`")?;
        Ok(Self {
            accesses,
            space,
            max_keys: max_keys.map(value::count).transpose()?,
            ttl: ttl.map(value::span).transpose()?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .target(&self.space)
            .constraint("max_keys", self.max_keys)
            .constraint("ttl", self.ttl.map(value::write_span))
    }

    fn atoms(&self) -> Vec<Self> {
        let atom = |access| Self {
            accesses: Accesses::one(access),
            ..self.clone()
        };
        self.accesses.iter().map(atom).collect()
    }

    fn covers(&self, narrower: &Self) -> bool {
        let writes = narrower.accesses.contains(StateAccess::Write);
        let is_bound_alike =
            || covers_most(self.max_keys, narrower.max_keys) && covers_most(self.ttl, narrower.ttl);
        self.accesses.covers(&narrower.accesses)
            && self.space == narrower.space
            && (!writes || is_bound_alike())
    }
}
