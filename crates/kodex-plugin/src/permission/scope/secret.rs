//! Secrets.

use std::collections::BTreeSet;

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    clause::{covers_list, set},
    endpoint::Endpoint,
    error::Rule,
    value::is_name,
};

accesses! {
    /// What may be done with a secret. Neither access includes the other: a plugin that reads a
    /// value has no say in where the host sends it, and one that uses it never sees it.
    SecretAccess {
        /// See the value.
        Read = "read",
        /// Have the host put it into outgoing requests.
        Use = "use",
    }
}

/// Use of a secret: `secret:use github-token hosts=[api.github.com]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Secret {
    /// What may be done.
    pub accesses: Accesses<SecretAccess>,
    /// The secret's name.
    pub name: String,
    /// Where the host may send it; wherever the plugin may connect when absent.
    pub hosts: Option<BTreeSet<Endpoint>>,
}

impl Grammar for Secret {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let accesses: Accesses<SecretAccess> = clause.accesses()?;
        let word = clause.target("secret:use github-token")?;
        if !is_name(word.text, "._-", 128) {
            let message = format!("`{}` is no name of a secret", word.text);
            let hint = "a name has letters, digits, `.`, `_` and `-`";
            return Err(word.fault(Rule::TargetInvalid, message).with_hint(hint));
        }
        let uses = accesses.contains(SecretAccess::Use);
        let hosts = clause.take_if(uses, "hosts", "`use`")?;
        let endpoint = |item| Endpoint::parse(item).map(|(endpoint, _)| endpoint);
        Ok(Self {
            accesses,
            name: word.text.to_owned(),
            hosts: hosts.map(|word| set(word, endpoint)).transpose()?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .target(&self.name)
            .list("hosts", self.hosts.as_ref())
    }

    fn atoms(&self) -> Vec<Self> {
        let atom = |access| Self {
            accesses: Accesses::one(access),
            ..self.clone()
        };
        self.accesses.iter().map(atom).collect()
    }

    fn covers(&self, narrower: &Self) -> bool {
        let uses = narrower.accesses.contains(SecretAccess::Use);
        let (wide, narrow) = (self.hosts.as_ref(), narrower.hosts.as_ref());
        self.accesses.covers(&narrower.accesses)
            && self.name == narrower.name
            && (!uses || covers_list(wide, narrow, Endpoint::contains))
    }
}
