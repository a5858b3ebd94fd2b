//! JSON Schemas of everything that `--json` prints, made from the types that are printed.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{
    codes, commands,
    render::{event, outcome},
};

/// Where the schemas are published, with a file name after it.
const HOME: &str = "https://kodex.dev/schemas/v1/";

/// Makes the schema of one type.
type Write = fn() -> Value;

/// One row for each form: the file, and the schema of its type.
static FORMS: &[(&str, Write)] = &[
    ("cli/call.list.json", of::<Vec<commands::call::Offered>>),
    ("cli/capabilities.json", of::<Vec<String>>),
    ("cli/check.json", of::<commands::check::Checked>),
    ("cli/dev.event.json", of::<event::Event>),
    ("cli/doctor.full.json", of::<commands::doctor::FullReport>),
    ("cli/doctor.json", of::<commands::doctor::FirstReport>),
    ("cli/emit.json", of::<Vec<outcome::Line>>),
    ("cli/emit.outcome.json", of::<outcome::Whole>),
    ("cli/explain.code.json", of::<codes::Meaning>),
    ("cli/explain.json", of::<commands::explain::Explained>),
    ("cli/heartbeat.json", of::<kodex::Pulse>),
    ("cli/list.json", of::<Vec<commands::list::Listed>>),
    ("cli/man.json", of::<commands::man::Written>),
    (
        "cli/permissions.json",
        of::<Vec<commands::permissions::Asks>>,
    ),
    ("cli/reload.json", of::<commands::reload::Changed>),
    ("cli/report.json", of::<Vec<kodex::PluginReport>>),
    ("cli/runs.change.json", of::<commands::runs::Steered>),
    ("cli/runs.list.json", of::<Vec<kodex::WorkItem>>),
    ("cli/runs.logs.json", of::<Vec<kodex::WorkLine>>),
    ("cli/runs.show.json", of::<kodex::WorkItem>),
    ("cli/scaffold.json", of::<commands::scaffold::Made>),
    (
        "cli/sessions.complete.json",
        of::<commands::sessions::Followed>,
    ),
    ("cli/state.change.json", of::<commands::state::Changed>),
    ("cli/state.get.json", of::<commands::state::Value>),
    ("cli/state.list.json", of::<Vec<commands::state::Listed>>),
    ("cli/status.json", of::<commands::status::Shown>),
    ("cli/store.check.json", of::<commands::store::Checked>),
    ("cli/store.copy.json", of::<kodex::Transferred>),
    ("cli/store.folder.json", of::<commands::store::Saved>),
    ("cli/upgrade.json", of::<kodex::UpgradeReport>),
];

fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Every schema with the name of its file, sorted by name; the same on every run.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    let with_id = |(file, write): &(&'static str, Write)| {
        let mut schema = write();
        schema["$id"] = format!("{HOME}{file}").into();
        (*file, schema)
    };
    FORMS.iter().map(with_id).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_are_sorted_and_every_schema_has_its_address() {
        let all = super::schemas();
        assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (file, schema) in all {
            assert_eq!(
                schema["$id"],
                format!("https://kodex.dev/schemas/v1/{file}")
            );
        }
    }
}
