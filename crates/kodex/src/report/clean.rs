//! Makes a report of whatever a plugin answered: pure, never fails, always within the [bounds](super::bounds).
//!
//! What is blank or has no sense is dropped by itself and not with all that is around it: a report with one
//! bad tone is still worth reading.

use std::collections::{BTreeMap, BTreeSet};

use kodex_plugin::{
    PluginName,
    hook::{Record, RecordField, RecordSet, ReportMetric, Tone},
};
use serde_json::{Map, Value};

use super::{
    PluginReport,
    bounds::{
        EMPTY_CHARS, LABEL_CHARS, N_FIELDS, N_METRICS, N_RECORD_SETS, N_RECORDS, TITLE_CHARS,
        VALUE_CHARS,
    },
};

/// What stands where a text was cut.
const CUT: &str = "...";

/// The report of a plugin from the fields of its reply.
pub(super) fn report(plugin: &PluginName, fields: &Map<String, Value>) -> PluginReport {
    let metrics = list(fields, "metrics").filter_map(metric);
    let sets = list(fields, "record_sets").filter_map(Set::of);
    PluginReport {
        plugin: plugin.to_string(),
        failed: false,
        title: title(plugin, fields.get("title")),
        metrics: metrics.take(N_METRICS).collect(),
        record_sets: sets
            .take(N_RECORD_SETS)
            .enumerate()
            .map(|(index, set)| set.shown(index))
            .collect(),
        at_unix_ms: 0,
    }
}

/// The heading, or the plugin's name where there is none.
pub(super) fn title(plugin: &PluginName, wanted: Option<&Value>) -> String {
    wanted
        .and_then(|wanted| text(wanted, TITLE_CHARS))
        .unwrap_or_else(|| cut(plugin.as_str(), TITLE_CHARS))
}

/// Trimmed, and cut with three dots inside the limit.
pub(super) fn cut(text: &str, n_chars: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(n_chars) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(n_chars - CUT.len()).collect();
            kept + CUT
        }
    }
}

/// A text that is not blank. Numbers and booleans are taken for their texts.
fn text(value: &Value, n_chars: usize) -> Option<String> {
    let text = match value {
        Value::String(text) => cut(text, n_chars),
        Value::Number(number) => cut(&number.to_string(), n_chars),
        Value::Bool(is) => is.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The objects of a list; what is none is passed over.
fn list<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    let items = fields.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_object)
}

fn metric(fields: &Map<String, Value>) -> Option<ReportMetric> {
    Some(ReportMetric {
        label: text(fields.get("label")?, LABEL_CHARS)?,
        value: text(fields.get("value")?, VALUE_CHARS)?,
        tone: fields.get("tone").and_then(Value::as_str).and_then(tone),
    })
}

fn tone(word: &str) -> Option<Tone> {
    match word {
        "good" => Some(Tone::Good),
        "neutral" => Some(Tone::Neutral),
        "warning" => Some(Tone::Warning),
        "danger" => Some(Tone::Danger),
        _ => None,
    }
}

/// A table that is worth showing, before its rows are read: rows need the table's number.
struct Set<'a> {
    title: String,
    /// Each column with its key as the rows have it.
    fields: Vec<(&'a str, RecordField)>,
    given: &'a Map<String, Value>,
}

impl<'a> Set<'a> {
    fn of(given: &'a Map<String, Value>) -> Option<Self> {
        let mut seen = BTreeSet::new();
        let mut fields = Vec::new();
        for column in list(given, "fields") {
            let Some((key, field)) = field(column) else {
                continue;
            };
            if fields.len() < N_FIELDS && seen.insert(field.key.clone()) {
                fields.push((key, field));
            }
        }
        Some(Self {
            title: text(given.get("title")?, TITLE_CHARS)?,
            fields,
            given,
        })
    }

    fn shown(self, index: usize) -> RecordSet {
        let mut seen = BTreeSet::new();
        let records = list(self.given, "records")
            .take(N_RECORDS)
            .enumerate()
            .map(|(row, given)| {
                let own = given.get("id").and_then(|id| text(id, LABEL_CHARS));
                let place = || format!("{index}:{row}");
                // Two rows of one id could not be told apart, so the second one goes by its place.
                let id = own
                    .filter(|id| seen.insert(id.clone()))
                    .unwrap_or_else(place);
                Record {
                    id: Some(id),
                    values: self.values(given),
                }
            })
            .collect();
        RecordSet {
            title: self.title,
            records,
            fields: self.fields.into_iter().map(|(_, field)| field).collect(),
            empty_text: self
                .given
                .get("empty_text")
                .and_then(|empty| text(empty, EMPTY_CHARS)),
        }
    }

    /// A value for every column, if an empty one, and for nothing else.
    fn values(&self, record: &Map<String, Value>) -> BTreeMap<String, String> {
        let given = record.get("values").and_then(Value::as_object);
        let value = |(key, field): &(&str, RecordField)| {
            let value = given.and_then(|given| given.get(*key));
            let shown = value.and_then(|value| text(value, VALUE_CHARS));
            (field.key.clone(), shown.unwrap_or_default())
        };
        self.fields.iter().map(value).collect()
    }
}

fn field(given: &Map<String, Value>) -> Option<(&str, RecordField)> {
    let key = given.get("key")?.as_str()?;
    let field = RecordField {
        key: text(given.get("key")?, LABEL_CHARS)?,
        label: text(given.get("label")?, LABEL_CHARS)?,
    };
    Some((key, field))
}
