//! Where a store is, as people write it.

use std::path::PathBuf;

use crate::StoreError;

/// A parsed place. Its `Debug` and `Display` never show a password.
///
/// ```
/// use kodex_store::Place;
///
/// assert_eq!(Place::parse("sqlite:/var/lib/kodex")?.to_string(), "sqlite:/var/lib/kodex");
/// let place = Place::parse("postgres://kodex:secret@db.example/work?sslmode=require")?;
/// assert_eq!(place.to_string(), "postgres://kodex@db.example/work");
/// # Ok::<(), kodex_store::StoreError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// `sqlite:FOLDER`: a folder of database files; it is made at the first write.
    Sqlite(PathBuf),
    /// `postgres://...` or `postgresql://...`: a connection string. Kept whole, shown without secrets.
    Postgres(String),
}

impl Place {
    /// Reads a place.
    ///
    /// # Errors
    /// [`StoreError::BadPlace`], which does not repeat a password.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let bad = |place: String, problem: &str| StoreError::BadPlace {
            place,
            problem: problem.into(),
        };
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() || path.contains('\0') {
                Err(bad(text.replace('\0', "?"), "no folder follows `sqlite:`"))
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"));
        match rest {
            Some("") => Err(bad(text.into(), "no host follows")),
            Some(_) => Ok(Self::Postgres(text.into())),
            // What stands before the first colon cannot be a password; what follows might.
            None => Err(bad(
                text.split(':').next().unwrap_or("").into(),
                "the scheme is not known",
            )),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(text) => f.write_str(&shown(text)),
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({self})")
    }
}

/// User, hosts and database; everything else, the options included, may hold a secret.
fn shown(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    // A password may hold `@` and `/` unescaped by mistake; the last `@` ends it.
    let (user, address) = match rest.rsplit_once('@') {
        Some((login, address)) => (login.split(':').next().unwrap_or(""), address),
        None => ("", rest),
    };
    let at = if user.is_empty() { "" } else { "@" };
    format!("postgres://{user}{at}{address}")
}
