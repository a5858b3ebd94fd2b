//! `kodex state`: the small values of plugins, for people.

use std::fmt::Write as _;

use kodex::{
    Json, PluginName,
    store::state::{Entry, Key, OnlyIf, PAGE, Write, Written},
};
use serde::Serialize;

use crate::{
    input,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, table},
    verb::Verb,
};

/// Read and change the stored values of a plugin
#[derive(Debug, clap::Args)]
pub(crate) struct State {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print a value
    Get {
        /// The plugin
        plugin: String,
        /// The key
        key: String,
    },
    /// Set a value
    Set {
        /// The plugin
        plugin: String,
        /// The key
        key: String,
        /// The value: JSON, @FILE, or - for standard input
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// How long it lives, such as 30s or 90m
        #[arg(long, value_name = "SPAN")]
        ttl: Option<String>,
        /// Only if the plugin has no such value
        #[arg(long)]
        if_absent: bool,
    },
    /// List keys
    List {
        /// The plugin
        plugin: String,
        /// Only keys that begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Delete a value
    Delete {
        /// The plugin
        plugin: String,
        /// The key
        key: String,
    },
}

/// A value in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Value {
    key: String,
    value: Json,
    version: u64,
    /// When it is gone, in milliseconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
}

/// A key in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Listed {
    key: String,
    version: u64,
    /// Bytes of the value.
    bytes: u64,
    /// When it is gone, in milliseconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
}

/// What became of a change, in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Changed {
    /// Whether the condition held.
    done: bool,
    /// The version of the value that was written, deleted or found; 0 for none.
    version: u64,
}

impl From<Key> for Listed {
    fn from(key: Key) -> Self {
        let Key {
            key,
            version,
            bytes,
            expires_at_ms,
        } = key;
        Self {
            key,
            version,
            bytes,
            expires_at_ms,
        }
    }
}

impl Verb for State {
    const NAME: &'static str = "state";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        match self.what {
            What::Get { plugin, key } => get(&named(&plugin)?, key, invocation).await,
            What::List { plugin, prefix } => list(&named(&plugin)?, &prefix, invocation).await,
            What::Delete { plugin, key } => {
                let write = Write {
                    key: &key,
                    value: None,
                    ttl_ms: None,
                    only_if: OnlyIf::Always,
                    under: None,
                };
                change(&named(&plugin)?, &write, invocation).await
            }
            What::Set {
                plugin,
                key,
                value,
                ttl,
                if_absent,
            } => {
                let limits = invocation.config()?.guard.limits.clone();
                let value = input::json("VALUE", &value, &limits).await?;
                let write = Write {
                    key: &key,
                    value: Some(value.raw()),
                    ttl_ms: ttl.as_deref().map(span_ms).transpose()?,
                    only_if: if if_absent {
                        OnlyIf::Absent
                    } else {
                        OnlyIf::Always
                    },
                    under: None,
                };
                change(&named(&plugin)?, &write, invocation).await
            }
        }
    }
}

fn named(plugin: &str) -> Result<PluginName, Problem> {
    PluginName::new(plugin).map_err(|error| Problem::usage("usage", error.to_string()))
}

fn span_ms(text: &str) -> Result<u64, Problem> {
    let span = kodex::contract::span::parse_span(text).map_err(|error| {
        Problem::usage(
            "usage",
            format!("--ttl: {error}; write it as 500ms, 30s or 2m"),
        )
    })?;
    Ok(kodex::contract::clock::millis(span))
}

async fn get(
    plugin: &PluginName,
    key: String,
    invocation: &mut Invocation,
) -> Result<Exit, Problem> {
    let store = invocation.need_store()?;
    let Some(Entry {
        value,
        version,
        expires_at_ms,
    }) = store.state().read(plugin, &key).await?
    else {
        let text = format!("plugin {plugin} has no value for {key:?}");
        return Err(
            Problem::failed("state.absent", text).help("`kodex state list PLUGIN` lists the keys")
        );
    };
    let value = Json::checked(value);
    invocation.out = match invocation.globals.json {
        true => json::document(&Value {
            key,
            value,
            version,
            expires_at_ms,
        })?,
        false => json::document(&value)?,
    };
    Ok(Exit::Fine)
}

async fn list(
    plugin: &PluginName,
    prefix: &str,
    invocation: &mut Invocation,
) -> Result<Exit, Problem> {
    let store = invocation.need_store()?;
    let mut keys: Vec<Listed> = Vec::new();
    loop {
        let after = keys.last().map(|last| last.key.clone());
        let page = store
            .state()
            .list(plugin, prefix, after.as_deref(), PAGE)
            .await?;
        let is_last = page.len() < PAGE;
        keys.extend(page.into_iter().map(Listed::from));
        if is_last {
            break;
        }
    }
    invocation.out = if invocation.globals.json {
        json::document(&keys)?
    } else if invocation.stdout.is_terminal {
        let row = |listed: &Listed| {
            vec![
                listed.key.clone(),
                listed.version.to_string(),
                listed.bytes.to_string(),
            ]
        };
        let rows: Vec<_> = keys.iter().map(row).collect();
        table::shown(&["KEY", "VERSION", "BYTES"], &rows, invocation.stdout)
    } else {
        keys.iter().fold(String::new(), |mut text, listed| {
            let _ = writeln!(text, "{}", crate::render::text::line(&listed.key));
            text
        })
    };
    Ok(Exit::Fine)
}

async fn change(
    plugin: &PluginName,
    write: &Write<'_>,
    invocation: &mut Invocation,
) -> Result<Exit, Problem> {
    let store = invocation.need_store()?;
    let (done, version) = match store.state().write(plugin, write).await? {
        Written::Done { version } => (true, version),
        Written::Refused { version } => (false, version),
    };
    if invocation.globals.json {
        invocation.out = json::document(&Changed { done, version })?;
    } else if !done {
        let text = format!(
            "plugin {plugin} has a value for {:?} already; nothing was changed",
            write.key
        );
        return Err(Problem::failed("state.exists", text));
    }
    Ok(if done { Exit::Fine } else { Exit::Failed })
}
