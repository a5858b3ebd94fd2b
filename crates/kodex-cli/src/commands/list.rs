//! `kodex list`: which plugins there are.

use std::sync::Arc;

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

impl From<&Manifest> for Listed {
    fn from(manifest: &Manifest) -> Self {
        let capabilities = manifest
            .capabilities
            .iter()
            .map(|name| name.as_str().to_owned());
        Self {
            name: manifest.name.as_str().to_owned(),
            version: manifest.version.text.clone(),
            description: manifest.description.clone(),
            capabilities: capabilities.collect(),
        }
    }
}

impl Verb for List {
    const NAME: &'static str = "list";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let runtime = invocation.open().await?;
        let manifests = runtime.manifests();
        let listed = || -> Vec<Listed> {
            manifests
                .iter()
                .map(|manifest| Listed::from(&**manifest))
                .collect()
        };
        invocation.out = match (invocation.globals.json, invocation.stdout.is_terminal) {
            (true, _) => json::document(&listed())?,
            (false, true) => on_terminal(&listed(), is_any_refused(&runtime), invocation),
            (false, false) => lines(&manifests),
        };
        Ok(Exit::Fine)
    }
}

/// The first runtime's lines, as they stand; `-` where there are no capabilities. Pushed piece by
/// piece: for a thousand plugins, formatting would be a good part of the whole run.
fn lines(manifests: &[Arc<Manifest>]) -> String {
    let mut out = String::with_capacity(manifests.len() * 100);
    for manifest in manifests {
        out.push_str(manifest.name.as_str());
        out.push_str(" v");
        out.push_str(&manifest.version.text);
        out.push_str(" | ");
        for (place, name) in manifest.capabilities.iter().enumerate() {
            out.push_str(if place == 0 { "" } else { "," });
            out.push_str(name.as_str());
        }
        out.push_str(if manifest.capabilities.is_empty() {
            "- | "
        } else {
            " | "
        });
        out.push_str(&manifest.description);
        out.push('\n');
    }
    out
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
        let capabilities = match plugin.capabilities.as_slice() {
            [] => "-".to_owned(),
            some => some.join(", "),
        };
        let (name, version) = (plugin.name.clone(), plugin.version.clone());
        vec![name, version, capabilities, plugin.description.clone()]
    };
    let rows: Vec<_> = plugins.iter().map(row).collect();
    table::shown(
        &["NAME", "VERSION", "CAPABILITIES", "DESCRIPTION"],
        &rows,
        invocation.stdout,
    )
}
