//! Stage one: where plugins may be. Nothing is executed, and it never fails; it reports.

use std::{path::PathBuf, sync::Arc};

use kodex_plugin::{Diagnostic, Plugin};

mod directory;
#[cfg(feature = "worker")]
mod packages;

pub use directory::{one, scan};

use crate::observe::Record;

/// A place where a plugin may be, not yet judged.
#[derive(Clone)]
pub struct Candidate {
    /// How the ledger names it: a path, `entrypoint:<name>` or `builtin:<name>`.
    pub source: String,
    /// What lies there.
    pub place: Place,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Candidate({})", self.source)
    }
}

/// What lies at a candidate's place.
#[derive(Clone)]
pub enum Place {
    /// A Python file that declares itself in code.
    PythonFile(PathBuf),
    /// An object of an installed Python package.
    PythonObject {
        /// `module:attr`.
        object: String,
        /// The site directory that holds the package.
        site_dir: PathBuf,
        /// The file that named it, for cache and reports.
        file: PathBuf,
    },
    /// A manifest file. Paths in it are relative to `root`.
    Manifest {
        /// The file.
        file: PathBuf,
        /// The plugin's root.
        root: PathBuf,
    },
    /// Rust code of the embedding program.
    Native(Arc<dyn Plugin>),
}

/// Where to look, in this order.
#[derive(Clone, Default)]
pub struct Sources {
    /// Plugin directories.
    pub directories: Vec<PathBuf>,
    /// Single plugins: folders with a manifest, manifests, Python files.
    pub single: Vec<PathBuf>,
    /// Site directories of the interpreter, for installed packages; none to leave them out.
    pub site_dirs: Vec<PathBuf>,
    /// Plugins of the embedding program.
    pub native: Vec<Arc<dyn Plugin>>,
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Discovered {
    /// Candidates in discovery order.
    pub candidates: Vec<Candidate>,
    /// Ledger lines for places that hold no candidate.
    pub records: Vec<Record>,
    /// Findings that belong to no single candidate.
    pub diagnostics: Vec<Diagnostic>,
}

/// Looks at every source.
#[must_use]
pub fn discover(sources: &Sources) -> Discovered {
    let mut found = Discovered::default();
    for plugin in &sources.native {
        found.candidates.push(Candidate {
            source: format!("builtin:{}", plugin.manifest().name),
            place: Place::Native(plugin.clone()),
        });
    }
    for directory in &sources.directories {
        scan(directory, &mut found);
    }
    for path in &sources.single {
        one(path, &mut found);
    }
    #[cfg(feature = "worker")]
    packages::scan(&sources.site_dirs, &mut found);
    found
}
