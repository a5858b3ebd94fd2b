//! Files and folders.

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    clause::covers_most,
    path::PathPattern,
    value,
};

accesses! {
    /// What may be done with files.
    FsAccess {
        /// Make a file or folder that is not there.
        Create = "create",
        /// Remove a file or folder.
        Delete = "delete",
        /// See the names in a folder.
        List = "list",
        /// Read a file.
        Read = "read",
        /// Change a file, which includes making and removing it. It does not include reading.
        Write = "write" implies [Create, Delete],
    }
}

/// Whether symbolic links are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Follow {
    /// A link is refused.
    #[default]
    Never,
    /// A link is followed when its end is covered by the same permission.
    Inside,
}

const FOLLOW: &[(&str, Follow)] = &[("inside", Follow::Inside), ("never", Follow::Never)];

/// Access to files: `fs:read ${project}/src/**`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Fs {
    /// What may be done.
    pub accesses: Accesses<FsAccess>,
    /// Which paths.
    pub path: PathPattern,
    /// Largest file that may be read or written, in bytes.
    pub max_bytes: Option<u64>,
    /// Whether links are followed.
    pub follow: Follow,
}

impl Fs {
    /// Whether the size of files matters for what may be done.
    fn moves_bytes(accesses: &Accesses<FsAccess>) -> bool {
        let moving = [FsAccess::Read, FsAccess::Write, FsAccess::Create];
        moving.iter().any(|access| accesses.contains(*access))
    }
}

impl Grammar for Fs {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let accesses = clause.accesses()?;
        let path = PathPattern::parse(clause.target("fs:read ${project}/src/**")?)?;
        let follow = clause.choice("follow", FOLLOW)?.unwrap_or_default();
        let needs = "`read`, `write` or `create`";
        let max_bytes = clause.take_if(Self::moves_bytes(&accesses), "max_bytes", needs)?;
        Ok(Self {
            accesses,
            path,
            follow,
            max_bytes: max_bytes.map(value::size).transpose()?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .target(&self.path)
            .constraint(
                "follow",
                (self.follow == Follow::Inside).then_some("inside"),
            )
            .constraint("max_bytes", self.max_bytes)
    }

    fn atoms(&self) -> Vec<Self> {
        let atom = |access| Self {
            accesses: Accesses::one(access),
            ..self.clone()
        };
        self.accesses.iter().map(atom).collect()
    }

    fn covers(&self, narrower: &Self) -> bool {
        let is_bound = Self::moves_bytes(&narrower.accesses);
        self.accesses.covers(&narrower.accesses)
            && self.path.contains(&narrower.path)
            && (!is_bound || covers_most(self.max_bytes, narrower.max_bytes))
            && (self.follow == Follow::Inside || narrower.follow == Follow::Never)
    }

    fn split(&self) -> Vec<Self> {
        let with_path = |path| Self {
            path,
            ..self.clone()
        };
        self.path.split().into_iter().map(with_path).collect()
    }
}
