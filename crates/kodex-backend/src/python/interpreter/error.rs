//! Why there is no interpreter: every place that was looked at, and how to name one.

use std::{fmt, path::PathBuf};

use kodex_plugin::Diagnostic;

/// How a user chooses the interpreter; part of every error and note here.
pub(super) const HOW_TO_SET: &str = "set `interpreter` under `[python]` in .kodex/config.toml, or pass `--python`, with the path of a Python 3.9 or newer";

/// Why there is no interpreter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterpreterError {
    /// None of the places holds one.
    #[error("{wanted} was not found; looked at {}", listed(.places))]
    NotFound {
        /// What was looked for.
        wanted: String,
        /// Every place, with what was found there.
        places: Vec<Place>,
    },
    /// There is one, but plugins cannot run on it.
    #[error("{} is Python {}.{}; plugins need 3.9 or newer (looked at {})", .program.display(), .version.0, .version.1, listed(.places))]
    TooOld {
        /// The first one that was found.
        program: PathBuf,
        /// Its version.
        version: (u8, u8),
        /// Every place, with what was found there.
        places: Vec<Place>,
    },
}

impl InterpreterError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "python.not_found",
            Self::TooOld { .. } => "python.too_old",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        HOW_TO_SET
    }

    /// Every place that was looked at.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        match self {
            Self::NotFound { places, .. } | Self::TooOld { places, .. } => places,
        }
    }

    /// The error as a finding.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::error(self.code(), self.to_string()).with_hint(self.hint())
    }
}

/// One place that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What it is, for people.
    pub place: String,
    /// What was found there.
    pub found: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place, self.found)
    }
}

fn listed(places: &[Place]) -> String {
    if places.is_empty() {
        return "nothing: the search path is empty".into();
    }
    let texts: Vec<String> = places.iter().map(Place::to_string).collect();
    texts.join(", ")
}
