//! What may be typed: the flags that every verb has, and the verbs.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Command, ValueEnum};

use crate::commands::VERBS;

// The flags that every verb has. They may stand before and after the verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct Globals {
    /// Look for plugins in this folder (default: plugins); may be repeated
    #[arg(long, global = true, value_name = "DIR", allow_negative_numbers = true)]
    pub(crate) plugin_dir: Vec<OsString>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read this configuration file and no other
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Run Python plugins with this interpreter or virtual environment
    #[arg(long, global = true, value_name = "PROGRAM")]
    pub(crate) python: Option<PathBuf>,
    /// Keep what plugins store here: sqlite:FOLDER or postgres://USER@HOST/DATABASE
    #[arg(long, global = true, value_name = "PLACE")]
    pub(crate) store: Option<String>,
    /// Fail when a plugin cannot be loaded
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Inspect every plugin again, and keep nothing
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
    /// Log what happens; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that wants them
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// The whole command line, for parsing, completions, manual pages and the reference.
#[must_use]
pub fn command() -> Command {
    let root = Command::new("kodex")
        .about("The plugin runtime for coding agents")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        // The first runtime's parser took any unambiguous beginning of a flag, and flags twice.
        .infer_long_args(true)
        .args_override_self(true)
        .after_help("Exit status: 0 fine, 1 the request failed, 2 usage or configuration, 70 a bug in Kodex, 130 Ctrl-C.");
    let root = Globals::augment_args(root);
    VERBS
        .iter()
        .fold(root, |root, row| root.subcommand((row.command)()))
}

/// Makes `--p` what it was to the first runtime, although more flags begin with it now:
/// `--plugin-dir` before the verb, `--payload` after it.
pub(crate) fn complete_prefixes(argv: Vec<OsString>) -> Vec<OsString> {
    let mut verb_seen = false;
    let mut is_value = false;
    let expand = |(index, word): (usize, OsString)| {
        let Some(text) = word.to_str().filter(|_| index > 0 && !is_value) else {
            is_value = false;
            return word;
        };
        let long = if verb_seen {
            "--payload"
        } else {
            "--plugin-dir"
        };
        is_value = !verb_seen && text.len() > 2 && !text.contains('=') && takes_value(text);
        verb_seen |= !text.starts_with('-');
        match text.strip_prefix("--p") {
            Some(rest) if rest.is_empty() || rest.starts_with('=') => {
                format!("{long}{rest}").into()
            }
            _ => word,
        }
    };
    argv.into_iter().enumerate().map(expand).collect()
}

/// Whether the next word belongs to this flag. Beginnings of flags count, as the parser takes them.
fn takes_value(flag: &str) -> bool {
    ["--plugin-dir", "--config", "--python", "--store", "--color"]
        .iter()
        .any(|long| long.starts_with(flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_shortest_prefix_means_what_it_meant_to_the_first_runtime() {
        for (typed, want) in [
            ("kodex --p dir list", "kodex --plugin-dir dir list"),
            (
                "kodex --p=dir emit h --p=1",
                "kodex --plugin-dir=dir emit h --payload=1",
            ),
            (
                "kodex --p emit emit h --p {}",
                "kodex --plugin-dir emit emit h --payload {}",
            ),
            ("kodex --pl x emit h --pa 1", "kodex --pl x emit h --pa 1"),
            (
                "kodex --json --p d list",
                "kodex --json --plugin-dir d list",
            ),
            ("--p", "--p"),
        ] {
            let argv = typed.split(' ').map(OsString::from).collect();
            let got = complete_prefixes(argv).join(std::ffi::OsStr::new(" "));
            assert_eq!(got.to_string_lossy(), want);
        }
    }
}
