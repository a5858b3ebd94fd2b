//! Operational reports: what plugins show of themselves, asked for with the hook `report` and cut to what a
//! dashboard can show.
//!
//! Whatever a plugin answers, what comes out of here is within [`bounds`]. A plugin that fails is shown as
//! failed, and one that has nothing to say is not shown. A report only looks: during its call the plugin's
//! database and state take no writes.

pub mod bounds;
mod clean;

use kodex_plugin::{
    Hook, Json, PluginError, PluginName,
    hook::{Record, RecordField, RecordSet, Report, ReportMetric, ReportRequest, Tone},
};
use serde::Serialize;

use crate::{
    Runtime,
    dispatch::by_name::{self, Answered},
    host::reading,
};

/// What one plugin shows of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PluginReport {
    /// The plugin.
    pub plugin: String,
    /// Whether it could not report; then the rest says why.
    pub failed: bool,
    /// Heading; the plugin's name where it gives none.
    pub title: String,
    /// Single values.
    pub metrics: Vec<ReportMetric>,
    /// Tables. Every row has a value, if an empty one, for every column, and no other.
    pub record_sets: Vec<RecordSet>,
    /// When it was asked, in milliseconds since 1970-01-01 UTC.
    pub at_unix_ms: u64,
}

impl Runtime {
    /// Asks every plugin that has the hook `report`, by name. None is left out because another one fails.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use kodex::{Define, PluginError, Reply, Runtime};
    /// use serde_json::json;
    ///
    /// let jobs = Define::new("jobs", "0.1.0", "Does jobs.")
    ///     .hook("report", |_| Ok(Reply::from(json!({"metrics": [{"label": "open", "value": "3"}]}))))
    ///     .build()?;
    /// let broken = Define::new("broken", "0.1.0", "Fails.")
    ///     .hook("report", |_| Err(PluginError::raised("no luck")))
    ///     .build()?;
    /// let runtime = Runtime::builder().native(jobs).native(broken).build().await?;
    /// let reports = runtime.reports().await;
    /// assert_eq!((reports[0].plugin.as_str(), reports[0].failed), ("broken", true));
    /// assert_eq!((reports[1].title.as_str(), reports[1].metrics[0].value.as_str()), ("jobs", "3"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub async fn reports(&self) -> Vec<PluginReport> {
        self.reports_of(|_| true).await
    }

    /// Asks one plugin for its report; nothing when it has none to give.
    pub async fn report(&self, plugin: &str) -> Option<PluginReport> {
        let is_wanted = |name: &PluginName| name.as_str() == plugin;
        self.reports_of(is_wanted).await.pop()
    }

    async fn reports_of(&self, is_wanted: impl Fn(&PluginName) -> bool) -> Vec<PluginReport> {
        let shared = self.shared();
        let current = self.current();
        let Ok(route) = current.catalog.route(Report::NAME, &shared.guard) else {
            return Vec::new();
        };
        let at_unix_ms = shared.clock.unix_ms();
        let request = ReportRequest {
            now_unix_ms: at_unix_ms,
        };
        let payload = Json::of(&request).unwrap_or_else(|_| Json::object());
        let mut subscribers = by_name::named(&route);
        subscribers.retain(|to| is_wanted(&to.slot.name));
        let asked = by_name::ask(shared, Report::NAME, &subscribers, &payload);
        let answers = reading::only(asked).await;
        let report = |answered: &Answered| of(answered, at_unix_ms);
        answers.iter().filter_map(report).collect()
    }
}

/// The report of one answer.
fn of(Answered { slot, result, took }: &Answered, at_unix_ms: u64) -> Option<PluginReport> {
    let (plugin, took_ms) = (&slot.name, took.as_millis());
    let reply = match result {
        Ok(reply) => reply.0.as_ref().filter(|json| !json.is_null())?,
        Err(error) => return Some(failed(plugin, error, took_ms, at_unix_ms)),
    };
    let Some(fields) = reply.value().as_object() else {
        let text = "a report is an object with `metrics` and `record_sets`";
        let error = PluginError::new(kodex_plugin::Failure::InvalidReply, "reply.invalid", text);
        return Some(failed(plugin, &error, took_ms, at_unix_ms));
    };
    tracing::debug!(plugin = plugin.as_str(), took_ms, "reported");
    Some(PluginReport {
        at_unix_ms,
        ..clean::report(plugin, fields)
    })
}

/// The one report that stands for every failure.
fn failed(
    plugin: &PluginName,
    error: &PluginError,
    took_ms: u128,
    at_unix_ms: u64,
) -> PluginReport {
    tracing::warn!(plugin = plugin.as_str(), code = %error.code, took_ms, "no report");
    let field = |key: &str, label: &str| RecordField {
        key: key.to_owned(),
        label: label.to_owned(),
    };
    let shown = |text: &str| clean::cut(text, bounds::VALUE_CHARS);
    let values = [("code", &*error.code), ("message", &error.message)];
    PluginReport {
        plugin: plugin.to_string(),
        failed: true,
        title: clean::title(plugin, None),
        metrics: vec![ReportMetric {
            label: "report".to_owned(),
            value: "failed".to_owned(),
            tone: Some(Tone::Danger),
        }],
        record_sets: vec![RecordSet {
            title: "Error".to_owned(),
            fields: vec![field("code", "Code"), field("message", "Message")],
            records: vec![Record {
                id: Some("0:0".to_owned()),
                values: values
                    .map(|(key, text)| (key.to_owned(), shown(text)))
                    .into(),
            }],
            empty_text: None,
        }],
        at_unix_ms,
    }
}
