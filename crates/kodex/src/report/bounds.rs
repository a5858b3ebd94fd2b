//! How much of a report is shown. Characters are counted after trimming.

/// Single values of a report.
pub const N_METRICS: usize = 8;
/// Tables of a report.
pub const N_RECORD_SETS: usize = 8;
/// Columns of a table.
pub const N_FIELDS: usize = 8;
/// Rows of a table.
pub const N_RECORDS: usize = 25;
/// Characters of a heading, of a report or a table.
pub const TITLE_CHARS: usize = 80;
/// Characters of a label, a key and the id of a row.
pub const LABEL_CHARS: usize = 80;
/// Characters of a value.
pub const VALUE_CHARS: usize = 160;
/// Characters of what is shown for no rows.
pub const EMPTY_CHARS: usize = 160;
