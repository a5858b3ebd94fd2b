//! Tools: functions that a plugin offers to the agent's model.

use serde::{Deserialize, Serialize};

use crate::{
    Json, ToolName,
    wire::work::{Destination, Visibility},
};

/// The declaration of one tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name inside the plugin.
    pub name: ToolName,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of the input; any object when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Json>,
    /// JSON Schema of the output; anything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Json>,
    /// Hints for review. They never grant anything.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// How long a call may take, in milliseconds; 30 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// It acts for a conversation: without a [`Caller`] it is neither offered nor called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_caller: bool,
}

/// What a tool says of its effects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Annotations {
    /// It changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// It may destroy something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    /// Calling it twice is as good as once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// It touches the world outside the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world: Option<bool>,
}

impl Annotations {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Who calls a tool and from where, as the host knows it. What a model writes into the input cannot change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The same for a call that is made again, and for no other.
    pub call_id: String,
    /// The conversation in which it is made.
    pub source: Destination,
    /// Who may see what is said there.
    #[serde(default)]
    pub visibility: Visibility,
    /// Whether it is between one person and the agent alone.
    #[serde(default)]
    pub direct: bool,
    /// The person, where the host is sure of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What tells them from others.
    pub id: String,
    /// What people call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The name under which a model sees a tool: the plugin's name in camel case, `_`, the tool's name.
/// No plugin tool can therefore shadow a tool of the agent or of another plugin.
///
/// ```
/// use kodex_plugin::{PluginName, ToolName, tool::model_name};
/// let (plugin, tool) = (PluginName::new("word-count")?, ToolName::new("count")?);
/// assert_eq!(model_name(&plugin, &tool), "wordCount_count");
/// # Ok::<(), kodex_plugin::NameError>(())
/// ```
#[must_use]
pub fn model_name(plugin: &crate::PluginName, tool: &ToolName) -> String {
    let mut name = String::new();
    let parts = plugin
        .as_str()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|p| !p.is_empty());
    for (index, part) in parts.enumerate() {
        let mut chars = part.chars();
        match chars.next() {
            Some(first) if index > 0 => name.extend(first.to_uppercase()),
            Some(first) => name.push(first),
            None => {}
        }
        name.push_str(chars.as_str());
    }
    format!("{name}_{tool}")
}
