//! Which Python runs the plugins, learned from files alone.
//!
//! Starting Python to ask it where it lives costs 15 ms, through a version manager's shim 385 ms;
//! reading a few links and folders costs less than one. So this module follows what `python3`
//! would do: the links, `pyvenv.cfg`, the layout of the installation.
//!
//! The places, in order; the first Python that is new enough is taken:
//! 1. the configured value, alone: when it is set and unusable, that is an error, not a reason to
//!    take another;
//! 2. the activated environment (`VIRTUAL_ENV`);
//! 3. `python3`, then `python`, in each folder of the search path, looking through pyenv's shims.
//!
//! A `.venv` folder in the project is deliberately not in this list: whoever wrote the project wrote
//! that folder, and running its `python` would run their program before anyone granted anything. A
//! note says so when no environment is active.
//!
//! It does not start a program, and it reads neither the environment nor the home folder itself.

mod error;
mod layout;
mod pyenv;

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use error::HOW_TO_SET;
use kodex_plugin::Diagnostic;

pub use error::{InterpreterError, Place};

/// The oldest Python that the SDK runs on.
pub const OLDEST: (u8, u8) = (3, 9);

/// Where to look. Nothing is read from the process; the caller hands everything in.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The user's choice: the path of an interpreter or of a virtual environment, or a bare name
    /// to look up on the search path.
    pub configured: Option<PathBuf>,
    /// The folders of the search path, in order.
    pub path: Vec<PathBuf>,
    /// The folder that relative paths and `.python-version` files are seen from.
    pub cwd: PathBuf,
    /// The variables that matter.
    pub variables: Variables,
    /// The user's home folder, for packages installed with `pip install --user`.
    pub home: Option<PathBuf>,
}

/// The few environment variables that choose a Python.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// `VIRTUAL_ENV`: the activated environment.
    pub virtual_env: Option<PathBuf>,
    /// `PYENV_VERSION`: the versions that pyenv's shims use, separated by colons.
    pub pyenv_version: Option<String>,
    /// `PYENV_ROOT`: where pyenv keeps its versions.
    pub pyenv_root: Option<PathBuf>,
}

impl Variables {
    /// Picks the variables out of an environment. An empty value counts as none.
    pub fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let read = |name| lookup(name).filter(|value| !value.is_empty());
        Self {
            virtual_env: read("VIRTUAL_ENV").map(PathBuf::from),
            pyenv_version: read("PYENV_VERSION").and_then(|value| value.into_string().ok()),
            pyenv_root: read("PYENV_ROOT").map(PathBuf::from),
        }
    }
}

/// A Python installation or virtual environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The executable: no shim, and no link except that of a virtual environment, which Python
    /// needs to see to know its environment.
    pub program: PathBuf,
    /// Major and minor version.
    pub version: (u8, u8),
    /// The root of the installation or of the virtual environment.
    pub prefix: PathBuf,
    /// Where installed packages lie, in the order in which Python searches them. Includes the
    /// user's own directory, which an isolated interpreter leaves out: who loads something from
    /// there names the directory (see [`EntryPoint`](super::EntryPoint)).
    pub site_dirs: Vec<PathBuf>,
}

/// An interpreter, and what was passed over on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The interpreter.
    pub interpreter: Interpreter,
    /// Notes and warnings for the user.
    pub notes: Vec<Diagnostic>,
}

/// What makes two interpreters the same for a cache: the file and its version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    program: PathBuf,
    version: (u8, u8),
    size: u64,
    mtime_ns: i128,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version;
        let (size, mtime) = (self.size, self.mtime_ns);
        write!(
            f,
            "{}|{major}.{minor}|{size}|{mtime}",
            self.program.display()
        )
    }
}

impl Interpreter {
    /// Finds the interpreter without starting one. The order is that of the module's description.
    ///
    /// # Errors
    /// [`InterpreterError`] lists every place that was looked at and how to name an interpreter.
    pub fn find(search: &Search) -> Result<Found, InterpreterError> {
        let finder = Finder {
            search,
            places: Vec::new(),
            notes: Vec::new(),
            too_old: None,
        };
        match &search.configured {
            Some(configured) => finder.configured(configured),
            None => finder.environment(),
        }
    }

    /// What a cache should be keyed with, read from the file system.
    ///
    /// # Errors
    /// Fails when the program is gone.
    pub fn identity(&self) -> io::Result<Identity> {
        let file = fs::metadata(&self.program)?;
        Ok(Identity {
            program: self.program.clone(),
            version: self.version,
            size: file.size(),
            mtime_ns: i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec()),
        })
    }
}

/// Why a file is not taken.
enum Refusal {
    Missing,
    NotExecutable,
    /// A script in front of the real program; what kind.
    Shim(String),
    /// A link to a program with another name, or no way to tell the version.
    Unrecognised(String),
    TooOld((u8, u8)),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no such file"),
            Self::NotExecutable => f.write_str("not executable"),
            Self::Shim(what) | Self::Unrecognised(what) => f.write_str(what),
            Self::TooOld((major, minor)) => write!(f, "Python {major}.{minor} is too old"),
        }
    }
}

struct Finder<'a> {
    search: &'a Search,
    places: Vec<Place>,
    notes: Vec<Diagnostic>,
    too_old: Option<(PathBuf, (u8, u8))>,
}

impl Finder<'_> {
    fn configured(mut self, configured: &Path) -> Result<Found, InterpreterError> {
        let wanted = format!("the configured Python `{}`", configured.display());
        let found = if configured.components().count() == 1 && configured.is_relative() {
            let name = configured.display().to_string();
            self.on_path(&name)
        } else {
            self.at(&self.absolute(configured), "configured")
        };
        self.finish(found, wanted)
    }

    fn environment(mut self) -> Result<Found, InterpreterError> {
        let mut found = None;
        if let Some(root) = &self.search.variables.virtual_env {
            found = self.at(&self.absolute(root), "VIRTUAL_ENV");
        } else {
            self.mention_project_environment();
        }
        for name in ["python3", "python"] {
            found = found.or_else(|| self.on_path(name));
        }
        self.finish(found, "Python 3.9 or newer".into())
    }

    fn finish(self, found: Option<Interpreter>, wanted: String) -> Result<Found, InterpreterError> {
        let (places, notes) = (self.places, self.notes);
        match (found, self.too_old) {
            (Some(interpreter), _) => Ok(Found { interpreter, notes }),
            (None, Some((program, version))) => Err(InterpreterError::TooOld {
                program,
                version,
                places,
            }),
            (None, None) => Err(InterpreterError::NotFound { wanted, places }),
        }
    }

    /// One path: an interpreter, or a folder that has one in `bin`.
    fn at(&mut self, path: &Path, why: &str) -> Option<Interpreter> {
        if !path.is_dir() {
            return self.examine(path, why);
        }
        let programs = ["bin/python3", "bin/python"].map(|name| path.join(name));
        let program = programs.iter().find(|program| program.exists());
        self.examine(program.unwrap_or(&programs[0]), why)
    }

    fn on_path(&mut self, name: &str) -> Option<Interpreter> {
        for dir in &self.search.path {
            // An empty part of a search path means the current folder to a shell. Running what
            // lies there because it is called `python3` is how projects take over machines.
            if dir.as_os_str().is_empty() || dir.is_relative() {
                continue;
            }
            let program = dir.join(name);
            if program.exists() {
                if let Some(found) = self.examine(&program, "search path") {
                    return Some(found);
                }
            } else {
                self.place(
                    format!("search path: {}", program.display()),
                    &Refusal::Missing,
                );
            }
        }
        None
    }

    /// Takes the program, or what stands behind it, or records why not.
    fn examine(&mut self, program: &Path, why: &str) -> Option<Interpreter> {
        let place = format!("{why}: {}", program.display());
        match judge(program, self.search.home.as_deref()) {
            Ok(found) => Some(found),
            Err(Refusal::Shim(kind)) => match pyenv::root_of(program, &self.search.variables) {
                Some(root) => self.behind_pyenv(program, &root),
                None => {
                    self.skipped(program, &kind);
                    self.place(place, &Refusal::Shim(kind));
                    None
                }
            },
            Err(refusal) => {
                if let Refusal::TooOld(version) = refusal {
                    self.too_old.get_or_insert((program.to_owned(), version));
                }
                if let Refusal::Unrecognised(reason) = &refusal {
                    self.skipped(program, reason);
                }
                self.place(place, &refusal);
                None
            }
        }
    }

    fn behind_pyenv(&mut self, shim: &Path, root: &Path) -> Option<Interpreter> {
        let name = shim.file_name()?.to_str()?;
        let choice = pyenv::choose(root, &self.search.variables, &self.search.cwd);
        let origin = choice.origin;
        for version in choice.versions {
            match pyenv::program(root, &version, name) {
                Ok(Some(program)) => {
                    let why = format!("pyenv version {version} ({origin})");
                    if let Some(found) = self.examine(&program, &why) {
                        return Some(found);
                    }
                }
                // `system`: the program of this name further along the search path.
                Ok(None) => {}
                Err(reason) => {
                    self.notes.push(
                        Diagnostic::warning(
                            "python.pyenv",
                            format!("pyenv selects `{version}` ({origin}), but {reason}"),
                        )
                        .with_hint(
                            "install it with `pyenv install`, or choose another Python: "
                                .to_owned()
                                + HOW_TO_SET,
                        ),
                    );
                    self.places.push(Place {
                        place: format!("pyenv version {version} ({origin})"),
                        found: reason,
                    });
                }
            }
        }
        None
    }

    fn mention_project_environment(&mut self) {
        for name in [".venv", "venv"] {
            let root = self.search.cwd.join(name);
            let on_path = |dir: &PathBuf| dir.starts_with(&root);
            if root.join("pyvenv.cfg").is_file() && !self.search.path.iter().any(on_path) {
                self.notes.push(
                    Diagnostic::note(
                        "python.environment.unused",
                        format!("the virtual environment `{name}` in {} is not used: its programs belong to the project, and running them needs your word", self.search.cwd.display()),
                    )
                    .with_hint(format!("activate it, or pass `--python {name}`")),
                );
                return;
            }
        }
    }

    fn skipped(&mut self, program: &Path, reason: &str) {
        self.notes.push(
            Diagnostic::note(
                "python.skipped",
                format!("{} is not used as Python: {reason}", program.display()),
            )
            .with_hint(HOW_TO_SET),
        );
    }

    fn place(&mut self, place: String, refusal: &Refusal) {
        self.places.push(Place {
            place,
            found: refusal.to_string(),
        });
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        let tail = path.strip_prefix("~").ok();
        match (tail, &self.search.home) {
            (Some(tail), Some(home)) => lexical(&home.join(tail)),
            _ => lexical(&self.search.cwd.join(path)),
        }
    }
}

/// Removes `.` and `..` by their text, as Python does before it looks for `pyvenv.cfg`.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn judge(program: &Path, home: Option<&Path>) -> Result<Interpreter, Refusal> {
    let file = fs::metadata(program).map_err(|_| Refusal::Missing)?;
    if !file.is_file() {
        return Err(Refusal::Missing);
    }
    if file.permissions().mode() & 0o111 == 0 {
        return Err(Refusal::NotExecutable);
    }
    let real = fs::canonicalize(program).map_err(|_| Refusal::Missing)?;
    if is_script(&real) {
        return Err(Refusal::Shim(
            "it is a script that starts another program".into(),
        ));
    }
    let layout = layout::read(program, &real).map_err(Refusal::Unrecognised)?;
    if layout.version < OLDEST {
        return Err(Refusal::TooOld(layout.version));
    }
    Ok(Interpreter {
        site_dirs: layout.site_dirs(home),
        program: layout.program,
        version: layout.version,
        prefix: layout.prefix,
    })
}

fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    let read =
        fs::File::open(program).and_then(|mut file| io::Read::read_exact(&mut file, &mut start));
    read.is_ok() && &start == b"#!"
}
