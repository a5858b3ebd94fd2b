//! What Python plugins declare: from the cache where it can be trusted, from an inspector where not.
//!
//! This is the one call that a runtime needs between finding Python plugins and parsing their
//! manifests. When nothing changed it reads the cache and looks at each file; the SDK is unpacked
//! and Python started only for what is left.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use kodex_plugin::{Diagnostic, Json};
use serde::Deserialize;

use super::{
    Identity, InspectError, Inspection, Inspector, Interpreter, Sdk, Source, Subject,
    cache::{Answer, Cache, Declaration, Item, Key, Lookup, Pass},
};

/// The modules of an editable package that are watched.
const EDITABLE_FILES: usize = 200;

/// A plugin that declares itself in code.
#[derive(Debug, Clone)]
pub struct Declarant {
    /// Where its code lies.
    pub source: Source,
    /// For an installed package, the `entry_points.txt` that names it and the site directory that it
    /// belongs to.
    pub named_in: Option<Box<(PathBuf, PathBuf)>>,
}

impl Declarant {
    /// A file of a plugin directory. The path must be absolute.
    #[must_use]
    pub fn file(file: PathBuf) -> Self {
        Self {
            source: Source::File(file),
            named_in: None,
        }
    }

    /// An object (`module:attr`) of an installed package.
    #[must_use]
    pub fn object(object: String, site_dir: PathBuf, named_in: PathBuf) -> Self {
        let path = vec![site_dir.clone()];
        Self {
            source: Source::Object { object, path },
            named_in: Some(Box::new((named_in, site_dir))),
        }
    }

    /// The directory that it belongs to; the working directory while it is inspected.
    fn root(&self) -> &Path {
        match (&self.source, &self.named_in) {
            (_, Some(installed)) => &installed.1,
            (Source::File(file), None) => folder_of(file).unwrap_or(Path::new("/")),
            (Source::Object { .. }, None) => Path::new("/"),
        }
    }

    fn item<'a>(&'a self, context: &'a Json, site_dirs: &[PathBuf]) -> Item<'a> {
        let (name, watched) = match &self.source {
            // A path that is no text cannot be asked for, so there is no answer to keep.
            Source::File(file) => match file.to_str() {
                Some(name) => (name, Cow::Borrowed(std::slice::from_ref(file))),
                None => ("", Cow::Borrowed(&[][..])),
            },
            Source::Object { object, .. } => {
                let installed = self.named_in.as_deref();
                let watched = installed.and_then(|(named_in, site_dir)| {
                    watched(object, site_dir, named_in, site_dirs)
                });
                (object.as_str(), Cow::Owned(watched.unwrap_or_default()))
            }
        };
        Item {
            name: Cow::Borrowed(name),
            context,
            watched,
        }
    }
}

/// The folder of a file whose path ends in its name: what lies before the last `/`. A thousand times
/// in a listing, so it does not take the path apart from its start.
fn folder_of(file: &Path) -> Option<&Path> {
    let path = file.as_os_str().as_bytes();
    match path.iter().rposition(|byte| *byte == b'/')? {
        0 => None,
        end => Some(Path::new(OsStr::from_bytes(&path[..end]))),
    }
}

/// The user's configuration for plugins that declare themselves in code.
#[derive(Debug, Clone)]
pub struct Contexts {
    /// Of every plugin, an object; see [`Subject::context`].
    default: Json,
    /// Of plugins of certain names; see [`Subject::by_name`].
    by_name: Json,
    /// Everything that was set, as one document for the cache.
    all: Json,
}

impl Contexts {
    /// One context for all plugins.
    #[must_use]
    pub fn new(default: Json) -> Self {
        Self {
            all: default.clone(),
            by_name: Json::object(),
            default,
        }
    }

    /// Adds contexts for plugins of certain names, as one object.
    #[must_use]
    pub fn with_names(mut self, by_name: Json) -> Self {
        let all = serde_json::json!({"all": self.default.value(), "by_name": by_name.value()});
        self.all = Json::from(all);
        self.by_name = by_name;
        self
    }
}

/// How to learn what plugins declare.
#[derive(Debug, Clone)]
pub struct Declarations<'a> {
    /// The interpreter.
    pub interpreter: &'a Interpreter,
    /// The SDK.
    pub sdk: &'a Sdk,
    /// What the plugins are configured with.
    pub contexts: &'a Contexts,
    /// Where the SDK and the cache are kept.
    pub cache_dir: &'a Path,
    /// How long one plugin may take to be inspected.
    pub deadline: Duration,
    /// Whether failures are inspected again although nothing changed.
    pub fresh_failures: bool,
    /// Wall-clock time.
    pub now_unix_ms: u64,
}

/// What plugins declare.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// One for each plugin, in the order in which they were given.
    pub answers: Vec<Answer>,
    /// Problems with the cache; no plugin is to blame.
    pub diagnostics: Vec<Diagnostic>,
    /// How many were inspected now, rather than known.
    pub n_inspected: usize,
}

impl Declarations<'_> {
    /// Learns what the plugins declare. Plugins of one root may share an inspector process; see
    /// [`inspect`](super::inspect) for what that means.
    ///
    /// The cache is read and written on the calling thread: a few milliseconds for a thousand.
    pub async fn read(&self, declarants: &[Declarant]) -> Declared {
        let mut declared = Declared::default();
        let mut answers: Vec<Option<Answer>> = declarants.iter().map(|_| None).collect();
        let roots = by_root(declarants);
        match self.interpreter.identity() {
            Ok(identity) => {
                for (root, members) in roots {
                    let group = Group {
                        root,
                        identity: &identity,
                        members,
                        declarants,
                    };
                    self.group(&group, &mut answers, &mut declared).await;
                }
            }
            Err(error) => {
                let text = format!("{} is gone: {error}", self.interpreter.program.display());
                let gone = InspectError::new(InspectError::INSPECTOR, text);
                answers.fill(Some(Err(gone)));
            }
        }
        declared.answers = answers.into_iter().flatten().collect();
        declared
    }

    async fn group(
        &self,
        group: &Group<'_>,
        answers: &mut [Option<Answer>],
        declared: &mut Declared,
    ) {
        let sdk_dir = self.sdk.dir(self.cache_dir);
        let mut inspector = Inspector::new(
            self.interpreter.program.clone(),
            sdk_dir,
            group.root.to_owned(),
        );
        inspector.deadline = self.deadline;
        let cache = Cache::open(self.cache_dir);
        let mut pass = self.look_up(&cache, &inspector, group);
        declared.diagnostics.append(&mut pass.diagnostics);
        let known = std::mem::take(&mut pass.known);
        let mut missing = Vec::new();
        for (at, answer) in known.into_iter().enumerate() {
            match answer {
                Some(known) => answers[group.members[at]] = Some(known),
                None => missing.push(at),
            }
        }
        let subject = |at: &usize| Subject {
            source: group.declarant(*at).source.clone(),
            context: self.contexts.default.clone(),
            by_name: self.contexts.by_name.clone(),
        };
        let subjects: Vec<Subject> = missing.iter().map(subject).collect();
        declared.n_inspected += subjects.len();
        let inspected = self.inspect(&inspector, &subjects).await;
        for (at, inspection) in missing.into_iter().zip(inspected) {
            let answer = inspection.map(Declaration::from);
            pass.record(at, &answer);
            answers[group.members[at]] = Some(answer);
        }
        declared.diagnostics.extend(cache.store(&pass));
    }

    fn look_up(&self, cache: &Cache, inspector: &Inspector, group: &Group<'_>) -> Pass {
        let site_dirs = &self.interpreter.site_dirs;
        let context = &self.contexts.all;
        let items = (0..group.members.len()).map(|at| group.declarant(at).item(context, site_dirs));
        let key = Key {
            root: group.root,
            interpreter: group.identity,
            sdk_digest: self.sdk.digest(),
            env: &inspector.env,
        };
        let lookup = Lookup {
            now_unix_ms: self.now_unix_ms,
            fresh_failures: self.fresh_failures,
            site_dirs,
        };
        cache.lookup(&key, items, &lookup)
    }

    async fn inspect(&self, inspector: &Inspector, subjects: &[Subject]) -> Vec<Inspection> {
        if subjects.is_empty() {
            return Vec::new();
        }
        match self.sdk.install(self.cache_dir) {
            Ok(_) => inspector.inspect(subjects).await,
            Err(error) => {
                let found = error.diagnostic();
                let text = format!("{}; {}", found.message, error.hint());
                vec![Err(InspectError::new(InspectError::INSPECTOR, text)); subjects.len()]
            }
        }
    }
}

/// The places of the plugins of each root.
fn by_root(declarants: &[Declarant]) -> BTreeMap<&Path, Vec<usize>> {
    let mut roots: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    // Plugins of one root mostly follow one another.
    let same = |a: &Declarant, b: &Declarant| a.root().as_os_str() == b.root().as_os_str();
    let mut n = 0;
    for run in declarants.chunk_by(same) {
        let members = roots.entry(run[0].root()).or_default();
        members.extend(n..n + run.len());
        n += run.len();
    }
    roots
}

/// The plugins of one root.
struct Group<'a> {
    root: &'a Path,
    identity: &'a Identity,
    members: Vec<usize>,
    declarants: &'a [Declarant],
}

impl Group<'_> {
    fn declarant(&self, at: usize) -> &Declarant {
        &self.declarants[self.members[at]]
    }
}

/// The files that decide what an object of an installed package declares: what names it, the
/// list of the distribution's files with their digests, and its module. `None` when the module
/// cannot be found without running code; such an object is inspected anew each time.
fn watched(
    object: &str,
    site_dir: &Path,
    named_in: &Path,
    site_dirs: &[PathBuf],
) -> Option<Vec<PathBuf>> {
    let module = object.split(':').next()?.replace('.', "/");
    let metadata = named_in.parent()?;
    let mut watched = vec![named_in.to_owned()];
    let record = metadata.join("RECORD");
    if record.is_file() {
        watched.push(record);
    }
    if let Some(file) = module_file(site_dir, &module) {
        watched.push(file);
        return Some(watched);
    }
    // Installed as editable: the code lies in the project's own folder and changes without the
    // list noticing, so all modules beside the named one are watched.
    let project = editable_project(metadata);
    let project = project
        .iter()
        .flat_map(|project| [project.join("src"), project.clone()]);
    let dirs: Vec<PathBuf> = site_dirs.iter().cloned().chain(project).collect();
    let file = dirs.iter().find_map(|dir| module_file(dir, &module))?;
    let mut beside: Vec<PathBuf> = fs::read_dir(file.parent()?)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .take(EDITABLE_FILES)
        .collect();
    beside.sort();
    watched.extend(beside);
    watched.retain(|path| *path != file);
    watched.push(file);
    Some(watched)
}

fn module_file(dir: &Path, module: &str) -> Option<PathBuf> {
    let files = [
        dir.join(format!("{module}.py")),
        dir.join(module).join("__init__.py"),
    ];
    files.into_iter().find(|file| file.is_file())
}

/// The folder of a project that was installed with `pip install --editable`.
fn editable_project(metadata: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Origin {
        url: String,
        dir_info: Option<Folder>,
    }
    #[derive(Deserialize)]
    struct Folder {
        #[serde(default)]
        editable: bool,
    }
    let bytes = fs::read(metadata.join("direct_url.json")).ok()?;
    let origin: Origin = serde_json::from_slice(&bytes).ok()?;
    // Only plain paths: a percent sign would have to be decoded, and is rare in a project's path.
    let path = origin
        .url
        .strip_prefix("file://")
        .filter(|path| !path.contains('%'))?;
    origin
        .dir_info
        .is_some_and(|folder| folder.editable)
        .then(|| path.into())
}
