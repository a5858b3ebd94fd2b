//! `kodex explain`: why each plugin does or does not answer a hook; also what an error code means.

use kodex::{Combine, DispatchOptions, Explanation, Outcome, Why};
use serde::Serialize;

use crate::{
    codes, input,
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{json, outcome::Whole, style, table, text},
    verb::Verb,
};

/// Explain why each plugin does or does not answer a hook, or what an error code means
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The hook, for example prompt.preprocess, or a code, for example manifest.key.unknown
    name: String,
    /// Call the plugins with this payload and show what each replies: JSON, @FILE, or -
    #[arg(long, value_name = "JSON", allow_negative_numbers = true)]
    payload: Option<String>,
}

/// The answer for a hook, in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Explained {
    /// The version of this form: 1.
    explain: u32,
    #[serde(flatten)]
    explanation: Explanation,
    /// What the plugins replied, when a payload was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Whole>,
}

impl Verb for Explain {
    const NAME: &'static str = "explain";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        if let Some(code) = codes::meaning(&self.name) {
            invocation.out = match invocation.globals.json {
                true => json::document(&code)?,
                false => format!("{}: {}\n", code.code, code.meaning),
            };
            return Ok(Exit::Fine);
        }
        let limits = invocation.config()?.guard.limits.clone();
        let payload = match &self.payload {
            Some(given) => Some(input::json("--payload", given, &limits).await?),
            None => None,
        };
        let runtime = invocation.open_thoroughly().await?;
        let outcome = match payload {
            Some(payload) => {
                let options = DispatchOptions {
                    combine: Some(Combine::Collect),
                    ..DispatchOptions::default()
                };
                Some(runtime.emit_with(&self.name, payload, &options).await?)
            }
            None => None,
        };
        // After the call, so that it shows the breakers and counters as the call left them.
        let explanation = runtime.explain(&self.name)?;
        invocation.out = match invocation.globals.json {
            true => json::document(&Explained {
                explain: 1,
                explanation,
                outcome: outcome.as_ref().map(Whole::from),
            })?,
            false => shown(&explanation, outcome.as_ref(), invocation),
        };
        Ok(Exit::Fine)
    }
}

fn shown(explanation: &Explanation, outcome: Option<&Outcome>, invocation: &Invocation) -> String {
    let screen = invocation.stdout;
    let hook = style::paint(&text::line(&explanation.hook), style::NAME, screen);
    let combine = format!("{:?}", explanation.combine).to_lowercase();
    let mut out = match (explanation.known, &explanation.similar) {
        (true, _) => format!("{hook}: a known hook; its replies combine by `{combine}`\n"),
        (false, None) => format!("{hook}: a hook that Kodex does not know; every reply is kept\n"),
        (false, Some(similar)) => {
            format!(
                "{hook}: a hook that Kodex does not know; every reply is kept. Did you mean `{similar}`?\n"
            )
        }
    };
    if explanation.plugins.is_empty() {
        return out + "no plugins\n";
    }
    let rows: Vec<_> = explanation
        .plugins
        .iter()
        .map(|why| row(why, outcome))
        .collect();
    let mut head = vec!["PLUGIN", "PLACE", "PRIORITY", "TIMEOUT", "WHY"];
    head.extend(outcome.map(|_| "REPLY"));
    out.push_str(&table::shown(&head, &rows, screen));
    out
}

fn row(why: &Why, outcome: Option<&Outcome>) -> Vec<String> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    // A plugin that could not be loaded may have no name; then its place says which it is.
    let name = if why.plugin == "-" {
        &why.source
    } else {
        &why.plugin
    };
    let mut row = vec![
        name.clone(),
        or_dash(why.place.map(|place| place.to_string())),
        or_dash(why.priority.map(|priority| priority.to_string())),
        or_dash(why.timeout_ms.map(|ms| format!("{ms} ms"))),
        why.text.clone(),
    ];
    row.extend(outcome.map(|outcome| reply(why, outcome)));
    row
}

fn reply(why: &Why, outcome: &Outcome) -> String {
    let entry = outcome
        .entries
        .iter()
        .find(|entry| entry.plugin.as_str() == why.plugin);
    match entry.map(|entry| &entry.result) {
        Some(Ok(reply)) => reply
            .0
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |json| json.text().to_owned()),
        Some(Err(error)) => format!("failed ({}): {error}", error.code),
        None => "not asked".to_owned(),
    }
}
