//! `kodex permissions`: what plugins ask to be allowed, in normal form, with the digest by which a
//! list is known.

use std::{fmt::Write as _, sync::Arc};

use kodex::{
    Manifest,
    contract::{manifest::PermissionRequest, permission, suggest},
};
use serde::Serialize;

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, style, text},
    verb::Verb,
};

/// Show what plugins ask to be allowed
#[derive(Debug, clap::Args)]
pub(crate) struct Permissions {
    /// The plugin [default: all of them]
    plugin: Option<String>,
}

/// What one plugin asks for.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Asks {
    plugin: String,
    version: String,
    /// SHA-256 over the normal forms; reasons are no part of it.
    digest: String,
    permissions: Vec<Asked>,
}

/// One permission.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Asked {
    /// The normal form.
    allow: String,
    /// The author's words.
    reason: String,
}

impl From<&Manifest> for Asks {
    fn from(manifest: &Manifest) -> Self {
        let permissions: Vec<_> = manifest
            .permissions
            .iter()
            .map(|asked| asked.allow.clone())
            .collect();
        let asked = |asked: &PermissionRequest| Asked {
            allow: asked.allow.to_string(),
            reason: asked.reason.clone(),
        };
        Self {
            plugin: manifest.name.to_string(),
            version: manifest.version.to_string(),
            digest: permission::digest(&permissions),
            permissions: manifest.permissions.iter().map(asked).collect(),
        }
    }
}

impl Verb for Permissions {
    const NAME: &'static str = "permissions";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let manifests = invocation.open().await?.manifests();
        let is_wanted = |manifest: &&Arc<Manifest>| {
            self.plugin
                .as_ref()
                .is_none_or(|name| manifest.name.as_str() == name)
        };
        let all: Vec<Asks> = manifests
            .iter()
            .filter(is_wanted)
            .map(|manifest| Asks::from(&**manifest))
            .collect();
        if let Some(name) = self.plugin.as_deref().filter(|_| all.is_empty()) {
            return Err(unknown(name, &manifests));
        }
        invocation.out = match invocation.globals.json {
            true => json::document(&all)?,
            false => all.iter().map(|asks| shown(asks, invocation)).collect(),
        };
        Ok(Exit::Fine)
    }
}

fn unknown(name: &str, manifests: &[Arc<Manifest>]) -> Problem {
    let problem = Problem::failed(
        "permissions.plugin.unknown",
        format!("no plugin named '{name}' was loaded"),
    );
    match suggest::closest(
        name,
        manifests.iter().map(|manifest| manifest.name.as_str()),
    ) {
        Some(close) => problem.help(format!("did you mean '{close}'?")),
        None => problem
            .help("`kodex list` shows the plugins, `kodex doctor` those that could not be loaded"),
    }
}

fn shown(asks: &Asks, invocation: &Invocation) -> String {
    let screen = invocation.stdout;
    let name = style::paint(&text::line(&asks.plugin), style::NAME, screen);
    let mut out = format!(
        "{name} v{} {}\n",
        text::line(&asks.version),
        style::paint(&asks.digest, style::FAINT, screen)
    );
    if asks.permissions.is_empty() {
        out.push_str("  asks for nothing\n");
    }
    for asked in &asks.permissions {
        // Writing to a String does not fail.
        let _ = writeln!(out, "  {}", text::line(&asked.allow));
        let _ = writeln!(
            out,
            "      {}",
            style::paint(&text::line(&asked.reason), style::FAINT, screen)
        );
    }
    out
}
