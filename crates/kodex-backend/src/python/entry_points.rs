//! Installed packages that offer plugins: the entry points of a group, read from
//! `*.dist-info/entry_points.txt` without starting Python.
//!
//! The answer is that of Python's `importlib.metadata.entry_points(group=...)`, with these
//! differences, all on purpose:
//! - within one directory distributions come sorted by the name of their folder; Python takes the
//!   order in which the file system lists them, which differs from machine to machine;
//! - `*.egg-info` is not read: setuptools stopped writing it for installed packages, its `.pth` form
//!   puts the project's own folder on the path, and no current installer makes one. One that would
//!   have offered a plugin is named in a note;
//! - folders starting with `~` are what pip leaves behind when an uninstall is interrupted;
//! - an entry point must be `module:attribute`.
//!
//! Nothing here fails: what cannot be read becomes a diagnostic.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use kodex_plugin::{Diagnostic, Position};

/// The group of entry points that are plugins.
pub const GROUP: &str = "kodex.plugins";

/// Real files have a few hundred bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Name and version stand at the top of METADATA; the description below can be long.
const METADATA_BYTES: u64 = 64 << 10;

/// One entry point of an installed distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// Its name, unique in the group by convention only.
    pub name: String,
    /// The module to import.
    pub module: String,
    /// The attribute of the module, dotted if nested.
    pub attr: String,
    /// The distribution's name, as its metadata spells it.
    pub distribution: String,
    /// The distribution's version.
    pub version: String,
    /// The site directory that holds the distribution.
    pub site_dir: PathBuf,
    /// The `entry_points.txt` that names it.
    pub file: PathBuf,
}

impl EntryPoint {
    /// `module:attr`, as the inspector and the worker take it.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{}:{}", self.module, self.attr)
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The entry points, in path order, then by distribution folder, then as the file has them.
    pub entry_points: Vec<EntryPoint>,
    /// What could not be read.
    pub diagnostics: Vec<Diagnostic>,
}

/// Lists the entry points of a group. A distribution shadows those of the same name (in normal
/// form) later on the path, whether or not it has entry points itself.
#[must_use]
pub fn entry_points(site_dirs: &[PathBuf], group: &str) -> Scanned {
    let mut scan = Scan {
        group,
        seen: HashSet::new(),
        found: Scanned::default(),
    };
    for site_dir in site_dirs {
        scan.directory(site_dir);
    }
    scan.found
}

struct Scan<'a> {
    group: &'a str,
    seen: HashSet<String>,
    found: Scanned,
}

impl Scan<'_> {
    fn directory(&mut self, site_dir: &Path) {
        let entries = match fs::read_dir(site_dir) {
            Ok(entries) => entries,
            // Gone between the listing of directories and now; there is nothing in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.unreadable(site_dir, &error),
        };
        // Names that are no UTF-8 cannot be distributions: the format allows ASCII only.
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let is_metadata =
            |name: &String| name.ends_with(".dist-info") || name.ends_with(".egg-info");
        let mut folders: Vec<String> = names.filter(is_metadata).collect();
        folders.sort_unstable();
        for folder in folders.iter().filter(|name| !name.starts_with('~')) {
            self.distribution(site_dir, folder);
        }
    }

    fn distribution(&mut self, site_dir: &Path, folder: &str) {
        let Some((stem, kind)) = folder.rsplit_once('.') else {
            return;
        };
        let name = stem.split('-').next().unwrap_or_default();
        if !self.seen.insert(normal(name)) {
            return;
        }
        let file = site_dir.join(folder).join("entry_points.txt");
        let text = match read(&file, FILE_BYTES) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return,
            Err(error) => return self.unreadable(&file, &error),
        };
        // Most distributions offer only commands; they are passed over without parsing.
        if !text.contains(self.group) {
            return;
        }
        let mut points = Vec::new();
        self.parse(&text, &file, &mut points);
        if points.is_empty() {
            return;
        }
        if kind == "egg-info" {
            return self.found.diagnostics.push(
                Diagnostic::note("discover.entry_points.egg_info", format!("`{name}` offers plugins, but is installed in the old egg form, which is not read"))
                    .with_hint("install it again with `pip install`")
                    .with_file(file.display().to_string()),
            );
        }
        let (distribution, version) = self.describe(&site_dir.join(folder), stem);
        self.found
            .entry_points
            .extend(points.into_iter().map(|point| EntryPoint {
                name: point.name,
                module: point.module,
                attr: point.attr,
                distribution: distribution.clone(),
                version: version.clone(),
                site_dir: site_dir.to_owned(),
                file: file.clone(),
            }));
    }

    /// Reads the lines of the group. The format is INI: sections, `name = value`, comments.
    fn parse(&mut self, text: &str, file: &Path, points: &mut Vec<Point>) {
        let mut inside = false;
        let mut start = 0;
        for whole in text.split_inclusive('\n') {
            let span = start..start + whole.trim_end().len();
            start += whole.len();
            let line = whole.trim_start_matches('\u{feff}').trim();
            if let Some(section) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                inside = section.trim() == self.group;
            } else if inside && !line.is_empty() && !line.starts_with(['#', ';']) {
                let problem = match Point::parse(line) {
                    Ok(point) if points.iter().any(|known| known.name == point.name) => {
                        format!(
                            "the name `{}` stands twice in the group; the first one counts",
                            point.name
                        )
                    }
                    Ok(point) => {
                        points.push(point);
                        continue;
                    }
                    Err(problem) => format!("{problem}: `{line}`"),
                };
                self.found.diagnostics.push(
                    Diagnostic::warning("discover.entry_points.line", problem)
                        .with_hint("an entry point is written `name = package.module:attribute`")
                        .with_file(file.display().to_string())
                        .with_position(Position::of(text, span)),
                );
            }
        }
    }

    /// Name and version, from METADATA or, where that is damaged, from the folder's name.
    fn describe(&mut self, folder: &Path, stem: &str) -> (String, String) {
        let file = folder.join("METADATA");
        let text = read(&file, METADATA_BYTES).unwrap_or_else(|error| {
            self.unreadable(&file, &error);
            String::new()
        });
        let header = |wanted: &str| {
            let lines = text.lines().take_while(|line| !line.trim().is_empty());
            let mut pairs = lines.filter_map(|line| line.split_once(':'));
            let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let (name, version) = stem.split_once('-').unwrap_or((stem, "0"));
        (
            header("Name").unwrap_or_else(|| name.to_owned()),
            header("Version").unwrap_or_else(|| version.to_owned()),
        )
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let path = path.display().to_string();
        self.found.diagnostics.push(
            Diagnostic::warning(
                "discover.entry_points.unreadable",
                format!("cannot read {path}: {error}"),
            )
            .with_hint("plugins of installed packages may be missing from the list")
            .with_file(path),
        );
    }
}

/// One line of the group.
struct Point {
    name: String,
    module: String,
    attr: String,
}

impl Point {
    fn parse(line: &str) -> Result<Self, &'static str> {
        let (name, value) = line.split_once('=').ok_or("the line has no `=`")?;
        // Extras are what an installer needed to know; at run time they mean nothing.
        let target = value.split('[').next().unwrap_or_default();
        let (module, attr) = target
            .split_once(':')
            .ok_or("the value names no attribute")?;
        let (name, module, attr) = (name.trim(), module.trim(), attr.trim());
        if name.is_empty() {
            return Err("the name is empty");
        }
        if !is_dotted(module) || !is_dotted(attr) {
            return Err("the value is no `module:attribute`");
        }
        let [name, module, attr] = [name, module, attr].map(str::to_owned);
        Ok(Self { name, module, attr })
    }
}

/// Dotted Python identifiers, such as `package.module`.
fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

/// `Foo.Bar__baz` and `foo-bar-baz` are one distribution.
fn normal(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn read(file: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    let cut = bytes.len() as u64 == limit;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // The limit may have fallen into the middle of a character.
        Err(error) if cut && error.utf8_error().error_len().is_none() => {
            Ok(String::from_utf8_lossy(error.as_bytes()).into_owned())
        }
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Site directories from lines such as `a/Foo-1.0 p = m:A`, where `a` is the directory and
    /// `\n` separates lines of the file.
    fn check(distributions: &[(&str, &str)]) -> String {
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut site_dirs = Vec::new();
        for (path, text) in distributions {
            let (site, folder) = path.split_once('/').expect("site/folder");
            let site = root.path().join(site);
            let folder = site.join(folder);
            fs::create_dir_all(&folder).expect("folders");
            if !text.is_empty() {
                fs::write(folder.join("entry_points.txt"), text).expect("a file");
            }
            let stem = path.split_once('/').map_or("", |(_, stem)| stem);
            let (name, rest) = stem.split_once('-').expect("name-version");
            let version = rest
                .trim_end_matches(".dist-info")
                .trim_end_matches(".egg-info");
            let metadata =
                format!("Metadata-Version: 2.1\nName: {name}!\nVersion: {version}\n\nName: no\n");
            fs::write(folder.join("METADATA"), metadata).expect("a file");
            if !site_dirs.contains(&site) {
                site_dirs.push(site);
            }
        }
        let scanned = entry_points(&site_dirs, GROUP);
        let points = scanned.entry_points.iter().map(|point| {
            let EntryPoint {
                name,
                distribution,
                version,
                ..
            } = point;
            format!("{name}={} {distribution} {version}", point.object())
        });
        let findings = scanned.diagnostics.iter().map(|diagnostic| {
            let code = diagnostic.code.trim_start_matches("discover.entry_points.");
            let line = diagnostic.position.map_or(0, |at| at.line);
            format!("{code}@{line}")
        });
        points.chain(findings).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn entry_points_are_read_as_the_format_says() {
        for (distributions, want) in [
            (
                &[("a/foo-1.0.dist-info", "[kodex.plugins]\np = m.n:A\n")][..],
                "p=m.n:A foo! 1.0",
            ),
            (
                &[(
                    "a/foo-1.dist-info",
                    "[console_scripts]\nx = y:z\n[kodex.plugins]\n# note\n; note\n\n  a b = m:A.b [x,y]\r\nc=m : B\n[other]\nd = m:D",
                )],
                "a b=m:A.b foo! 1; c=m:B foo! 1",
            ),
            // A name in another group, or in a comment, is not an entry point.
            (
                &[(
                    "a/foo-1.dist-info",
                    "[console_scripts]\nkodex.plugins = y:z\n#[kodex.plugins]\np = m:A",
                )],
                "",
            ),
            (
                &[(
                    "a/foo-1.dist-info",
                    "\u{feff}[kodex.plugins]\nnothing\n= m:A\np = m\nq = 1m:A\nr = m:A b\ns = m:A\ns = m:B",
                )],
                "s=m:A foo! 1; line@2; line@3; line@4; line@5; line@6; line@8",
            ),
            // Sorted by folder, not by the order in which the file system lists them.
            (
                &[
                    ("a/zeta-1.dist-info", "[kodex.plugins]\nz = m:Z"),
                    ("a/Alpha-1.dist-info", "[kodex.plugins]\na = m:A"),
                ],
                "a=m:A Alpha! 1; z=m:Z zeta! 1",
            ),
            // The first of a name on the path wins, even when it offers nothing.
            (
                &[
                    ("a/Foo.Bar-2.dist-info", ""),
                    ("b/foo_bar-1.dist-info", "[kodex.plugins]\np = m:A"),
                ],
                "",
            ),
            (
                &[
                    ("a/foo-2.dist-info", "[kodex.plugins]\np = m:A"),
                    ("b/foo-1.dist-info", "[kodex.plugins]\np = m:B"),
                    ("b/bar-1.dist-info", "[kodex.plugins]\nq = m:C"),
                ],
                "p=m:A foo! 2; q=m:C bar! 1",
            ),
            (
                &[
                    ("a/foo-1.egg-info", "[kodex.plugins]\np = m:A"),
                    ("a/~ip-1.dist-info", "[kodex.plugins]\np = m:A"),
                ],
                "egg_info@0",
            ),
        ] {
            assert_eq!(check(distributions), want, "{distributions:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_reported_and_the_rest_is_found() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let site = root.path().to_owned();
        for (name, bytes) in [
            ("a", &b"[kodex.plugins]\np = \xff:A"[..]),
            ("b", b"[kodex.plugins]\np = m:A"),
        ] {
            let folder = site.join(format!("{name}-1.dist-info"));
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("entry_points.txt"), bytes).expect("a file");
        }
        fs::create_dir_all(site.join("c-1.dist-info/entry_points.txt")).expect("folders");
        fs::write(site.join("d-1.dist-info"), "a file, not a folder").expect("a file");
        let scanned = entry_points(&[site.join("missing"), site.clone()], GROUP);
        let codes: Vec<_> = scanned
            .diagnostics
            .iter()
            .map(|found| found.code.as_str())
            .collect();
        assert_eq!(
            codes, ["discover.entry_points.unreadable"; 3],
            "{:?}",
            scanned.diagnostics
        );
        // METADATA is missing too, so name and version are those of the folder.
        let points: Vec<_> = scanned
            .entry_points
            .iter()
            .map(|p| (p.distribution.as_str(), p.version.as_str()))
            .collect();
        assert_eq!(points, [("b", "1")]);
    }
}
