//! `kodex list`: which plugins there are.

use kodex::{Manifest, Runtime, Status};
use serde::Serialize;

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, table},
    verb::Verb,
};

/// List the plugins that were found
#[derive(Debug, clap::Args)]
pub(crate) struct List {}

/// One plugin in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Listed {
    name: String,
    version: String,
    description: String,
    capabilities: Vec<String>,
}

impl From<Manifest> for Listed {
    fn from(manifest: Manifest) -> Self {
        Self {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            description: manifest.description,
            capabilities: manifest
                .capabilities
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl Verb for List {
    const NAME: &'static str = "list";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let runtime = invocation.open().await?;
        let plugins: Vec<Listed> = runtime.manifests().into_iter().map(Listed::from).collect();
        invocation.out = match (invocation.globals.json, invocation.stdout.is_terminal) {
            (true, _) => json::document(&plugins)?,
            (false, true) => on_terminal(&plugins, is_any_refused(&runtime), invocation),
            (false, false) => plugins.iter().map(line).collect(),
        };
        Ok(Exit::Fine)
    }
}

/// The first runtime's line, as it stands; `-` where there are no capabilities.
fn line(plugin: &Listed) -> String {
    let Listed {
        name,
        version,
        description,
        ..
    } = plugin;
    format!(
        "{name} v{version} | {} | {description}\n",
        capabilities(plugin, ",")
    )
}

fn capabilities(plugin: &Listed, between: &str) -> String {
    match plugin.capabilities.as_slice() {
        [] => "-".to_owned(),
        some => some.join(between),
    }
}

fn is_any_refused(runtime: &Runtime) -> bool {
    runtime
        .ledger()
        .iter()
        .any(|record| record.status == Status::Error)
}

fn on_terminal(plugins: &[Listed], is_any_refused: bool, invocation: &Invocation) -> String {
    if plugins.is_empty() {
        return match is_any_refused {
            true => "no plugins\n".to_owned(),
            false => "no plugins; `kodex scaffold NAME` makes one\n".to_owned(),
        };
    }
    let row = |plugin: &Listed| {
        let version = plugin.version.clone();
        vec![
            plugin.name.clone(),
            version,
            capabilities(plugin, ", "),
            plugin.description.clone(),
        ]
    };
    let rows: Vec<_> = plugins.iter().map(row).collect();
    table::shown(
        &["NAME", "VERSION", "CAPABILITIES", "DESCRIPTION"],
        &rows,
        invocation.stdout,
    )
}
