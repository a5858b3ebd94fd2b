//! The authoriser: what a plugin's statement may do, as an allow list by access.
//!
//! The engine asks it while it prepares a statement, for every table, function and pragma in it, also
//! those inside views and triggers. What is not on the list is denied, recorded in words, and becomes
//! [`StoreError::Refused`](crate::StoreError::Refused).
//!
//! | access | may |
//! |---|---|
//! | read | select from tables of its own file, the functions of [`FUNCTIONS`], the pragmas of [`PRAGMAS`] |
//! | write | also insert, update and delete in its own tables |
//! | migrate | also create, alter and drop its own tables, indexes, views, triggers and full-text tables |
//!
//! Names that begin with `kodex_` or `sqlite_` are not its own. The catalog (`sqlite_schema`) of its own
//! file can be read by every access; it shows the definitions of Kodex's tables there, never their rows.
//! Attaching files, transactions by SQL, temporary objects and every other pragma are refused.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::{functions::FUNCTIONS, watch::locked};

/// Pragmas that only tell something, and whether they take the name of a table or index.
const PRAGMAS: &[(&str, bool)] = &[
    ("table_info", true),
    ("table_xinfo", true),
    ("table_list", true),
    ("index_list", true),
    ("index_info", true),
    ("index_xinfo", true),
    ("foreign_key_list", true),
    ("foreign_keys", false),
    ("data_version", false),
    ("page_size", false),
    ("page_count", false),
];

/// Modules of virtual tables that a plugin may create.
const MODULES: &[&str] = &["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// Tables that exist without being created and tell about the file or the process.
const BUILT_IN: &[&str] = &[
    "dbstat",
    "fts3tokenize",
    "sqlite_dbpage",
    "sqlite_stmt",
    "bytecode",
    "tables_used",
    "completion",
];

/// On whose behalf the connection prepares statements.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Mode {
    Read = 0,
    Write = 1,
    Migrate = 2,
    /// `VACUUM`, which attaches a nameless file inside the engine.
    Vacuum = 3,
    /// The store's own statements.
    Own = 4,
}

/// The judge of one connection.
pub(super) struct Guard {
    mode: AtomicU8,
    denied: Mutex<Option<String>>,
    renamed: AtomicBool,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self {
            mode: AtomicU8::new(Mode::Own as u8),
            denied: Mutex::new(None),
            renamed: AtomicBool::new(false),
        }
    }

    /// Judges by `mode` until the answer is dropped.
    pub(super) fn switch(&self, mode: Mode) -> Switched<'_> {
        let before = self.mode.swap(mode as u8, Ordering::Relaxed);
        Switched {
            guard: self,
            before,
        }
    }

    /// What was denied since the last call.
    pub(super) fn take_denied(&self) -> Option<String> {
        locked(&self.denied).take()
    }

    /// Whether a table may have got a new name since the last call; the engine does not say which.
    pub(super) fn take_renamed(&self) -> bool {
        self.renamed.swap(false, Ordering::Relaxed)
    }

    pub(super) fn judge(&self, context: &AuthContext<'_>) -> Authorization {
        let mode = match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Read,
            1 => Mode::Write,
            2 => Mode::Migrate,
            3 => Mode::Vacuum,
            _ => return Authorization::Allow,
        };
        if matches!(context.action, AuthAction::AlterTable { .. }) {
            self.renamed.store(true, Ordering::Relaxed);
        }
        match verdict(mode, &context.action, context.database_name) {
            Ok(authorization) => authorization,
            Err(action) => {
                locked(&self.denied).get_or_insert(action);
                Authorization::Deny
            }
        }
    }
}

/// Puts the mode back.
pub(super) struct Switched<'a> {
    guard: &'a Guard,
    before: u8,
}

impl Drop for Switched<'_> {
    fn drop(&mut self) {
        self.guard.mode.store(self.before, Ordering::Relaxed);
    }
}

type Verdict = Result<Authorization, String>;

/// Allowed, skipped without a word, or denied with the words for it.
fn verdict(mode: Mode, action: &AuthAction<'_>, database: Option<&str>) -> Verdict {
    if mode == Mode::Vacuum {
        return match action {
            AuthAction::Attach { filename } if !filename.is_empty() => attach(),
            _ => Ok(Authorization::Allow),
        };
    }
    match *action {
        AuthAction::Select | AuthAction::Recursive => Ok(Authorization::Allow),
        AuthAction::Read { table_name, .. } => read(mode, table_name),
        AuthAction::Function { function_name } => function(mode, function_name),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => pragma(mode, pragma_name, pragma_value),
        AuthAction::Insert { table_name } => change(mode, "insert into", table_name),
        AuthAction::Update { table_name, .. } => change(mode, "update", table_name),
        AuthAction::Delete { table_name } => change(mode, "delete from", table_name),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Err("begin or end a transaction by SQL; use the calls for transactions".to_owned())
        }
        AuthAction::Attach { .. } => attach(),
        AuthAction::Detach { .. } => Err("detach a database".to_owned()),
        _ => define(mode, action, database),
    }
}

fn attach() -> Verdict {
    Err("attach a file".to_owned())
}

/// Whether a plugin may have a table of this name.
pub(super) fn is_own(name: &str) -> bool {
    let starts = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    !starts("kodex_") && !starts("sqlite_")
}

fn is_catalog(name: &str) -> bool {
    const CATALOG: [&str; 5] = [
        "sqlite_master",
        "sqlite_schema",
        // Renaming a table looks there for triggers; it is always empty.
        "sqlite_temp_master",
        "sqlite_temp_schema",
        "sqlite_sequence",
    ];
    CATALOG
        .iter()
        .any(|catalog| name.eq_ignore_ascii_case(catalog))
}

fn read(mode: Mode, table: &str) -> Verdict {
    let lower = table.to_ascii_lowercase();
    let allowed = match lower.strip_prefix("pragma_") {
        Some(pragma) => PRAGMAS.iter().any(|(name, _)| *name == pragma),
        // `ANALYZE` reads what it wrote.
        None if mode == Mode::Migrate && lower.starts_with("sqlite_stat") => true,
        None => (is_own(table) || is_catalog(table)) && !BUILT_IN.contains(&lower.as_str()),
    };
    if allowed {
        Ok(Authorization::Allow)
    } else {
        Err(format!("read {table}"))
    }
}

fn function(mode: Mode, name: &str) -> Verdict {
    let lower = name.to_ascii_lowercase();
    // The engine's own tools for ALTER TABLE; a statement cannot call them by name.
    let altering = mode == Mode::Migrate
        && (lower.starts_with("sqlite_rename_")
            || lower.starts_with("sqlite_drop_")
            || lower.starts_with("sqlite_add_")
            || lower.starts_with("sqlite_find_")
            || lower == "sqlite_fail");
    if altering || FUNCTIONS.binary_search(&lower.as_str()).is_ok() {
        Ok(Authorization::Allow)
    } else {
        Err(format!("use the function {name}"))
    }
}

fn pragma(mode: Mode, name: &str, value: Option<&str>) -> Verdict {
    let lower = name.to_ascii_lowercase();
    let tells = PRAGMAS.iter().any(|(known, named)| {
        *known == lower && (value.is_none() || (*named && value.is_some_and(is_own)))
    });
    let migrates = mode == Mode::Migrate
        && matches!(lower.as_str(), "defer_foreign_keys" | "foreign_key_check");
    if tells || migrates {
        Ok(Authorization::Allow)
    } else {
        Err(format!("use PRAGMA {name} here"))
    }
}

fn change(mode: Mode, verb: &str, table: &str) -> Verdict {
    let kept_by_engine = is_catalog(table)
        || ["sqlite_stat1", "sqlite_stat4"]
            .iter()
            .any(|statistics| table.eq_ignore_ascii_case(statistics));
    if mode == Mode::Migrate && kept_by_engine {
        // The engine writes there while it runs DDL. A plugin's own statement cannot: the connection
        // is defensive.
        return Ok(Authorization::Allow);
    }
    if !is_own(table) {
        return Err(format!("{verb} {table}"));
    }
    if mode == Mode::Read {
        return Err(format!("{verb} {table} through a handle that only reads"));
    }
    Ok(Authorization::Allow)
}

fn define(mode: Mode, action: &AuthAction<'_>, database: Option<&str>) -> Verdict {
    let (what, names): (&str, [&str; 2]) = match *action {
        AuthAction::CreateTable { table_name } => ("create the table", [table_name; 2]),
        AuthAction::DropTable { table_name } => ("drop the table", [table_name; 2]),
        AuthAction::AlterTable { table_name, .. } => ("alter the table", [table_name; 2]),
        AuthAction::CreateIndex {
            index_name,
            table_name,
        } => ("create the index", [index_name, table_name]),
        AuthAction::DropIndex {
            index_name,
            table_name,
        } => ("drop the index", [index_name, table_name]),
        AuthAction::CreateTrigger {
            trigger_name,
            table_name,
        } => ("create the trigger", [trigger_name, table_name]),
        AuthAction::DropTrigger {
            trigger_name,
            table_name,
        } => ("drop the trigger", [trigger_name, table_name]),
        AuthAction::CreateView { view_name } => ("create the view", [view_name; 2]),
        AuthAction::DropView { view_name } => ("drop the view", [view_name; 2]),
        AuthAction::Reindex { index_name } => ("rebuild the index", [index_name; 2]),
        AuthAction::Analyze { table_name } => ("analyse the table", [table_name; 2]),
        AuthAction::CreateVtable {
            table_name,
            module_name,
        }
        | AuthAction::DropVtable {
            table_name,
            module_name,
        } => {
            if !MODULES
                .iter()
                .any(|known| module_name.eq_ignore_ascii_case(known))
            {
                return Err(format!("use the module {module_name}"));
            }
            ("create or drop the table", [table_name; 2])
        }
        _ => {
            return Err(
                "use a temporary table, view or trigger, or an unknown statement".to_owned(),
            );
        }
    };
    if mode != Mode::Migrate {
        return Err(format!("change the schema: {what} {}", names[0]));
    }
    let by_engine = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.starts_with("sqlite_autoindex_")
            || lower.starts_with("sqlite_stat")
            || lower == "sqlite_sequence"
    };
    match names.iter().find(|name| !is_own(name) && !by_engine(name)) {
        // `ANALYZE` and `REINDEX` without a name go over every table; those of the store are left out.
        Some(_)
            if matches!(
                action,
                AuthAction::Analyze { .. } | AuthAction::Reindex { .. }
            ) =>
        {
            Ok(Authorization::Ignore)
        }
        Some(name) => Err(format!("{what} {name}")),
        None if database.is_some_and(|database| database != "main") => {
            Err(format!("{what} {} outside its own file", names[0]))
        }
        None => Ok(Authorization::Allow),
    }
}
