//! Whether the manifest is what a careful author would have written, in normal form.
//!
//! The parser refuses what cannot be used; this looks at what could be used and still surprises.

use std::collections::BTreeSet;

use kodex_plugin::{Diagnostic, Manifest, Tool, capability};

use super::schema;

/// Longer texts belong in the documentation; agents show this one in lists.
const DESCRIPTION_MAX: usize = 200;

pub(super) fn check(manifest: &Manifest) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    identity(manifest, &mut found);
    hooks(manifest, &mut found);
    tools(manifest, &mut found);
    permissions(manifest, &mut found);
    found
}

fn identity(manifest: &Manifest, found: &mut Vec<Diagnostic>) {
    let (name, version) = (&manifest.name, &manifest.version);
    if !name.is_canonical() {
        found.push(
            Diagnostic::error(
                "suite.manifest.name",
                format!("the name {:?} is not in canonical form", name.as_str()),
            )
            .with_hint("use letters a to z, digits and single dashes"),
        );
    }
    if version.semver.is_none() {
        found.push(
            Diagnostic::error(
                "suite.manifest.version",
                format!("{:?} is no semantic version", version.text),
            )
            .with_hint("write it as 1.2.3"),
        );
    } else if !version.is_exact() {
        found.push(
            Diagnostic::warning(
                "suite.manifest.version",
                format!("the version {:?} has to be guessed", version.text),
            )
            .with_hint("write all three numbers, without a letter before them"),
        );
    }
    if let Some(fault) = description_fault(&manifest.description) {
        found.push(
            Diagnostic::warning(
                "suite.manifest.description",
                format!("the description {fault}"),
            )
            .with_hint("say in one sentence what the plugin does"),
        );
    }
    let names = manifest.capabilities.iter().map(|name| name.as_str());
    if capability::normalise(names) != manifest.capabilities {
        found.push(
            Diagnostic::warning(
                "suite.manifest.capabilities",
                "the capabilities are not sorted and free of duplicates",
            )
            .with_hint("build them with capability::normalise"),
        );
    }
    if manifest.hooks.is_empty() && manifest.tools.is_empty() {
        found.push(
            Diagnostic::note(
                "suite.manifest.idle",
                "the plugin declares neither hook nor tool, so nothing will call it",
            )
            .with_hint("declare what it answers"),
        );
    }
}

fn description_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.trim() != text || text.contains('\n') {
        Some("is not one line without blanks at its ends")
    } else if text.chars().count() > DESCRIPTION_MAX {
        Some("has more than 200 characters")
    } else {
        None
    }
}

fn hooks(manifest: &Manifest, found: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for hook in &manifest.hooks {
        if !seen.insert(&hook.on) {
            found.push(
                Diagnostic::error(
                    "suite.hook.duplicate",
                    format!("hook {:?} is declared twice", hook.on.as_str()),
                )
                .with_hint("keep one subscription for each hook"),
            );
        }
        if hook.timeout.is_some_and(|timeout| timeout.is_zero()) {
            found.push(no_time("hook", hook.on.as_str()));
        }
    }
    if manifest.is_catch_all() && manifest.hooks.len() > 1 {
        found.push(
            Diagnostic::warning(
                "suite.hook.duplicate",
                "hooks are declared by name beside \"*\", which already stands for them",
            )
            .with_hint("declare either \"*\" or the names"),
        );
    }
}

fn tools(manifest: &Manifest, found: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for tool in &manifest.tools {
        let name = tool.name.as_str();
        if !seen.insert(&tool.name) {
            found.push(
                Diagnostic::error(
                    "suite.tool.duplicate",
                    format!("tool {name:?} is declared twice"),
                )
                .with_hint("give each tool a name of its own"),
            );
        }
        if tool.description.trim().is_empty() {
            found.push(
                Diagnostic::warning(
                    "suite.tool.description",
                    format!("tool {name:?} has no description, so a model cannot choose it"),
                )
                .with_hint("say what it does and when to use it"),
            );
        }
        if tool.timeout_ms == Some(0) {
            found.push(no_time("tool", name));
        }
        schemas(tool, found);
    }
}

fn schemas(tool: &Tool, found: &mut Vec<Diagnostic>) {
    let faults = [
        ("input_schema", tool.input_schema.as_ref(), true),
        ("output_schema", tool.output_schema.as_ref(), false),
    ];
    for (key, schema, is_input) in faults {
        let Some(schema) = schema else { continue };
        let fault = if is_input {
            schema::input_fault(schema.value())
        } else {
            schema::fault(schema.value())
        };
        if let Some(fault) = fault {
            found.push(
                Diagnostic::error(
                    "suite.tool.schema",
                    format!("{key} of tool {:?}: {fault}", tool.name.as_str()),
                )
                .with_hint("give a JSON Schema object"),
            );
        }
    }
}

fn permissions(manifest: &Manifest, found: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for request in &manifest.permissions {
        let allow = request.allow.to_string();
        if request.reason.trim().is_empty() {
            found.push(
                Diagnostic::warning(
                    "suite.permission.reason",
                    format!("the permission {allow:?} is asked for without a reason"),
                )
                .with_hint("tell the person who grants it what it is for"),
            );
        }
        if !seen.insert(allow.clone()) {
            found.push(
                Diagnostic::warning(
                    "suite.permission.duplicate",
                    format!("the permission {allow:?} is asked for twice"),
                )
                .with_hint("ask once"),
            );
        }
    }
}

fn no_time(word: &str, name: &str) -> Diagnostic {
    Diagnostic::error(
        format!("suite.{word}.timeout"),
        format!("{word} {name:?} gives itself no time to answer"),
    )
    .with_hint("leave the timeout out to have the usual one")
}
