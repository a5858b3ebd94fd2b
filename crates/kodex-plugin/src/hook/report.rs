//! Operational reports: what a plugin shows of itself on the dashboard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hook;

hook! {
    /// Collected: reports stand beside each other, and a failed one is shown as failed.
    Report = "report", Collect, ReportRequest => ReportReply,
    "Somebody looks at the dashboard and every plugin may show how it is doing."
}

/// A question for a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReportRequest {
    /// The host's time, in milliseconds since 1970-01-01 UTC.
    pub now_unix_ms: u64,
}

/// What a plugin shows. Longer texts and lists are cut by the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReportReply {
    /// Heading, at most 80 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Single values, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<ReportMetric>,
    /// Tables, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub record_sets: Vec<RecordSet>,
}

/// How good or bad a value is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// As it should be.
    Good,
    /// Neither good nor bad.
    #[default]
    Neutral,
    /// To be looked at.
    Warning,
    /// Broken.
    Danger,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReportMetric {
    /// What it is, at most 80 characters.
    pub label: String,
    /// The value, at most 160 characters.
    pub value: String,
    /// How good or bad it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tone: Option<Tone>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecordSet {
    /// Heading, at most 80 characters.
    pub title: String,
    /// The columns, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<RecordField>,
    /// The rows, at most 25.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    /// What is shown when there are no rows, at most 160 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_text: Option<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecordField {
    /// The key of its values.
    pub key: String,
    /// Heading.
    pub label: String,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// What tells it from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Values by the keys of the columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}
