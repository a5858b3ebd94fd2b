//! From the configuration of work that lasts to the builder: bounds, the runner of agents, destinations of
//! answers. Every verb that loads plugins passes here, so a run that one of them asks for knows the same
//! destinations as the resident runtime that executes it.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use kodex::{Builder, CommandDelivery, CommandLine, CommandRunner, FileDelivery};
use kodex_server::WebhookDelivery;

use crate::{
    config::{Program, Work},
    environment::Environment,
};

/// Variables that any program of the user's gets. The others may be secrets of somebody else: the store's
/// password, keys of other tools. An agent that writes and runs code could tell them to anybody.
const PASSED: &[&str] = &[
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
];
/// Beginnings of such variables.
const PASSED_STARTS: &[&str] = &["LC_", "XDG_"];

/// Adds what is said about work that lasts.
pub(crate) fn wire(builder: Builder, work: &Work, environment: &Environment) -> Builder {
    let mut builder = builder.work(work.settings.clone());
    if let Some(runner) = &work.runner {
        let runner = CommandRunner::new(line(runner, environment));
        builder = builder.runner(Arc::new(runner));
    }
    if !work.commands.is_empty() {
        let commands = work.commands.iter();
        let lines = commands.map(|(name, program)| (name.clone(), line(program, environment)));
        builder = builder.destination("command", Arc::new(CommandDelivery::new(lines)));
    }
    if let Some(folder) = &work.files {
        let files = FileDelivery::new(environment.cwd.join(folder));
        builder = builder.destination("file", Arc::new(files));
    }
    if let Some(webhook) = &work.webhook {
        let delivery = WebhookDelivery::new(webhook.hosts.iter().cloned());
        let delivery = match webhook.timeout {
            Some(timeout) => delivery.with_timeout(timeout),
            None => delivery,
        };
        builder = builder.destination("webhook", Arc::new(delivery));
    }
    builder
}

/// A program ready to start. One that is not there keeps its name, and the run that needs it says so.
fn line(program: &Program, environment: &Environment) -> CommandLine {
    CommandLine {
        program: found(program, environment).unwrap_or_else(|| program.program.clone()),
        args: program.args.iter().map(OsString::from).collect(),
        env: variables(program, environment),
        cwd: environment.cwd.join(&program.cwd),
        timeout: program.timeout,
    }
}

/// Where a program lies, if it does.
pub(crate) fn found(program: &Program, environment: &Environment) -> Option<PathBuf> {
    let is_bare = program.program.components().count() == 1 && program.program.is_relative();
    let candidates: Vec<PathBuf> = match is_bare {
        true => {
            let folders = environment.path().into_iter();
            folders
                .map(|folder| environment.cwd.join(folder).join(&program.program))
                .collect()
        }
        false => vec![environment.cwd.join(&program.program)],
    };
    candidates.into_iter().find(|file| is_program(file))
}

fn is_program(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn variables(program: &Program, environment: &Environment) -> Vec<(OsString, OsString)> {
    let is_passed = |name: &str| {
        PASSED.contains(&name)
            || PASSED_STARTS.iter().any(|start| name.starts_with(start))
            || program.pass_env.iter().any(|passed| passed == name)
    };
    let passed = environment.variables.iter().filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| is_passed(name) && !program.env.contains_key(name))
    });
    let passed = passed.map(|(name, value)| (name.clone(), value.clone()));
    let said = program.env.iter();
    let said = said.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let mut all: Vec<_> = passed.chain(said).collect();
    all.sort();
    all
}
