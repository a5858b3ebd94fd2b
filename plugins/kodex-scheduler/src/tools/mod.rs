//! Tools for the agent's model. They act for the conversation that calls, which the host names.

mod schema;

use kodex_plugin::{
    Context, Json, NameError, Request, Tool, ToolName,
    db::Db,
    tool::{Annotations, Caller},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    desk::{ById, Create, Desk, Update, Wisher, compact, counted},
    moment::Ms,
    people::check_place,
    refusal::Refusal,
    settings::Settings,
    task::{Creator, Task},
};

/// The tools, for the manifest.
///
/// # Errors
/// Never, as long as the names below are names.
pub fn tools() -> Result<Vec<Tool>, NameError> {
    let tool = |name: &str, description: &str, input: Value, annotations: Annotations| {
        Ok(Tool {
            name: ToolName::new(name)?,
            description: description.to_owned(),
            input_schema: Some(input.into()),
            output_schema: None,
            annotations,
            timeout_ms: None,
            needs_caller: true,
        })
    };
    let changes = Annotations {
        idempotent: Some(true),
        ..Annotations::default()
    };
    let reads = Annotations {
        read_only: Some(true),
        ..changes
    };
    let destroys = Annotations {
        destructive: Some(true),
        ..changes
    };
    Ok(vec![
        tool(
            "schedule_create",
            "Asks for something to be done later or again and again, at most once a day. The answers come \
             into this conversation.",
            schema::create(),
            changes,
        )?,
        tool(
            "schedule_list",
            "Lists the scheduled tasks of this conversation, each with how many of its times passed without a \
             run: missed ones, and ones skipped because somebody wanted it so.",
            schema::empty(),
            reads,
        )?,
        tool(
            "schedule_update",
            "Changes a scheduled task of this conversation: what is done, when, or whether it is paused.",
            schema::update(),
            changes,
        )?,
        tool(
            "schedule_delete",
            "Deletes a scheduled task of this conversation for good.",
            schema::by_id(),
            destroys,
        )?,
        tool(
            "schedule_run_now",
            "Lets an active scheduled task of this conversation run once, soon, without changing its schedule.",
            schema::by_id(),
            changes,
        )?,
    ])
}

/// Answers a tool.
///
/// # Errors
/// [`Refusal`] says what is wrong.
pub async fn call(
    context: &Context,
    settings: &Settings,
    request: Request<'_>,
    now_ms: Ms,
) -> Result<Value, Refusal> {
    let caller = request.caller.ok_or(Refusal::NoCaller)?;
    if caller.call_id.is_empty() {
        return Err(Refusal::NoCaller);
    }
    check_place("the caller's conversation", &caller.source)?;
    let wisher = wisher(caller, settings);
    let db = Db::of(context);
    let desk = Desk {
        db: &db,
        wisher: &wisher,
        now_ms,
    };
    let input = request.payload;
    Ok(match request.name {
        "schedule_create" if caller.actor.is_none() => return Err(Refusal::NoActor),
        "schedule_create" => {
            let wish: Create = read(input)?;
            shown(&desk.create(wish, caller.source.clone()).await?)
        }
        "schedule_list" => {
            let page = desk.list(None).await?;
            let passed = desk.passed(&page.tasks).await?;
            let shown = |task: &Task| counted(compact(task), passed.get(&task.id));
            let tasks: Vec<_> = page.tasks.iter().map(shown).collect();
            json!({"tasks": tasks, "truncated": page.truncated})
        }
        "schedule_update" => shown(&desk.update(read::<Update>(input)?).await?),
        "schedule_delete" => shown(&desk.delete(&read::<ById>(input)?.task_id).await?),
        "schedule_run_now" => shown(&desk.run_now(&read::<ById>(input)?.task_id).await?),
        unknown => return Err(Refusal::Input(format!("there is no tool {unknown:?}"))),
    })
}

fn shown(task: &Task) -> Value {
    json!({"ok": true, "task": compact(task)})
}

fn wisher(caller: &Caller, settings: &Settings) -> Wisher {
    Wisher {
        conversation: Some(caller.source.clone()),
        visibility: caller.visibility,
        direct: caller.direct,
        actor: caller.actor.as_ref().map(|actor| Creator {
            id: actor.id.clone(),
            name: actor.name.clone(),
        }),
        call_id: caller.call_id.clone(),
        terms: settings.tool_terms(),
    }
}

/// Reads an input strictly.
pub(crate) fn read<T: DeserializeOwned>(input: &Json) -> Result<T, Refusal> {
    input
        .to()
        .map_err(|error| Refusal::Input(error.to_string()))
}
