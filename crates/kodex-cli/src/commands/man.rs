//! `kodex man`: the manual pages.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    args,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::json,
    verb::Verb,
};

/// Print the manual page, or write all pages into a folder
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Write one page for each verb into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The files that were written.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Written {
    files: Vec<String>,
}

impl Verb for Man {
    const NAME: &'static str = "man";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let failed = |error: std::io::Error| {
            Problem::failed(
                "man.write",
                format!("the manual cannot be written: {error}"),
            )
        };
        let Some(dir) = &self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(args::command())
                .render(&mut page)
                .map_err(failed)?;
            invocation.out = String::from_utf8_lossy(&page).into_owned();
            return Ok(Exit::Fine);
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        clap_mangen::generate_to(args::command(), dir).map_err(failed)?;
        let files = pages()
            .map(|page| dir.join(page).display().to_string())
            .collect();
        invocation.out = written(Written { files }, invocation, dir)?;
        Ok(Exit::Fine)
    }
}

fn pages() -> impl Iterator<Item = String> {
    let verbs = crate::commands::VERBS
        .iter()
        .map(|row| format!("kodex-{}.1", row.name));
    std::iter::once("kodex.1".to_owned()).chain(verbs)
}

fn written(written: Written, invocation: &Invocation, dir: &Path) -> Result<String, Problem> {
    match invocation.globals.json {
        true => Ok(json::document(&written)?),
        false => Ok(format!(
            "{} pages in {}\n",
            written.files.len(),
            dir.display()
        )),
    }
}
