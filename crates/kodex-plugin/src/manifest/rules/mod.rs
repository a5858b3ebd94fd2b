//! From the raw form to the ready one: every rule about values, none about syntax.
//!
//! A rule that is broken gives a finding and an empty value, never an early end, so that one pass
//! shows everything. Whether the result may be used is decided at the end by what was found.

mod hook;
mod identity;
mod paths;
mod permission;
mod run;
mod tool;

use std::{collections::HashSet, hash::Hash, time::Duration};

use super::{
    Database, MANIFEST_VERSION, Manifest, RawManifest, Requires, Run, Version, code,
    raw::{RawDatabase, RawRequires},
    report::{
        Path, Report,
        Step::{self, Index, Key},
    },
};
use crate::{PluginName, span};

/// The longest timeout that a manifest may ask for. Longer work is a job or an agent run, which
/// survive a restart; a call does not.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Judges a raw manifest. Gives nothing when an error was found, here or before.
pub(super) fn ready(raw: RawManifest, in_code: bool, report: &mut Report) -> Option<Manifest> {
    let mut rules = Rules { in_code, report };
    rules.format(raw.manifest);
    let name = rules.name(raw.plugin.name);
    let version = rules.version(&raw.plugin.version);
    let description = rules.description(raw.plugin.description);
    let capabilities = rules.capabilities(&raw.plugin.capabilities);
    let api = rules.api(raw.plugin.api.as_deref());
    let has_run = raw.run.is_some();
    let run = rules.run(raw.run);
    if !has_run {
        rules.no_code(
            [Key("hook"), Key("tool"), Key("database")],
            [
                !raw.hooks.is_empty(),
                !raw.tools.is_empty(),
                raw.database.is_some(),
            ],
        );
    }
    let hooks = rules.hooks(raw.hooks);
    let tools = rules.tools(raw.tools);
    let permissions = rules.permissions(raw.permissions);
    let database = raw
        .database
        .and_then(|database| rules.database(database, name.as_ref()));
    let requires = rules.requires(raw.requires.unwrap_or_default());
    if report.has_error() {
        return None;
    }
    Some(Manifest {
        name: name?,
        version: version?,
        description: description?,
        capabilities,
        api,
        run: run?,
        hooks,
        tools,
        permissions,
        database,
        requires,
    })
}

/// What was met before in a list. Most lists are so short that looking through them is cheaper than
/// hashing; a manifest that is full of one may not cost a quadratic search either.
struct Seen<T> {
    few: [Option<T>; 8],
    many: HashSet<T>,
}

impl<T: Eq + Hash> Seen<T> {
    fn new() -> Self {
        Self {
            few: [const { None }; 8],
            many: HashSet::new(),
        }
    }

    /// Whether it is met for the first time.
    fn insert(&mut self, one: T) -> bool {
        for place in &mut self.few {
            match place {
                Some(known) if *known == one => return false,
                Some(_) => {}
                None => {
                    *place = Some(one);
                    return true;
                }
            }
        }
        self.many.insert(one)
    }
}

struct Rules<'r> {
    /// Whether the manifest was declared in code, which earlier plugins did freely.
    in_code: bool,
    report: &'r mut Report,
}

impl Rules<'_> {
    fn format(&mut self, format: u32) {
        if format != MANIFEST_VERSION {
            self.report.error(
                &[Key("manifest")],
                code::FORMAT_UNKNOWN,
                format!("`manifest` = {format} is a format that this Kodex does not read"),
                format!("write manifest = {MANIFEST_VERSION}, or use a newer Kodex"),
            );
        }
    }

    /// A plugin without code can neither answer nor keep tables.
    fn no_code(&mut self, keys: [Step; 3], present: [bool; 3]) {
        for (key, _) in keys.into_iter().zip(present).filter(|(_, there)| *there) {
            let message = format!("`{}` needs code, but there is no [run]", Path(&[key]));
            self.report.error(
                &[key, Index(0)],
                code::RUN_MISSING,
                message,
                format!("add a table [run] with a kind: {}", super::run_kinds()),
            );
        }
    }

    fn timeout(&mut self, at: &[Step], text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let here = Path(at);
        let problem = match span::parse_span(text) {
            Err(error) => (
                code::TIMEOUT_INVALID,
                format!("`{here}` = {text:?} is no span of time: {}", error.rule()),
                "write a whole number with a unit, such as \"500ms\", \"1s\" or \"2m\"",
            ),
            Ok(Duration::ZERO) => (
                code::TIMEOUT_ZERO,
                format!("`{here}` = {text:?} leaves no time at all"),
                "leave the key out to get the usual timeout",
            ),
            Ok(span) if span > TIMEOUT_MAX => (
                code::TIMEOUT_LONG,
                format!(
                    "`{here}` = {text:?} is longer than the {}",
                    span::format_span(TIMEOUT_MAX)
                ),
                "work that takes longer belongs in a job or an agent run",
            ),
            Ok(span) => return Some(span),
        };
        let (code, message, hint) = problem;
        self.report.error(at, code, message, hint);
        None
    }

    fn database(&mut self, raw: RawDatabase, name: Option<&PluginName>) -> Option<Database> {
        self.path(&[Key("database"), Key("migrations")], &raw.migrations);
        let at = [Key("database"), Key("renamed_from")];
        let renamed_from = raw
            .renamed_from
            .and_then(|earlier| self.plugin_name(&at, earlier));
        if renamed_from.is_some() && renamed_from.as_ref() == name {
            self.report.error(
                &at,
                code::DATABASE_RENAMED,
                "`database.renamed_from` is the plugin's present name",
                "write the earlier name, or leave the key out",
            );
        }
        Some(Database {
            migrations: raw.migrations,
            renamed_from,
        })
    }

    fn requires(&mut self, raw: RawRequires) -> Requires {
        for (n, program) in raw.bin.iter().enumerate() {
            let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '\\');
            if program.is_empty() || !program.chars().all(plain) {
                self.report.error(
                    &[Key("requires"), Key("bin"), Index(n)],
                    code::REQUIRES_BIN,
                    format!("`requires.bin` lists {program:?}, which is no name of a program"),
                    "write the bare name that is looked for on the path, such as \"jq\"",
                );
            }
        }
        Requires { bin: raw.bin }
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn nothing_is_new_twice() {
        let mut seen = Seen::new();
        for round in [true, false] {
            for n in 0..40 {
                assert_eq!(seen.insert(n), round, "{n}");
            }
        }
    }
}
