//! Many rows in one statement, in the SQL that both engines speak.

use kodex_plugin::Json;
use serde_json::Value;

/// Rows of one statement. More make the text longer than they save in round trips.
pub(crate) const CHUNK: usize = 100;

/// `?, ?, ?` for lists.
pub(crate) fn marks(n: usize) -> String {
    vec!["?"; n].join(", ")
}

/// A table of values for the beginning of a statement: `WITH v (..) AS (VALUES ..)`.
pub(crate) struct Batch {
    columns: &'static [(&'static str, &'static str)],
    n_rows: usize,
    values: Vec<Value>,
}

impl Batch {
    /// A table with columns of names and types.
    pub(crate) fn new(columns: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            columns,
            n_rows: 0,
            values: Vec::new(),
        }
    }

    pub(crate) fn add<const N: usize>(&mut self, row: [Value; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.n_rows += 1;
        self.values.extend(row);
    }

    /// The table as text. The first row says the types; without them Postgres would take numbers for
    /// texts.
    pub(crate) fn with(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        let typed: Vec<_> = self
            .columns
            .iter()
            .map(|(_, kind)| format!("CAST(? AS {kind})"))
            .collect();
        let mut rows = vec![format!("({})", typed.join(", "))];
        let plain = format!("({})", marks(self.columns.len()));
        rows.extend(std::iter::repeat_n(plain, self.n_rows.saturating_sub(1)));
        format!(
            "WITH v ({}) AS (VALUES {})",
            names.join(", "),
            rows.join(", ")
        )
    }

    pub(crate) fn params(self) -> Json {
        Json::from(Value::Array(self.values))
    }
}
