//! What the stable codes of errors and findings mean, from the tables of the crates that give them.

use serde::Serialize;

/// The codes that this crate gives.
pub const CODES: &[(&str, &str)] = &[
    (
        "caller.invalid",
        "What `--caller` says does not tell who calls. It is an object with `call_id` and `source`; the message says what is wrong.",
    ),
    (
        "check.path",
        "There is nothing at the path that should be checked. Correct the path.",
    ),
    (
        "cli.cache",
        "There is no folder for the cache, or it cannot be made. Set KODEX_CACHE_DIR, or run with `--no-cache`.",
    ),
    (
        "cli.event_loop",
        "The system gives no means to wait for events. Raise the limit of open files.",
    ),
    (
        "cli.output",
        "The result cannot be written. Look for space on the disk behind standard output.",
    ),
    (
        "config.key.missing",
        "A key that must be there is missing in the configuration. Add it at the place that is shown.",
    ),
    (
        "config.key.unknown",
        "A key of the configuration is not known. Correct or remove it.",
    ),
    (
        "config.order.conflict",
        "`order` names a plugin twice, or one that has a priority of its own. Leave one of the two out.",
    ),
    (
        "config.owner",
        "A project's configuration above the working directory belongs to another user and was passed over. To use it, name it with `--config`.",
    ),
    (
        "config.program",
        "A program that the configuration names is not on the search path, or is no program. Install it, or write where it is.",
    ),
    (
        "config.syntax",
        "The configuration is no TOML. Mend it at the place that is shown.",
    ),
    (
        "config.type",
        "A value of the configuration has the wrong type. Write it as the guide about configuration does.",
    ),
    (
        "config.unreadable",
        "The configuration file cannot be read. Check its permissions, or name another one with `--config`.",
    ),
    (
        "config.value",
        "A value of the configuration is out of range or cannot be understood. The message says what is allowed.",
    ),
    (
        "daemon.absent",
        "No resident runtime listens on the socket. Start one with `kodex serve`, or name its socket with `--socket`.",
    ),
    (
        "daemon.unready",
        "The resident runtime takes no work: it is about to begin or to end, or its store is not there. It goes on by itself when that has passed.",
    ),
    (
        "input.unreadable",
        "A file or standard input with JSON cannot be read. Check the path and its permissions.",
    ),
    ("internal", "A bug in Kodex. Report it with the message."),
    (
        "man.write",
        "The manual pages cannot be written. Name a folder that you may write to.",
    ),
    (
        "permissions.plugin.unknown",
        "No plugin with this name was loaded. `kodex list` shows the names, `kodex doctor` what could not be loaded.",
    ),
    (
        "report.plugin.unknown",
        "No plugin with this name was loaded, so it has no report. `kodex list` shows the names, `kodex doctor` what could not be loaded.",
    ),
    (
        "scaffold.exists",
        "There is a plugin at that place already; nothing is overwritten. Choose another name or folder.",
    ),
    (
        "scaffold.name",
        "The name cannot be that of a plugin. Use a to z, 0 to 9 and single `-`, starting with a letter.",
    ),
    (
        "scaffold.write",
        "The new plugin cannot be written. Name a folder that you may write to.",
    ),
    (
        "schedule.disabled",
        "The scheduler is not among the plugins. Write a table `[plugin.kodex-scheduler]` into `.kodex/config.toml`, then run `kodex upgrade` once.",
    ),
    (
        "state.absent",
        "The plugin has no value for this key. `kodex state list PLUGIN` lists the keys.",
    ),
    (
        "state.exists",
        "There is a value for this key already, and the write was asked not to replace one.",
    ),
    (
        "usage",
        "What was typed cannot be used. `--help` shows what can.",
    ),
    (
        "watch.failed",
        "The plugin folders cannot be watched. Raise the system's limit of watches.",
    ),
    (
        "work.dead",
        "Runs or jobs were given up. `kodex runs list --state dead` says why, `kodex runs retry ID` tries one again.",
    ),
];

/// What one code means.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Meaning {
    pub(crate) code: String,
    pub(crate) meaning: String,
}

/// The meaning of a code, if it is one.
pub(crate) fn meaning(code: &str) -> Option<Meaning> {
    let below = kodex::codes().into_iter().flat_map(|table| table.codes);
    let served = kodex_server::CODES.iter().copied();
    let scheduled = kodex_scheduler::CODES.iter().copied();
    let mut known = CODES
        .iter()
        .copied()
        .chain(served)
        .chain(scheduled)
        .chain(below);
    let (code, meaning) = known.find(|(known, _)| *known == code)?;
    Some(Meaning {
        code: code.to_owned(),
        meaning: meaning.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the sources: a code that is given but not listed could not be explained.
    #[test]
    fn every_code_that_this_crate_gives_is_listed() {
        fn walk(folder: &std::path::Path, texts: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).expect("sources").flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(&path, texts),
                    path if path.extension().is_some_and(|ending| ending == "rs") => {
                        texts.push(std::fs::read_to_string(path).expect("a source"));
                    }
                    _ => {}
                }
            }
        }
        let mut texts = Vec::new();
        walk(
            &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut texts,
        );
        let mut n_given = 0;
        for text in &texts {
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for start in [
                "Problem::failed(",
                "Problem::usage(",
                "Diagnostic::error(",
                "=> \"config.",
            ] {
                for rest in text.split(start).skip(1) {
                    let rest = if start.ends_with('.') {
                        format!("\"config.{rest}")
                    } else {
                        rest.trim_start().to_owned()
                    };
                    let Some(code) = rest
                        .strip_prefix('"')
                        .and_then(|rest| rest.split('"').next())
                    else {
                        continue;
                    };
                    n_given += 1;
                    assert!(meaning(code).is_some(), "{code}");
                }
            }
        }
        assert!(
            n_given > 15,
            "the sources are no longer written as this test expects: {n_given}"
        );
    }

    #[test]
    fn the_table_is_sorted_and_every_table_is_asked() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for code in [
            "usage",
            "load.name.duplicate",
            "manifest.key.unknown",
            "python.too_old",
            "worker.banner",
        ] {
            assert_eq!(meaning(code).expect(code).code, code);
        }
        assert_eq!(meaning("prompt.submit"), None);
    }
}
