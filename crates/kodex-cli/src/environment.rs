//! What the process was given: variables and the working directory. Read once, here; everything
//! after this file gets ready values.

use std::{collections::HashMap, ffi::OsString, path::PathBuf};

/// The environment of the process.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) cwd: PathBuf,
    pub(crate) variables: HashMap<OsString, OsString>,
}

impl Environment {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub(crate) fn read() -> Self {
        Self {
            // A working directory that was deleted has no name any more; relative paths still fail
            // one by one, each with its own error.
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            variables: std::env::vars_os().collect(),
        }
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.variables
            .get(std::ffi::OsStr::new(name))
            .filter(|value| !value.is_empty())
            .cloned()
    }

    /// The folders of the search path.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        self.variable("PATH")
            .map(|path| std::env::split_paths(&path).collect())
            .unwrap_or_default()
    }

    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.variable("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute())
    }

    /// Where the SDK and the cache of manifests are kept.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        if let Some(own) = self.variable("KODEX_CACHE_DIR") {
            return Some(self.cwd.join(own));
        }
        self.user_dir("XDG_CACHE_HOME", ".cache")
    }

    /// Where plugins' data is kept when there is no project.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        self.user_dir("XDG_DATA_HOME", ".local/share")
    }

    /// Where a program that stays keeps what goes with it, such as its socket, when there is no project.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.user_dir("XDG_STATE_HOME", ".local/state")
    }

    /// The user's configuration file.
    pub(crate) fn user_config(&self) -> Option<PathBuf> {
        self.user_dir("XDG_CONFIG_HOME", ".config")
            .map(|folder| folder.join("config.toml"))
    }

    /// Whether a line that redraws itself is welcome: not in logs of machines, nor where the terminal
    /// cannot move its cursor.
    pub(crate) fn wants_progress(&self) -> bool {
        self.variable("CI").is_none() && self.variable("TERM").is_some_and(|term| term != "dumb")
    }

    /// What `KODEX_LOG` asks for.
    pub(crate) fn log(&self) -> Option<String> {
        self.variable("KODEX_LOG")
            .map(|value| value.to_string_lossy().into_owned())
    }

    /// The specification of these variables has relative values ignored.
    fn user_dir(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let named = self
            .variable(variable)
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute());
        named
            .or_else(|| self.home().map(|home| home.join(below_home)))
            .map(|folder| folder.join("kodex"))
    }
}
