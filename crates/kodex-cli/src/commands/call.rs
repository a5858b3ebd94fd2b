//! `kodex call`: calls a tool, or lists the tools.

use kodex::{Limits, Runtime, ToolError, contract::tool::Caller};
use kodex_server::wire::CallParams;
use serde::Serialize;

use crate::{
    daemon::Daemon,
    input,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, outcome, table},
    verb::Verb,
};

/// Call a tool; without a name, list the tools
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The tool: the name that models see, or PLUGIN/TOOL
    tool: Option<String>,
    /// What the tool is given: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON",
        default_value = "{}",
        allow_negative_numbers = true
    )]
    input: String,
    /// Who calls and from where, for tools that act for a conversation: JSON, @FILE, or -
    #[arg(long, value_name = "JSON", requires = "tool")]
    caller: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
}

/// One tool in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Offered {
    /// The name that models see.
    name: String,
    plugin: String,
    tool: kodex::Tool,
}

impl Verb for Call {
    const NAME: &'static str = "call";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        let limits = invocation.config()?.guard.limits.clone();
        let input = input::json("--input", &self.input, &limits).await?;
        let caller = self.caller(&limits).await?;
        if let Some(tool) = &self.tool {
            let params = |like| CallParams {
                tool: tool.clone(),
                input: input.clone(),
                caller: caller.clone(),
                like,
            };
            if let Some(answer) = self.daemon.ask("call", params, invocation).await? {
                invocation.out = json::document(&answer)?;
                return Ok(Exit::Fine);
            }
        }
        let runtime = invocation.open().await?;
        invocation.out = match &self.tool {
            None => listed(&runtime, invocation)?,
            Some(tool) => {
                let answer = runtime.call_tool_as(tool, &input, caller.as_ref()).await;
                json::document(&answer.map_err(refused)?)?
            }
        };
        Ok(Exit::Fine)
    }
}

impl Call {
    async fn caller(&self, limits: &Limits) -> Result<Option<Caller>, Problem> {
        let Some(given) = &self.caller else {
            return Ok(None);
        };
        let caller = input::json("--caller", given, limits).await?;
        caller.to().map(Some).map_err(|error| {
            let text = format!("--caller says not who calls: {error}");
            Problem::usage("caller.invalid", text).help(
                r#"it looks like {"call_id": "1", "source": {"kind": "session", "address": "s-1"}}"#,
            )
        })
    }
}

fn refused(error: ToolError) -> Problem {
    let problem = Problem::failed(error.code(), error.to_string());
    match outcome::advice(&error) {
        Some(hint) => problem.help(hint),
        None => problem,
    }
}

fn listed(runtime: &Runtime, invocation: &Invocation) -> Result<String, Problem> {
    let offered = |(name, plugin, tool)| Offered { name, plugin, tool };
    let tools: Vec<Offered> = runtime.tools().into_iter().map(offered).collect();
    if invocation.globals.json {
        return Ok(json::document(&tools)?);
    }
    if tools.is_empty() {
        return Ok("no plugin offers a tool\n".to_owned());
    }
    let row = |offered: &Offered| {
        vec![
            offered.name.clone(),
            offered.plugin.clone(),
            offered.tool.description.clone(),
        ]
    };
    let rows: Vec<_> = tools.iter().map(row).collect();
    Ok(table::shown(
        &["TOOL", "PLUGIN", "DESCRIPTION"],
        &rows,
        invocation.stdout,
    ))
}
