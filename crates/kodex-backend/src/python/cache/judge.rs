//! Which of a cache's entries still hold.

use std::{collections::HashMap, path::PathBuf};

use kodex_plugin::Json;

use super::{
    Item, Lookup, digest,
    file::Entry,
    signature::{Signature, Stamp, signatures},
};
use crate::python::Inspection;

/// What becomes of an entry when the file is written.
#[derive(Debug)]
pub(super) enum Fate {
    /// Nobody asked for it.
    Idle,
    Kept,
    Renewed(Vec<Signature>),
    Replaced,
}

/// What is needed to make an entry of an item.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) name: String,
    pub(super) context: String,
    pub(super) paths: Option<String>,
    pub(super) watched: Vec<PathBuf>,
    /// Of the content before it is inspected; none when it cannot be cached.
    pub(super) stamp: Option<Stamp>,
    pub(super) inspection: Option<Inspection>,
}

/// Judges one item after another against the entries of a file.
pub(super) struct Judge<'a> {
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) sites: String,
    pub(super) fates: Vec<Fate>,
    pub(super) known: Vec<Option<Inspection>>,
    pub(super) items: Vec<Pending>,
    /// The last context and its digest; mostly all items have the same.
    pub(super) last: Option<(String, String)>,
}

impl Judge<'_> {
    pub(super) fn item(
        &mut self,
        item: &Item<'_>,
        entries: &[Entry<'_>],
        by_name: &HashMap<(&str, &str), usize>,
    ) {
        let mut pending = Pending {
            name: item.name.clone().into_owned(),
            context: self.context_digest(item.context),
            paths: paths_digest(item),
            watched: item.watched.clone(),
            stamp: None,
            inspection: None,
        };
        let found = by_name
            .get(&(pending.name.as_str(), pending.context.as_str()))
            .copied();
        let known = match found {
            _ if item.watched.is_empty() => None,
            Some(n) => self.entry(n, &entries[n], &mut pending),
            None => {
                pending.stamp = Stamp::read(&pending.watched);
                None
            }
        };
        self.known.push(known);
        self.items.push(pending);
    }

    fn entry(&mut self, n: usize, entry: &Entry<'_>, pending: &mut Pending) -> Option<Inspection> {
        let files = signatures(&pending.watched)?;
        let proven =
            entry.is_proven_by(&files) && entry.paths.as_deref() == pending.paths.as_deref();
        let stamp = match proven {
            true => Stamp {
                files,
                sha256: entry.sha256.clone().into_owned(),
            },
            false => Stamp::read(&pending.watched)?,
        };
        let same =
            stamp.sha256 == entry.sha256 && entry.paths.as_deref() == pending.paths.as_deref();
        let known = same.then(|| self.outcome(entry)).flatten();
        self.fates[n] = match (&known, proven) {
            (None, _) => Fate::Replaced,
            (Some(_), true) => Fate::Kept,
            (Some(_), false) => Fate::Renewed(stamp.files.clone()),
        };
        pending.stamp = Some(stamp);
        known
    }

    fn outcome(&self, entry: &Entry<'_>) -> Option<Inspection> {
        match (&entry.manifest, &entry.failure) {
            (Some(manifest), _) => Some(Ok(Json::checked((*manifest).to_owned()))),
            (None, Some(failure)) => {
                let believed = failure.is_believed(&self.sites, self.lookup.now_unix_ms);
                (believed && !self.lookup.fresh_failures).then(|| Err(failure.error()))
            }
            (None, None) => None,
        }
    }

    fn context_digest(&mut self, context: &Json) -> String {
        let text = context.text();
        match &self.last {
            Some((last, digest)) if last == text => digest.clone(),
            _ => {
                let digest = digest(&[text.as_bytes()])[..32].to_owned();
                self.last = Some((text.to_owned(), digest.clone()));
                digest
            }
        }
    }
}

fn paths_digest(item: &Item<'_>) -> Option<String> {
    if let [one] = item.watched.as_slice()
        && one.as_os_str() == item.name.as_ref()
    {
        return None;
    }
    let paths: Vec<&[u8]> = item
        .watched
        .iter()
        .map(|path| path.as_os_str().as_encoded_bytes())
        .collect();
    Some(digest(&paths)[..32].to_owned())
}
