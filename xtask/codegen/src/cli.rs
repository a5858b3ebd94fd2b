//! `docs/reference/cli.md`: every verb with its usage and options, from the definition that the program
//! itself parses with.

use clap::{Arg, Command};

use crate::page::{Page, cell};

const INTRODUCTION: &str = "# The command line

Options of the program stand before the verb, options of a verb after it.

";

pub(crate) fn page() -> Page {
    let text = INTRODUCTION.to_owned() + &sections(kodex_cli::command());
    Page::reference(
        "cli",
        "the definition of the command line in `kodex-cli`",
        &text,
    )
}

fn sections(mut program: Command) -> String {
    // Fixed, so that the page does not depend on the terminal of whoever writes it.
    program = program.term_width(usize::MAX);
    program.build();
    section(&program, 2)
}

/// A command and, below it, its own commands.
fn section(command: &Command, level: usize) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let mut text = format!("{} {name}\n\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        text += &format!("{about}\n\n");
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    text += &format!("```text\n{usage}\n```\n\n");
    text += &table(command);
    if let Some(more) = command.get_after_long_help().or(command.get_after_help()) {
        text += &format!("{more}\n\n");
    }
    let below = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    below.fold(text, |text, below| text + &section(below, level + 1))
}

fn table(command: &Command) -> String {
    let shown = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set());
    let rows: String = shown.map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    format!("| argument | meaning |\n|---|---|\n{rows}\n")
}

fn row(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut notes = vec![help];
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|d| d.to_string_lossy())
        .collect();
    if !defaults.is_empty() && !argument.is_hide_default_value_set() {
        notes.push(format!("Default: `{}`.", defaults.join(" ")));
    }
    if let Some(variable) = argument.get_env() {
        notes.push(format!("Environment: `{}`.", variable.to_string_lossy()));
    }
    notes.retain(|note| !note.is_empty());
    format!(
        "| `{}` | {} |\n",
        cell(&argument.to_string()),
        cell(&notes.join(" "))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_section_with_its_arguments() {
        let verb = Command::new("emit")
            .about("Dispatches a hook")
            .arg(Arg::new("hook").required(true).help("Its name"))
            .arg(Arg::new("secret").long("secret").hide(true))
            .arg(
                Arg::new("payload")
                    .long("payload")
                    .default_value("{}")
                    .help("A | B"),
            );
        let text = sections(Command::new("kodex").subcommand(verb));
        assert!(
            text.contains("### kodex emit\n\nDispatches a hook\n"),
            "{text}"
        );
        assert!(
            text.contains("```text\nkodex emit [OPTIONS] <hook>\n```"),
            "{text}"
        );
        assert!(
            text.contains("| `--payload <payload>` | A \\| B Default: `{}`. |\n"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
}
