//! Permissions as data. Placeholder until the grammar lands in the next commit.

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission(String);

/// Why a text is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PermissionError(String);

impl PermissionError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "permission.invalid"
    }
}

impl std::str::FromStr for Permission {
    type Err = PermissionError;
    fn from_str(text: &str) -> Result<Self, PermissionError> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
