//! `kodex scaffold`: a new plugin to begin with. It loads and runs nothing.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    config::tidy,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::json,
    template::{self, Template},
    verb::Verb,
};

/// Make a new plugin to begin with
#[derive(Debug, clap::Args)]
pub(crate) struct Scaffold {
    /// The new plugin's name: of a Python file without .py, or of a folder
    #[arg(allow_negative_numbers = true)]
    name: String,
    /// The language; all but Python get a folder
    #[arg(long)]
    kind: Option<Kind>,
    /// With a test; folders always have one
    #[arg(long)]
    with_test: bool,
}

/// What the new plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One Python file in the plugin folder
    Python,
    /// A folder in the plugin folder, for Node
    Node,
    /// A folder in the plugin folder, for sh and jq
    Shell,
    /// A crate in the working directory, for programs that embed Kodex
    Rust,
}

/// The files that were made.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Made {
    /// The new file or folder.
    path: String,
    files: Vec<String>,
}

impl Verb for Scaffold {
    const NAME: &'static str = "scaffold";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let plugin_dir = invocation.config()?.first_plugin_dir().to_owned();
        let made = match self.kind.unwrap_or(Kind::Python) {
            Kind::Python => self.python(&plugin_dir)?,
            Kind::Node => self.folder(&plugin_dir, template::NODE)?,
            Kind::Shell => self.folder(&plugin_dir, template::SHELL)?,
            Kind::Rust => self.folder(Path::new(""), template::RUST)?,
        };
        // What the first runtime accepts prints what it printed, with --json too.
        let is_new = self.kind.is_some() || self.with_test;
        invocation.out = match invocation.globals.json && is_new {
            true => json::document(&made)?,
            false => format!("{}\n", made.path),
        };
        Ok(Exit::Fine)
    }
}

impl Scaffold {
    /// The name is joined to the folder as the first runtime did it, so `sub/name` is a file in a
    /// folder that is there already. Whoever can type a name can as well type a folder.
    fn python(&self, plugin_dir: &Path) -> Result<Made, Problem> {
        template::make_folder(plugin_dir)?;
        let path = tidy(&plugin_dir.join(format!("{}.py", self.name)));
        let file = file_name(&path);
        let stem = file.trim_end_matches(".py").to_owned();
        let test = format!("_{stem}_test.py");
        let facts = [("file", file.as_str()), ("test", test.as_str())];
        let mut files = vec![(path.clone(), template::filled(template::PYTHON, &facts))];
        if self.with_test {
            files.push((
                path.with_file_name(&test),
                template::filled(template::PYTHON_TEST, &facts),
            ));
        }
        if let Some((there, _)) = files.iter().find(|(path, _)| path.exists()) {
            return Err(template::exists(there));
        }
        for (path, text) in &files {
            template::write_new(path, text)?;
        }
        Ok(Made {
            path: path.display().to_string(),
            files: shown(files.iter().map(|(path, _)| path.clone())),
        })
    }

    fn folder(&self, parent: &Path, template: Template) -> Result<Made, Problem> {
        if let Err(error) = kodex::PluginName::new(self.name.as_str()) {
            return Err(Problem::usage("scaffold.name", error.to_string())
                .help("the name is the plugin's identity, for example `word-count`"));
        }
        let path = parent.join(&self.name);
        let parent_shown = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let facts = [
            ("name", self.name.as_str()),
            ("crate", &self.name.replace('-', "_")),
            ("path", &path.display().to_string()),
            ("parent", &parent_shown.display().to_string()),
            ("kodex", env!("CARGO_PKG_VERSION")),
        ];
        template::make_folder(parent)?;
        template::write_folder(&path, template, &facts)?;
        let files = template.iter().map(|(file, _)| path.join(file));
        Ok(Made {
            path: path.display().to_string(),
            files: shown(files),
        })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn shown(paths: impl Iterator<Item = PathBuf>) -> Vec<String> {
    paths.map(|path| path.display().to_string()).collect()
}
