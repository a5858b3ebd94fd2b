//! Why a request has no result, and the exit status that says so.

use kodex::Diagnostic;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Fine,
    /// The request failed.
    Failed,
    /// What was typed or configured cannot be used.
    Usage,
    /// A bug of Kodex.
    Internal,
    /// A signal of this number asked the program to end.
    Signalled(u8),
}

impl Exit {
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Internal => 70,
            Self::Signalled(signal) => signal.saturating_add(128),
        }
    }
}

/// Why there is no result: what was found, and how the program ends for it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    pub(crate) found: Box<Diagnostic>,
    /// The text in which the position lies, where it is not that of a file.
    pub(crate) text: Option<String>,
}

impl Problem {
    /// The request failed.
    pub(crate) fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, Diagnostic::error(code, message))
    }

    /// What was typed or configured cannot be used.
    pub(crate) fn usage(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Diagnostic::error(code, message))
    }

    pub(crate) fn new(exit: Exit, found: Diagnostic) -> Self {
        Self {
            exit,
            found: Box::new(found),
            text: None,
        }
    }

    /// Adds advice.
    pub(crate) fn help(mut self, hint: impl Into<String>) -> Self {
        self.found.hint = Some(hint.into());
        self
    }

    /// Adds the text in which the position lies.
    pub(crate) fn within(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }
}

/// What this program printed could not be serialised: a bug, not a failure of the request.
impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::new(
            Exit::Internal,
            Diagnostic::error(
                "internal",
                format!("a result cannot be written as JSON: {error}"),
            ),
        )
    }
}

impl From<kodex::DispatchError> for Problem {
    fn from(error: kodex::DispatchError) -> Self {
        let exit = match &error {
            kodex::DispatchError::BadHook(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, Diagnostic::error(error.code(), error.to_string()))
    }
}

impl From<kodex::LoadError> for Problem {
    fn from(error: kodex::LoadError) -> Self {
        let kodex::LoadError::Strict { record } = &error else {
            return Self::failed(error.code(), error.to_string());
        };
        let mut found = record
            .diagnostics
            .first()
            .cloned()
            .unwrap_or_else(|| Diagnostic::error(error.code(), ""));
        found.message = error.to_string();
        Self::new(Exit::Failed, found)
    }
}
