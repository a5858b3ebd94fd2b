//! The lines that go between the host and an inspector.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use kodex_plugin::{
    Json, Limits, json,
    wire::{self, ErrorObject, Frame, Id, method},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{InspectError, Inspection, Source, Subject};
use crate::worker::tail::shown;

/// No plugin has business writing here; some lines are forgiven, more are a flood.
pub(super) const STRAY_LINES: usize = 100;

/// A method that no inspector has. Its answer, an error, says that Python is up and that from here
/// on time is the first source's.
const READY: &str = "ready";
const READY_ID: u64 = 1;

/// How much of a stray line goes into a message.
const SHOWN: usize = 200;

#[derive(Serialize)]
struct Params<'a> {
    source: WireSource<'a>,
    context: &'a Json,
    contexts: &'a Json,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireSource<'a> {
    File { file: String },
    Object { object: &'a str, path: Vec<String> },
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// The request whose answer says that Python is up.
pub(super) fn ready() -> Vec<u8> {
    wire::write_request(&Id::Number(READY_ID), READY, ()).unwrap_or_default()
}

/// The id of the request for the subject at this place.
pub(super) fn id_of(n: usize) -> u64 {
    READY_ID + 1 + n as u64
}

pub(super) fn request(
    id: u64,
    subject: &Subject,
    limits: &Limits,
) -> Result<Vec<u8>, InspectError> {
    let no_text = |path: &Path| {
        InspectError::new(
            InspectError::REQUEST,
            format!(
                "the path {} is no UTF-8, which the protocol needs",
                path.display()
            ),
        )
    };
    let text = |path: &'_ PathBuf| {
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| no_text(path))
    };
    let source = match &subject.source {
        Source::File(file) => WireSource::File { file: text(file)? },
        Source::Object { object, path } => WireSource::Object {
            object,
            path: path.iter().map(text).collect::<Result<_, _>>()?,
        },
    };
    let params = Params {
        source,
        context: &subject.context,
        contexts: &subject.by_name,
    };
    let line = wire::write_request(&Id::Number(id), method::INSPECT, params);
    let line = line.map_err(|error| InspectError::new(InspectError::REQUEST, error.to_string()))?;
    // The host keeps the bounds that it demands of others.
    json::check(line.trim_ascii_end(), limits).map_err(|error| {
        InspectError::new(
            InspectError::REQUEST,
            format!("its context does not fit into a request: {error}"),
        )
    })?;
    Ok(line)
}

pub(super) enum Line {
    Ready,
    Answer(Inspection),
    /// Something nobody asked for.
    Stray,
}

pub(super) fn read_line(line: &[u8], front: u64, limits: &Limits) -> Result<Line, InspectError> {
    let frame = wire::parse(line, limits).map_err(|error| {
        let start = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]).into_owned();
        InspectError::new(
            InspectError::PROTOCOL,
            format!(
                "it wrote a line that is no answer into the pipe to the host ({error}): {}",
                shown(&start, SHOWN)
            ),
        )
    })?;
    Ok(match frame {
        Frame::Response {
            id: Id::Number(READY_ID),
            ..
        } => Line::Ready,
        Frame::Response {
            id: Id::Number(id),
            result,
        } if id == front => Line::Answer(match result {
            Ok(result) => match serde_json::from_str::<Answer<'_>>(result.get()) {
                Ok(answer) => Ok(Json::checked(answer.manifest.to_owned())),
                Err(error) => Err(InspectError::new(
                    InspectError::PROTOCOL,
                    format!(
                        "the inspector's answer does not have the form of the contract: {error}"
                    ),
                )),
            },
            Err(error) => Err(failure(error)),
        }),
        _ => Line::Stray,
    })
}

fn failure(error: ErrorObject) -> InspectError {
    let details = error.data.unwrap_or_default();
    InspectError {
        code: details
            .code
            .map_or(Cow::Borrowed("load.python.raised"), Cow::Owned),
        message: error.message,
        traceback: details.traceback,
    }
}

pub(super) fn flood(limits: &Limits) -> InspectError {
    let bytes = limits.frame_bytes;
    InspectError::new(
        InspectError::FLOOD,
        format!(
            "it wrote a line of more than {bytes} bytes, or more than {STRAY_LINES} lines, into the pipe to the host and was ended"
        ),
    )
}
