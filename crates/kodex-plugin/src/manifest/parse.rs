//! From text to [`Manifest`], with a diagnostic for every thing that is wrong.

use std::time::Duration;

use super::{
    MANIFEST_VERSION, Manifest, PermissionRequest, RawManifest, Run, Subscription, Version,
};
use crate::{Diagnostic, HookName, Permission, PluginName, Position, capability};

/// The result of reading a manifest: it, if it can be used, and what was found on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The manifest; nothing when an error makes it unusable.
    pub manifest: Option<Manifest>,
    /// All findings, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads `kodex.toml`. `file` is only for the diagnostics.
#[must_use]
pub fn parse_toml(text: &str, file: &str) -> Parsed {
    match toml::from_str::<RawManifest>(text) {
        Ok(raw) => resolve(raw, file, false),
        Err(error) => {
            let mut found = Diagnostic::error("manifest.invalid", error.message()).with_file(file);
            if let Some(span) = error.span() {
                found = found.with_position(Position::of(text, span));
            }
            Parsed {
                manifest: None,
                diagnostics: vec![found],
            }
        }
    }
}

/// Reads the JSON form. With `in_code` the lenient rules for plugins that declare themselves in code
/// hold: any printable name.
#[must_use]
pub fn parse_json(text: &str, file: &str, in_code: bool) -> Parsed {
    match serde_json::from_str::<RawManifest>(text) {
        Ok(raw) => resolve(raw, file, in_code),
        Err(error) => Parsed {
            manifest: None,
            diagnostics: vec![
                Diagnostic::error("manifest.invalid", error.to_string()).with_file(file),
            ],
        },
    }
}

fn resolve(raw: RawManifest, file: &str, in_code: bool) -> Parsed {
    let mut diagnostics = Vec::new();
    let manifest = build(raw, in_code)
        .inspect_err(|found| diagnostics.push(found.clone().with_file(file)))
        .ok();
    Parsed {
        manifest,
        diagnostics,
    }
}

fn build(raw: RawManifest, in_code: bool) -> Result<Manifest, Diagnostic> {
    if raw.manifest != MANIFEST_VERSION {
        return Err(Diagnostic::error(
            "manifest.version.unknown",
            "only manifest = 1 is known",
        ));
    }
    let name = if in_code {
        PluginName::lenient(raw.plugin.name.as_str())
    } else {
        PluginName::new(raw.plugin.name.as_str())
    };
    let name = name.map_err(|error| Diagnostic::error(error.code(), error.to_string()))?;
    let run = raw.run.unwrap_or(Run::Native);
    let mut manifest = Manifest::new(
        name,
        Version::new(&raw.plugin.version),
        raw.plugin.description.trim(),
        run,
    );
    manifest.capabilities =
        capability::normalise(raw.plugin.capabilities.iter().map(String::as_str));
    for hook in raw.hooks {
        let on = HookName::new(hook.on).map_err(|e| Diagnostic::error(e.code(), e.to_string()))?;
        manifest.hooks.push(Subscription {
            priority: hook.priority,
            required: hook.required,
            timeout: hook.timeout.as_deref().and_then(span),
            ..Subscription::new(on)
        });
    }
    manifest.tools = raw.tools;
    for request in raw.permissions {
        let allow: Permission =
            request
                .allow
                .parse()
                .map_err(|e: crate::permission::PermissionError| {
                    Diagnostic::error(e.code(), e.to_string())
                })?;
        manifest.permissions.push(PermissionRequest {
            allow,
            reason: request.reason,
        });
    }
    manifest.database = raw.database;
    manifest.requires = raw.requires.unwrap_or_default();
    Ok(manifest)
}

fn span(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let number = number.parse::<u64>().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}
