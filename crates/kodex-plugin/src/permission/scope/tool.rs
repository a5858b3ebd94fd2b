//! Tools: the plugin's own and those of other plugins.

use std::{collections::BTreeSet, fmt};

use super::{Canonical, Clause, Fault, Grammar};
use crate::{
    PluginName, ToolName,
    permission::{
        access::{Access, accesses},
        clause::{covers_list, set},
        error::Rule,
        text::Word,
        value,
    },
};

accesses! {
    /// What may be done with tools.
    ToolAccess {
        /// Call a tool of another plugin.
        Call = "call",
        /// Offer a tool to the agent's model.
        Provide = "provide",
    }
}

/// Which tools. No tool name means all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToolTarget {
    /// `search` or `*`: tools of the plugin itself.
    Own(Option<ToolName>),
    /// `files/search` or `files/*`: tools of another plugin.
    Other(PluginName, Option<ToolName>),
}

impl ToolTarget {
    fn own(word: Word<'_>) -> Result<Self, Fault> {
        tool(word).map(Self::Own)
    }

    fn other(word: Word<'_>) -> Result<Self, Fault> {
        let hint = "write `<plugin>/<tool>` or `<plugin>/*`";
        let Some(at) = word.text.find('/') else {
            let message = format!("`{}` names no tool of another plugin", word.text);
            return Err(word.fault(Rule::TargetInvalid, message).with_hint(hint));
        };
        let plugin = word.part(0..at);
        let name = PluginName::new(plugin.text);
        let name = name.map_err(|error| {
            let fault = plugin.fault(Rule::TargetInvalid, error.to_string());
            fault.with_hint(hint)
        })?;
        Ok(Self::Other(name, tool(word.from(at + 1))?))
    }

    fn contains(&self, narrower: &Self) -> bool {
        let covers =
            |wide: &Option<ToolName>, narrow: &Option<ToolName>| wide.is_none() || wide == narrow;
        match (self, narrower) {
            (Self::Own(wide), Self::Own(narrow)) => covers(wide, narrow),
            (Self::Other(plugin, wide), Self::Other(other, narrow)) => {
                plugin == other && covers(wide, narrow)
            }
            (Self::Own(_), Self::Other(..)) | (Self::Other(..), Self::Own(_)) => false,
        }
    }
}

impl fmt::Display for ToolTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plugin, tool) = match self {
            Self::Own(tool) => (None, tool),
            Self::Other(plugin, tool) => (Some(plugin), tool),
        };
        if let Some(plugin) = plugin {
            write!(f, "{plugin}/")?;
        }
        f.write_str(tool.as_ref().map_or("*", ToolName::as_str))
    }
}

/// What a tool may do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It touches the world outside the machine.
    External,
    /// It reads.
    Read,
    /// It changes something.
    Write,
}

const EFFECTS: &[(&str, Effect)] = &[
    ("external", Effect::External),
    ("read", Effect::Read),
    ("write", Effect::Write),
];

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::External => "external",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// Use of tools: `tool:call files/search effects=[read]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Tool {
    /// Which tools.
    pub target: ToolTarget,
    /// What they may do at most; anything when absent.
    pub effects: Option<BTreeSet<Effect>>,
}

impl Tool {
    /// What may be done; follows from the target.
    #[must_use]
    pub fn access(&self) -> ToolAccess {
        match self.target {
            ToolTarget::Own(_) => ToolAccess::Provide,
            ToolTarget::Other(..) => ToolAccess::Call,
        }
    }
}

impl Grammar for Tool {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let target = match clause.access()? {
            ToolAccess::Provide => ToolTarget::own(clause.target("tool:provide search")?)?,
            ToolAccess::Call => ToolTarget::other(clause.target("tool:call files/search")?)?,
        };
        let effect = |item| value::choice(item, EFFECTS);
        let effects = clause
            .take("effects")
            .map(|word| set(word, effect))
            .transpose()?;
        Ok(Self {
            target,
            // A ceiling that lets everything through is no ceiling.
            effects: effects.filter(|effects| effects.len() < EFFECTS.len()),
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &[self.access().word()])
            .target(&self.target)
            .list("effects", self.effects.as_ref())
    }

    fn atoms(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn covers(&self, narrower: &Self) -> bool {
        let (wide, narrow) = (self.effects.as_ref(), narrower.effects.as_ref());
        self.target.contains(&narrower.target) && covers_list(wide, narrow, PartialEq::eq)
    }
}

fn tool(word: Word<'_>) -> Result<Option<ToolName>, Fault> {
    if word.text == "*" {
        return Ok(None);
    }
    ToolName::new(word.text).map(Some).map_err(|error| {
        let fault = Fault::new(Rule::TargetInvalid, word.span(), error.to_string());
        fault.with_hint("`*` stands for every tool")
    })
}
