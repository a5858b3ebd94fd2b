//! The tests of the documents: what a page shows is run, and must print what the page says.
//!
//! | block | what is done with it |
//! |---|---|
//! | `console` | each line after `$ ` is run by `sh`; the lines below it are what it prints |
//! | anything with `file=PATH` | written to that file before the page goes on |
//! | `python run` | run by `python3`, with the SDK on its path |
//!
//! A page starts in a fresh folder that holds the repository's examples, contract and Python SDK, and
//! keeps that folder to its end. `kodex` is the binary of this checkout, and `cargo xtask kodex` means
//! it too. In the expected output a line `...` stands for any lines, `...` inside a line for any text,
//! and `? 1` at the end for the exit status, which is 0 when not said.
//!
//! Rust blocks are compiled elsewhere (`xtask/docs`), links are followed by `cargo xtask tidy`.

mod compare;
mod page;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cargo::{AS_TESTED, build_binary, files};
use crate::examples::search_path;
use crate::step::Step;
use page::{Command, Page, Work};

/// Long enough for a first inspection on a busy machine.
const ONE_COMMAND: Duration = Duration::from_secs(60);

/// What a page finds in its folder.
const COPIED: &[&str] = &["contract/", "examples/", "sdks/python/src/"];

/// Runs every page; all of them run, whichever fail.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = files(root)?;
    let kodex = build_binary(root, "kodex", AS_TESTED)?;
    let path = search_path(kodex.parent())?;
    let (mut n_pages, mut n_steps, mut n_failed) = (0, 0, 0);
    for name in files.iter().filter(|file| file.ends_with(".md")) {
        let text = fs::read_to_string(root.join(name)).with_context(|| name.clone())?;
        let page = Page::read(&text).with_context(|| name.clone())?;
        if !page.has_commands() {
            continue;
        }
        let folder = tempfile::tempdir()?;
        copy(root, &files, folder.path())?;
        n_pages += 1;
        n_steps += page.works.len();
        for (line, error) in perform(&page, folder.path(), &path)? {
            n_failed += 1;
            eprintln!("{name}:{line}: {error:#}");
        }
    }
    if n_failed > 0 {
        bail!("{n_failed} blocks of the documents are wrong");
    }
    eprintln!("{n_pages} pages, {n_steps} steps, all as shown");
    Ok(())
}

fn copy(root: &Path, files: &[String], to: &Path) -> Result<()> {
    for file in files {
        if COPIED.iter().any(|folder| file.starts_with(folder)) {
            let target = to.join("page").join(file);
            fs::create_dir_all(target.parent().unwrap_or(to))?;
            fs::copy(root.join(file), target).with_context(|| file.clone())?;
        }
    }
    fs::create_dir_all(to.join("page"))?;
    fs::create_dir_all(to.join("home"))?;
    Ok(())
}

/// Does what a page shows, in its order, and gives what is not as shown.
fn perform(page: &Page, folder: &Path, path: &OsStr) -> Result<Vec<(usize, anyhow::Error)>> {
    let mut wrong = Vec::new();
    for (line, work) in &page.works {
        let done = match work {
            Work::Write(file, text) => write(&folder.join("page").join(file), text),
            Work::Run(command) => command_as_shown(command, folder, path),
            Work::Python(code) => {
                let step = Step::new("python3", ONE_COMMAND).args(["-c", code]);
                let step = step.env("PYTHONPATH", "sdks/python/src");
                finish(&within(step, folder, path), "", 0)
            }
        };
        if let Err(error) = done {
            wrong.push((*line, error));
        }
    }
    Ok(wrong)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(file.parent().context("a file has a folder")?)?;
    fs::write(file, text).with_context(|| file.display().to_string())
}

fn command_as_shown(command: &Command, folder: &Path, path: &OsStr) -> Result<()> {
    let text = match command.text.strip_prefix("cargo xtask kodex ") {
        Some(arguments) => format!("kodex {arguments}"),
        None => command.text.clone(),
    };
    // As on a terminal: one stream, in the order in which it was written.
    let step = Step::new("sh", ONE_COMMAND).args(["-c", &format!("exec 2>&1\n{text}")]);
    let said = within(step, folder, path);
    finish(&said, &command.printed, command.status).with_context(|| format!("$ {}", command.text))
}

fn within(step: Step, folder: &Path, path: &OsStr) -> Step {
    step.dir(folder.join("page"))
        .env("PATH", path)
        .for_nobody(&folder.join("home"))
}

fn finish(step: &Step, printed: &str, status: i32) -> Result<()> {
    let output = step.output()?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let ended = output.status.code();
    if ended != Some(status) {
        bail!("ended with {ended:?} instead of {status}; it printed:\n{stdout}{stderr}");
    }
    if !compare::fits(printed, &stdout) {
        bail!("should print:\n{printed}\nprints:\n{stdout}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Performs a page without `kodex` and compares what is said of its lines.
    fn check(text: &str, expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        copy(folder.path(), &[], folder.path()).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let wrong = perform(&Page::read(text).unwrap(), folder.path(), &path).unwrap();
        let said: Vec<String> = wrong
            .iter()
            .map(|(line, error)| format!("{line}: {error:#}"))
            .collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn a_page_is_done_in_its_order() {
        check(
            "```text file=a/b.txt\none\ntwo\n```\n```console\n$ cat a/b.txt\none\ntwo\n$ cat c; exit 3\n...: No such file...\n? 3\n```\n",
            &[],
        );
    }

    #[test]
    fn what_is_not_as_shown_is_told_with_its_line() {
        check(
            "```console\n$ echo one\ntwo\n$ false\n$ echo three\nthree\n```\n",
            &[
                "2: $ echo one: should print:\ntwo",
                "4: $ false: ended with Some(1) instead of 0",
            ],
        );
    }

    #[test]
    fn both_streams_are_printed_and_settings_do_not_reach_the_page() {
        check(
            "```console\n$ echo a >&2; echo b; echo \"$KODEX_LOG\"; basename \"$HOME\"\na\nb\n\nhome\n```\n",
            &[],
        );
    }
}
