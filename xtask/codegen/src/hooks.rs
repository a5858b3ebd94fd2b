//! `docs/reference/hooks.md`: a section for each known hook, with the fields of payload and reply.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use kodex_plugin::Combine;
use kodex_plugin::hook::{HookSpec, SPECS, UNKNOWN};

use crate::page::{Page, cell};
use crate::schemas::fields;

const INTRODUCTION: &str = "# Hooks

A hook is a named point where the host calls plugins.
The hooks below are the ones that Kodex knows; any other valid name works too and is a collect hook.
A plugin subscribes with a `[[hook]]` table in its manifest.

";

pub(crate) fn page() -> Result<Page> {
    let mut text = INTRODUCTION.to_owned();
    text += "## Combine modes\n\n| mode | meaning | when a plugin fails |\n|---|---|---|\n";
    for mode in [
        Combine::Observe,
        Combine::Collect,
        Combine::Chain,
        Combine::Decide,
        Combine::First,
    ] {
        let (meaning, failure) = mode_texts(mode);
        text += &format!("| {} | {meaning} | {failure} |\n", word(mode));
    }
    text += "\n## All hooks\n\n| hook | mode | time for one answer | called |\n|---|---|---|---|\n";
    for spec in SPECS {
        text += &row(spec);
    }
    text += &format!(
        "\nA hook that is not listed is a {} hook with {} for each answer.\n",
        word(UNKNOWN.combine),
        seconds(&UNKNOWN)
    );
    let schemas: BTreeMap<&str, Value> = kodex_plugin::schema::all().into_iter().collect();
    for spec in SPECS {
        text += &section(spec, &schemas)?;
    }
    Ok(Page::reference(
        "hooks",
        "`kodex_plugin::hook::SPECS`",
        &text,
    ))
}

fn row(spec: &HookSpec) -> String {
    let (name, mode, time) = (spec.name, word(spec.combine), seconds(spec));
    let anchor = name.replace('.', "");
    let about = cell(spec.summary);
    format!("| [`{name}`](#{anchor}) | {mode} | {time} | {about} |\n")
}

fn section(spec: &HookSpec, schemas: &BTreeMap<&str, Value>) -> Result<String> {
    let mut text = format!("\n## {}\n\n{}\n", spec.name, spec.summary);
    for (side, title) in [("payload", "Payload"), ("reply", "Reply")] {
        let file = format!("hooks/{}.{side}.json", spec.name);
        let schema = schemas
            .get(file.as_str())
            .with_context(|| format!("no schema {file}"))?;
        text += &format!(
            "\n{title} ([schema](../../contract/schemas/v1/{file})):\n\n{}",
            fields(schema)
        );
    }
    Ok(text)
}

fn word(mode: Combine) -> &'static str {
    match mode {
        Combine::Observe => "observe",
        Combine::Collect => "collect",
        Combine::Chain => "chain",
        Combine::Decide => "decide",
        Combine::First => "first",
    }
}

fn mode_texts(mode: Combine) -> (&'static str, &'static str) {
    match mode {
        Combine::Observe => (
            "everyone is told, in parallel; replies are ignored",
            "it is counted",
        ),
        Combine::Collect => (
            "everyone is asked in order; every reply is kept",
            "an error entry stands in place of the reply",
        ),
        Combine::Chain => (
            "each reply is the next payload, in order",
            "the payload stays as it was; with `required = true` the chain stops",
        ),
        Combine::Decide => (
            "allow, ask or deny; deny beats ask, ask beats allow",
            "it counts as deny, with the reason `gate_unavailable`",
        ),
        Combine::First => (
            "the first reply is the outcome",
            "the next plugin is asked if the caller allows it, otherwise it is an error",
        ),
    }
}

fn seconds(spec: &HookSpec) -> String {
    format!("{} s", spec.timeout.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_hook_has_a_row_and_a_section() {
        let text = page().unwrap().text;
        for spec in SPECS {
            assert!(
                text.contains(&format!("| [`{0}`](#", spec.name)),
                "{}",
                spec.name
            );
            assert!(
                text.contains(&format!("\n## {}\n", spec.name)),
                "{}",
                spec.name
            );
        }
    }
}
