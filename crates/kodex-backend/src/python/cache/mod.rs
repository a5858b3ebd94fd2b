//! What Python plugins declared when they were last inspected, so that listing them starts no Python.
//!
//! An entry holds as long as the watched files of its source have the content that was inspected,
//! and the source would be inspected with the same interpreter, SDK, environment and context. As in
//! git's index, a file's signature (size, times, inode) stands for its content when the file was
//! last changed well before it was read; otherwise the content is hashed, and a known digest
//! renews the signature.
//!
//! There is one file for each plugin directory or site directory, interpreter and SDK. It
//! is replaced whole by a rename, so a reader sees the old or the new one and an interrupted write
//! leaves the old. It is not synced to the disk: what a power failure garbles is a file whose checksum
//! is wrong, which is ignored, reported and written again.
//!
//! It inspects nothing itself. A change of what a plugin's code looks at beside its watched files (a
//! module that it imports, a file that it reads) is not noticed until a watched file changes.

mod declaration;
mod file;
mod judge;
mod signature;

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use declaration::Declaration;
use file::{Entry, FORMAT, Outcome};
use judge::{Fate, Judge, Pending};
use kodex_plugin::{Diagnostic, Json};
use sha2::{Digest, Sha256};
use signature::{Folder, Signatures, Stamp, signatures};

use super::{Identity, InspectError};

/// What a source declares, or why that is not known.
pub type Answer = Result<Declaration, InspectError>;

/// A thousand plugins take about 500 KB.
const FILE_BYTES: u64 = 64 << 20;

/// Entries in one file. What is not asked for any more is dropped beyond this.
const MAX_ENTRIES: usize = 10_000;

/// Cache files. Upgrades of Python and Kodex leave old ones behind; the oldest go beyond this.
const MAX_FILES: usize = 64;

/// What an entry depends on besides its own source.
#[derive(Debug, Clone)]
pub struct Key<'a> {
    /// The plugin directory, or the site directory. Also the inspector's working directory.
    pub root: &'a Path,
    /// The interpreter.
    pub interpreter: &'a Identity,
    /// The digest of the SDK.
    pub sdk_digest: &'a str,
    /// The environment of the inspector.
    pub env: &'a [(OsString, OsString)],
}

impl Key<'_> {
    fn text(&self) -> String {
        format!(
            "{FORMAT}|{}|{}|{:?}|{:?}",
            self.interpreter, self.sdk_digest, self.root, self.env
        )
    }
}

/// One source to look up.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// What names the source: its path, or `module:attr`.
    pub name: Cow<'a, str>,
    /// The context that it is inspected with.
    pub context: &'a Json,
    /// The files whose content the answer depends on. None: the answer is not cached.
    pub watched: Cow<'a, [PathBuf]>,
}

/// How to look up.
#[derive(Debug, Clone)]
pub struct Lookup<'a> {
    /// Wall-clock time.
    pub now_unix_ms: u64,
    /// Whether failures are to be inspected again although nothing changed.
    pub fresh_failures: bool,
    /// Directories whose changes make failures worth another look.
    pub site_dirs: &'a [PathBuf],
}

/// The manifest caches below one folder.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// One lookup, to be completed with inspections and stored.
#[derive(Debug)]
pub struct Pass {
    /// What is known, for each item; inspect the others.
    pub known: Vec<Option<Answer>>,
    /// What is wrong with the cache.
    pub diagnostics: Vec<Diagnostic>,
    path: PathBuf,
    key: String,
    text: Arc<String>,
    /// What becomes of the entries in `text`, by place.
    fates: Vec<Fate>,
    /// The items that are not known, by place.
    pending: BTreeMap<usize, Pending>,
    now_unix_ms: u64,
    sites: String,
    changed: bool,
}

impl Cache {
    /// The caches below `<cache_dir>/manifests`. Nothing is read or made yet.
    #[must_use]
    pub fn open(cache_dir: &Path) -> Self {
        Self {
            dir: cache_dir.join("manifests"),
        }
    }

    /// Looks up what is known of the items.
    #[must_use]
    pub fn lookup<'a>(
        &self,
        key: &Key<'_>,
        items: impl ExactSizeIterator<Item = Item<'a>>,
        lookup: &Lookup<'_>,
    ) -> Pass {
        let (root, key) = (key.root, key.text());
        let path = self
            .dir
            .join(format!("{}.cache", &digest(&[key.as_bytes()])[..32]));
        let mut diagnostics = Vec::new();
        let text = read_file(&path).unwrap_or_else(|why| {
            diagnostics.push(ignored(&path, &why));
            String::new()
        });
        let text = Arc::new(text);
        let lines = file::lines(&text, &key).unwrap_or_else(|why| {
            diagnostics.push(ignored(&path, why));
            Vec::new()
        });
        let mut judge = Judge {
            lookup,
            text: &text,
            lines: &lines,
            next: 0,
            by_name: OnceCell::new(),
            folder: Folder::open(root),
            sites: OnceCell::new(),
            fates: lines.iter().map(|_| Fate::Idle).collect(),
            last: None,
        };
        let mut pending = BTreeMap::new();
        let mut known = Vec::with_capacity(items.len());
        for (n, item) in items.enumerate() {
            known.push(match judge.item(&item) {
                Ok(answer) => Some(answer),
                Err(unknown) => {
                    pending.insert(n, unknown);
                    None
                }
            });
        }
        let Judge { sites, fates, .. } = judge;
        let sites = match pending.is_empty() {
            true => String::new(),
            false => sites
                .into_inner()
                .unwrap_or_else(|| times_of(lookup.site_dirs)),
        };
        Pass {
            // A damaged file is written again even if there is nothing to put into it: it would be
            // reported forever.
            changed: !diagnostics.is_empty()
                || fates.iter().any(|fate| matches!(fate, Fate::Renewed(_))),
            now_unix_ms: lookup.now_unix_ms,
            known,
            diagnostics,
            path,
            key,
            text,
            fates,
            pending,
            sites,
        }
    }

    /// Writes what a lookup found and what was recorded since, if that changes anything. A cache
    /// that cannot be written makes listings slow, not wrong: the problem is a diagnostic.
    pub fn store(&self, pass: &Pass) -> Option<Diagnostic> {
        if !pass.changed {
            return None;
        }
        let error = self.replace(&pass.path, pass.file().as_bytes()).err()?;
        Some(
            Diagnostic::warning(
                "cache.manifests.write",
                format!("cannot write the manifest cache: {error}"),
            )
            .with_hint("until that is mended every listing of plugins starts Python")
            .with_file(pass.path.display().to_string()),
        )
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        let mut new = tempfile::NamedTempFile::new_in(&self.dir)?;
        io::Write::write_all(&mut new, bytes)?;
        new.persist(path)?;
        self.drop_oldest();
        Ok(())
    }

    fn drop_oldest(&self) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let file = entry.metadata().ok()?;
                Some(((file.mtime(), file.mtime_nsec()), entry.path()))
            })
            .collect();
        files.sort();
        let n_over = files.len().saturating_sub(MAX_FILES);
        for (_, path) in files.into_iter().take(n_over) {
            // Another process may have been faster.
            let _ = fs::remove_file(path);
        }
    }
}

impl Pass {
    /// Adds what the inspector said of an item. Failures that say nothing about the source, and
    /// sources that changed while they were inspected, are not kept.
    pub fn record(&mut self, n: usize, answer: &Answer) {
        let Some(pending) = self.pending.get_mut(&n) else {
            return;
        };
        let tells = match answer {
            Ok(_) => true,
            Err(error) => {
                ![InspectError::INSPECTOR, InspectError::REQUEST].contains(&error.code.as_ref())
            }
        };
        let unchanged = |stamp: &Stamp| signatures(&pending.watched).as_ref() == Some(&stamp.files);
        if tells && pending.stamp.as_ref().is_some_and(unchanged) {
            pending.answer = Some(answer.clone());
            self.changed = true;
        }
    }

    /// The file as it should be.
    fn file(&self) -> String {
        let fresh = self.pending.values().filter_map(|item| self.fresh(item));
        let mut entries: Vec<Entry<'_>> = fresh.collect();
        // Its form was checked when it was read; what was wrong then gives nothing again.
        let old = file::lines(&self.text, &self.key).unwrap_or_default();
        let mut idle = Vec::new();
        for (line, fate) in old.into_iter().zip(&self.fates) {
            let Some(mut entry) = Entry::read(line) else {
                continue;
            };
            match fate {
                Fate::Kept => entries.push(entry),
                Fate::Renewed(files) => {
                    entry.files = Signatures::Taken(Cow::Borrowed(files));
                    entry.read_at_ms = self.now_unix_ms;
                    entries.push(entry);
                }
                Fate::Idle => idle.push(entry),
                Fate::Replaced => {}
            }
        }
        // What nobody asked for this time belongs to another context or is gone.
        idle.sort_by_key(|entry| std::cmp::Reverse(entry.read_at_ms));
        idle.truncate(MAX_ENTRIES.saturating_sub(entries.len()));
        idle.retain(|entry| !entry.of.starts_with('/') || Path::new(entry.of.as_ref()).exists());
        // A listing asks in the order of the names, and finds them fastest in it.
        entries.sort_by(|a, b| a.of.cmp(&b.of));
        entries.extend(idle);
        file::text(&self.key, entries)
    }

    fn fresh<'a>(&'a self, item: &'a Pending) -> Option<Entry<'a>> {
        let (stamp, answer) = (item.stamp.as_ref()?, item.answer.as_ref()?);
        Some(Entry {
            of: Cow::Borrowed(&item.name),
            context: &item.context,
            paths: item.paths.as_deref(),
            sha256: &stamp.sha256,
            read_at_ms: self.now_unix_ms,
            files: Signatures::Taken(Cow::Borrowed(&stamp.files)),
            outcome: Outcome::of(answer, &self.sites, self.now_unix_ms),
        })
    }
}

/// The text of a cache file, empty when there is none; the error says why it is ignored.
fn read_file(path: &Path) -> Result<String, String> {
    let read = || {
        let file = fs::File::open(path)?;
        let len = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(len.min(FILE_BYTES)).unwrap_or(0) + 1);
        io::Read::read_to_end(&mut io::Read::take(file, FILE_BYTES + 1), &mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES => Err("it is too large".into()),
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| "it is no UTF-8".into()),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.to_string()),
    }
}

fn ignored(path: &Path, why: &str) -> Diagnostic {
    let text = format!("the manifest cache is ignored and written again: {why}");
    Diagnostic::warning("cache.manifests.damaged", text).with_file(path.display().to_string())
}

/// A digest over the times of directories; they change when something is installed or removed.
fn times_of(dirs: &[PathBuf]) -> String {
    let time = |dir: &PathBuf| {
        let found = fs::metadata(dir).ok();
        found.map_or((0, 0), |dir| (dir.mtime(), dir.mtime_nsec()))
    };
    let times: Vec<_> = dirs
        .iter()
        .map(|dir| format!("{dir:?}{:?}", time(dir)).into_bytes())
        .collect();
    let times: Vec<&[u8]> = times.iter().map(Vec::as_slice).collect();
    digest(&times)[..32].to_owned()
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    super::hex(&hash.finalize())
}
