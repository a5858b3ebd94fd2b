//! The configuration file, key by key. What it does not know it refuses, with the place.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kodex::{Json, contract::span::parse_span};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::work::{RawDestinations, RawHeartbeat, RawProgram, RawServe, RawWork};

/// One file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Raw {
    pub(super) plugin_dirs: Option<Vec<PathBuf>>,
    pub(super) source: Vec<RawSource>,
    pub(super) strict: Option<bool>,
    pub(super) context: Option<Table>,
    pub(super) plugin: BTreeMap<String, RawPlugin>,
    pub(super) order: Vec<toml::Spanned<String>>,
    pub(super) python: RawPython,
    pub(super) store: RawStore,
    pub(super) work: RawWork,
    pub(super) heartbeat: RawHeartbeat,
    pub(super) serve: RawServe,
    pub(super) runner: Option<RawProgram>,
    pub(super) destinations: RawDestinations,
    pub(super) guard: RawGuard,
    pub(super) limits: RawLimits,
}

/// One more place in which plugins lie.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawSource {
    pub(super) path: PathBuf,
}

/// What the user says about one plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawPlugin {
    pub(super) enabled: Option<bool>,
    pub(super) priority: Option<toml::Spanned<i32>>,
    pub(super) timeout: Option<Span>,
    pub(super) context: Option<Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawPython {
    pub(super) interpreter: Option<PathBuf>,
    pub(super) entry_points: Option<bool>,
    pub(super) inspect_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawStore {
    pub(super) url: Option<String>,
    pub(super) isolation: Option<Isolation>,
    pub(super) full_sync: Option<bool>,
}

/// What keeps plugins apart on Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Isolation {
    Roles,
    Schema,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawGuard {
    pub(super) concurrency: Option<Positive>,
    pub(super) event_budget: Option<Span>,
    pub(super) activation_timeout: Option<Span>,
    pub(super) breaker: RawBreaker,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawBreaker {
    pub(super) window: Option<Positive>,
    pub(super) min_calls: Option<Positive>,
    pub(super) open_for: Option<Span>,
    pub(super) open_cap: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawLimits {
    pub(super) frame_bytes: Option<Positive>,
    pub(super) depth: Option<Positive>,
    pub(super) stderr_bytes: Option<Positive>,
    pub(super) messages_per_second: Option<Positive>,
    pub(super) messages_burst: Option<Positive>,
    pub(super) concurrency: Option<Positive>,
    pub(super) queue: Option<Positive>,
    pub(super) frame_timeout: Option<Span>,
}

/// A span of time such as `500ms`; zero would switch something off by accident.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = parse_span(&text).map_err(|error| {
            de::Error::custom(format!("{error}; write it as `500ms`, `2s` or `1m`"))
        })?;
        if span.is_zero() {
            return Err(de::Error::custom(
                "a span of time here must be longer than zero",
            ));
        }
        Ok(Self(span))
    }
}

/// A number of at least 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Positive(pub(super) u32);

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u32::try_from(number) {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(de::Error::custom(format!(
                "{number} is out of range; it must be from 1 to {}",
                u32::MAX
            ))),
        }
    }
}

/// A table that becomes a JSON object.
#[derive(Debug, Clone)]
pub(super) struct Table(pub(super) serde_json::Map<String, Value>);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let pairs = table
            .into_iter()
            .map(|(key, value)| Ok((key, json(value)?)));
        pairs
            .collect::<Result<_, String>>()
            .map(Self)
            .map_err(de::Error::custom)
    }
}

impl Table {
    pub(super) fn into_json(self) -> Json {
        Json::from(Value::Object(self.0))
    }
}

/// TOML's dates become text, because JSON has none; `nan` and `inf` have no form at all.
fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Datetime(moment) => Value::String(moment.to_string()),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| {
                format!("{number} cannot be given to a plugin: JSON has no such number")
            })?,
        toml::Value::Array(items) => {
            Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => {
            let pairs = table
                .into_iter()
                .map(|(key, value)| Ok((key, json(value)?)));
            Value::Object(pairs.collect::<Result<_, String>>()?)
        }
    })
}
