//! The scopes, one file each: what they may be asked for, how that is written, and which of two
//! permissions is wider. Adding a scope is a file here and a row in [`scopes!`](super).

use super::{
    clause::{Canonical, Clause},
    error::Fault,
};

mod db;
mod env;
mod exec;
mod fs;
mod hook;
mod memory;
mod model;
mod net;
mod plain;
mod schedule;
mod secret;
mod state;
mod tool;

pub use db::{Db, DbAccess, DbTarget};
pub use env::{Env, EnvAccess, EnvPattern};
pub use exec::{Exec, ExecAccess, ExecSandbox, Program};
pub use fs::{Follow, Fs, FsAccess};
pub use hook::{FieldPath, Hook, HookAccess, HookPattern, MatchPattern};
pub use memory::{Memory, MemoryAccess, Pii};
pub use model::{Model, ModelAccess, ModelTarget};
pub use net::{Method, Net, NetAccess, NetTarget, Tls};
pub use plain::{Admin, Clock, Ui};
pub use schedule::{Schedule, ScheduleAccess};
pub use secret::{Secret, SecretAccess};
pub use state::{State, StateAccess, StateSpace};
pub use tool::{Effect, Tool, ToolAccess, ToolTarget};

/// What every scope can do.
pub(super) trait Grammar: Sized + Clone {
    /// Takes what it knows from the parts of a text.
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault>;

    /// Writes the normal form. `scope` is the word of the scope.
    fn write(&self, scope: &str) -> Canonical;

    /// The same permission once per access.
    fn atoms(&self) -> Vec<Self>;

    /// Whether it is at least as wide as another one. Both have one access. Only constraints that
    /// bind the narrower one's access are compared.
    fn covers(&self, narrower: &Self) -> bool;

    /// Permissions without choices that together are the same, where that is possible.
    fn split(&self) -> Vec<Self> {
        vec![self.clone()]
    }
}
