//! What an installation looks like on disk: version, prefix, and where packages lie.
//!
//! This repeats in a few rules what Python's own start-up works out. The rules are checked against
//! real interpreters in the tests of this crate; where they differ from Python on purpose, the
//! difference is written at the rule.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

/// `.pth` files hold a line or two; a longer one is cut here.
const PTH_BYTES: u64 = 64 << 10;

/// An installation or environment that was recognised.
pub(super) struct Layout {
    /// What to start.
    pub(super) program: PathBuf,
    pub(super) version: (u8, u8),
    pub(super) prefix: PathBuf,
    /// The folder below `lib`, such as `python3.11` or `pypy3.10`.
    lib: String,
    /// The prefix of the installation behind an environment, if it is one.
    base: Option<PathBuf>,
    /// Whether an environment also sees the packages of its installation.
    system_site: bool,
}

/// Recognises a program. `real` is the program with all links resolved.
pub(super) fn read(program: &Path, real: &Path) -> Result<Layout, String> {
    let name = real
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some(flavour) = Flavour::of(name) else {
        return Err(format!("it leads to a program called `{name}`"));
    };
    let venv = Environment::of(program);
    let installation = match &venv {
        Some(venv) => venv.installation(real),
        None => prefix_of(real),
    };
    let version = flavour
        .version
        .or_else(|| venv.as_ref().and_then(|venv| venv.version));
    let version = match version {
        Some(version) => version,
        None => only_version(&installation)?,
    };
    let lib = format!(
        "{}{}.{}{}",
        flavour.family, version.0, version.1, flavour.abi
    );
    Ok(match venv {
        Some(venv) => Layout {
            program: program.to_owned(),
            version,
            prefix: venv.root,
            lib,
            base: Some(installation),
            system_site: venv.system_site,
        },
        None => Layout {
            program: real.to_owned(),
            version,
            prefix: installation,
            lib,
            base: None,
            system_site: true,
        },
    })
}

fn prefix_of(program: &Path) -> PathBuf {
    let parents = program
        .ancestors()
        .nth(2)
        .filter(|dir| !dir.as_os_str().is_empty());
    parents.unwrap_or(Path::new("/")).to_owned()
}

/// What the name of the executable says: `python3.13t` is a free-threaded CPython 3.13.
struct Flavour {
    family: &'static str,
    version: Option<(u8, u8)>,
    abi: &'static str,
}

impl Flavour {
    fn of(name: &str) -> Option<Self> {
        let family = ["python", "pypy"]
            .into_iter()
            .find(|family| name.starts_with(family))?;
        let (rest, abi) = match name[family.len()..].strip_suffix('t') {
            Some(rest) => (rest, "t"),
            None => (&name[family.len()..], ""),
        };
        // A debug build installs beside the normal one and shares its folders.
        let rest = rest.strip_suffix('d').unwrap_or(rest);
        let version = match rest {
            "" | "2" | "3" => None,
            numbers => Some(version(numbers)?),
        };
        Some(Self {
            family,
            version,
            abi,
        })
    }
}

/// The first two numbers of `3.11.7`; `None` when there are none.
fn version(text: &str) -> Option<(u8, u8)> {
    let mut parts = text.split('.');
    Some((
        parts.next()?.trim().parse().ok()?,
        parts.next()?.trim().parse().ok()?,
    ))
}

/// The version of an installation whose executable does not say: the one library folder it has.
fn only_version(prefix: &Path) -> Result<(u8, u8), String> {
    let entries = fs::read_dir(prefix.join("lib"))
        .into_iter()
        .flatten()
        .flatten();
    let versions: HashSet<(u8, u8)> = entries
        .filter(|entry| entry.path().join("os.py").is_file())
        .filter_map(|entry| version(entry.file_name().to_str()?.strip_prefix("python")?))
        .collect();
    let mut versions = versions.into_iter();
    match (versions.next(), versions.next()) {
        (Some(version), None) => Ok(version),
        (None, _) => Err(format!(
            "{} holds no Python library to tell its version by",
            prefix.display()
        )),
        (Some(_), Some(_)) => Err(format!(
            "{} holds several Python libraries; name the program with its version, such as `python3.12`",
            prefix.display()
        )),
    }
}

/// A virtual environment, as its `pyvenv.cfg` describes it.
struct Environment {
    root: PathBuf,
    home: Option<PathBuf>,
    version: Option<(u8, u8)>,
    system_site: bool,
}

impl Environment {
    /// Python looks beside the program and one folder up, and does not follow the program's link.
    fn of(program: &Path) -> Option<Self> {
        let bin = program.parent()?;
        let root = bin.parent()?;
        let texts = [bin, root].map(|dir| fs::read_to_string(dir.join("pyvenv.cfg")));
        let text = texts.into_iter().find_map(Result::ok)?;
        let mut found = Self {
            root: root.to_owned(),
            home: None,
            version: None,
            // Without the key Python takes it for true.
            system_site: true,
        };
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "home" => found.home = Some(value.into()),
                // `version_info` is what virtualenv and uv write.
                "version" | "version_info" => found.version = version(value),
                "include-system-site-packages" => {
                    found.system_site = value.eq_ignore_ascii_case("true");
                }
                _ => {}
            }
        }
        Some(found)
    }

    /// The prefix of the installation that the environment was made from.
    fn installation(&self, real: &Path) -> PathBuf {
        // `venv --copies` puts the real program into the environment; `home` names the origin.
        let inside = fs::canonicalize(&self.root).is_ok_and(|root| real.starts_with(root));
        match &self.home {
            Some(home) if inside => {
                let name = real.file_name().unwrap_or_default();
                let origin = fs::canonicalize(home.join(name));
                prefix_of(&origin.unwrap_or_else(|_| home.join(name)))
            }
            _ => prefix_of(real),
        }
    }
}

impl Layout {
    /// The existing site directories in search order, each followed by what its `.pth` files add.
    pub(super) fn site_dirs(&self, home: Option<&Path>) -> Vec<PathBuf> {
        let mut dirs = Directories::default();
        let installation = self.base.as_deref().unwrap_or(&self.prefix);
        let debian = installation.join("lib/python3/dist-packages").is_dir();
        if self.base.is_some() {
            self.add_prefix(&self.prefix, debian, &mut dirs);
        }
        if self.system_site {
            if let Some(home) = home {
                dirs.add_site(
                    home.join(".local/lib")
                        .join(&self.lib)
                        .join("site-packages"),
                );
            }
            self.add_prefix(installation, debian, &mut dirs);
        }
        dirs.found
    }

    fn add_prefix(&self, prefix: &Path, debian: bool, dirs: &mut Directories) {
        let lib = |name: &str| prefix.join(name).join(&self.lib);
        // Debian keeps `site-packages` for environments and names its own differently, so that
        // a Python compiled beside the system's does not see the system's packages.
        if !debian || self.base.is_some() {
            // Where `lib64` is only a link to `lib` (an environment on most systems), Python
            // names the directory by `lib`.
            if !prefix.join("lib64").is_symlink() {
                dirs.add_site(lib("lib64").join("site-packages"));
            }
            dirs.add_site(lib("lib").join("site-packages"));
        }
        if debian {
            dirs.add_site(lib("local/lib").join("dist-packages"));
            dirs.add_site(prefix.join("lib/python3/dist-packages"));
            dirs.add_site(lib("lib").join("dist-packages"));
        }
    }
}

#[derive(Default)]
struct Directories {
    found: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
}

impl Directories {
    fn add(&mut self, dir: PathBuf) -> bool {
        let new = !self.seen.contains(&dir) && dir.is_dir();
        if new {
            self.seen.insert(dir.clone());
            self.found.push(dir);
        }
        new
    }

    fn add_site(&mut self, dir: PathBuf) {
        if !self.add(dir.clone()) {
            return;
        }
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name())
            .filter(|name| name.as_encoded_bytes().ends_with(b".pth"))
            .collect();
        names.sort();
        for name in names {
            self.add_listed(&dir, &dir.join(name));
        }
    }

    /// Follows the plain lines of a `.pth` file. Lines that start with `import` are code, which
    /// Python runs and this does not: what they add to the path is not seen here. (Packages
    /// installed as editable through such a line keep their metadata in the site directory
    /// itself, so their entry points are found all the same.)
    fn add_listed(&mut self, dir: &Path, file: &Path) {
        let Ok(file) = fs::File::open(file) else {
            return;
        };
        let mut bytes = Vec::new();
        if io::Read::read_to_end(&mut io::Read::take(file, PTH_BYTES), &mut bytes).is_err() {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim_end();
            let code = line.starts_with("import ") || line.starts_with("import\t");
            if !line.is_empty() && !line.starts_with('#') && !code {
                // A path may also name a zip file; packages inside one are not looked for.
                self.add(super::lexical(&dir.join(line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_executable_tells_family_and_version() {
        for (name, want) in [
            ("python3.11", "python 3.11 "),
            ("python3.13t", "python 3.13 t"),
            ("python3.12d", "python 3.12 "),
            ("pypy3.10", "pypy 3.10 "),
            ("python3", "python ? "),
            ("python", "python ? "),
            ("mise", "no"),
            ("python3.11-config", "no"),
            ("pythonw", "no"),
        ] {
            let got = Flavour::of(name).map_or("no".into(), |flavour| {
                let version = flavour
                    .version
                    .map_or("?".into(), |(a, b)| format!("{a}.{b}"));
                format!("{} {version} {}", flavour.family, flavour.abi)
            });
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn path_files_are_followed_but_not_run() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let site = dir.path().join("site");
        for name in ["site", "outside", "site/inside"] {
            fs::create_dir(dir.path().join(name)).expect("a folder");
        }
        fs::write(
            site.join("b.pth"),
            "\u{feff}# note\n\ninside\nmissing\r\n../outside  \n",
        )
        .expect("a file");
        fs::write(
            site.join("a.pth"),
            "import os; os.mkdir('ran')\nimport\tos\n../outside\n",
        )
        .expect("a file");
        fs::write(site.join("c.txt"), "..\n").expect("a file");
        let mut dirs = Directories::default();
        dirs.add_site(site.clone());
        let want = [
            site.clone(),
            dir.path().join("outside"),
            site.join("inside"),
        ];
        assert_eq!(dirs.found, want);
    }
}
