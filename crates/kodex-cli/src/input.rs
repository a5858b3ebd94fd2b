//! JSON that the user hands in: on the command line, from a file (`@file`) or from standard input
//! (`-`).

use std::{fs::File, io::Read, path::Path};

use kodex::{Diagnostic, Json, JsonError, Limits, Position};

use crate::problem::{Exit, Problem};

/// How messages name standard input.
const STDIN: &str = "<standard input>";

/// Reads the document of a flag.
pub(crate) async fn json(flag: &str, given: &str, limits: &Limits) -> Result<Json, Problem> {
    let (name, text) = match given.strip_prefix('@') {
        Some(file) => {
            let path = Path::new(file).to_owned();
            (
                file,
                read(flag, file, limits, move || File::open(path)).await?,
            )
        }
        None if given == "-" => (
            STDIN,
            read(flag, STDIN, limits, || Ok(std::io::stdin())).await?,
        ),
        None => (flag, given.to_owned()),
    };
    Json::parse(&text, limits).map_err(|error| refused(flag, name, text, &error))
}

/// Reads on a thread of its own: a terminal or a pipe may keep one waiting, and Ctrl-C must get
/// through. One byte more than allowed is enough to know that it is too much.
async fn read<R: Read>(
    flag: &str,
    name: &str,
    limits: &Limits,
    open: impl FnOnce() -> std::io::Result<R> + Send + 'static,
) -> Result<String, Problem> {
    let most = u64::try_from(limits.frame_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let work = move || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open()?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let read = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::other("reading was given up")));
    let bytes = read.map_err(|error| {
        Problem::failed(
            "input.unreadable",
            format!("{flag}: {name} cannot be read: {error}"),
        )
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        Problem::failed(
            "json.syntax",
            format!("{flag}: {name} is no UTF-8 (byte {byte})"),
        )
    })
}

fn refused(flag: &str, name: &str, text: String, error: &JsonError) -> Problem {
    let found = Diagnostic::error(
        error.code(),
        format!("{flag} cannot be used: {}", spoken(error)),
    );
    let found = match error {
        JsonError::Syntax { line, column, .. } => found
            .with_file(name)
            .with_position(position(&text, *line, *column))
            .with_hint("texts and keys stand in double quotation marks; in a shell, put single ones around the whole"),
        JsonError::TooDeep { at, .. } => found.with_file(name).with_position(Position::of(&text, *at..at + 1)),
        _ => found,
    };
    Problem::new(Exit::Failed, found).within(text)
}

/// The place stands in the finding already.
fn spoken(error: &JsonError) -> String {
    match error {
        JsonError::Syntax { message, .. } => format!("it is no JSON: {message}"),
        other => other.to_string(),
    }
}

/// From line and byte column to a place. At the end of a text there is nothing to mark but the end.
fn position(text: &str, line: usize, column: usize) -> Position {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let start = before + column.saturating_sub(1);
    Position::of(text, start..start + 1)
}
