//! Language models.

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
    /// What may be done with models.
    ModelAccess {
        /// Send a prompt and get the answer.
        Call = "call",
    }
}

/// Which models.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelTarget {
    /// Every model the operator offers.
    Any,
    /// The model that the operator calls large.
    Large,
    /// The model that the operator calls small.
    Small,
    /// This model.
    Name(String),
}

impl ModelTarget {
    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        match word.text {
            "any" => Ok(Self::Any),
            "large" => Ok(Self::Large),
            "small" => Ok(Self::Small),
            name if is_name(name, "._:/@-", 128) => Ok(Self::Name(name.to_owned())),
            name => Err(word
                .fault(
                    Rule::TargetInvalid,
                    format!("`{name}` is no name of a model"),
                )
                .with_hint("write `small`, `large`, `any` or the name of a model")),
        }
    }
}

impl fmt::Display for ModelTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Large => "large",
            Self::Small => "small",
            Self::Name(name) => name,
        })
    }
}

/// Calling models: `model:call small tokens_per_day=10000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Model {
    /// What may be done.
    pub accesses: Accesses<ModelAccess>,
    /// Which models.
    pub target: ModelTarget,
    /// Most money per day, in millionths of a US dollar.
    pub cost_per_day: Option<u64>,
    /// Most calls at the same time.
    pub max_concurrency: Option<u64>,
    /// Most tokens in one call, prompt and answer together.
    pub max_tokens_per_call: Option<u64>,
    /// Most tokens per day.
    pub tokens_per_day: Option<u64>,
}

impl Grammar for Model {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        Ok(Self {
            accesses: clause.accesses()?,
            target: ModelTarget::parse(clause.target("model:call small")?)?,
            cost_per_day: clause.take("cost_per_day").map(value::money).transpose()?,
            max_concurrency: clause.count("max_concurrency")?,
            max_tokens_per_call: clause.count("max_tokens_per_call")?,
            tokens_per_day: clause.count("tokens_per_day")?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .target(&self.target)
            .constraint("cost_per_day", self.cost_per_day.map(value::write_money))
            .constraint("max_concurrency", self.max_concurrency)
            .constraint("max_tokens_per_call", self.max_tokens_per_call)
            .constraint("tokens_per_day", self.tokens_per_day)
    }

    fn atoms(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn covers(&self, narrower: &Self) -> bool {
        (self.target == ModelTarget::Any || self.target == narrower.target)
            && covers_most(self.cost_per_day, narrower.cost_per_day)
            && covers_most(self.max_concurrency, narrower.max_concurrency)
            && covers_most(self.max_tokens_per_call, narrower.max_tokens_per_call)
            && covers_most(self.tokens_per_day, narrower.tokens_per_day)
    }
}
