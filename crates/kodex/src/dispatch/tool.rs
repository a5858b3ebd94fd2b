//! Tool calls: check the input, call under the guard, check the output.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jsonschema::Validator;
use kodex_plugin::{Failure, Json, RequestKind, Tool, tool::Caller};

use super::{error::ToolError, guard};
use crate::{
    register::{Cell, Slot},
    runtime::Shared,
    settings::GuardSettings,
};

/// How long a tool may take when it does not say.
const TOOL_TIMEOUT: Duration = Duration::from_secs(30);

/// More issues than this help neither a model nor a person.
const MAX_ISSUES: usize = 5;

/// A tool in the catalog, with its schemas compiled at the first use.
pub(crate) struct ToolEntry {
    pub(crate) slot: Arc<Slot>,
    pub(crate) tool: Tool,
    cell: Arc<Cell>,
    input: Schema,
    output: Schema,
}

type Schema = OnceLock<Result<Option<Validator>, String>>;

impl ToolEntry {
    pub(crate) fn new(slot: Arc<Slot>, tool: Tool, guard: &GuardSettings) -> Self {
        let cell = slot.cell(&format!("tool:{}", tool.name), guard);
        Self {
            slot,
            tool,
            cell,
            input: Schema::new(),
            output: Schema::new(),
        }
    }

    /// Whether both schemas can be used.
    pub(crate) fn check_schemas(&self) -> Result<(), ToolError> {
        self.validator("input").map(drop)?;
        self.validator("output").map(drop)
    }

    fn validator(&self, side: &'static str) -> Result<Option<&Validator>, ToolError> {
        let (place, schema) = match side {
            "input" => (&self.input, &self.tool.input_schema),
            _ => (&self.output, &self.tool.output_schema),
        };
        let compiled = place.get_or_init(|| schema.as_ref().map(compile).transpose());
        compiled
            .as_ref()
            .map(Option::as_ref)
            .map_err(|text| ToolError::Schema {
                plugin: self.slot.name.clone(),
                tool: self.tool.name.to_string(),
                side,
                text: text.clone(),
            })
    }

    fn issues(&self, side: &'static str, json: &Json) -> Result<Option<String>, ToolError> {
        let Some(validator) = self.validator(side)? else {
            return Ok(None);
        };
        let issues: Vec<_> = validator
            .iter_errors(json.value())
            .take(MAX_ISSUES)
            .map(|issue| {
                let path = issue.instance_path().to_string();
                let path = if path.is_empty() {
                    "/".to_owned()
                } else {
                    path
                };
                format!("{path}: {issue}")
            })
            .collect();
        Ok((!issues.is_empty()).then(|| issues.join("; ")))
    }
}

/// Remote references are never followed: a schema from a plugin must not make the host connect.
fn compile(schema: &Json) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(schema.value())
        .map_err(|error| error.to_string())
}

/// Calls a tool.
pub(crate) async fn call(
    shared: &Shared,
    entry: &ToolEntry,
    input: &Json,
    caller: Option<&Caller>,
) -> Result<Json, ToolError> {
    let (plugin, tool) = (entry.slot.name.clone(), entry.tool.name.to_string());
    if entry.tool.needs_caller && caller.is_none() {
        return Err(ToolError::Caller { plugin, tool });
    }
    if let Some(issues) = entry.issues("input", input)? {
        return Err(ToolError::Input {
            plugin,
            tool,
            issues,
        });
    }
    let _place = match shared.enter().await {
        Ok(place) => place,
        Err(error) => {
            return Err(ToolError::Failed {
                plugin,
                tool,
                error,
            });
        }
    };
    let timeout = entry
        .tool
        .timeout_ms
        .map_or(TOOL_TIMEOUT, Duration::from_millis);
    let ask = guard::Ask {
        slot: &entry.slot,
        cell: &entry.cell,
        kind: RequestKind::Tool,
        name: entry.tool.name.as_str(),
        payload: input,
        timeout,
        slow_after: timeout.mul_f64(shared.guard.breaker.slow_after),
        no_later_than: None,
        check: None,
        caller,
    };
    let reply = match guard::call(shared, ask, shared.clock.now()).await.result {
        Ok(reply) => reply.0.unwrap_or_else(Json::null),
        Err(error) if error.failure == Failure::Domain => {
            return Err(ToolError::Input {
                plugin,
                tool,
                issues: error.message,
            });
        }
        Err(error) => {
            return Err(ToolError::Failed {
                plugin,
                tool,
                error,
            });
        }
    };
    match entry.issues("output", &reply)? {
        Some(issues) => Err(ToolError::Output {
            plugin,
            tool,
            issues,
        }),
        None => Ok(reply),
    }
}
