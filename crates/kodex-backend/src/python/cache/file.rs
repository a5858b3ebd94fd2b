//! The form of a cache file, and what of it may be believed.
//!
//! ```text
//! kodex manifests <checksum of all that follows>
//! <key>
//! "<source>" <context> <paths> <sha256> <read at> <size,mtime,ctime,inode;...> +<manifest>
//! "<source>" <context> <paths> <sha256> <read at> <size,mtime,ctime,inode;...> -<failure>
//! ```
//!
//! One line for each source, with tabs between the fields, so that a line can be compared and
//! passed over without being understood: a listing of a thousand plugins reads all of them. The
//! checksum is there for files that a power failure garbled; against whoever may write to the
//! folder nothing here protects.

use std::{borrow::Cow, fmt::Write as _};

use serde::{Deserialize, Serialize};

use super::{
    declaration::Declaration,
    signature::{Signature, Signatures},
};
use crate::python::InspectError;

/// Part of the key: another form of the file is another file.
pub(super) const FORMAT: u32 = 2;

const MAGIC: &str = "kodex manifests ";
/// Hexadecimal digits of the checksum.
const SUM_LEN: usize = 16;

/// How long the failure of a plugin's own code is believed. What it failed for may lie outside of
/// everything that is watched, such as a missing setting; long enough that a failing plugin does not
/// cost a Python at every hook of a busy agent.
const ANSWER_TRUST_MS: u64 = 60_000;

/// How long a hang or a crash is believed. To find out again can take the whole deadline.
const ENDED_TRUST_MS: u64 = 600_000;

/// The lines of a text, one for each entry, if it belongs to this key and is whole.
pub(super) fn lines<'a>(text: &'a str, key: &str) -> Result<Vec<&'a str>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text.strip_prefix(MAGIC).ok_or("it has another form")?;
    let (sum, rest) = rest.split_once('\n').ok_or("it was cut")?;
    if sum != checksum(rest) {
        return Err("its checksum is wrong");
    }
    let (found, entries) = rest.split_once('\n').ok_or("it was cut")?;
    match found == key {
        true => Ok(entries.lines().collect()),
        false => Err("it belongs to something else"),
    }
}

/// The text of a file with these entries.
pub(super) fn text<'a>(key: &str, entries: impl IntoIterator<Item = Entry<'a>>) -> String {
    let mut rest = format!("{key}\n");
    for entry in entries {
        entry.write(&mut rest);
    }
    format!("{MAGIC}{}\n{rest}", checksum(&rest))
}

/// Sums up eight bytes at a time, as nothing but accidents is to be noticed.
fn checksum(text: &str) -> String {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut sum = text.len() as u64;
    for part in text.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        sum = (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    format!("{sum:0SUM_LEN$x}")
}

/// What one source declared.
pub(super) struct Entry<'a> {
    /// The source.
    pub(super) of: Cow<'a, str>,
    /// Digest of the context that it was given.
    pub(super) context: &'a str,
    /// Digest of the paths that were watched, unless that is the source alone.
    pub(super) paths: Option<&'a str>,
    /// Digest of the contents of the watched files.
    pub(super) sha256: &'a str,
    /// When the contents were read.
    pub(super) read_at_ms: u64,
    /// One for each watched file.
    pub(super) files: Signatures<'a>,
    pub(super) outcome: Outcome<'a>,
}

/// A manifest, or why there is none.
pub(super) enum Outcome<'a> {
    /// JSON on one line.
    Declared(Cow<'a, str>),
    Failed(Failed<'a>),
}

impl<'a> Entry<'a> {
    /// Reads a line; nothing when it is none that [`text`] writes.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(7, '\t');
        let of = fields.next()?;
        let context = fields.next()?;
        let paths = fields.next()?;
        let sha256 = fields.next()?;
        let read_at_ms = fields.next()?.parse().ok()?;
        let files = Signatures::Text(fields.next()?);
        let outcome = fields.next()?;
        let outcome = match outcome.strip_prefix('+') {
            Some(manifest) => Outcome::Declared(Cow::Borrowed(manifest)),
            None => Outcome::Failed(serde_json::from_str(outcome.strip_prefix('-')?).ok()?),
        };
        Some(Self {
            of: unquoted(of)?,
            context,
            paths: Some(paths).filter(|paths| !paths.is_empty()),
            sha256,
            read_at_ms,
            files,
            outcome,
        })
    }

    /// Adds the line of the entry. What cannot be written is left out, and inspected again.
    fn write(&self, to: &mut String) {
        let outcome = match &self.outcome {
            // A line break in JSON can only stand between its parts.
            Outcome::Declared(manifest) => Ok(format!("+{}", manifest.replace(['\n', '\r'], " "))),
            Outcome::Failed(failed) => serde_json::to_string(failed).map(|text| format!("-{text}")),
        };
        let (Ok(of), Ok(outcome)) = (serde_json::to_string(&self.of), outcome) else {
            return;
        };
        let (context, paths, sha256) = (self.context, self.paths.unwrap_or_default(), self.sha256);
        let (read_at_ms, files) = (self.read_at_ms, &self.files);
        // Writing to a text does not fail.
        let _ = writeln!(
            to,
            "{of}\t{context}\t{paths}\t{sha256}\t{read_at_ms}\t{files}\t{outcome}"
        );
    }

    /// Whether these signatures prove that nothing changed, without looking into the files.
    pub(super) fn is_proven_by(&self, files: &[Signature]) -> bool {
        self.files == *files && files.iter().all(|file| file.is_settled(self.read_at_ms))
    }
}

/// A text in JSON's quotation marks; nearly none has anything to decode.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        true => serde_json::from_str(text).ok().map(Cow::Owned),
        false => Some(Cow::Borrowed(inner)),
    }
}

/// Why there is no manifest.
#[derive(Serialize, Deserialize)]
pub(super) struct Failed<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    traceback: Option<Cow<'a, str>>,
    /// Digest of the times of the site directories: what was missing may be installed since.
    #[serde(borrow)]
    sites: Cow<'a, str>,
    failed_at_ms: u64,
}

impl<'a> Failed<'a> {
    pub(super) fn new(error: &'a InspectError, sites: &'a str, failed_at_ms: u64) -> Self {
        Self {
            code: Cow::Borrowed(&error.code),
            message: Cow::Borrowed(&error.message),
            traceback: error.traceback.as_deref().map(Cow::Borrowed),
            sites: Cow::Borrowed(sites),
            failed_at_ms,
        }
    }

    pub(super) fn error(&self) -> InspectError {
        InspectError {
            code: Cow::Owned(self.code.clone().into_owned()),
            message: self.message.clone().into_owned(),
            traceback: self.traceback.clone().map(Cow::into_owned),
        }
    }

    pub(super) fn is_believed(&self, sites: &str, now_unix_ms: u64) -> bool {
        let trust = match self.error().is_answer() {
            true => ANSWER_TRUST_MS,
            false => ENDED_TRUST_MS,
        };
        // A moment in the future means that the clock was set back; how much is unknown.
        self.sites == sites
            && now_unix_ms >= self.failed_at_ms
            && now_unix_ms - self.failed_at_ms < trust
    }
}

impl<'a> Outcome<'a> {
    pub(super) fn of(
        inspection: &'a Result<Declaration, InspectError>,
        sites: &'a str,
        now_unix_ms: u64,
    ) -> Self {
        match inspection {
            Ok(declaration) => Self::Declared(Cow::Borrowed(declaration.text())),
            Err(error) => Self::Failed(Failed::new(error, sites, now_unix_ms)),
        }
    }
}
