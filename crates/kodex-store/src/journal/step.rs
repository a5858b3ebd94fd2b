//! One step: a file with a number, and the rules for reading a folder of them.
//!
//! `NNNN_name.sql` runs on both engines; where the text must differ there are `NNNN_name.sqlite.sql`
//! and `NNNN_name.postgres.sql`. Comment lines at the top of a file that begin with `-- kodex:` are
//! its header:
//!
//! | header | meaning |
//! |---|---|
//! | `-- kodex: no-transaction` | holds one statement that the engine refuses inside a transaction; it must be idempotent |
//! | `-- kodex: code` | a data step: the plugin's own code answers for it, the rest of the file is comment |

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use kodex_plugin::PluginName;
use sha2::{Digest, Sha256};

use super::plan::{Problem, Rule};
use crate::Engine;

/// Longest file; a journal holds schema, not dumps.
const STEP_BYTES: u64 = 4 << 20;

/// One step of a journal, as read from its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The first four digits of the name.
    pub number: u16,
    /// The file's name, engine part included.
    pub file: String,
    /// How it runs.
    pub kind: StepKind,
    /// The whole text.
    pub text: String,
    /// SHA-256 of the exact bytes, as 64 hex digits.
    pub checksum: String,
}

/// How a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// SQL, in one transaction with its ledger row.
    Sql,
    /// One SQL statement outside of any transaction, recorded afterwards.
    Bare,
    /// Code of the plugin.
    Code,
}

impl Step {
    /// The id in the ledger.
    #[must_use]
    pub fn id(&self, plugin: &PluginName) -> String {
        format!("plugin:{plugin}/{}", self.file)
    }

    /// The name without number's engine part and extension, by which code answers: `0003_backfill`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.file.split('.').next().unwrap_or(&self.file)
    }
}

/// SHA-256 of the exact bytes, as 64 hex digits. Line ends count, so a checkout that rewrites them changes it.
///
/// ```
/// # use kodex_store::journal::checksum;
/// assert_ne!(checksum(b"SELECT 1;\n"), checksum(b"SELECT 1;\r\n"));
/// ```
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

/// Reads a plugin's folder of migrations for one engine, in the order of the numbers. A folder that
/// does not exist is an empty journal.
///
/// # Errors
/// Everything that is wrong with the folder, not only the first.
pub fn read(plugin: &PluginName, folder: &Path, engine: Engine) -> Result<Vec<Step>, Vec<Problem>> {
    let names = names(plugin, folder).map_err(|problem| vec![problem])?;
    let bytes = |file: &str| {
        let read = || {
            // One look at the open file instead of two at its path.
            let mut open = File::open(folder.join(file))?;
            let n_bytes = open.metadata()?.len();
            if n_bytes > STEP_BYTES {
                return Ok(None);
            }
            // Its length is known, so nothing has to ask for its end.
            let mut bytes = vec![0; usize::try_from(n_bytes).unwrap_or(0)];
            open.read_exact(&mut bytes)?;
            Ok(Some(bytes))
        };
        match read() {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Problem::of(plugin, Rule::TooLong, [file])),
            Err(error) => Err(unreadable(plugin, file, &error)),
        }
    };
    assemble(plugin, names, bytes, engine)
}

/// The same for files that are linked into a program: their names and texts.
///
/// # Errors
/// As [`read`].
pub fn linked(
    plugin: &PluginName,
    files: &[(&str, &str)],
    engine: Engine,
) -> Result<Vec<Step>, Vec<Problem>> {
    let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    let bytes = |file: &str| {
        let found = files.iter().find(|(name, _)| *name == file);
        Ok(found.map_or_else(Vec::new, |(_, text)| text.as_bytes().to_vec()))
    };
    assemble(plugin, names, bytes, engine)
}

fn assemble(
    plugin: &PluginName,
    mut names: Vec<String>,
    bytes: impl Fn(&str) -> Result<Vec<u8>, Problem>,
    engine: Engine,
) -> Result<Vec<Step>, Vec<Problem>> {
    names.sort();
    let mut steps = Vec::with_capacity(names.len());
    let mut problems = Vec::new();
    for file in &names {
        match Name::parse(file) {
            None => problems.push(Problem::of(plugin, Rule::Name, [file.as_str()])),
            Some(name) if name.engine.is_none_or(|of| of == engine) => {
                match bytes(file).and_then(|bytes| step(plugin, file, name.number, bytes)) {
                    Ok(step) => steps.push(step),
                    Err(problem) => problems.push(problem),
                }
            }
            Some(_) => {}
        }
    }
    problems.extend(numbers(plugin, &names, engine));
    if problems.is_empty() {
        Ok(steps)
    } else {
        Err(problems)
    }
}

fn names(plugin: &PluginName, folder: &Path) -> Result<Vec<String>, Problem> {
    let shown = folder.to_string_lossy();
    let unreadable = |error: io::Error| unreadable(plugin, &shown, &error);
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
        Ok(meta) if !meta.is_dir() => return Err(Problem::of(plugin, Rule::NoFolder, [&*shown])),
        Ok(_) => {}
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A folder is none of ours whatever it is called; a link is judged by what it points to.
        if !name.ends_with(".sql") {
            continue;
        }
        // The listing itself says what is no link, which spares a look at each file.
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_file() || !entry.path().is_dir() {
            names.push(name);
        }
    }
    Ok(names)
}

fn unreadable(plugin: &PluginName, file: &str, error: &io::Error) -> Problem {
    Problem::of(plugin, Rule::Unreadable(error.to_string()), [file])
}

fn step(plugin: &PluginName, file: &str, number: u16, bytes: Vec<u8>) -> Result<Step, Problem> {
    let of = |rule| Problem::of(plugin, rule, [file]);
    let checksum = checksum(&bytes);
    let text = String::from_utf8(bytes).map_err(|_| of(Rule::NoText))?;
    let kind = header(&text).map_err(|word| of(Rule::Header(word)))?;
    match (kind, is_blank(&text)) {
        (StepKind::Code, false) => Err(of(Rule::CodeWithSql)),
        (StepKind::Sql | StepKind::Bare, true) => Err(of(Rule::Blank)),
        _ => Ok(Step {
            number,
            file: file.to_owned(),
            kind,
            text,
            checksum,
        }),
    }
}

/// Reads the `-- kodex:` lines among the comments at the top; gives back a word it does not know.
fn header(text: &str) -> Result<StepKind, String> {
    let mut kind = StepKind::Sql;
    let top = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in top.lines().map(str::trim) {
        let Some(comment) = line.strip_prefix("--") else {
            if line.is_empty() { continue } else { break }
        };
        let Some(word) = comment.trim_start().strip_prefix("kodex:") else {
            continue;
        };
        kind = match (kind, word.trim()) {
            (StepKind::Sql, "no-transaction") => StepKind::Bare,
            (StepKind::Sql, "code") => StepKind::Code,
            (_, word) => return Err(word.to_owned()),
        };
    }
    Ok(kind)
}

/// Whether a text holds nothing but white space, semicolons and comments.
fn is_blank(text: &str) -> bool {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            // Where the two engines read a nested comment differently, the text is not blank to one of them.
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else {
            return rest.is_empty();
        }
    }
}

/// Two files of one number, and a number that has a file for the other engine only.
fn numbers(plugin: &PluginName, files: &[String], engine: Engine) -> Vec<Problem> {
    let named: Vec<(Name<'_>, &str)> = files
        .iter()
        .filter_map(|file| Some((Name::parse(file)?, file.as_str())))
        .collect();
    let mut problems = Vec::new();
    for group in named.chunk_by(|(a, _), (b, _)| a.number == b.number) {
        let here: Vec<_> = group
            .iter()
            .filter(|(name, _)| name.engine.is_none_or(|of| of == engine))
            .collect();
        let same_stem = group.iter().all(|(name, _)| name.stem == group[0].0.stem);
        let portable = group.iter().any(|(name, _)| name.engine.is_none());
        let files = || group.iter().map(|(_, file)| *file);
        if here.len() > 1 || !same_stem || (portable && group.len() > 1) {
            problems.push(Problem::of(plugin, Rule::DuplicateNumber, files()));
        } else if here.is_empty() {
            problems.push(Problem::of(plugin, Rule::NoVariant(engine), files()));
        }
    }
    problems
}

struct Name<'a> {
    number: u16,
    stem: &'a str,
    engine: Option<Engine>,
}

impl<'a> Name<'a> {
    fn parse(file: &'a str) -> Option<Self> {
        let name = file.strip_suffix(".sql")?;
        let (name, engine) = match name.split_once('.') {
            None => (name, None),
            Some((name, "sqlite")) => (name, Some(Engine::Sqlite)),
            Some((name, "postgres")) => (name, Some(Engine::Postgres)),
            Some(_) => return None,
        };
        let (number, stem) = name.split_once('_')?;
        let digits = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        (digits && !stem.is_empty() && stem.bytes().all(word)).then_some(())?;
        Some(Self {
            number: number.parse().ok()?,
            stem,
            engine,
        })
    }
}
