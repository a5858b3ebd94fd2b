//! Tools and their schemas.

use std::collections::HashSet;

use serde_json::Value;

use super::{Index, Key, Path, Rules, Step, code};
use crate::{Json, Tool, ToolName, clock::millis, manifest::raw::RawTool};

/// A schema is sent to the model with every request: beyond this it costs more than the tool can
/// be worth.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Deeper than any schema written by hand, and safe for every validator.
const SCHEMA_DEPTH_MAX: usize = 32;

impl Rules<'_> {
    pub(super) fn tools(&mut self, raw: Vec<RawTool>) -> Vec<Tool> {
        let mut tools = Vec::with_capacity(raw.len());
        let mut seen = HashSet::new();
        for (n, one) in raw.into_iter().enumerate() {
            let Some(tool) = self.tool(n, one) else {
                continue;
            };
            if seen.insert(tool.name.clone()) {
                tools.push(tool);
            } else {
                self.report.error(
                    &[Key("tool"), Index(n), Key("name")],
                    code::TOOL_DUPLICATE,
                    format!("two tools are called {:?}", tool.name.as_str()),
                    "give each tool a name of its own",
                );
            }
        }
        tools
    }

    fn tool(&mut self, n: usize, raw: RawTool) -> Option<Tool> {
        let at = |key| [Key("tool"), Index(n), Key(key)];
        let timeout = self.timeout(&at("timeout"), raw.timeout.as_deref());
        self.schema(&at("input_schema"), raw.input_schema.as_ref(), true);
        self.schema(&at("output_schema"), raw.output_schema.as_ref(), false);
        if raw.description.trim().is_empty() {
            self.report.error(
                &at("description"),
                code::TOOL_DESCRIPTION,
                format!("`{}` is blank", Path(&at("description"))),
                "say what the tool does; the model decides by this text when to use it",
            );
        }
        let name = ToolName::new(raw.name)
            .inspect_err(|problem| {
                self.report.error(
                    &at("name"),
                    code::NAME_TOOL,
                    problem.to_string(),
                    "use letters, digits, '_' and '-', starting with a letter or '_'",
                );
            })
            .ok()?;
        Some(Tool {
            name,
            description: raw.description.trim().to_owned(),
            input_schema: raw.input_schema,
            output_schema: raw.output_schema,
            annotations: raw.annotations,
            timeout_ms: timeout.map(millis),
            needs_caller: raw.needs_caller,
        })
    }

    fn schema(&mut self, at: &[Step], schema: Option<&Json>, is_input: bool) {
        let Some(schema) = schema.map(Json::value) else {
            return;
        };
        let here = Path(at);
        let Value::Object(fields) = schema else {
            return self.report.error(
                at,
                code::TOOL_SCHEMA,
                format!("`{here}` must be a JSON Schema, which is a table"),
                "write a table, such as { type = \"object\", properties = {} }",
            );
        };
        if is_input && fields.get("type").is_some_and(|kind| kind != "object") {
            self.report.error(
                at,
                code::TOOL_SCHEMA,
                format!("`{here}` has a type other than \"object\", but a tool's input is always an object"),
                "write type = \"object\" and put the values under `properties`",
            );
        }
        if is_deeper(schema, SCHEMA_DEPTH_MAX) {
            self.too_large(
                at,
                format!("`{here}` is nested deeper than {SCHEMA_DEPTH_MAX} levels"),
            );
        } else if schema.to_string().len() > SCHEMA_BYTES_MAX {
            self.too_large(
                at,
                format!("`{here}` has more than {SCHEMA_BYTES_MAX} bytes"),
            );
        }
    }

    fn too_large(&mut self, at: &[Step], message: String) {
        let hint = "describe the shape in a few words instead; the model reads it every time";
        self.report
            .error(at, code::TOOL_SCHEMA_LARGE, message, hint);
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |value: &Value| levels == 0 || is_deeper(value, levels - 1);
    match value {
        Value::Array(items) => items.iter().any(inner),
        Value::Object(fields) => fields.values().any(inner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
