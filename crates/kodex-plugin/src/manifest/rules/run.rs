//! How the code runs: the kind, and the keys that belong to it.

use super::{Index, Key, Path, Rules, Run, Seen, Step, code};
use crate::{
    manifest::{KINDS, raw::RawRun, run_kinds, variable},
    suggest,
};

/// Which of the three optional keys a kind has.
struct Keys {
    entry: bool,
    command: bool,
    env: bool,
}

fn keys(kind: &str) -> Option<Keys> {
    let keys = |entry, command, env| Keys {
        entry,
        command,
        env,
    };
    Some(match kind {
        "python" => keys(true, false, true),
        "process" | "command" | "mcp" => keys(false, true, true),
        "wasm" => keys(true, false, false),
        "native" => keys(false, false, false),
        _ => return None,
    })
}

impl Rules<'_> {
    pub(super) fn run(&mut self, raw: Option<RawRun>) -> Option<Run> {
        let Some(raw) = raw else {
            return Some(Run::None);
        };
        let Some(keys) = keys(&raw.kind) else {
            self.unknown_kind(&raw.kind);
            return None;
        };
        let entry = self.belongs("entry", &raw.kind, keys.entry, raw.entry);
        let command = self.belongs("command", &raw.kind, keys.command, raw.command);
        let env = match (keys.env, raw.env) {
            // Unlike the other two it may be left out.
            (true, None) => Vec::new(),
            (belongs, env) => self
                .belongs("env", &raw.kind, belongs, env)
                .unwrap_or_default(),
        };
        if let Some(command) = &command {
            self.command(command);
        }
        if let Some(entry) = &entry {
            self.entry(&raw.kind, entry);
        }
        let env = self.env(env);
        Some(match raw.kind.as_str() {
            "python" => Run::Python { entry: entry?, env },
            "process" => Run::Process {
                command: command?,
                env,
            },
            "command" => Run::Command {
                command: command?,
                env,
            },
            "mcp" => Run::Mcp {
                command: command?,
                env,
            },
            "wasm" => Run::Wasm { entry: entry? },
            _ => Run::Native,
        })
    }

    fn unknown_kind(&mut self, kind: &str) {
        let hint = match suggest::closest(kind, KINDS.iter().copied()) {
            Some(known) => format!("did you mean \"{known}\"? There are {}", run_kinds()),
            None => format!("there are {}", run_kinds()),
        };
        self.report.error(
            &[Key("run"), Key("kind")],
            code::RUN_KIND,
            format!("`run.kind` = {kind:?} is no known way to run a plugin"),
            hint,
        );
    }

    /// A key of `[run]`, reported when it is there and must not, or must be there and is not.
    fn belongs<T>(
        &mut self,
        key: &'static str,
        kind: &str,
        belongs: bool,
        value: Option<T>,
    ) -> Option<T> {
        match (belongs, &value) {
            (true, None) => self.report.error(
                &[Key("run"), Key(key)],
                code::KEY_MISSING,
                format!("`run.{key}` is missing; kind \"{kind}\" needs it"),
                match key {
                    "entry" => "add the file with the code, such as entry = \"plugin.py\"",
                    _ => "add program and arguments, such as command = [\"node\", \"plugin.js\"]",
                },
            ),
            (false, Some(_)) => self.report.error(
                &[Key("run"), Key(key)],
                code::KEY_MISPLACED,
                format!("`run.{key}` does not belong to kind \"{kind}\""),
                match key {
                    "entry" => "remove it; `entry` belongs to python and wasm".to_owned(),
                    "command" => {
                        "remove it; `command` belongs to process, command and mcp".to_owned()
                    }
                    _ => format!("remove it; {kind} code has no environment of its own"),
                },
            ),
            _ => return value,
        }
        None
    }

    fn entry(&mut self, kind: &str, entry: &str) {
        if !(kind == "python" && is_object(entry, self.in_code)) {
            self.path(&[Key("run"), Key("entry")], entry);
        }
    }

    fn command(&mut self, command: &[String]) {
        let at = [Key("run"), Key("command")];
        let program = command.first().map_or("", String::as_str);
        if program.trim().is_empty() {
            return self.report.error(
                &at,
                code::COMMAND_EMPTY,
                "`run.command` names no program",
                "write program and arguments, such as command = [\"node\", \"plugin.js\"]",
            );
        }
        if program.contains(['/', '\\']) {
            return self.path(&[at[0], at[1], Index(0)], program);
        }
        if program.contains(char::is_whitespace) && command.len() == 1 {
            let words: Vec<_> = program.split_whitespace().take(8).collect();
            self.report.warning(
                &[at[0], at[1], Index(0)],
                code::COMMAND_WORDS,
                format!("`run.command` starts the program {program:?}, whose name holds blanks"),
                format!("if these are arguments, write each by itself: {words:?}"),
            );
        }
    }

    fn env(&mut self, names: Vec<String>) -> Vec<String> {
        let mut kept = Vec::with_capacity(names.len());
        let mut seen = Seen::new();
        for (n, name) in names.into_iter().enumerate() {
            let at = [Key("run"), Key("env"), Index(n)];
            if let Some((code, problem, hint)) = env_problem(&name) {
                let message = format!("`{}` = {name:?} {problem}", Path(&at));
                self.report.error(&at, code, message, hint);
            } else if seen.insert(name.clone()) {
                kept.push(name);
            } else {
                self.env_twice(&at, &name);
            }
        }
        kept
    }

    fn env_twice(&mut self, at: &[Step], name: &str) {
        self.report.warning(
            at,
            code::ENV_DUPLICATE,
            format!("`run.env` lists {name} twice"),
            "remove one of them",
        );
    }
}

/// The form `module:object` of a plugin in an installed package. In a file one letter before the
/// colon is taken for a drive; an inspected plugin was imported under that name and has none.
fn is_object(entry: &str, in_code: bool) -> bool {
    let identifier = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
            && chars.all(|c| c == '_' || c.is_alphanumeric())
    };
    entry.split_once(':').is_some_and(|(module, object)| {
        (in_code || module.len() > 1)
            && module.split('.').all(identifier)
            && object.split('.').all(identifier)
    })
}

fn env_problem(name: &str) -> Option<(&'static str, &'static str, &'static str)> {
    if !variable::is_name(name) {
        Some((
            code::ENV_NAME,
            "is no name of an environment variable",
            "list names only, such as \"API_TOKEN\"; values come from the host's environment",
        ))
    } else if variable::is_loader_variable(name) {
        Some((
            code::ENV_LOADER,
            "changes how programs are loaded and never passes to a plugin",
            "remove it; set what you need inside the plugin's own code",
        ))
    } else if variable::is_reserved(name) {
        Some((
            code::ENV_RESERVED,
            "is set by Kodex itself",
            "remove it; the reference lists what every worker is given",
        ))
    } else {
        None
    }
}
