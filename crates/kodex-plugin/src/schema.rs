//! JSON Schemas of everything that crosses the boundary, made from the Rust types.
//!
//! They are data for other tools: written to `contract/schemas/v1` by the repository's code
//! generation and published with it. Nothing here is used while the runtime works.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{Diagnostic, Health, Tool, hook, manifest::RawManifest, wire};

/// Where the schemas are published, with a file name after it.
const HOME: &str = "https://kodex.dev/schemas/v1/";

/// Makes the schema of one type.
pub(crate) type Write = fn() -> Value;

/// The schema of a type, JSON Schema 2020-12, with all it refers to.
pub(crate) fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// All types but those of the hooks.
static TYPES: &[(&str, Write)] = &[
    ("diagnostic.json", of::<Diagnostic>),
    ("health.json", of::<Health>),
    ("manifest.json", manifest),
    ("tool.json", of::<Tool>),
    (
        "wire/agent.cancel.result.json",
        of::<wire::work::CancelAsked>,
    ),
    (
        "wire/agent.dispatch.params.json",
        of::<wire::work::AgentDispatch>,
    ),
    (
        "wire/agent.dispatch.result.json",
        of::<wire::work::Accepted>,
    ),
    ("wire/agent.get.result.json", of::<wire::work::Projection>),
    ("wire/by_id.params.json", of::<wire::work::ById>),
    ("wire/job.call.payload.json", of::<wire::work::JobCall>),
    ("wire/job.effect.params.json", of::<wire::work::JobEffect>),
    ("wire/job.effect.result.json", of::<wire::work::EffectKnown>),
    ("wire/job.enqueue.params.json", of::<wire::work::JobEnqueue>),
    ("wire/call.params.json", of::<wire::CallRequest>),
    ("wire/call.result.json", of::<wire::CallReply>),
    ("wire/cancel.params.json", of::<wire::Cancel>),
    ("wire/clock.now.result.json", of::<wire::Now>),
    ("wire/db.begin.params.json", of::<wire::store::DbBegin>),
    ("wire/db.fetch.params.json", of::<wire::store::DbFetch>),
    ("wire/db.query.params.json", of::<wire::store::DbQuery>),
    ("wire/db.query.result.json", of::<wire::store::DbRows>),
    ("wire/db.transaction.json", of::<wire::store::DbTransaction>),
    ("wire/error.json", of::<wire::ErrorObject>),
    ("wire/initialize.params.json", of::<wire::Initialize>),
    ("wire/initialize.result.json", of::<wire::Initialized>),
    ("wire/log.params.json", of::<wire::Log>),
    (
        "wire/state.delete.params.json",
        of::<wire::store::StateDelete>,
    ),
    ("wire/state.get.params.json", of::<wire::store::StateGet>),
    ("wire/state.get.result.json", of::<wire::store::StateValue>),
    ("wire/state.list.params.json", of::<wire::store::StateList>),
    ("wire/state.list.result.json", of::<wire::store::StateKeys>),
    ("wire/state.lock.params.json", of::<wire::store::StateLock>),
    ("wire/state.lock.result.json", of::<wire::store::StateLease>),
    (
        "wire/state.renew.params.json",
        of::<wire::store::StateRenew>,
    ),
    ("wire/state.set.params.json", of::<wire::store::StateSet>),
    (
        "wire/state.set.result.json",
        of::<wire::store::StateWritten>,
    ),
    (
        "wire/state.unlock.params.json",
        of::<wire::store::StateUnlock>,
    ),
    (
        "wire/state.unlock.result.json",
        of::<wire::store::StateUnlocked>,
    ),
    (
        "wire/step.call.payload.json",
        of::<wire::store::StepPayload>,
    ),
    ("wire/step.call.reply.json", of::<wire::store::StepCounts>),
    (
        "wire/step.progress.params.json",
        of::<wire::store::StepProgress>,
    ),
];

/// Every schema with the name of its file, sorted by name; the same on every run.
///
/// ```
/// let all = kodex_plugin::schema::all();
/// let (file, manifest) = all.iter().find(|(file, _)| *file == "manifest.json").unwrap();
/// assert_eq!(manifest["$id"], format!("https://kodex.dev/schemas/v1/{file}"));
/// ```
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    let mut all: Vec<_> = TYPES
        .iter()
        .chain(hook::SCHEMAS)
        .map(|(file, write)| (*file, published(file, write())))
        .collect();
    all.sort_by_key(|(file, _)| *file);
    all
}

/// The manifest's schema, which allows the tables that other tools add.
fn manifest() -> Value {
    let mut schema = of::<RawManifest>();
    schema["patternProperties"] = json!({"^x-": {"type": ["object", "array"]}});
    schema
}

/// The schema with its address, and with the keys of every object in order, so that the files do
/// not depend on how a map happens to be kept.
fn published(file: &str, mut schema: Value) -> Value {
    schema["$id"] = Value::from(format!("{HOME}{file}"));
    schema.sort_all_objects();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference inside a schema, and whether it leads somewhere.
    fn references(root: &Value, at: &Value, out: &mut Vec<(String, bool)>) {
        match at {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    let there = to.strip_prefix('#').and_then(|to| root.pointer(to));
                    out.push((to.clone(), there.is_some()));
                }
                fields
                    .values()
                    .for_each(|value| references(root, value, out));
            }
            Value::Array(items) => items.iter().for_each(|value| references(root, value, out)),
            _ => {}
        }
    }

    #[test]
    fn every_schema_stands_by_itself() {
        let all = all();
        assert!(
            all.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "sorted, no file twice"
        );
        for (file, schema) in &all {
            assert_eq!(schema["$id"], format!("{HOME}{file}"));
            assert_eq!(
                schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
                "{file}"
            );
            let mut found = Vec::new();
            references(schema, schema, &mut found);
            assert!(found.iter().all(|(_, there)| *there), "{file}: {found:?}");
        }
    }

    #[test]
    fn every_hook_has_two_schemas() {
        let all = all();
        for spec in hook::SPECS {
            for part in ["payload", "reply"] {
                let file = format!("hooks/{}.{part}.json", spec.name);
                assert!(all.iter().any(|(name, _)| *name == file), "{file}");
            }
        }
        assert_eq!(all.len(), TYPES.len() + 2 * hook::SPECS.len());
    }

    #[test]
    fn the_schemas_say_what_the_types_hold() {
        let all = all();
        let schema = |file: &str| &all.iter().find(|(name, _)| *name == file).expect(file).1;
        for (file, pointer, want) in [
            ("manifest.json", "/additionalProperties", json!(false)),
            ("manifest.json", "/required", json!(["manifest", "plugin"])),
            (
                "manifest.json",
                "/patternProperties/^x-/type",
                json!(["object", "array"]),
            ),
            ("manifest.json", "/$defs/RawHook/required", json!(["on"])),
            (
                "hooks/tool.before.payload.json",
                "/required",
                json!(["tool_name", "tool_input"]),
            ),
            (
                "hooks/tool.before.payload.json",
                "/properties/session_id/type",
                json!(["string", "null"]),
            ),
            (
                "hooks/tool.before.reply.json",
                "/required",
                json!(["decision"]),
            ),
            (
                "hooks/heartbeat.payload.json",
                "/required",
                json!(["now_unix_ms"]),
            ),
            ("wire/call.result.json", "/type", json!("object")),
        ] {
            assert_eq!(
                schema(file).pointer(pointer),
                Some(&want),
                "{file} {pointer}"
            );
        }
        let open = schema("hooks/tool.before.payload.json").get("additionalProperties");
        assert_ne!(open, Some(&json!(false)), "payloads may grow");
    }

    /// The kinds that the schema of `run` knows are those that the parser knows.
    #[test]
    fn the_kinds_of_run_are_complete() {
        let text = manifest().to_string();
        for kind in ["python", "process", "command", "wasm", "mcp", "native"] {
            assert!(text.contains(&format!("\"const\":\"{kind}\"")), "{kind}");
        }
        assert!(!text.contains("\"const\":\"none\""));
    }
}
