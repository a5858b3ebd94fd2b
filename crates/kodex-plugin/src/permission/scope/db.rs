//! SQL.

use std::fmt;

use super::{Canonical, Clause, Fault, Grammar};
use crate::{
    PluginName,
    permission::{
        access::{Access, accesses},
        clause::covers_most,
        error::Rule,
        text::Word,
        value,
    },
};

accesses! {
    /// What may be done with SQL.
    DbAccess {
        /// Everything inside the plugin's own namespace.
        Own = "own",
        /// Read a view that another plugin exports.
        Read = "read",
    }
}

/// Where statements may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DbTarget {
    /// The plugin's own namespace.
    Own,
    /// One exported view of another plugin.
    View {
        /// The plugin that exports it.
        plugin: PluginName,
        /// The view's name.
        view: String,
    },
}

impl DbTarget {
    fn view(word: Word<'_>) -> Result<Self, Fault> {
        let invalid = |message: String| {
            word.fault(Rule::TargetInvalid, message)
                .with_hint("write `<plugin>.<view>`, such as `kodex-memory.facts`")
        };
        let Some((plugin, view)) = word.text.split_once('.') else {
            return Err(invalid(format!(
                "`{}` names no view of a plugin",
                word.text
            )));
        };
        let plugin = PluginName::new(plugin).map_err(|error| invalid(error.to_string()))?;
        let is_identifier = view.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && view.len() <= 63
            && view
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        match is_identifier {
            true => Ok(Self::View {
                plugin,
                view: view.to_owned(),
            }),
            false => Err(invalid(format!("`{view}` is no name of a view"))),
        }
    }
}

impl fmt::Display for DbTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => Ok(()),
            Self::View { plugin, view } => write!(f, "{plugin}.{view}"),
        }
    }
}

/// Use of SQL: `db:own quota_bytes=64MiB`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Db {
    /// Where statements may reach.
    pub target: DbTarget,
    /// Most rows in one result.
    pub max_rows: Option<u64>,
    /// Largest namespace in bytes.
    pub quota_bytes: Option<u64>,
    /// Longest statement in milliseconds.
    pub statement_timeout_ms: Option<u64>,
}

impl Db {
    /// What may be done; follows from the target.
    #[must_use]
    pub fn access(&self) -> DbAccess {
        match self.target {
            DbTarget::Own => DbAccess::Own,
            DbTarget::View { .. } => DbAccess::Read,
        }
    }
}

impl Grammar for Db {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let target = match clause.access()? {
            DbAccess::Own => {
                clause.no_target()?;
                DbTarget::Own
            }
            DbAccess::Read => DbTarget::view(clause.target("db:read kodex-memory.facts")?)?,
        };
        let max_rows = clause.count("max_rows")?;
        let quota_bytes = clause.take_if(target == DbTarget::Own, "quota_bytes", "`own`")?;
        Ok(Self {
            target,
            max_rows,
            quota_bytes: quota_bytes.map(value::size).transpose()?,
            statement_timeout_ms: clause.count("statement_timeout_ms")?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        let head = Canonical::new(scope, &[self.access().word()]);
        let head = match self.target {
            DbTarget::Own => head,
            DbTarget::View { .. } => head.target(&self.target),
        };
        head.constraint("max_rows", self.max_rows)
            .constraint("quota_bytes", self.quota_bytes)
            .constraint("statement_timeout_ms", self.statement_timeout_ms)
    }

    fn atoms(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn covers(&self, narrower: &Self) -> bool {
        self.target == narrower.target
            && covers_most(self.max_rows, narrower.max_rows)
            && covers_most(self.quota_bytes, narrower.quota_bytes)
            && covers_most(self.statement_timeout_ms, narrower.statement_timeout_ms)
    }
}
