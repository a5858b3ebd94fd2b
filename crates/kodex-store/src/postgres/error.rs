//! From SQLSTATE to [`StoreError`]: which variant, where in the plugin's text, and without values.
//!
//! The server's DETAIL holds rows and is never read. Its messages hold values in quotes where the
//! data is at fault; those go.

use std::error::Error as _;

use kodex_plugin::PluginName;
use tokio_postgres::{
    Error,
    error::{DbError, ErrorPosition},
};

use super::pool::{NoLine, Trouble};
use crate::{StoreError, statement::Bound};

/// The error of a plugin's own statement.
pub(super) fn plugin(plugin: &PluginName, error: &Error, bound: Option<&Bound<'_>>) -> StoreError {
    let Some(db) = error.as_db_error() else {
        return link(error, "a statement");
    };
    let owner = plugin.clone();
    let code = db.code().code();
    let engine_code = code.to_owned();
    match code {
        "57014" | "25P03" | "25P04" => StoreError::Timeout {
            plugin: owner,
            after_ms: 0,
        },
        "40001" | "40P01" => StoreError::Conflict {
            plugin: owner,
            engine_code,
        },
        "55P03" | "55006" => StoreError::Busy {
            what: format!("what plugin {plugin} asked for"),
        },
        "53300" => StoreError::Busy {
            what: "the database server".to_owned(),
        },
        "53100" => StoreError::Full {
            plugin: owner,
            problem: "the disk of the database server is full; make room on it".to_owned(),
        },
        "25006" => StoreError::ReadOnly {
            what: format!("the database of plugin {plugin}"),
            problem: spoken(db),
        },
        "25P02" => StoreError::BadTransaction {
            plugin: owner,
            problem: "an earlier statement failed; roll back first",
        },
        "42501" => {
            let action = action(db.message());
            tracing::warn!(%plugin, action, "a statement was refused");
            StoreError::Refused {
                plugin: owner,
                action,
            }
        }
        _ if code.starts_with("23") => StoreError::Constraint {
            plugin: owner,
            engine_code,
            message: constraint(db),
        },
        _ if code.starts_with("08") || code.starts_with("57P") => StoreError::Lost {
            during: "a statement",
        },
        _ if code.starts_with("XX00") && code != "XX000" => StoreError::Damaged {
            what: format!("the database of plugin {plugin}"),
            problem: spoken(db),
        },
        _ => StoreError::Sql {
            plugin: owner,
            engine_code,
            message: spoken(db),
            position: position(db, bound),
        },
    }
}

/// The error of one of the store's own statements.
pub(super) fn own(place: &str, trouble: Trouble, during: &'static str) -> StoreError {
    let error = match trouble {
        Trouble::Server(error) => error,
        Trouble::Late => {
            return StoreError::Busy {
                what: format!("the store at {place}"),
            };
        }
    };
    let Some(db) = error.as_db_error() else {
        return link(&error, during);
    };
    let what = || format!("the store at {place}");
    let place = place.to_owned();
    let code = db.code().code();
    match code {
        "40001" | "40P01" | "55P03" | "55006" | "57014" | "53300" => {
            StoreError::Busy { what: what() }
        }
        "25006" => StoreError::ReadOnly {
            what: what(),
            problem: spoken(db),
        },
        "42501" => StoreError::Unsupported {
            place,
            problem: format!("its own role lacks a right during {during}: {}", spoken(db)),
        },
        "53100" => match PluginName::lenient("kodex") {
            Ok(plugin) => StoreError::Full {
                plugin,
                problem: format!("the disk of the server at {place} is full; make room on it"),
            },
            Err(_) => StoreError::Unreachable {
                place,
                problem: spoken(db),
            },
        },
        _ if code.starts_with("08") || code.starts_with("57P") => StoreError::Lost { during },
        _ if code.starts_with("XX00") && code != "XX000" => StoreError::Damaged {
            what: what(),
            problem: spoken(db),
        },
        _ => StoreError::Internal(format!("{during}: {code}: {}", spoken(db))),
    }
}

/// The error of having no connection.
pub(super) fn no_line(place: &str, none: NoLine, whose: &str) -> StoreError {
    match none {
        NoLine::Closed => StoreError::Closed,
        NoLine::Late => StoreError::Busy {
            what: format!("every connection of {whose}"),
        },
        NoLine::Refused(error) => unreachable(place, &error),
    }
}

/// The error of a connection that was never there. The driver's words hold no password.
pub(super) fn unreachable(place: &str, error: &Error) -> StoreError {
    let place = place.to_owned();
    match error.as_db_error() {
        Some(db) if db.code().code() == "53300" => StoreError::Busy {
            what: format!("the server of {place}"),
        },
        Some(db) => StoreError::Unreachable {
            place,
            problem: db.message().to_owned(),
        },
        None => {
            let cause = error
                .source()
                .map(|cause| format!(": {cause}{}", super::tls::advice(cause)))
                .unwrap_or_default();
            StoreError::Unreachable {
                place,
                problem: format!("{error}{cause}"),
            }
        }
    }
}

fn link(error: &Error, during: &'static str) -> StoreError {
    // Anything but a broken connection is a disagreement between driver and server.
    if error.is_closed()
        || error
            .source()
            .is_some_and(|cause| cause.is::<std::io::Error>())
    {
        StoreError::Lost { during }
    } else {
        StoreError::Internal(format!("{during}: {error}"))
    }
}

fn position(db: &DbError, bound: Option<&Bound<'_>>) -> Option<usize> {
    match (db.position()?, bound) {
        (ErrorPosition::Original(char), Some(bound)) => {
            Some(bound.position_of_char(usize::try_from(*char).ok()?))
        }
        _ => None,
    }
}

/// What a message about missing rights says was tried.
fn action(message: &str) -> String {
    for (start, verb) in [
        ("permission denied for ", "use "),
        ("permission denied to ", ""),
    ] {
        if let Some(rest) = message.strip_prefix(start) {
            return format!("{verb}{rest}");
        }
    }
    format!("do that: {message}")
}

/// Which constraint, of which table and column.
fn constraint(db: &DbError) -> String {
    let kind = match db.code().code() {
        "23502" => "a not-null constraint",
        "23503" => "a foreign key",
        "23505" => "a unique constraint",
        "23514" => "a check",
        "23P01" => "an exclusion constraint",
        _ => "a constraint",
    };
    let mut text = kind.to_owned();
    if let Some(name) = db.constraint() {
        text += &format!(" {name:?}");
    }
    match (db.table(), db.column()) {
        (Some(table), Some(column)) => text += &format!(" on {table}.{column}"),
        (Some(table), None) => text += &format!(" of table {table}"),
        _ => {}
    }
    text + " refused the row"
}

/// The server's message without values.
fn spoken(db: &DbError) -> String {
    without_values(db.code().code(), db.message())
}

fn without_values(code: &str, message: &str) -> String {
    // The words of class 42 quote names, and of a text that cannot be read the place where it broke off.
    if code.starts_with("42") && !message.contains("\"'") && !message.contains("\"$") {
        return message.to_owned();
    }
    let (Some(first), Some(last)) = (message.find('"'), message.rfind('"')) else {
        return message.to_owned();
    };
    if first == last {
        return format!("{}…", &message[..first]);
    }
    format!("{}\"…\"{}", &message[..first], &message[last + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_values_and_keep_names() {
        for (code, message, want) in [
            (
                "22P02",
                "invalid input syntax for type integer: \"se\"cret\"",
                "invalid input syntax for type integer: \"…\"",
            ),
            (
                "22003",
                "value \"99999999999\" is out of range for type integer",
                "value \"…\" is out of range for type integer",
            ),
            ("22012", "division by zero", "division by zero"),
            (
                "42P01",
                "relation \"notes\" does not exist",
                "relation \"notes\" does not exist",
            ),
            (
                "42601",
                "syntax error at or near \"'secret'\"",
                "syntax error at or near \"…\"",
            ),
            (
                "42601",
                "syntax error at or near \"FORM\"",
                "syntax error at or near \"FORM\"",
            ),
            ("P0001", "no room for \"secret\"", "no room for \"…\""),
        ] {
            assert_eq!(without_values(code, message), want, "{message}");
        }
    }

    #[test]
    fn what_was_tried() {
        assert_eq!(
            action("permission denied for schema kodex"),
            "use schema kodex"
        );
        assert_eq!(
            action("permission denied to set role \"x\""),
            "set role \"x\""
        );
        assert_eq!(
            action("must be owner of table t"),
            "do that: must be owner of table t"
        );
    }
}
