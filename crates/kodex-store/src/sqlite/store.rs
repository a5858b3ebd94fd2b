//! The store itself: which files there are, and the way to each.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kodex_plugin::{Clock, PluginName};
use rusqlite::Connection;

use super::{
    adopt, check, error,
    file::File,
    group::Group,
    ledger::Ledgers,
    namespace::Space,
    open::{Site, check_engine, meta},
    queue::Jobs,
    rename,
    state::Values,
    tables,
    thread::Patience,
    watch::locked,
};
use crate::{
    Access, Engine, Finding, Ledger, Namespace, State, Store, StoreError, Table, Work,
    journal::checksum,
    state::{Adopted, Lease, Numbers},
};

/// The store's own file.
pub(super) const STORE_FILE: &str = "kodex.db";
/// The folder of the plugins' files.
pub(super) const PLUGINS: &str = "plugins";
/// Longest file name made of a plugin's name; longer ones are replaced by their hash.
const NAME_BYTES: usize = 200;

/// How to open a store of files.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The folder. It is made at the first write.
    pub folder: PathBuf,
    /// The time for leases, times to live and deadlines.
    pub clock: Arc<dyn Clock>,
    /// Refuse every write. Also opens folders on a medium that cannot be written.
    pub read_only: bool,
    /// Largest file that one plugin may fill.
    pub quota_bytes: u64,
    /// Let every commit reach the disk, not only those of ledger and schema.
    pub full_sync: bool,
    /// Most threads that read one file at the same time.
    pub n_readers: usize,
    /// How long a thread without work keeps its connection.
    pub idle: Duration,
}

impl SqliteOptions {
    /// The usual options for a folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            folder: folder.into(),
            clock,
            read_only: false,
            quota_bytes: 1 << 30,
            full_sync: false,
            n_readers: 4,
            idle: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("folder", &self.folder)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// A store of files in one folder.
pub struct SqliteStore {
    pub(super) inner: Arc<Inner>,
    place: String,
    values: Values,
    ledgers: Ledgers,
    jobs: Jobs,
}

/// What the parts of a store share.
pub(super) struct Inner {
    options: Arc<SqliteOptions>,
    pub(super) store: Arc<File>,
    files: Mutex<HashMap<PluginName, Arc<File>>>,
    closed: AtomicBool,
}

impl SqliteStore {
    /// Opens a store. Nothing is created; renames that were broken off are completed.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`], [`StoreError::Newer`], [`StoreError::Unreachable`] or
    /// [`StoreError::Damaged`].
    pub async fn open(mut options: SqliteOptions) -> Result<Self, StoreError> {
        check_engine(&options.folder, rusqlite::version_number())?;
        options.folder = std::path::absolute(&options.folder)
            .map_err(|error| error::system(&options.folder, &error))?;
        if fs::metadata(&options.folder).is_ok_and(|meta| !meta.is_dir()) {
            return Err(StoreError::Unreachable {
                place: format!("sqlite:{}", options.folder.display()),
                problem: "it is a file; name a folder".to_owned(),
            });
        }
        let options = Arc::new(options);
        let path = options.folder.join(STORE_FILE);
        let site = Arc::new(Site::new(path, None, Arc::clone(&options)));
        let store = Arc::new(File::new(site));
        let inner = Arc::new(Inner {
            options: Arc::clone(&options),
            store: Arc::clone(&store),
            files: Mutex::new(HashMap::new()),
            closed: AtomicBool::new(false),
        });
        if store.site.exists() {
            // A format that is too new is said now, not at the first use.
            let look = store
                .readers
                .call(Patience::default(), |seat, _| seat.reader().map(|_| ()));
            look.await?;
            rename::complete_all(&inner).await?;
        }
        // State and jobs share a file, and so their commits.
        let group = Group::default();
        Ok(Self {
            place: format!("sqlite:{}", options.folder.display()),
            jobs: Jobs::new(Arc::clone(&store), group.clone()),
            values: Values::new(store, group),
            ledgers: Ledgers(Arc::clone(&inner)),
            inner,
        })
    }
}

impl Inner {
    /// Fails once the store is closed.
    pub(super) fn living(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    /// The file of a plugin.
    pub(super) fn file(&self, plugin: &PluginName) -> Result<Arc<File>, StoreError> {
        self.living()?;
        let mut files = locked(&self.files);
        if let Some(file) = files.get(plugin) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::new(Arc::new(self.site(plugin))));
        files.insert(plugin.clone(), Arc::clone(&file));
        Ok(file)
    }

    /// Where the file of a plugin is.
    pub(super) fn site(&self, plugin: &PluginName) -> Site {
        let folder = self.options.folder.join(PLUGINS);
        let path = folder.join(file_name(plugin.as_str()));
        Site::new(path, Some(plugin.clone()), Arc::clone(&self.options))
    }

    /// Closes the file of a plugin; handles that are still about fail with [`StoreError::Closed`].
    pub(super) async fn retire(&self, plugin: &PluginName) -> Result<(), StoreError> {
        let file = locked(&self.files).remove(plugin);
        match file {
            Some(file) => file.close().await,
            None => Ok(()),
        }
    }

    /// Every plugin that has a file, in byte order.
    pub(super) fn with_files(&self) -> Result<Vec<PluginName>, StoreError> {
        let folder = self.options.folder.join(PLUGINS);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error::system(&folder, &error)),
        };
        let mut plugins = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| error::system(&folder, &error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".db")) else {
                continue;
            };
            let is_empty = entry.metadata().is_ok_and(|meta| meta.len() == 0);
            match (is_empty, plugin_name(name, &entry.path())) {
                (false, Some(plugin)) => plugins.push(plugin),
                (true, _) => {}
                (false, None) => {
                    tracing::warn!(file = name, "no plugin can have this file");
                }
            }
        }
        plugins.sort();
        Ok(plugins)
    }
}

impl Store for SqliteStore {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn namespace<'a>(
        &'a self,
        plugin: &'a PluginName,
        access: Access,
    ) -> Work<'a, Arc<dyn Namespace>> {
        Box::pin(async move {
            let file = self.inner.file(plugin)?;
            if access != Access::Read {
                file.site.writable()?;
                if !file.site.is_there()? {
                    let made = file
                        .writer
                        .call(Patience::default(), |seat, _| seat.owner().map(|_| ()));
                    made.await?;
                }
            }
            let space: Arc<dyn Namespace> = Arc::new(Space { file, access });
            Ok(space)
        })
    }

    fn state(&self) -> &dyn State {
        &self.values
    }

    fn ledger(&self) -> &dyn Ledger {
        &self.ledgers
    }

    fn queue(&self) -> &dyn crate::Queue {
        &self.jobs
    }

    fn leases<'a>(
        &'a self,
        plugin: &'a PluginName,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Lease>> {
        Box::pin(adopt::leases(&self.inner.store, plugin, after, limit))
    }

    fn numbers<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Numbers> {
        Box::pin(adopt::numbers(&self.inner.store, plugin))
    }

    fn adopt<'a>(&'a self, plugin: &'a PluginName, adopted: &'a Adopted<'a>) -> Work<'a, ()> {
        Box::pin(adopt::adopt(&self.inner.store, plugin, adopted))
    }

    fn plugins(&self) -> Work<'_, Vec<PluginName>> {
        Box::pin(async move {
            self.inner.living()?;
            let mut plugins = self.inner.with_files()?;
            let work = self
                .inner
                .store
                .readers
                .call(Patience::default(), |seat, _| {
                    if !seat.has_file()? {
                        return Ok(Vec::new());
                    }
                    seat.reader()?.own(|db| {
                        let mut statement = db.prepare("SELECT DISTINCT plugin FROM state")?;
                        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
                        rows.collect::<Result<Vec<_>, _>>()
                    })
                });
            let with_state = work.await?;
            plugins.extend(
                with_state
                    .into_iter()
                    .filter_map(|name| PluginName::lenient(name).ok()),
            );
            plugins.sort();
            plugins.dedup();
            Ok(plugins)
        })
    }

    fn tables<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Table>> {
        Box::pin(async move {
            let file = self.inner.file(plugin)?;
            let work = file.readers.call(Patience::default(), |seat, _| {
                seat.reader()?.own(tables::tables)
            });
            work.await
        })
    }

    fn check(&self) -> Work<'_, Vec<Finding>> {
        Box::pin(async move {
            self.inner.living()?;
            let mut findings = Vec::new();
            let mut files = vec![Arc::clone(&self.inner.store)];
            for plugin in self.inner.with_files()? {
                files.push(self.inner.file(&plugin)?);
            }
            for file in files {
                findings.extend(check_file(&file).await?);
            }
            Ok(findings)
        })
    }

    fn ping(&self) -> Work<'_, ()> {
        Box::pin(async move {
            self.inner.living()?;
            self.jobs.ping().await
        })
    }

    fn close(&self) -> Work<'_, ()> {
        Box::pin(async move {
            self.inner.closed.store(true, Ordering::Release);
            let files: Vec<_> = locked(&self.inner.files).drain().collect();
            let mut result = self.inner.store.close().await;
            for (_, file) in files {
                result = result.and(file.close().await);
            }
            result
        })
    }
}

async fn check_file(file: &Arc<File>) -> Result<Vec<Finding>, StoreError> {
    let work = file.long.call(Patience::default(), |seat, token| {
        if !seat.has_file()? {
            return Ok(Vec::new());
        }
        let conn = seat.reader()?;
        conn.watch.begin(token, None, None);
        let findings = check::file(conn);
        conn.watch.end();
        findings
    });
    match work.await {
        // A file that cannot even be opened is what was asked about.
        Err(
            error @ (StoreError::Damaged { .. }
            | StoreError::Newer { .. }
            | StoreError::Unreachable { .. }),
        ) => Ok(vec![Finding {
            code: "store.integrity",
            plugin: file.site.plugin.clone(),
            message: error.to_string(),
        }]),
        result => result,
    }
}

/// The file of a plugin's name. Names that are not canonical are spelt with `%XX`, so that no two share a
/// file, also where the file system takes upper and lower case for the same.
fn file_name(plugin: &str) -> String {
    let mut name = String::with_capacity(plugin.len() + 3);
    for byte in plugin.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            byte => {
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    if name.len() > NAME_BYTES {
        name = format!("~{}", checksum(plugin.as_bytes()));
    }
    name.push_str(".db");
    name
}

/// The plugin of a file's name without its end; what was hashed stands in the file.
fn plugin_name(name: &str, path: &std::path::Path) -> Option<PluginName> {
    let text = if name.starts_with('~') {
        let db =
            Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        meta(&db, "plugin").ok()??
    } else {
        let mut bytes = Vec::with_capacity(name.len());
        let mut rest = name.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                    let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                    u8::try_from(high * 16 + low).ok()?
                }
                byte => byte,
            });
        }
        String::from_utf8(bytes).ok()?
    };
    let plugin = PluginName::lenient(text).ok()?;
    (file_name(plugin.as_str()).strip_suffix(".db") == Some(name)).then_some(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_files_and_back() {
        let long = "x/".repeat(128);
        for name in [
            "notes",
            "context-enricher",
            "../kodex",
            "Ünï Code",
            "%41",
            "nul",
            long.as_str(),
        ] {
            let file = file_name(name);
            assert!(
                !file.contains('/') && file.len() < 255 && !file.starts_with('.'),
                "{file}"
            );
            let stem = file.strip_suffix(".db").expect("has its end");
            if !stem.starts_with('~') {
                let back = plugin_name(stem, std::path::Path::new("")).expect("reads");
                assert_eq!(back.as_str(), name);
            }
        }
        assert_ne!(file_name("Notes").to_lowercase(), file_name("notes"));
        assert_eq!(plugin_name("Notes", std::path::Path::new("")), None);
    }
}
