//! From [`Manifest`] back to the raw form and to JSON.

use super::{
    Database, MANIFEST_VERSION, Manifest, PermissionRequest, RawManifest, Requires, Run,
    Subscription,
    raw::{RawDatabase, RawHook, RawPermission, RawPlugin, RawRequires, RawRun, RawTool},
};
use crate::{Tool, span::format_span};

impl Manifest {
    /// The raw form that reads back as this manifest.
    ///
    /// ```
    /// use kodex_plugin::{Manifest, PluginName, manifest::{Run, Version, parse_json}};
    /// let name = PluginName::new("greeter")?;
    /// let manifest = Manifest::new(name, Version::new("0.1.0"), "Greets.", Run::Native);
    /// let read = parse_json(&manifest.to_json().to_string(), "greeter.json", false);
    /// assert_eq!(read.manifest, Some(manifest));
    /// # Ok::<(), kodex_plugin::NameError>(())
    /// ```
    #[must_use]
    pub fn to_raw(&self) -> RawManifest {
        RawManifest {
            manifest: MANIFEST_VERSION,
            plugin: RawPlugin {
                name: self.name.to_string(),
                version: self.version.text.clone(),
                description: self.description.clone(),
                capabilities: self.capabilities.iter().map(ToString::to_string).collect(),
                api: self.api.as_ref().map(ToString::to_string),
            },
            run: raw_run(&self.run),
            hooks: self.hooks.iter().map(raw_hook).collect(),
            tools: self.tools.iter().map(raw_tool).collect(),
            permissions: self.permissions.iter().map(raw_permission).collect(),
            database: self.database.as_ref().map(raw_database),
            requires: raw_requires(&self.requires),
        }
    }

    /// The JSON form, as `kodex.json` would hold it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self.to_raw()).expect("the raw form has only keys that are texts")
    }
}

fn raw_run(run: &Run) -> Option<RawRun> {
    let mut raw = RawRun {
        kind: run.kind().to_owned(),
        ..RawRun::default()
    };
    match run {
        Run::None => return None,
        Run::Native => {}
        Run::Wasm { entry } => raw.entry = Some(entry.clone()),
        Run::Python { entry, env } => {
            raw.entry = Some(entry.clone());
            raw.env = listed(env);
        }
        Run::Process { command, env }
        | Run::Command { command, env }
        | Run::Mcp { command, env } => {
            raw.command = Some(command.clone());
            raw.env = listed(env);
        }
    }
    Some(raw)
}

fn listed(names: &[String]) -> Option<Vec<String>> {
    (!names.is_empty()).then(|| names.to_vec())
}

fn raw_hook(hook: &Subscription) -> RawHook {
    RawHook {
        on: hook.on.to_string(),
        priority: hook.priority,
        timeout: hook.timeout.map(format_span),
        required: hook.required,
    }
}

fn raw_tool(tool: &Tool) -> RawTool {
    let timeout = tool.timeout_ms.map(std::time::Duration::from_millis);
    RawTool {
        name: tool.name.to_string(),
        description: tool.description.clone(),
        input_schema: tool.input_schema.clone(),
        output_schema: tool.output_schema.clone(),
        annotations: tool.annotations,
        timeout: timeout.map(format_span),
        needs_caller: tool.needs_caller,
    }
}

fn raw_permission(request: &PermissionRequest) -> RawPermission {
    RawPermission {
        allow: request.allow.to_string(),
        reason: request.reason.clone(),
    }
}

fn raw_database(database: &Database) -> RawDatabase {
    RawDatabase {
        migrations: database.migrations.clone(),
        renamed_from: database.renamed_from.as_ref().map(ToString::to_string),
    }
}

fn raw_requires(requires: &Requires) -> Option<RawRequires> {
    (!requires.bin.is_empty()).then(|| RawRequires {
        bin: requires.bin.clone(),
    })
}
