//! What an upgrade would do: a pure function of the files and the ledger.

use std::collections::HashMap;

use kodex_plugin::PluginName;

use super::{Applied, Step};
use crate::Engine;

/// What is wrong with a journal. Nothing of any plugin is applied while there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whose journal it is.
    pub plugin: PluginName,
    /// The rule that is broken.
    pub rule: Rule,
    /// The files or ids that break it.
    pub files: Vec<String>,
}

/// The rules of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The folder is no folder.
    NoFolder,
    /// A file or the folder cannot be read.
    Unreadable(String),
    /// A file's name does not have the form.
    Name,
    /// A file holds no statement.
    Blank,
    /// A file is no UTF-8.
    NoText,
    /// A file is too long.
    TooLong,
    /// A header that does not exist, or two that exclude each other.
    Header(String),
    /// A data step that holds SQL too.
    CodeWithSql,
    /// Two files with one number.
    DuplicateNumber,
    /// A step that exists for the other engine only.
    NoVariant(Engine),
    /// An applied file whose bytes changed.
    Changed {
        /// The checksum in the ledger.
        applied: String,
        /// The checksum of the file.
        found: String,
    },
    /// An applied file that is gone.
    Vanished,
    /// A new file that sorts before an applied one.
    OutOfOrder,
}

impl Problem {
    pub(crate) fn of<'a>(
        plugin: &PluginName,
        rule: Rule,
        files: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            plugin: plugin.clone(),
            rule,
            files: files.into_iter().map(str::to_owned).collect(),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &self.rule {
            Rule::NoFolder => "journal.no_folder",
            Rule::Unreadable(_) => "journal.unreadable",
            Rule::Name => "journal.name",
            Rule::Blank => "journal.blank",
            Rule::NoText => "journal.no_text",
            Rule::TooLong => "journal.too_long",
            Rule::Header(_) => "journal.header",
            Rule::CodeWithSql => "journal.code_with_sql",
            Rule::DuplicateNumber => "journal.duplicate_number",
            Rule::NoVariant(_) => "journal.no_variant",
            Rule::Changed { .. } => "journal.changed",
            Rule::Vanished => "journal.vanished",
            Rule::OutOfOrder => "journal.out_of_order",
        }
    }
}

/// Every code of this module with its meaning, for the reference.
pub const CODES: &[crate::error::Code] = &[
    ("journal.no_folder", "`migrations` is not a folder."),
    (
        "journal.unreadable",
        "A file or folder of the journal cannot be read.",
    ),
    (
        "journal.name",
        "A file's name is not NNNN_name.sql, .sqlite.sql or .postgres.sql, in lower case.",
    ),
    ("journal.blank", "A file holds no statement."),
    ("journal.no_text", "A file is not UTF-8."),
    ("journal.too_long", "A file is longer than 4 MiB."),
    (
        "journal.header",
        "A `-- kodex:` header does not exist or excludes another.",
    ),
    (
        "journal.code_with_sql",
        "A data step holds SQL too; put it into a step of its own.",
    ),
    (
        "journal.duplicate_number",
        "Two files have one number; renumber the newer one.",
    ),
    (
        "journal.no_variant",
        "A step exists for the other engine only.",
    ),
    (
        "journal.changed",
        "An applied file was changed; restore it and put the change into a new file.",
    ),
    ("journal.vanished", "An applied file is gone; restore it."),
    (
        "journal.out_of_order",
        "A new file sorts before an applied one; give it a higher number.",
    ),
];

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            plugin,
            rule,
            files,
        } = self;
        let files = files.join(" and ");
        write!(f, "plugin {plugin}: ")?;
        match rule {
            Rule::NoFolder => write!(f, "{files} is not a folder"),
            Rule::Unreadable(problem) => write!(f, "{files} cannot be read: {problem}"),
            Rule::Name => write!(
                f,
                "{files} is not named NNNN_name.sql (four digits, then lower-case letters, digits and _; \
                 .sqlite.sql or .postgres.sql for one engine)"
            ),
            Rule::Blank => write!(f, "{files} holds no statement"),
            Rule::NoText => write!(f, "{files} is not UTF-8"),
            Rule::TooLong => write!(f, "{files} is longer than 4 MiB"),
            Rule::Header(word) => write!(
                f,
                "{files}: the header `-- kodex: {word}` is unknown or excludes another; there are `no-transaction` and `code`"
            ),
            Rule::CodeWithSql => write!(
                f,
                "{files} is a data step and may hold nothing but comments"
            ),
            Rule::DuplicateNumber => write!(
                f,
                "{files} have one number; give the newer one the next free number"
            ),
            Rule::NoVariant(engine) => {
                write!(f, "{files}: there is no variant for {}", engine.as_str())
            }
            Rule::Changed { applied, found } => write!(
                f,
                "{files} was changed after it was applied (SHA-256 of the exact bytes: {} applied, {} found; line ends count); \
                 restore it and put the change into a new file",
                short(applied),
                short(found)
            ),
            Rule::Vanished => write!(
                f,
                "{files} was applied and is gone from the package; restore it"
            ),
            Rule::OutOfOrder => write!(
                f,
                "{files}: the first is new and sorts before the second, which is applied"
            ),
        }
    }
}

fn short(checksum: &str) -> &str {
    checksum.get(..12).unwrap_or(checksum)
}

/// What an upgrade of one plugin would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// How many steps are applied already.
    pub n_applied: usize,
    /// The id of the newest applied step.
    pub newest: Option<String>,
    /// The steps to apply, in order.
    pub pending: Vec<&'a Step>,
}

/// Compares a journal, in the order of its numbers, with its ledger.
///
/// # Errors
/// Every difference that is no mere lag.
///
/// ```
/// use kodex_plugin::PluginName;
/// use kodex_store::journal::plan;
///
/// let notes = PluginName::new("notes")?;
/// let plan = plan(&notes, &[], &[]).expect("an empty journal is up to date");
/// assert!(plan.pending.is_empty());
/// # Ok::<(), kodex_plugin::NameError>(())
/// ```
pub fn plan<'a>(
    plugin: &PluginName,
    steps: &'a [Step],
    applied: &[Applied],
) -> Result<Plan<'a>, Vec<Problem>> {
    let prefix = format!("plugin:{plugin}/");
    let file = |row: &Applied| row.id.strip_prefix(&prefix).unwrap_or(&row.id).to_owned();
    let mut ledger: HashMap<String, &Applied> =
        applied.iter().map(|row| (file(row), row)).collect();
    let newest = ledger.keys().max().cloned();
    let mut problems = Vec::new();
    let mut pending = Vec::new();
    for step in steps {
        match (ledger.remove(&step.file), &newest) {
            (Some(row), _) if row.checksum != step.checksum => problems.push(Problem::of(
                plugin,
                Rule::Changed {
                    applied: row.checksum.clone(),
                    found: step.checksum.clone(),
                },
                [row.id.as_str()],
            )),
            (Some(_), _) => {}
            (None, Some(newest)) if *newest > step.file => problems.push(Problem::of(
                plugin,
                Rule::OutOfOrder,
                [step.file.as_str(), newest.as_str()],
            )),
            (None, _) => pending.push(step),
        }
    }
    let mut gone: Vec<&str> = ledger.values().map(|row| row.id.as_str()).collect();
    gone.sort_unstable();
    problems.extend(
        gone.into_iter()
            .map(|id| Problem::of(plugin, Rule::Vanished, [id])),
    );
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        n_applied: applied.len(),
        newest: newest.map(|file| format!("{prefix}{file}")),
        pending,
    })
}
