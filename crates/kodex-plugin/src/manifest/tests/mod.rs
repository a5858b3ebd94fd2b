//! One `check`: a text in, the findings out, as `line:column code`, with the severity where it is
//! no error.

mod json;
mod property;
mod toml;

use std::fmt::Write as _;

use super::*;
use crate::{Json, Severity, tool::Annotations};

/// A manifest in which every key is set.
pub(super) fn everything() -> RawManifest {
    RawManifest {
        manifest: 1,
        plugin: RawPlugin {
            name: "context-enricher".into(),
            version: "0.1.0".into(),
            description: "Adds extra prompt context before execution.".into(),
            capabilities: vec!["context.enrich".into(), "prompt.preprocess".into()],
            api: Some(">=1, <2".into()),
        },
        run: Some(RawRun {
            kind: "python".into(),
            entry: Some("plugin.py".into()),
            command: None,
            env: Some(vec!["API_TOKEN".into(), "http_proxy".into()]),
        }),
        hooks: vec![
            RawHook {
                on: "prompt.preprocess".into(),
                priority: -5,
                timeout: Some("1s".into()),
                required: false,
            },
            RawHook {
                on: "prompt.submit".into(),
                required: true,
                ..RawHook::default()
            },
        ],
        tools: vec![RawTool {
            name: "search".into(),
            description: "Finds files.".into(),
            input_schema: Some(Json::from(serde_json::json!({
                "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]
            }))),
            output_schema: Some(Json::from(serde_json::json!({"type": "array"}))),
            annotations: Annotations {
                read_only: Some(true),
                destructive: Some(false),
                idempotent: Some(true),
                open_world: Some(false),
            },
            timeout: Some("5s".into()),
            needs_caller: true,
        }],
        permissions: vec![RawPermission {
            allow: "fs:read ${project}/src/**".into(),
            reason: "reads sources to build context".into(),
        }],
        database: Some(RawDatabase {
            migrations: "migrations".into(),
            renamed_from: Some("enricher".into()),
        }),
        requires: Some(RawRequires {
            bin: vec!["jq".into()],
        }),
    }
}

/// The findings, one on a line.
fn render(parsed: &Parsed) -> String {
    let mut out = String::new();
    for one in &parsed.diagnostics {
        assert_eq!(
            one.file.as_deref(),
            Some("file"),
            "every finding names the file: {one:?}"
        );
        assert!(one.hint.is_some(), "every finding says what to do: {one:?}");
        let known = CODES.iter().any(|(code, _)| *code == one.code);
        assert!(
            known || one.code.starts_with("permission."),
            "{} is not in CODES",
            one.code
        );
        if let Some(at) = one.position {
            let _ = write!(out, "{}:{} ", at.line, at.column);
        }
        let severity = match one.severity {
            Severity::Error => "",
            Severity::Warning => " (warning)",
            Severity::Note => " (note)",
        };
        let _ = writeln!(out, "{}{severity}: {}", one.code, one.message);
    }
    let has_error = parsed
        .diagnostics
        .iter()
        .any(|one| one.severity == Severity::Error);
    assert_eq!(
        parsed.manifest.is_none(),
        has_error,
        "unusable exactly when there is an error"
    );
    out
}

#[test]
fn the_codes_are_sorted_and_unique() {
    assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
}
