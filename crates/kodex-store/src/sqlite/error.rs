//! From the engine's errors to [`StoreError`]: which variant, where in the text, and without values.
//!
//! Until the caller has put it into terms of the plugin's own text, the position of a
//! [`StoreError::Sql`] is a byte offset in the text that the engine saw.

use kodex_plugin::PluginName;
use rusqlite::{Error, ErrorCode, ffi};

use super::{
    open::{Conn, Site},
    watch::Stop,
};
use crate::StoreError;

/// Longest word of a statement that an engine's message may repeat.
const WORD_CHARS: usize = 64;

const DISK_FULL: &str = "the disk is full; make room on it";
/// The system says so without a word for it: where the user's quota or the largest file is reached.
const WRITE_REFUSED: &str = "the system refused to write its file: the disk, the user's quota or the limit on the size of files is used up, \
     or the disk is failing; make room, and look into the system's log";

/// The error of a connection that is open.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
pub(super) fn engine(conn: &Conn, error: Error) -> StoreError {
    describe(conn, &error)
}

/// The same where the file is the store's own and the write a plugin's.
pub(super) fn of_plugin(conn: &Conn, error: &Error, plugin: &PluginName) -> StoreError {
    let problem = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => DISK_FULL,
        _ if is_refused_write(error) => WRITE_REFUSED,
        _ => return describe(conn, error),
    };
    StoreError::Full {
        plugin: plugin.clone(),
        problem: problem.to_owned(),
    }
}

fn describe(conn: &Conn, error: &Error) -> StoreError {
    if let (Some(action), Some(plugin)) = (conn.guard.take_denied(), &conn.site.plugin) {
        tracing::warn!(%plugin, action, "a statement was refused");
        return StoreError::Refused {
            plugin: plugin.clone(),
            action,
        };
    }
    if let Some(Stop::Timeout { after_ms } | Stop::Cancelled { after_ms }) = conn.watch.stop()
        && error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
    {
        return match &conn.site.plugin {
            Some(plugin) => StoreError::Timeout {
                plugin: plugin.clone(),
                after_ms,
            },
            None => StoreError::Busy {
                what: conn.site.what(),
            },
        };
    }
    match error {
        Error::SqlInputError {
            error, msg, offset, ..
        } if is_about_text(*error) => match &conn.site.plugin {
            Some(plugin) => StoreError::Sql {
                plugin: plugin.clone(),
                engine_code: name(error.extended_code),
                message: spoken(msg, true),
                position: usize::try_from(*offset).ok(),
            },
            None => StoreError::Internal(msg.clone()),
        },
        Error::SqlInputError { error, msg, .. } => failure(Some(conn), &conn.site, *error, msg),
        Error::SqliteFailure(error, message) => failure(
            Some(conn),
            &conn.site,
            *error,
            message.as_deref().unwrap_or(""),
        ),
        other => sql(
            &conn.site,
            ffi::Error::new(ffi::SQLITE_MISUSE),
            &other.to_string(),
        ),
    }
}

/// The error of a connection that is being opened.
pub(super) fn opening(site: &Site, error: Error) -> StoreError {
    match error {
        Error::SqliteFailure(error, message) => {
            failure(None, site, error, message.as_deref().unwrap_or(""))
        }
        Error::SqlInputError { error, msg, .. } => failure(None, site, error, &msg),
        other => StoreError::Unreachable {
            place: site.path.display().to_string(),
            problem: other.to_string(),
        },
    }
}

/// The error of the file system at a path of the store.
pub(super) fn system(path: &std::path::Path, error: &std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly {
            what: path.display().to_string(),
            problem: error.to_string(),
        },
        _ => StoreError::Unreachable {
            place: path.display().to_string(),
            problem: error.to_string(),
        },
    }
}

fn is_about_text(error: ffi::Error) -> bool {
    matches!(
        error.extended_code & 0xff,
        ffi::SQLITE_ERROR | ffi::SQLITE_AUTH
    )
}

fn failure(conn: Option<&Conn>, site: &Site, error: ffi::Error, message: &str) -> StoreError {
    let plugin = site.plugin.as_ref();
    match error.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => match plugin {
            Some(plugin) if error.extended_code == ffi::SQLITE_BUSY_SNAPSHOT => {
                StoreError::Conflict {
                    plugin: plugin.clone(),
                    engine_code: name(error.extended_code),
                }
            }
            _ => StoreError::Busy { what: site.what() },
        },
        ErrorCode::DiskFull => full(conn, site),
        ErrorCode::ReadOnly => StoreError::ReadOnly {
            what: site.what(),
            problem: spoken(message, false),
        },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Damaged {
            what: site.what(),
            problem: spoken(message, false),
        },
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::NoLargeFileSupport => {
            StoreError::Unreachable {
                place: site.path.display().to_string(),
                problem: spoken(message, false),
            }
        }
        ErrorCode::SystemIoFailure if error.extended_code == ffi::SQLITE_IOERR_WRITE => {
            no_room(site, WRITE_REFUSED.to_owned())
        }
        ErrorCode::SystemIoFailure => StoreError::Lost {
            during: "reading or writing a file",
        },
        ErrorCode::ConstraintViolation => match plugin {
            Some(plugin) => StoreError::Constraint {
                plugin: plugin.clone(),
                engine_code: name(error.extended_code),
                message: constraint(conn, error, message),
            },
            None => StoreError::Internal(format!("{}: {message}", site.what())),
        },
        ErrorCode::TooBig => match plugin {
            Some(plugin) => StoreError::TooManyBytes {
                plugin: plugin.clone(),
                limit: super::open::VALUE_BYTES,
            },
            None => StoreError::Internal(message.to_owned()),
        },
        _ => sql(site, error, message),
    }
}

fn sql(site: &Site, error: ffi::Error, message: &str) -> StoreError {
    match &site.plugin {
        Some(plugin) => StoreError::Sql {
            plugin: plugin.clone(),
            engine_code: name(error.extended_code),
            message: spoken(message, false),
            position: None,
        },
        None => StoreError::Internal(format!("{}: {message}", site.what())),
    }
}

fn full(conn: Option<&Conn>, site: &Site) -> StoreError {
    let number = |pragma: &str| {
        conn.and_then(|conn| {
            let _own = conn.guard.switch(super::guard::Mode::Own);
            conn.db
                .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
                .ok()
        })
    };
    // A rollback has given the pages back by now, so it counts whether there is little room left, not none.
    let used_up = number("page_count")
        .zip(number("max_page_count"))
        .is_some_and(|(used, most)| used > most - most / 4 - 16);
    let quota = site.options.quota_bytes;
    let problem = match &site.plugin {
        Some(_) if used_up => {
            format!("its quota of {quota} bytes is used up; delete rows, or ask for a larger quota")
        }
        _ => DISK_FULL.to_owned(),
    };
    no_room(site, problem)
}

fn is_refused_write(error: &Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(ffi::SQLITE_IOERR_WRITE)
}

fn no_room(site: &Site, problem: String) -> StoreError {
    match &site.plugin {
        Some(plugin) => StoreError::Full {
            plugin: plugin.clone(),
            problem,
        },
        None => StoreError::Unreachable {
            place: site.path.display().to_string(),
            problem,
        },
    }
}

/// `UNIQUE constraint failed: notes.id` and its like name columns only. The words of `RAISE` may hold
/// anything; they are repeated where they stand as a constant in a trigger of the plugin.
fn constraint(conn: Option<&Conn>, error: ffi::Error, message: &str) -> String {
    if error.extended_code != ffi::SQLITE_CONSTRAINT_TRIGGER {
        return spoken(message, true);
    }
    let constant = conn.is_some_and(|conn| {
        let _own = conn.guard.switch(super::guard::Mode::Own);
        let quoted = format!("'{}'", message.replace('\'', "''"));
        conn.db
            .query_row(
                "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND instr(sql, ?1) LIMIT 1",
                [quoted],
                |_| Ok(()),
            )
            .is_ok()
    });
    if constant {
        message.to_owned()
    } else {
        "a trigger refused the row".to_owned()
    }
}

/// The engine's message without values: what stands in quotes goes, unless `words` allows single words
/// and signs of the statement's text. What follows a colon in a message of a run may be a value too.
fn spoken(message: &str, words: bool) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(['"', '\'']) {
        let quote = if rest.as_bytes()[start] == b'"' {
            '"'
        } else {
            '\''
        };
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        let inner = &after[1..];
        let end = inner
            .rfind(quote)
            .filter(|end| !inner[..*end].contains([' ', '\n']))
            .or_else(|| inner.find(quote));
        let (quoted, next) = match end {
            Some(end) => (&inner[..end], &inner[end + 1..]),
            None => (inner, ""),
        };
        out.push(quote);
        out.push_str(if words && is_word(quoted) {
            quoted
        } else {
            "…"
        });
        out.push(quote);
        rest = next;
    }
    out.push_str(rest);
    match out.split_once(": ") {
        Some((said, _)) if !words => said.to_owned(),
        _ => out,
    }
}

fn is_word(text: &str) -> bool {
    let name = text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    let sign = text
        .chars()
        .all(|c| c.is_ascii_punctuation() && c != '\'' && c != '"');
    (name || sign) && text.chars().count() <= WORD_CHARS
}

/// The engine's name for an extended code.
fn name(code: i32) -> String {
    let known = match code {
        ffi::SQLITE_CONSTRAINT_CHECK => "SQLITE_CONSTRAINT_CHECK",
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => "SQLITE_CONSTRAINT_FOREIGNKEY",
        ffi::SQLITE_CONSTRAINT_NOTNULL => "SQLITE_CONSTRAINT_NOTNULL",
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY => "SQLITE_CONSTRAINT_PRIMARYKEY",
        ffi::SQLITE_CONSTRAINT_TRIGGER => "SQLITE_CONSTRAINT_TRIGGER",
        ffi::SQLITE_CONSTRAINT_UNIQUE => "SQLITE_CONSTRAINT_UNIQUE",
        ffi::SQLITE_CONSTRAINT_ROWID => "SQLITE_CONSTRAINT_ROWID",
        ffi::SQLITE_CONSTRAINT_DATATYPE => "SQLITE_CONSTRAINT_DATATYPE",
        ffi::SQLITE_BUSY_SNAPSHOT => "SQLITE_BUSY_SNAPSHOT",
        _ => match code & 0xff {
            ffi::SQLITE_ERROR => "SQLITE_ERROR",
            ffi::SQLITE_ABORT => "SQLITE_ABORT",
            ffi::SQLITE_AUTH => "SQLITE_AUTH",
            ffi::SQLITE_CONSTRAINT => "SQLITE_CONSTRAINT",
            ffi::SQLITE_INTERRUPT => "SQLITE_INTERRUPT",
            ffi::SQLITE_MISMATCH => "SQLITE_MISMATCH",
            ffi::SQLITE_NOMEM => "SQLITE_NOMEM",
            ffi::SQLITE_RANGE => "SQLITE_RANGE",
            ffi::SQLITE_SCHEMA => "SQLITE_SCHEMA",
            ffi::SQLITE_MISUSE => "SQLITE_MISUSE",
            _ => return format!("SQLITE_{code}"),
        },
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::spoken;

    #[test]
    fn messages_lose_values_and_keep_words() {
        for (message, words, want) in [
            (
                "near \"FORM\": syntax error",
                true,
                "near \"FORM\": syntax error",
            ),
            (
                "near \"42\": syntax error",
                true,
                "near \"…\": syntax error",
            ),
            (
                "unrecognized token: \"'secret\"",
                true,
                "unrecognized token: \"…\"",
            ),
            (
                "UNIQUE constraint failed: t.a, t.b",
                true,
                "UNIQUE constraint failed: t.a, t.b",
            ),
            ("bad JSON path: 'secret'", false, "bad JSON path"),
            ("fts5: syntax error near \"secret\"", false, "fts5"),
            ("malformed JSON", false, "malformed JSON"),
        ] {
            assert_eq!(spoken(message, words), want, "{message}");
        }
    }
}
