//! Whether the manifest is what a careful author would have written, in normal form.
//!
//! The rules for manifests have their home in the contract: a manifest that was built in code is
//! written down and read back, so that it is judged as strictly as a file. Added here is what a
//! reader of manifests has no business to know: the inside of schemas, and declarations that say
//! nothing.

use kodex_plugin::{
    Diagnostic, Manifest, Tool,
    manifest::{Run, parse_json},
};

use super::schema;

pub(super) fn check(manifest: &Manifest) -> Vec<Diagnostic> {
    let mut found = read_back(manifest);
    for tool in &manifest.tools {
        schemas(tool, &mut found);
    }
    if manifest.is_catch_all() && manifest.hooks.len() > 1 {
        found.push(
            Diagnostic::warning(
                "suite.manifest.names_beside_all",
                "hooks are declared by name beside \"*\", which already stands for them",
            )
            .with_hint("declare either \"*\" or the names"),
        );
    }
    if manifest.hooks.is_empty() && manifest.tools.is_empty() && manifest.run != Run::None {
        found.push(
            Diagnostic::note(
                "suite.manifest.idle",
                "the plugin has code, but declares neither hook nor tool, so nothing calls it",
            )
            .with_hint("declare what it answers"),
        );
    }
    found
}

fn read_back(manifest: &Manifest) -> Vec<Diagnostic> {
    let read = parse_json(&manifest.to_json().to_string(), "", false);
    // Places in a text that the author never saw would mislead.
    let without_place = |finding: Diagnostic| Diagnostic {
        file: None,
        position: None,
        ..finding
    };
    let mut found: Vec<_> = read.diagnostics.into_iter().map(without_place).collect();
    if found.is_empty() && read.manifest.as_ref() != Some(manifest) {
        found.push(
            Diagnostic::warning(
                "suite.manifest.canonical",
                "the manifest is not in normal form: written down and read back it is another one",
            )
            .with_hint("trim texts, and sort capabilities with capability::normalise"),
        );
    }
    found
}

fn schemas(tool: &Tool, found: &mut Vec<Diagnostic>) {
    let input = tool.input_schema.as_ref();
    let output = tool.output_schema.as_ref();
    let faults = [
        (
            "input_schema",
            input.and_then(|schema| schema::input_fault(schema.value())),
        ),
        (
            "output_schema",
            output.and_then(|schema| schema::fault(schema.value())),
        ),
    ];
    for (key, fault) in faults {
        let Some(fault) = fault else { continue };
        found.push(
            Diagnostic::error(
                "suite.tool.schema",
                format!("{key} of tool {:?}: {fault}", tool.name.as_str()),
            )
            .with_hint("give a JSON Schema; models and validators read it literally"),
        );
    }
}
