//! `docs/reference/cli.md`: every verb with its usage and options, from the definition that the program
//! itself parses with.

use clap::{Arg, Command};

use crate::page::{Page, cell};

const INTRODUCTION: &str = "# The command line

The options of `kodex` itself may stand before and after the verb; they are listed once.

";

/// The level of the program's own heading.
const TOP: usize = 2;

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
    section(&program, TOP)
}

/// A command and, below it, its own commands.
fn section(command: &Command, level: usize) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let mut text = format!("{} {name}\n\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        text += &format!("{}\n\n", sentence(&about.to_string()));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    text += &format!("```text\n{usage}\n```\n\n");
    text += &table(command, level);
    if let Some(more) = command.get_after_long_help().or(command.get_after_help()) {
        text += &format!("{}\n\n", sentence(&more.to_string()));
    }
    let below = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help");
    below.fold(text, |text, below| text + &section(below, level + 1))
}

fn table(command: &Command, level: usize) -> String {
    let is_listed_above = |argument: &Arg| level > TOP && argument.is_global_set();
    let rows: String = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .filter(|argument| !is_listed_above(argument))
        .map(row)
        .collect();
    if rows.is_empty() {
        return rows;
    }
    format!("| argument | meaning |\n|---|---|\n{rows}\n")
}

fn row(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let mut notes: Vec<String> = help
        .map(|help| sentence(&help.to_string()))
        .into_iter()
        .collect();
    let choices = argument.get_possible_values();
    let choices: Vec<_> = choices
        .iter()
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    if argument.get_action().takes_values() && !choices.is_empty() {
        notes.push(format!("One of {}.", choices.join(", ")));
    }
    let defaults = argument.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        notes.push(format!("Default: `{}`.", defaults.join(" ")));
    }
    if let Some(variable) = argument.get_env() {
        notes.push(format!("Environment: `{}`.", variable.to_string_lossy()));
    }
    let short = argument
        .get_short()
        .map(|short| format!("`-{short}`, "))
        .unwrap_or_default();
    format!(
        "| {short}`{}` | {} |\n",
        cell(&argument.to_string()),
        cell(&notes.join(" "))
    )
}

/// Help texts end without a full stop on the terminal; on a page they are sentences.
fn sentence(help: &str) -> String {
    if help.ends_with(['.', '?', '!', ':']) || help.is_empty() {
        return help.to_owned();
    }
    format!("{help}.")
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

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
        let loud = Arg::new("loud").long("loud").short('l').global(true);
        let loud = loud.action(ArgAction::SetTrue).help("Says more");
        let text = sections(Command::new("kodex").arg(loud).subcommand(verb));
        assert!(
            text.contains("### kodex emit\n\nDispatches a hook.\n"),
            "{text}"
        );
        assert!(
            text.contains("```text\nkodex emit [OPTIONS] <hook>\n```"),
            "{text}"
        );
        assert!(
            text.contains("| `--payload <payload>` | A \\| B. Default: `{}`. |\n"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(
            text.matches("| `-l`, `--loud` | Says more. |\n").count(),
            1,
            "{text}"
        );
    }
}
