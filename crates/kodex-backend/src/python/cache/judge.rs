//! Which of a cache's entries still hold.

use std::{borrow::Cow, cell::OnceCell, collections::HashMap, path::PathBuf, sync::Arc};

use kodex_plugin::Json;

use super::{
    Answer, Item, Lookup,
    declaration::Declaration,
    digest,
    file::{Entry, Outcome},
    signature::{Folder, Signature, Stamp},
};

/// What becomes of an entry when the file is written.
#[derive(Debug)]
pub(super) enum Fate {
    /// Nobody asked for it.
    Idle,
    Kept,
    Renewed(Vec<Signature>),
    Replaced,
}

/// What is needed to make an entry of an item that is not known.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) name: String,
    pub(super) context: Arc<str>,
    pub(super) paths: Option<String>,
    pub(super) watched: Vec<PathBuf>,
    /// Of the content before it is inspected; none when it cannot be cached.
    pub(super) stamp: Option<Stamp>,
    pub(super) answer: Option<Answer>,
}

/// Judges one item after another against the lines of a file.
pub(super) struct Judge<'a> {
    pub(super) lookup: &'a Lookup<'a>,
    /// The whole file.
    pub(super) text: &'a Arc<String>,
    pub(super) lines: &'a [&'a str],
    /// Where the next entry is expected: most listings ask in the order of the last one.
    pub(super) next: usize,
    /// Where each entry stands, for when they do not.
    pub(super) by_name: OnceCell<HashMap<(Cow<'a, str>, &'a str), usize>>,
    /// Looks at files of the folder that most of them lie in.
    pub(super) folder: Folder,
    pub(super) sites: OnceCell<String>,
    pub(super) fates: Vec<Fate>,
    /// The last context and its digest; mostly all items have the same.
    pub(super) last: Option<(String, Arc<str>)>,
}

impl<'a> Judge<'a> {
    /// What is known of an item, or what an entry for it needs.
    pub(super) fn item(&mut self, item: &Item<'_>) -> Result<Answer, Pending> {
        let context = self.context_digest(item.context);
        let paths = paths_digest(item);
        let found = match item.watched.is_empty() {
            true => None,
            false => self.find(&item.name, &context),
        };
        let stamp = match found {
            _ if item.watched.is_empty() => None,
            Some((n, entry)) => match self.entry(n, &entry, item, paths.as_deref()) {
                Ok(answer) => return Ok(answer),
                Err(stamp) => stamp,
            },
            None => Stamp::read(&item.watched),
        };
        Err(Pending {
            name: item.name.clone().into_owned(),
            context,
            paths,
            watched: item.watched.clone().into_owned(),
            stamp,
            answer: None,
        })
    }

    fn find(&mut self, name: &str, context: &str) -> Option<(usize, Entry<'a>)> {
        let is_it = |entry: &Entry<'_>| entry.of == name && entry.context == context;
        let expected = self.lines.get(self.next).and_then(|line| Entry::read(line));
        if let Some(entry) = expected.filter(is_it) {
            self.next += 1;
            return Some((self.next - 1, entry));
        }
        let lines = self.lines;
        let places = || {
            let entries = lines.iter().enumerate();
            let read = |(n, line): (usize, &&'a str)| {
                Entry::read(line).map(|entry| ((entry.of, entry.context), n))
            };
            entries.filter_map(read).collect::<HashMap<_, _>>()
        };
        // The key of a map is looked up by a key of the same kind.
        let key: (Cow<'_, str>, &str) = (Cow::Borrowed(name), context);
        let n = *self.by_name.get_or_init(places).get(&key)?;
        self.next = n + 1;
        Some((n, Entry::read(lines[n])?))
    }

    /// What the entry says, if it still holds; otherwise the stamp of what is there now.
    fn entry(
        &mut self,
        n: usize,
        entry: &Entry<'a>,
        item: &Item<'_>,
        paths: Option<&str>,
    ) -> Result<Answer, Option<Stamp>> {
        let Some(files) = self.folder.signatures(&item.watched) else {
            return Err(None);
        };
        let same_paths = entry.paths == paths;
        if same_paths && entry.is_proven_by(&files) {
            return match self.answer(entry) {
                Some(answer) => {
                    self.fates[n] = Fate::Kept;
                    Ok(answer)
                }
                None => {
                    self.fates[n] = Fate::Replaced;
                    let sha256 = entry.sha256.to_owned();
                    let files = files.to_vec();
                    Err(Some(Stamp { files, sha256 }))
                }
            };
        }
        let Some(stamp) = Stamp::read(&item.watched) else {
            return Err(None);
        };
        let same = same_paths && stamp.sha256 == entry.sha256;
        match self.answer(entry).filter(|_| same) {
            Some(answer) => {
                self.fates[n] = Fate::Renewed(stamp.files);
                Ok(answer)
            }
            None => {
                self.fates[n] = Fate::Replaced;
                Err(Some(stamp))
            }
        }
    }

    fn answer(&self, entry: &Entry<'a>) -> Option<Answer> {
        match &entry.outcome {
            Outcome::Declared(manifest) => Declaration::within(self.text, manifest).map(Ok),
            Outcome::Failed(failure) => {
                let believed = failure.is_believed(self.sites(), self.lookup.now_unix_ms);
                (believed && !self.lookup.fresh_failures).then(|| Err(failure.error()))
            }
        }
    }

    fn sites(&self) -> &str {
        self.sites
            .get_or_init(|| super::times_of(self.lookup.site_dirs))
    }

    fn context_digest(&mut self, context: &Json) -> Arc<str> {
        let text = context.text();
        match &self.last {
            Some((last, digest)) if last == text => Arc::clone(digest),
            _ => {
                let digest: Arc<str> = digest(&[text.as_bytes()])[..32].into();
                self.last = Some((text.to_owned(), Arc::clone(&digest)));
                digest
            }
        }
    }
}

fn paths_digest(item: &Item<'_>) -> Option<String> {
    if let [one] = &*item.watched
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
