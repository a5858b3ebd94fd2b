//! The form of a cache file, and what of it may be believed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::signature::Signature;
use crate::python::InspectError;

/// Part of the key: another form of the file is another file.
pub(super) const FORMAT: u32 = 1;

/// How long the failure of a plugin's own code is believed. What it failed for may lie outside of
/// everything that is watched, such as a missing setting; long enough that a failing plugin does not
/// cost a Python at every hook of a busy agent.
const ANSWER_TRUST_MS: u64 = 60_000;

/// How long a hang or a crash is believed. To find out again can take the whole deadline.
const ENDED_TRUST_MS: u64 = 600_000;

#[derive(Serialize, Deserialize)]
pub(super) struct CacheFile<'a> {
    /// What the entries belong to; compared, so that two keys with one digest cannot mix.
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) entries: Vec<Entry<'a>>,
}

/// What one source declared.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    /// The source.
    #[serde(borrow)]
    pub(super) of: Cow<'a, str>,
    /// Digest of the context that it was given.
    #[serde(borrow)]
    pub(super) context: Cow<'a, str>,
    /// Digest of the paths that were watched, unless that is the source alone.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) paths: Option<Cow<'a, str>>,
    /// One for each watched file.
    pub(super) files: Vec<Signature>,
    /// Digest of the contents of the watched files.
    #[serde(borrow)]
    pub(super) sha256: Cow<'a, str>,
    /// When the contents were read.
    pub(super) read_at_ms: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) manifest: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failed<'a>>,
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
    pub(super) fn new(error: &'a InspectError, sites: String, failed_at_ms: u64) -> Self {
        Self {
            code: Cow::Borrowed(&error.code),
            message: Cow::Borrowed(&error.message),
            traceback: error.traceback.as_deref().map(Cow::Borrowed),
            sites: Cow::Owned(sites),
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

impl Entry<'_> {
    /// Whether these signatures prove that nothing changed, without looking into the files.
    pub(super) fn is_proven_by(&self, files: &[Signature]) -> bool {
        self.files == files && files.iter().all(|file| file.is_settled(self.read_at_ms))
    }
}
