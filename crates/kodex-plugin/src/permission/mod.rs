//! Permissions as data: one grammar in which a manifest declares, policy grants and the host
//! enforces.
//!
//! Reading is strict: every text is one permission in one meaning, or an error with a code, a place
//! and a hint. [`Permission`] prints its normal form, which reads back as itself. Whether one
//! permission is wider than another is decided here and is pure; what cannot be proven is wider.
//!
//! Nothing here opens a file, resolves a name or decides what is granted.
//! The reference for authors is `docs/reference/permissions.md`.

mod access;
mod clause;
mod endpoint;
mod error;
mod host;
mod network;
mod path;
mod pattern;
mod scope;
mod set;
mod show;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use access::{Access, Accesses};
pub use endpoint::{DEFAULT_PORT, Endpoint, Ports};
pub use error::{CODES, PermissionError, Rule};
pub use host::{Host, HostPattern};
pub use network::Network;
pub use path::{AbsolutePath, PathPattern, Root, Variable, Variables};
pub use pattern::{Pattern, Segment};
pub use scope::{
    Admin, Clock, Db, DbAccess, DbTarget, Effect, Env, EnvAccess, EnvPattern, Exec, ExecAccess,
    ExecSandbox, FieldPath, Follow, Fs, FsAccess, Hook, HookAccess, HookPattern, MatchPattern,
    Memory, MemoryAccess, Method, Model, ModelAccess, ModelTarget, Net, NetAccess, NetTarget, Pii,
    Program, Schedule, ScheduleAccess, Secret, SecretAccess, State, StateAccess, StateSpace, Tls,
    Tool, ToolAccess, ToolTarget, Ui,
};
pub use set::{digest, widens};
pub use show::{SHOWN_CHARS, Shown, show};
pub use text::MAX_TEXT;

use clause::Clause;
use error::Fault;
use scope::Grammar;

macro_rules! scopes {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// The first word of a permission: what kind of access it is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Scope {
            /// Every scope, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word in the text.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }

        /// One permission.
        ///
        /// It is read from text and printed in normal form; equal permissions print alike. The
        /// order is that of the scopes and then of their parts, not that of the texts.
        ///
        /// ```
        /// use kodex_plugin::Permission;
        /// let wide: Permission = "fs:list,read ${project}/**".parse()?;
        /// let narrow: Permission = "fs:read ${project}/{src,docs}/**".parse()?;
        /// assert_eq!(narrow.to_string(), "fs:read ${project}/{docs,src}/**");
        /// assert!(wide.contains(&narrow) && !narrow.contains(&wide));
        /// # Ok::<(), kodex_plugin::permission::PermissionError>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $($(#[doc = $doc])+ $name($name),)+
        }

        impl Permission {
            /// What kind of access it is about.
            #[must_use]
            pub fn scope(&self) -> Scope {
                match self {
                    $(Self::$name(_) => Scope::$name,)+
                }
            }

            /// Whether it allows everything that `narrower` allows. False when that cannot be
            /// proven, so a caller that asks before widening asks once too often rather than not.
            ///
            /// Paths below different variables are never compared;
            /// [expand](Permission::expand) both first where that matters.
            #[must_use]
            pub fn contains(&self, narrower: &Self) -> bool {
                match self {
                    $(Self::$name(wide) => {
                        matches!(narrower, Self::$name(narrow) if contains(wide, narrow))
                    })+
                }
            }

            /// Permissions with one access and no alternatives that together are this one, where
            /// it can be taken apart.
            fn parts(&self) -> Vec<Self> {
                match self {
                    $(Self::$name(whole) => {
                        let atoms = whole.atoms().into_iter();
                        atoms.flat_map(|atom| atom.split()).map(Self::$name).collect()
                    })+
                }
            }

            fn text(&self) -> String {
                let scope = self.scope().word();
                match self {
                    $(Self::$name(permission) => permission.write(scope).text(),)+
                }
            }

            fn of_scope(scope: Scope, clause: &mut Clause<'_>) -> Result<Self, Fault> {
                match scope {
                    $(Scope::$name => $name::parse(clause).map(Self::$name),)+
                }
            }
        }
    };
}

scopes! {
    /// Files and folders.
    Fs = "fs",
    /// Connections.
    Net = "net",
    /// Environment variables.
    Env = "env",
    /// Programs.
    Exec = "exec",
    /// Language models.
    Model = "model",
    /// SQL.
    Db = "db",
    /// Small values by key.
    State = "state",
    /// Secrets.
    Secret = "secret",
    /// Tools.
    Tool = "tool",
    /// Hooks.
    Hook = "hook",
    /// Scheduled work.
    Schedule = "schedule",
    /// Remembered statements.
    Memory = "memory",
    /// A clock of high resolution.
    Clock = "clock",
    /// A panel on the dashboard.
    Ui = "ui",
    /// Reading the state of the runtime.
    Admin = "admin",
}

/// Every access of the narrower one must be covered by one access of the wider one.
fn contains<G: Grammar>(wide: &G, narrow: &G) -> bool {
    let wide = wide.atoms();
    let is_covered = |narrow: &G| wide.iter().any(|wide| wide.covers(narrow));
    narrow.atoms().iter().all(is_covered)
}

impl Permission {
    /// The same permission with the folders of this machine in place of variables.
    ///
    /// # Errors
    /// When a variable has no value.
    pub fn expand(&self, variables: &Variables) -> Result<Self, PermissionError> {
        let mut expanded = self.clone();
        if let Some(path) = expanded.path_mut() {
            *path = path.expand(variables)?;
        }
        Ok(expanded)
    }

    fn path_mut(&mut self) -> Option<&mut PathPattern> {
        match self {
            Self::Fs(fs) => Some(&mut fs.path),
            Self::Net(net) => match &mut net.target {
                NetTarget::Unix(path) => Some(path),
                NetTarget::Endpoint(_) => None,
            },
            Self::Exec(exec) => match &mut exec.program {
                Program::Path(path) => Some(path),
                Program::Name(_) => None,
            },
            Self::Env(_)
            | Self::Model(_)
            | Self::Db(_)
            | Self::State(_)
            | Self::Secret(_)
            | Self::Tool(_)
            | Self::Hook(_)
            | Self::Schedule(_)
            | Self::Memory(_)
            | Self::Clock(_)
            | Self::Ui(_)
            | Self::Admin(_) => None,
        }
    }

    /// The normal form as it may be shown to a person.
    #[must_use]
    pub fn shown(&self) -> Shown {
        show(&self.text())
    }
}

impl std::str::FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let parse = || {
            let mut clause = Clause::cut(text)?;
            let word = clause.scope;
            let scope = Scope::ALL.iter().find(|scope| scope.word() == word.text);
            let Some(scope) = scope else {
                let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.word()).collect();
                return Err(word
                    .fault(Rule::ScopeUnknown, format!("`{}` is no scope", word.text))
                    .with_known(word.text, &known));
            };
            let permission = Self::of_scope(*scope, &mut clause)?;
            clause.finish()?;
            Ok(permission)
        };
        parse().map_err(|fault: Fault| fault.in_text(text))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Permission {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Permission".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A permission in the grammar of docs/reference/permissions.md.",
            "maxLength": MAX_TEXT,
            "examples": ["fs:read ${project}/src/**", "net:connect api.example.com:443", "db:own"],
        })
    }
}
