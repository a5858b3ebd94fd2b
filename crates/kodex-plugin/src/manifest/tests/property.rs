//! What holds for all texts and all manifests.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{CapabilityName, HookName, PluginName, Tool, ToolName};

fn names() -> impl Strategy<Value = PluginName> {
    "[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4}){0,2}"
        .prop_filter_map("a name", |text| PluginName::new(text).ok())
}

fn versions() -> impl Strategy<Value = String> {
    let exact = (0..99u64, 0..99u64, 0..99u64).prop_map(|(a, b, c)| format!("{a}.{b}.{c}"));
    prop_oneof![4 => exact, 1 => "v?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-rc\\.1)?"]
}

fn runs() -> impl Strategy<Value = Run> {
    let command = || vec("[a-z]{1,6}", 1..3);
    let env = || {
        vec("[A-Z_]{5,8}", 0..2).prop_map(|mut names| {
            names.retain(|name| !is_loader_variable(name) && !name.starts_with("KODEX_"));
            names.dedup();
            names
        })
    };
    prop_oneof![
        Just(Run::Native),
        "[a-z]{1,6}\\.wasm".prop_map(|entry| Run::Wasm { entry }),
        (
            "[a-z/]{1,4}x\\.py".prop_filter("relative", |e| !e.starts_with('/')),
            env()
        )
            .prop_map(|(entry, env)| Run::Python { entry, env }),
        (command(), env()).prop_map(|(command, env)| Run::Process { command, env }),
        (command(), env()).prop_map(|(command, env)| Run::Command { command, env }),
        (command(), env()).prop_map(|(command, env)| Run::Mcp { command, env }),
    ]
}

prop_compose! {
    fn subscriptions()(
        on in "[a-z]{1,6}\\.[a-z]{1,6}", priority: i32, required: bool,
        timeout in option::of((1..600_000u64).prop_map(Duration::from_millis)),
    ) -> Subscription {
        Subscription { on: HookName::new(on).unwrap(), priority, timeout, required }
    }
}

prop_compose! {
    fn tools()(
        name in "[a-zA-Z_][a-zA-Z0-9_-]{0,9}", description in "[a-z]{1,9}",
        timeout_ms in option::of(1..600_000u64), has_schema: bool, read_only: Option<bool>, needs_caller: bool,
    ) -> Tool {
        let schema = Json::from(serde_json::json!({"type": "object", "title": description.clone()}));
        Tool {
            name: ToolName::new(name).unwrap(),
            description,
            input_schema: has_schema.then_some(schema),
            output_schema: None,
            annotations: Annotations { read_only, ..Annotations::default() },
            timeout_ms,
            needs_caller,
        }
    }
}

prop_compose! {
    fn manifests()(
        name in names(), version in versions(), description in "[a-z]{1,20}",
        capabilities in vec("[a-z.]{1,9}", 0..4), api in option::of(Just("1")), run in runs(),
        mut hooks in vec(subscriptions(), 0..4), mut tools in vec(tools(), 0..3),
        bin in vec("[a-z]{1,5}", 0..3), migrations in option::of("[a-z]{1,5}"),
    ) -> Manifest {
        let mut manifest = Manifest::new(name, Version::new(&version), &description, run);
        manifest.capabilities = capabilities.iter().map(|c| CapabilityName::new(c.as_str()).unwrap()).collect();
        manifest.capabilities.sort();
        manifest.capabilities.dedup();
        manifest.api = api.map(|text| text.parse().unwrap());
        hooks.sort_by(|a, b| a.on.cmp(&b.on));
        hooks.dedup_by(|a, b| a.on == b.on);
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        tools.dedup_by(|a, b| a.name == b.name);
        (manifest.hooks, manifest.tools) = (hooks, tools);
        manifest.permissions = vec![PermissionRequest {
            allow: "fs:read ${project}/**".parse().unwrap(),
            reason: "why".into(),
        }];
        manifest.requires = Requires { bin };
        manifest.database = migrations.map(|migrations| Database { migrations, renamed_from: None });
        manifest
    }
}

/// Parts of manifests, thrown together: this gets further into the parser than noise does.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        Just("manifest = 1\n"),
        Just("[plugin]\n"),
        Just("name = \"a\"\n"),
        Just("version = 1\n"),
        Just("description = \"\\u0000\"\n"),
        Just("[[hook]]\n"),
        Just("on = [\n"),
        Just("]\n"),
        Just("[run]\nkind = \"wasm\"\n"),
        Just("timeout = \"9s\"\n"),
        Just("[hook.x]\n"),
        Just("[[tool]]\ninput_schema = {a = 1e999, b = nan}\n"),
        Just("x-y.z = 1\n"),
        Just("[[permission]]\nallow = \"\"\n"),
        Just("priority = 0x7fffffffffffffff\n"),
        Just("ä = 'ö'\n"),
        Just("{\"manifest\": 1, "),
        Just("\"plugin\": {"),
        Just("\"a\\u0062\": "),
        Just("[1, null, 1e5, -0.0, 99999999999999999999]"),
        Just("}"),
        Just(","),
        Just("\"\""),
    ];
    vec(scrap, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_manifest_reads_back_as_it_was(manifest in manifests()) {
        let text = manifest.to_json().to_string();
        prop_assert_eq!(parse_json(&text, "file", false).manifest, Some(manifest));
    }

    /// The short way and the one that knows its places come to the same result.
    #[test]
    fn both_ways_of_reading_agree(manifest in manifests()) {
        let mut json = manifest.to_json();
        json["x-extra"] = serde_json::json!({});
        let slow = parse_json(&json.to_string(), "file", false);
        prop_assert_eq!(slow.manifest, Some(manifest));
    }

    #[test]
    fn no_text_panics(text in prop_oneof![".{0,200}", scraps()]) {
        render(&parse_toml(&text, "file"));
        render(&parse_json(&text, "file", true));
    }

    /// A manifest that is cut anywhere or has a byte changed is read or refused, never a panic, and
    /// every place lies inside the text.
    #[test]
    fn places_lie_inside_the_text(at in 0..2_000usize, byte: u8) {
        let mut bytes = serde_json::to_vec_pretty(&everything()).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let text = String::from_utf8_lossy(&bytes);
        for text in [text.as_ref(), text.get(..at).unwrap_or_default()] {
            let parsed = parse_json(text, "file", false);
            render(&parsed);
            for one in &parsed.diagnostics {
                prop_assert!(one.position.is_none_or(|p| p.start <= p.end && p.end <= text.len()));
            }
        }
    }
}
