//! What a page of the documents asks to be done: its fenced blocks, read into steps.

use anyhow::{Result, bail};

/// One page, in its order.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    /// Each with its line in the page.
    pub(super) works: Vec<(usize, Work)>,
}

/// One thing to do.
#[derive(Debug, PartialEq)]
pub(super) enum Work {
    /// Write a file.
    Write(String, String),
    /// Run a command of a `console` block.
    Run(Command),
    /// Run Python.
    Python(String),
}

/// A command, and what the page says of it.
#[derive(Debug, PartialEq)]
pub(super) struct Command {
    pub(super) text: String,
    pub(super) printed: String,
    pub(super) status: i32,
}

impl Page {
    /// Reads a page. A block that is never closed would swallow the rest of it, so it is an error.
    pub(super) fn read(markdown: &str) -> Result<Self> {
        let mut works = Vec::new();
        let mut lines = markdown.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let Some(words) = line.strip_prefix("```") else {
                continue;
            };
            let mut block = Vec::new();
            loop {
                match lines.next() {
                    Some((_, "```")) => break,
                    Some((at, line)) => block.push((at + 1, line)),
                    None => bail!("the block that begins at line {} has no end", at + 1),
                }
            }
            read_block(at + 1, words, &block, &mut works)?;
        }
        Ok(Self { works })
    }

    /// Whether anything is run, rather than only written.
    pub(super) fn has_commands(&self) -> bool {
        let is_run = |(_, work): &(usize, Work)| !matches!(work, Work::Write(..));
        self.works.iter().any(is_run)
    }
}

fn read_block(
    line: usize,
    words: &str,
    block: &[(usize, &str)],
    works: &mut Vec<(usize, Work)>,
) -> Result<()> {
    let text = || {
        let lines = block.iter().map(|(_, line)| format!("{line}\n"));
        lines.collect::<String>()
    };
    let mut words = words.split_whitespace();
    let language = words.next().unwrap_or_default();
    for word in words {
        match (language, word.strip_prefix("file="), word) {
            (_, Some(file), _) => works.push((line, Work::Write(file.to_owned(), text()))),
            ("python", _, "run") => works.push((line, Work::Python(text()))),
            _ => {}
        }
    }
    if language == "console" {
        works.extend(commands(block)?);
    }
    Ok(())
}

fn commands(block: &[(usize, &str)]) -> Result<Vec<(usize, Work)>> {
    let mut found: Vec<(usize, Command)> = Vec::new();
    for (line, text) in block {
        if let Some(command) = text.strip_prefix("$ ") {
            let command = Command {
                text: command.to_owned(),
                printed: String::new(),
                status: 0,
            };
            found.push((*line, command));
            continue;
        }
        let Some((_, last)) = found.last_mut() else {
            bail!("line {line}: a console block begins with `$ `");
        };
        match text.strip_prefix("? ").map(str::parse) {
            Some(Ok(status)) => last.status = status,
            _ => {
                last.printed.push_str(text);
                last.printed.push('\n');
            }
        }
    }
    let works = found.into_iter();
    Ok(works
        .map(|(line, command)| (line, Work::Run(command)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, Work)]) {
        assert_eq!(Page::read(text).unwrap().works, expected);
    }

    fn run(text: &str, printed: &str, status: i32) -> Work {
        let (text, printed) = (text.to_owned(), printed.to_owned());
        Work::Run(Command {
            text,
            printed,
            status,
        })
    }

    #[test]
    fn commands_have_their_output_and_status() {
        check(
            "Text\n```console\n$ a\nb\n\nc\n$ d\n? 1\n```\n",
            &[(3, run("a", "b\n\nc\n", 0)), (7, run("d", "", 1))],
        );
    }

    #[test]
    fn files_and_python_are_marked() {
        check(
            "```toml kodex file=p/kodex.toml\na = 1\n```\n```python run\npass\n```\n```python\nx\n```\n```sh\n$ y\n```\n",
            &[
                (1, Work::Write("p/kodex.toml".into(), "a = 1\n".into())),
                (4, Work::Python("pass\n".into())),
            ],
        );
    }

    #[test]
    fn broken_pages_are_refused() {
        for (text, said) in [
            ("```sh\nx", "the block that begins at line 1 has no end"),
            (
                "```console\nx\n```",
                "line 2: a console block begins with `$ `",
            ),
        ] {
            assert_eq!(Page::read(text).unwrap_err().to_string(), said);
        }
    }
}
