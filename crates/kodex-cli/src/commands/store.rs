//! `kodex store`: moves, saves and checks what plugins own.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use kodex::{
    TransferError, Transferred,
    store::{Finding, Place, sqlite},
};
use serde::Serialize;

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
    render::{finding, json, progress},
    store,
    verb::Verb,
};

/// Move, save and check what plugins store
#[derive(Debug, clap::Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Copy everything into an empty store and compare; run again, it goes on where it stopped
    Copy {
        /// From here: sqlite:FOLDER or postgres://USER@HOST/DATABASE
        #[arg(long, value_name = "PLACE")]
        from: String,
        /// To here
        #[arg(long, value_name = "PLACE")]
        to: String,
    },
    /// Save an SQLite store into a new folder, while it is in use
    Backup {
        /// The folder; it must not exist
        folder: PathBuf,
    },
    /// Make an SQLite store from a backup
    Restore {
        /// The folder of the backup
        folder: PathBuf,
    },
    /// Look for damage, wrong ledgers, malformed rows and full quotas
    Check,
}

/// What a check found, in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Checked {
    /// Which store, without a password.
    store: String,
    /// Whether nothing was found.
    ok: bool,
    findings: Vec<Found>,
}

/// One finding of a check.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Found {
    code: String,
    /// Whose it is; null for the store's own tables.
    plugin: Option<String>,
    message: String,
}

/// A folder that was written, in the JSON form.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Saved {
    /// From where.
    from: String,
    /// To where.
    to: String,
}

impl Verb for Store {
    const NAME: &'static str = "store";

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        invocation.mends_databases = true;
        match self.what {
            What::Copy { from, to } => copy(&from, &to, invocation).await,
            What::Backup { folder } => backup(&folder, invocation).await,
            What::Restore { folder } => restore(&folder, invocation).await,
            What::Check => check(invocation).await,
        }
    }
}

async fn copy(from: &str, to: &str, invocation: &mut Invocation) -> Result<Exit, Problem> {
    let settings = invocation.config()?.store_settings;
    let cwd = invocation.environment.cwd.clone();
    let (from, to) = (
        store::lazy(from, &cwd, settings)?,
        store::lazy(to, &cwd, settings)?,
    );
    let runtime = invocation.open().await?;
    let is_welcome = invocation.stderr.is_terminal && invocation.environment.wants_progress();
    let watch = |plugin: &str, table: &str, n_rows: u64| {
        tracing::info!(plugin, table, n_rows, "copied");
    };
    let moved = progress::watched(
        "copying",
        is_welcome,
        runtime.transfer(&*from, &*to, &watch),
    )
    .await;
    // Closed whatever came of it; a connection that does not close well is no loss.
    let _ = tokio::join!(from.close(), to.close());
    let moved = moved.map_err(|error| refused(error, invocation))?;
    invocation.out = match invocation.globals.json {
        true => json::document(&moved)?,
        false => shown(&moved),
    };
    Ok(Exit::Fine)
}

fn refused(error: TransferError, invocation: &Invocation) -> Problem {
    let problem = Problem::failed(error.code(), error.to_string());
    match error {
        TransferError::Journal { problems } => {
            for found in &problems {
                let found = kodex::Diagnostic::error(found.code(), found.to_string());
                finding::print(&found, None, invocation.stderr);
            }
            problem
        }
        TransferError::Same { .. }
        | TransferError::NotEmpty { .. }
        | TransferError::NoJournal { .. } => problem,
        TransferError::Store(error) => Problem::from(error),
        _ => problem.help("the source is unchanged; run it again to go on"),
    }
}

fn shown(moved: &Transferred) -> String {
    let mut text = String::new();
    for plugin in &moved.plugins {
        for table in &plugin.tables {
            let _ = writeln!(
                text,
                "{}.{}: {} rows, equal on both sides",
                plugin.plugin, table.table, table.n_rows
            );
        }
        let _ = writeln!(
            text,
            "{}: {} steps, {} values",
            plugin.plugin, plugin.n_steps, plugin.n_keys
        );
    }
    let _ = writeln!(text, "copied {} to {}", moved.from, moved.to);
    text
}

/// The folder of the configured store, which must be one of files.
fn folder(invocation: &mut Invocation) -> Result<PathBuf, Problem> {
    let text = invocation.config()?.store.clone();
    invocation.need_store()?;
    match Place::parse(&text.unwrap_or_default()).map_err(|error| store::unusable(&error))? {
        Place::Sqlite(folder) => Ok(invocation.environment.cwd.join(folder)),
        place @ Place::Postgres(_) => {
            let text = format!("{place} is not saved by Kodex");
            Err(Problem::usage("store.unsupported", text)
                .help("use pg_dump, or copy it: kodex store copy --from ... --to sqlite:FOLDER"))
        }
    }
}

async fn backup(to: &Path, invocation: &mut Invocation) -> Result<Exit, Problem> {
    let from = folder(invocation)?;
    let settings = invocation.config()?.store_settings;
    let store = Arc::new(store::sqlite(&from, settings).await?);
    let to = invocation.environment.cwd.join(to);
    let is_welcome = invocation.stderr.is_terminal && invocation.environment.wants_progress();
    let saved = progress::watched("saving", is_welcome, store.backup(&to)).await;
    let _ = kodex::store::Store::close(&*store).await;
    saved?;
    written(&from, &to, "saved", invocation)
}

async fn restore(from: &Path, invocation: &mut Invocation) -> Result<Exit, Problem> {
    let to = folder(invocation)?;
    let from = invocation.environment.cwd.join(from);
    sqlite::restore(&from, &to)?;
    written(&from, &to, "restored", invocation)
}

fn written(
    from: &Path,
    to: &Path,
    verb: &str,
    invocation: &mut Invocation,
) -> Result<Exit, Problem> {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    invocation.out = match invocation.globals.json {
        true => json::document(&Saved { from, to })?,
        false => format!("{verb} {from} to {to}\n"),
    };
    Ok(Exit::Fine)
}

async fn check(invocation: &mut Invocation) -> Result<Exit, Problem> {
    let store = invocation.need_store()?;
    let found = |Finding {
                     code,
                     plugin,
                     message,
                 }| Found {
        code: code.to_owned(),
        plugin: plugin.map(|plugin| plugin.to_string()),
        message,
    };
    let mut findings: Vec<_> = store.check().await?.into_iter().map(found).collect();
    // Journals are part of what a check is about; the plugins know them.
    let runtime = invocation.open().await?;
    let journals = runtime.check_journals().await;
    findings.extend(journals.into_iter().map(|found| Found {
        code: found.code.to_string(),
        plugin: found.plugin.map(|plugin| plugin.to_string()),
        message: found.message,
    }));
    let ok = findings.is_empty();
    let checked = Checked {
        store: store.place().to_owned(),
        ok,
        findings,
    };
    invocation.out = if invocation.globals.json {
        json::document(&checked)?
    } else {
        let mut text = String::new();
        for found in &checked.findings {
            let whose = found.plugin.as_deref().unwrap_or("the store");
            let _ = writeln!(text, "{whose}: {} [{}]", found.message, found.code);
        }
        let verdict = if ok { "ok" } else { "not ok" };
        let _ = writeln!(text, "{verdict}: {}", checked.store);
        text
    };
    Ok(if ok { Exit::Fine } else { Exit::Failed })
}
