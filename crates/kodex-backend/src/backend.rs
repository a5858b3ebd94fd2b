//! The seam: what a backend is given and what it gives back.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use kodex_plugin::{Limits, Manifest, Plugin, PluginName};

/// One plugin's code at rest, ready to be opened.
#[derive(Clone)]
pub struct Package {
    /// What the plugin declares.
    pub manifest: Manifest,
    /// The plugin's own folder; absolute.
    pub root: PathBuf,
    /// Bounds on what it may send.
    pub limits: Limits,
    /// How its code is started.
    pub launch: Launch,
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Package")
            .field("plugin", &self.manifest.name)
            .field("root", &self.root)
            .field("launch", &self.launch)
            .finish_non_exhaustive()
    }
}

/// How a plugin's code is started.
#[derive(Clone)]
pub enum Launch {
    /// It is part of this program.
    Native(Arc<dyn Plugin>),
    /// It is a program of its own.
    Command(Command),
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Native(_) => f.write_str("Native"),
            Self::Command(command) => command.fmt(f),
        }
    }
}

/// A resolved command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program. A path with a `/` is relative to the plugin's root; a bare name is looked for
    /// in the folders of the worker's `PATH`, at every start.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables that it gets besides the fixed ones. Those that change how programs are loaded are
    /// left out even when they stand here.
    pub env: Vec<(OsString, OsString)>,
}

/// A way of running plugins.
pub trait Backend: Send + Sync {
    /// The word of this way, for reports.
    fn kind(&self) -> &'static str;

    /// Makes a plugin of a package. Starts nothing: a process starts with
    /// [`Plugin::activate`].
    ///
    /// # Errors
    /// [`OpenError`] when the package is not of this backend's kind.
    fn open(&self, package: Package) -> Result<Arc<dyn Plugin>, OpenError>;
}

/// Why a package cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The package is to be started in another way than this backend's.
    #[error("plugin {plugin} cannot be opened by the backend {backend}: {wanted} is needed")]
    Launch {
        /// Which plugin.
        plugin: PluginName,
        /// Which backend was asked.
        backend: &'static str,
        /// What it needs.
        wanted: &'static str,
    },
    /// The root is no absolute path.
    #[error("plugin {plugin} cannot be opened: its root {root} is no absolute path")]
    RelativeRoot {
        /// Which plugin.
        plugin: PluginName,
        /// The path.
        root: PathBuf,
    },
}

impl OpenError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "backend.open.launch",
            Self::RelativeRoot { .. } => "backend.open.relative_root",
        }
    }
}
