//! Remembered statements.

use std::collections::BTreeSet;

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    error::Rule,
    text::Word,
    value::is_name,
};

accesses! {
    /// What may be done with memories.
    MemoryAccess {
        /// End a memory's life.
        Forget = "forget",
        /// Recall memories.
        Read = "read",
        /// Store memories.
        Write = "write",
    }
}

/// Whether memories may be about a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pii {
    /// Nothing that identifies a person.
    #[default]
    None,
    /// Anything.
    Any,
}

const PII: &[(&str, Pii)] = &[("any", Pii::Any), ("none", Pii::None)];

/// Use of memories: `memory:write self/*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Memory {
    /// What may be done.
    pub accesses: Accesses<MemoryAccess>,
    /// Whose memories: `self`, or the name of a namespace.
    pub namespace: String,
    /// Kinds of subject; all when absent.
    pub kinds: Option<BTreeSet<String>>,
    /// Whether they may be about a person.
    pub pii: Pii,
}

impl Memory {
    fn target(&self) -> String {
        let Some(kinds) = &self.kinds else {
            return format!("{}/*", self.namespace);
        };
        let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
        match kinds.as_slice() {
            [kind] => format!("{}/{kind}", self.namespace),
            kinds => format!("{}/{{{}}}", self.namespace, kinds.join(",")),
        }
    }
}

impl Grammar for Memory {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let accesses = clause.accesses()?;
        let (namespace, kinds) = target(clause.target("memory:write self/*")?)?;
        Ok(Self {
            accesses,
            namespace,
            kinds,
            pii: clause.choice("pii", PII)?.unwrap_or_default(),
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .target(self.target())
            .constraint("pii", (self.pii == Pii::Any).then_some("any"))
    }

    fn atoms(&self) -> Vec<Self> {
        let atom = |access| Self {
            accesses: Accesses::one(access),
            ..self.clone()
        };
        self.accesses.iter().map(atom).collect()
    }

    fn covers(&self, narrower: &Self) -> bool {
        let covers_kinds = match (&self.kinds, &narrower.kinds) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => wide.is_superset(narrow),
        };
        self.accesses.covers(&narrower.accesses)
            && self.namespace == narrower.namespace
            && covers_kinds
            && (self.pii == Pii::Any || narrower.pii == Pii::None)
    }

    fn split(&self) -> Vec<Self> {
        let Some(kinds) = &self.kinds else {
            return vec![self.clone()];
        };
        let with_kind = |kind: &String| Self {
            kinds: Some(BTreeSet::from([kind.clone()])),
            ..self.clone()
        };
        kinds.iter().map(with_kind).collect()
    }
}

fn target(word: Word<'_>) -> Result<(String, Option<BTreeSet<String>>), Fault> {
    let invalid = |place: Word<'_>| {
        let message = format!("`{}` is no place for memories", place.text);
        place
            .fault(Rule::TargetInvalid, message)
            .with_hint("write `<namespace>/<kind>`, such as `self/*` or `self/{fact,preference}`")
    };
    let Some(at) = word.text.find('/') else {
        return Err(invalid(word));
    };
    let (namespace, kinds) = (word.part(0..at), word.from(at + 1));
    if !is_name(namespace.text, "_-", 64) {
        return Err(invalid(namespace));
    }
    let namespace = namespace.text.to_owned();
    if kinds.text == "*" {
        return Ok((namespace, None));
    }
    let inner = kinds
        .text
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'));
    let kinds = match inner {
        Some(inner) => kinds.part(1..1 + inner.len()).split(',')?,
        None => vec![kinds],
    };
    let kind = |word: Word<'_>| match is_name(word.trimmed().text, "_-", 64) {
        true => Ok(word.trimmed().text.to_owned()),
        false => Err(invalid(word)),
    };
    let kinds = kinds.into_iter().map(kind).collect::<Result<_, _>>()?;
    Ok((namespace, Some(kinds)))
}
